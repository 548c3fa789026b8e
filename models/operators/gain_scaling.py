# SPDX-License-Identifier: Apache-2.0
"""What surrounds the arrays of a gain-cell head: scalers, spread and noise, and multiplication by a constant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators.base import Attributes, per_head

#: Significant bits of the multiplier that stands for a ratio.
MULTIPLIER_BITS = 17


@dataclass(frozen=True)
class Scalers:
    """``a x + b`` of q, k, v and of the result, one a head; a is positive.

    Args:
        q_a: factor of the queries; the others likewise.
        q_b: offset of the queries.
        k_a: factor of the keys.
        k_b: offset of the keys, in volt.
        v_a: factor of the values.
        v_b: offset of the values, in volt.
        o_a: factor of the result.
        o_b: offset of the result.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("q_a", "q_b", "k_a", "k_b", "v_a", "v_b", "o_a", "o_b")

    q_a: tuple[float, ...]
    q_b: tuple[float, ...]
    k_a: tuple[float, ...]
    k_b: tuple[float, ...]
    v_a: tuple[float, ...]
    v_b: tuple[float, ...]
    o_a: tuple[float, ...]
    o_b: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in self.NAMES:
            value = per_head(name, getattr(self, name), np.size(self.q_a), "Scalers")
            object.__setattr__(self, name, value)
            if name.endswith("_a") and min(value, default=0) <= 0:
                raise SpecError(f"Scalers: {name} must be positive. Received: {value}")

    @classmethod
    def initial(cls, heads: int, vdd: float) -> Scalers:
        """The paper's: keys and values in the middle of their range."""
        return cls(*((value,) * heads for value in (1.0, 0.0, 1.0, vdd / 2, 1.0, vdd / 2, 1.0, 0.0)))

    def apply(self, which: str, x: ArrayLike) -> Reals:
        """``a x + b`` of "q", "k", "v" or "o" for values of shape ``(..., heads, tokens, head_dim)``."""
        a, b = (np.reshape(getattr(self, f"{which}_{name}"), (-1, 1, 1)) for name in "ab")
        return a * np.asarray(x, dtype=np.float64) + b

    def to_attributes(self) -> Attributes:
        """As node attributes."""
        return {name: np.array(getattr(self, name)) for name in self.NAMES}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Scalers:
        """The inverse of `to_attributes`."""
        return cls(*(tuple(np.asarray(attributes[n], dtype=np.float64).ravel()) for n in cls.NAMES))


@dataclass(frozen=True)
class NonIdeality:
    """What the paper leaves out of its model: noise and spread, all off by default.

    Args:
        read_noise: standard deviation of what is added to every charge read, as a share of its saturation.
        mismatch: relative standard deviation of the current from cell to cell.
        retention_spread: standard deviation of the logarithm of the leak, from cell to cell.
        seed: of all of them.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("read_noise", "mismatch", "retention_spread", "seed")

    read_noise: float = 0.0
    mismatch: float = 0.0
    retention_spread: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.NAMES[:3]:
            value = float(getattr(self, name))
            object.__setattr__(self, name, value)
            if not 0 <= value < math.inf:
                raise SpecError(f"{name} must be 0 or more and finite. Received: {value}")
        if not 0 <= self.seed < 1 << 63:
            raise SpecError(f"seed must be from 0 to 2**63 - 1. Received: {self.seed}")

    @property
    def ideal(self) -> bool:
        """Whether there is none of it."""
        return self.read_noise == self.mismatch == self.retention_spread == 0

    def cells(self, shape: tuple[int, ...]) -> tuple[Reals, Reals]:
        """Gain and relative leak of every cell of one array; the same for every token."""
        return _cells(self, shape)

    def noise(self, token: int, *shapes: tuple[int, ...]) -> list[Reals]:
        """What is added to the charges that one token reads, in saturations."""
        rng = np.random.default_rng((self.seed, 1, token))
        return [self.read_noise * rng.standard_normal(shape) for shape in shapes]

    def to_attributes(self) -> Attributes:
        """As node attributes."""
        numbers = {name: np.array(getattr(self, name), dtype=np.float64) for name in self.NAMES[:3]}
        return {**numbers, "seed": self.seed}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> NonIdeality:
        """The inverse of `to_attributes`."""
        noise, mismatch, spread = (float(np.asarray(attributes[n])) for n in cls.NAMES[:3])
        return cls(noise, mismatch, spread, int(attributes["seed"]))


IDEAL = NonIdeality()


@lru_cache(maxsize=4)
def _cells(nonideal: NonIdeality, shape: tuple[int, ...]) -> tuple[Reals, Reals]:
    rng = np.random.default_rng((nonideal.seed, 0))
    gain = 1 + nonideal.mismatch * rng.standard_normal(shape)
    return gain, np.exp(nonideal.retention_spread * rng.standard_normal(shape))


class Rescale(NamedTuple):
    """``(x * multiplier + half) >> shift``: multiplication by a ratio, rounded half up."""

    multiplier: int
    shift: int

    @property
    def half(self) -> int:
        """What is added before the shift."""
        return (1 << self.shift) >> 1

    def __call__(self, x: NDArray[np.int64]) -> Codes:
        """Rescaled integers."""
        scaled = x if self.multiplier == 1 else x * self.multiplier
        return (scaled + self.half) >> self.shift

    @classmethod
    def of(cls, ratio: Fraction) -> Rescale:
        """The multiplier of 17 significant bits that is not below the ratio, and as small a shift as it allows.

        Rounded up, a charge at its saturation reaches the last code; a power of two needs no multiplier.

        Raises:
            SpecError: for a ratio that is out of reach.
        """
        shift = 0
        while ratio * (1 << shift) < 1 << (MULTIPLIER_BITS - 1):
            shift += 1
        multiplier = math.ceil(ratio * (1 << shift))
        while shift and multiplier % 2 == 0:
            multiplier, shift = multiplier // 2, shift - 1
        if shift > 60 or multiplier >= 1 << (MULTIPLIER_BITS + 1):
            raise SpecError(f"GainCell: no shift gives the ratio {float(ratio):g} between charge and result")
        return cls(multiplier, shift)
