# SPDX-License-Identifier: Apache-2.0
"""Fixed-point formats as data: what every quantised value in the flow carries with it.

A value is an integer *code*; its real value is ``code * 2**-frac``.  All arithmetic on codes is int64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import FormatError

Codes = NDArray[np.int64]
Reals = NDArray[np.float64]
Rounding = Literal["half_even", "half_up", "floor"]
Overflow = Literal["saturate", "saturate_symmetric", "wrap"]

MAX_WIDTH = 62  # one bit of head room in int64 for the rounding increment

_TEXT = re.compile(r"(?P<u>u?)fixed<(\d+),(-?\d+)(?:,(\w+))?(?:,(\w+))?>")


@dataclass(frozen=True)
class Fixed:
    """A binary fixed-point format.

    Args:
        width: total number of bits, the sign bit included; 1 to 62.
        frac: number of fraction bits; the step is ``2**-frac``.  May be negative or exceed `width`.
        signed: two's complement if true, else unsigned.
        rounding: what `quantise` and `requantise` do with a value between two codes.
        overflow: what they do with one outside the range; `saturate_symmetric` also gives up the most
            negative code (QKeras `symmetric`, QONNX `narrow`, ap_fixed `AP_SAT_SYM`).

    Raises:
        FormatError: for a width, rounding or overflow mode that does not exist.

    Examples:
        >>> Fixed(8, 7).quantise([0.5, 2.0])
        array([ 64, 127])
        >>> str(Fixed(8, 7, signed=False))
        'ufixed<8,7,half_even,saturate>'
    """

    width: int
    frac: int
    signed: bool = True
    rounding: Rounding = "half_even"
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise FormatError(f"Fixed width must be 1 to {MAX_WIDTH} bits. Received: width={self.width}")
        if self.signed and self.width < 2:
            raise FormatError(f"A signed format needs at least 2 bits. Received: width={self.width}")
        if abs(self.frac) > 128:
            raise FormatError(f"Fraction bits must be within +-128. Received: frac={self.frac}")
        for name, allowed in (("rounding", get_args(Rounding)), ("overflow", get_args(Overflow))):
            if getattr(self, name) not in allowed:
                raise FormatError(f"{name} must be one of {allowed}. Received: {getattr(self, name)!r}")

    @property
    def min(self) -> int:
        """Smallest code."""
        if not self.signed:
            return 0
        return -(1 << (self.width - 1)) + (self.overflow == "saturate_symmetric")

    @property
    def max(self) -> int:
        """Largest code."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def step(self) -> float:
        """Real value of one code step."""
        return 2.0**-self.frac

    @property
    def integer(self) -> int:
        """Integer bits, the sign bit included (the `I` of ap_fixed<W,I>)."""
        return self.width - self.frac

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.frac},{self.rounding},{self.overflow}>"

    @classmethod
    def parse(cls, text: str) -> Fixed:
        """The inverse of `str`."""
        found = _TEXT.fullmatch(text.strip())
        if not found:
            raise FormatError(f"Expected a format such as 'fixed<8,4,half_even,saturate>'. Received: {text!r}")
        unsigned, width, frac, rounding, overflow = found.groups()
        return cls(
            int(width),
            int(frac),
            not unsigned,
            rounding or "half_even",  # type: ignore[arg-type]  # checked by __post_init__
            overflow or "saturate",  # type: ignore[arg-type]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"format": str(self)}

    def contains(self, codes: ArrayLike) -> bool:
        """Whether every code is within the range of this format."""
        a = np.asarray(codes)
        return a.size == 0 or bool(a.min() >= self.min and a.max() <= self.max)

    def to_real(self, codes: ArrayLike) -> Reals:
        """Real values of codes: ``codes * 2**-frac``."""
        return np.ldexp(np.asarray(codes, dtype=np.float64), -self.frac)

    def quantise(self, values: ArrayLike) -> Codes:
        """Codes of real values, rounded and limited as this format says.

        Raises:
            FormatError: if a value is NaN or infinite.
        """
        scaled = np.ldexp(np.asarray(values, dtype=np.float64), self.frac)
        if not np.all(np.isfinite(scaled)):
            bad = int(np.count_nonzero(~np.isfinite(scaled)))
            raise FormatError(f"Cannot quantise to {self}: {bad} of {scaled.size} values are NaN or infinite")
        if self.rounding == "half_even":
            rounded = np.rint(scaled)
        elif self.rounding == "half_up":
            rounded = np.floor(scaled + 0.5)
        else:
            rounded = np.floor(scaled)
        limit = 2.0**MAX_WIDTH  # keeps the cast to int64 defined; any legal range is inside
        return self.limit(np.clip(rounded, -limit, limit).astype(np.int64))

    def requantise(self, codes: ArrayLike, frac: int) -> Codes:
        """Codes of this format for integer codes that have `frac` fraction bits."""
        return self.limit(shift_round(codes, frac - self.frac, self.rounding))

    def limit(self, codes: ArrayLike) -> Codes:
        """Saturate or wrap codes into the range of this format."""
        a = np.asarray(codes, dtype=np.int64)
        if self.overflow != "wrap":
            return np.clip(a, self.min, self.max)
        wrapped = a & ((1 << self.width) - 1)
        return wrapped - ((wrapped >> (self.width - 1)) << self.width) if self.signed else wrapped

    def saturations(self, codes: ArrayLike, frac: int) -> int:
        """How many codes with `frac` fraction bits do not fit this format (and would be limited)."""
        rounded = shift_round(codes, frac - self.frac, self.rounding)
        return int(np.count_nonzero((rounded < self.min) | (rounded > self.max)))


def shift_round(codes: ArrayLike, shift: int, rounding: Rounding = "half_even") -> Codes:
    """``codes / 2**shift`` rounded to an integer; a negative shift multiplies, exactly.

    Raises:
        FormatError: if a left shift would leave int64.
    """
    a = np.asarray(codes, dtype=np.int64)
    if shift <= 0:
        if a.size and int(np.abs(a).max()).bit_length() - shift > MAX_WIDTH:
            raise FormatError(f"Left shift by {-shift} leaves {MAX_WIDTH} bits. Received: max |code|={np.abs(a).max()}")
        return a << -shift
    if shift > MAX_WIDTH:  # |codes| < 2**62: nothing of the value is left
        return a >> 63 if rounding == "floor" else np.zeros_like(a)
    if rounding == "floor":
        return a >> shift
    half = np.int64(1) << np.int64(shift - 1)
    if rounding == "half_up":
        return (a + half) >> shift
    return (a + (half - 1) + ((a >> shift) & 1)) >> shift


def exact_sum_format(terms: int, term: Fixed) -> Fixed:
    """The narrowest format that holds any sum of `terms` values of format `term`, exactly."""
    return covering(terms * term.min, terms * term.max, term.frac)


def exact_product_format(a: Fixed, b: Fixed) -> Fixed:
    """The narrowest format that holds any product of values of formats `a` and `b`, exactly."""
    corners = [x * y for x in (a.min, a.max) for y in (b.min, b.max)]
    return covering(min(corners), max(corners), a.frac + b.frac)


def covering(low: int, high: int, frac: int) -> Fixed:
    """The narrowest format with `frac` fraction bits whose range holds the codes low..high."""
    signed = low < 0
    bits = max(high.bit_length(), (-low - 1).bit_length() if signed else 0) + signed
    return Fixed(max(bits, 1 + signed), frac, signed)
