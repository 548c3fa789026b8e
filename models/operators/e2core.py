# SPDX-License-Identifier: Apache-2.0
"""What E2Softmax and its shift form have in common: exponents, row sums and the divider's parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError, SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.attributes import as_attribute, check_ranges, from_attribute
from hls4attn.models.operators.base import (
    NO_MASK_DIAGONAL,
    Attributes,
    causal_mask,
    check_same_attributes,
    check_scores,
    float_softmax,
    per_head,
    take_attributes,
)
from hls4attn.models.operators.e2stages import (
    LOG2E_FRAC,
    LOG2E_NUMERATOR,
    PAPER_DIVIDER,
    Unnormalised,
    log2exp,
    numerators,
    online,
    two_pass,
)

#: Slice of the online form: the paper's vector size.
ONLINE_SLICE = 32
Log2e = Literal["shift", "folded"]
CoreT = TypeVar("CoreT", bound="E2Core")

_RANGES = {
    "code_width": (3, 6),
    "sum_frac": (8, 31),
    "divider_frac": (4, 16),
    "max_length": (1, 1024),
    "slice_length": (0, 1024),
    "scale_bits": (4, 12),
}


@dataclass(frozen=True)
class E2Core:
    r"""Parameters of the exponents ``k = round(1.4375 * score_scale * (max - x))`` and of the divider.

    Args:
        in_format: format of the score codes, signed; 2 to 12 bits.
        score_scale: factor from the real value of a code to the score, one a head (``1/sqrt(head_dim)``).
        code_width: bits of an exponent k; 4 in the paper.
        sum_frac: fraction bits of a numerator ``2**-k`` and of the row sum; ``2**-k`` below that is zero.
        divider: mantissas of the reciprocal of the row sum for each value of the bits after its leading one:
            2, 4 or 8 of them, strictly decreasing; `PAPER_DIVIDER` or `FOUR_WAY_DIVIDER`, or your own.
        divider_frac: fraction bits of the mantissas.
        slice_length: 0 finds the maximum of the row first (two passes); else the row is taken in slices of that
            length with a running maximum, as in the paper's algorithm 1.
        log2e: "shift" is the paper's 23/16, made of shifts and adds, and wants a score_scale that is a power of
            two; "folded" takes any score_scale, as one constant factor ``score_scale * log2(e)`` a head.
        scale_bits: significant bits of that factor.
        max_length: longest row; sizes the adder in hardware.
        causal: leave the entries with column > row out, and zero them.
    """

    op_type: ClassVar[str] = "E2Core"

    in_format: Fixed
    score_scale: tuple[float, ...]
    code_width: int = 4
    sum_frac: int = 15
    divider: tuple[int, ...] = PAPER_DIVIDER
    divider_frac: int = 8
    slice_length: int = 0
    log2e: Log2e = "shift"
    scale_bits: int = 8
    max_length: int = 1024
    causal: bool = False

    def __post_init__(self) -> None:
        heads = np.size(self.score_scale)
        object.__setattr__(self, "score_scale", per_head("score_scale", self.score_scale, heads, self.op_type))
        object.__setattr__(self, "divider", tuple(int(c) for c in self.divider))
        if heads == 0 or min(self.score_scale) <= 0:
            raise SpecError(f"{self.op_type}: score_scale must be positive. Received: {self.score_scale}")
        if not self.in_format.signed or not 2 <= self.in_format.width <= 12:
            raise SpecError(f"{self.op_type}: takes signed scores of 2 to 12 bits. Received: {self.in_format}")
        if self.log2e not in get_args(Log2e):
            raise SpecError(f"{self.op_type}: log2e must be one of {get_args(Log2e)}. Received: {self.log2e!r}")
        check_ranges(self, _RANGES)
        self._check_divider()
        _ = self.scale_constants  # refuses a scale that no shift represents

    def _check_divider(self) -> None:
        c, top = self.divider, 1 << self.divider_frac
        if len(c) not in (2, 4, 8) or not all(0 < v < top for v in c):
            raise SpecError(f"{self.op_type}: divider must be 2, 4 or 8 integers from 1 to {top - 1}. Received: {c}")
        if any(a <= b for a, b in pairwise(c)):
            raise SpecError(
                f"{self.op_type}: divider mantissas must decrease (1/(1+s) does): swapped? Received: {self.divider}"
            )

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return len(self.score_scale)

    @property
    def max_exponent(self) -> int:
        """Largest exponent code."""
        return (1 << self.code_width) - 1

    @property
    def mux_bits(self) -> int:
        """Bits of q, the index into `divider`."""
        return len(self.divider).bit_length() - 1

    @property
    def max_sum_exponent(self) -> int:
        """Largest ks: a row sum is at most `max_length`."""
        return self.max_length.bit_length() - 1

    @cached_property
    def scale_constants(self) -> tuple[Codes, Codes]:
        """Multiplier and right shift of Log2Exp, each of shape ``(heads, 1, 1)``.

        Raises:
            SpecError: if `log2e` is "shift" and a score_scale is no power of two, or a shift is out of range.
        """
        pairs = [self._scale_pair(s) for s in self.score_scale]
        for scale, (_, shift) in zip(self.score_scale, pairs, strict=True):
            if not 1 <= shift <= 40:
                raise SpecError(
                    f"{self.op_type}: score_scale {scale} with {self.in_format} needs a Log2Exp shift of 1 to 40 bits. "
                    f"Received: {shift}; change the fraction bits of the scores"
                )
        multiplier, shift = np.array(pairs, dtype=np.int64).T
        return multiplier.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)

    def _scale_pair(self, scale: float) -> tuple[int, int]:
        mantissa, exponent = math.frexp(scale)
        if self.log2e == "folded":
            mantissa, exponent = math.frexp(scale * math.log2(math.e))
            return round(math.ldexp(mantissa, self.scale_bits)), self.in_format.frac - exponent + self.scale_bits
        if mantissa != 0.5:
            raise SpecError(
                f"{self.op_type}: score_scale must be a power of two, since the paper's Log2Exp only shifts. Received: "
                f"{scale}; use a head_dim that is a power of four, or log2e='folded' (one constant factor a head)"
            )
        return LOG2E_NUMERATOR, self.in_format.frac - (exponent - 1) + LOG2E_FRAC

    def to_exponent(self, d: Codes) -> Codes:
        """Log2Exp of distances below the maximum, shape ``(..., heads, rows, cols)``."""
        multiplier, shift = self.scale_constants
        return log2exp(d, multiplier, shift, self.max_exponent)

    def unnormalised(self, codes: Codes, keep: NDArray[np.bool_] | None = None) -> Unnormalised:
        """Exponents and row sums of score codes.

        Args:
            codes: shape ``(..., heads, rows, cols)``.
            keep: True where an element counts; replaces the causal mask.

        Raises:
            InputError: for a row longer than `max_length`.
        """
        rows, cols = codes.shape[-2:]
        if not 1 <= cols <= self.max_length:
            raise InputError(f"{self.op_type}: rows of 1 to max_length={self.max_length} scores. Received: {cols}")
        if keep is None and self.causal:
            keep = causal_mask(rows, cols)
        low = self.in_format.min
        if self.slice_length == 0:
            return two_pass(codes, keep, low, self.to_exponent, self.sum_frac)
        return online(codes, keep, low, self.to_exponent, self.sum_frac, self.slice_length, self.max_exponent)

    def check(self, codes: ArrayLike) -> Codes:
        """Score codes as int64, checked for dtype, shape and range."""
        return check_scores(codes, self)  # type: ignore[arg-type]  # of a score spec it reads what this class has

    def softmax(self, scores: ArrayLike) -> Reals:
        """Softmax over the last axis of ``score_scale * x``, masked if causal."""
        return float_softmax(np.asarray(scores) * np.reshape(self.score_scale, (self.heads, 1, 1)), self.causal)

    def row_grid(self) -> tuple[Codes, Codes, Codes]:
        """For every row index ``ks * len(divider) + q``: the smallest sum S that has it, ks and q."""
        index = np.arange((self.max_sum_exponent + 1) * len(self.divider), dtype=np.int64)
        ks, q = index >> self.mux_bits, index & (len(self.divider) - 1)
        return ((np.int64(1) << self.mux_bits) + q) << (ks + self.sum_frac - self.mux_bits), ks, q

    def parameters(self) -> Attributes:
        """The defining parameters, as node attributes."""
        return {f.name: as_attribute(getattr(self, f.name)) for f in fields(self)}

    def core_constants(self) -> Attributes:
        """Constants of the part that the ONNX function bodies share."""
        multiplier, shift = self.scale_constants
        return {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "min_code": np.array(self.in_format.min, dtype=np.int64),
            "multiplier": multiplier,
            "half": np.int64(1) << (shift - 1),
            "divisor": np.int64(1) << shift,
            "max_exponent": np.array(self.max_exponent, dtype=np.int64),
            "powers": np.int64(1) << np.arange(self.max_exponent + 1, dtype=np.int64),
            "numerators": numerators(self.sum_frac, self.max_exponent),
            "row_sums": self.row_grid()[0],
            "slice": np.array([self.slice_length], dtype=np.int64),
            "diagonal": np.array(0 if self.causal else NO_MASK_DIAGONAL, dtype=np.int64),
        }

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        return self.parameters() | self.core_constants()

    @classmethod
    def from_attributes(cls: type[CoreT], attributes: Mapping[str, Any]) -> CoreT:
        """The spec that `to_attributes` described; constants are recomputed and must agree."""
        a = take_attributes(cls.op_type, attributes, [f.name for f in fields(cls)])
        spec = cls(**{f.name: from_attribute(f.name, f.type, a[f.name]) for f in fields(cls)})
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec
