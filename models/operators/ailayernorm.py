# SPDX-License-Identifier: Apache-2.0
r"""AILayerNorm: LayerNorm whose statistics are of 8-bit codes with power-of-two factors and 4-bit squares.

Formula, per row of fixed-point codes X (int64 throughout; f = mean_frac, fb = bias_frac)::

    XQ_c = clip(round(X_c / (2**alpha_c s)) + zp, 0, 255)      8 bits a channel are stored     (equation 6)
    x_c  = (XQ_c - zp) << alpha_c                              signed, 12 bits
    Ex   = sum x_c       Ex2 = sum compress_square(|XQ_c - zp|) << 2 alpha_c       (equations 15, 16; figure 5)
    mu   = round(Ex / C)                                       f fraction bits
    var  = max(1, Ex2 / C - mu**2)                             2 f fraction bits
    v, e = rsqrt table(var)                                    1/sqrt(var) ~ v * 2**-(rsqrt_bits + e)
    y_c  = saturate(((G_c * v * ((x_c << f) - mu)) >> (N + rsqrt_bits + e - fb)) + B_c, rounded to a code)

The input quantiser is part of the operator: its input is an ordinary fixed-point tensor, XQ are the bytes it
buffers.  Since LayerNorm cancels scales, s matters only for the range that 8 bits cover.

Reference: SOLE (ICCAD 2023, arXiv 2510.17189), section III-C, algorithm 2, figure 5.  The paper is silent on the
reciprocal square root table, the fraction bits of the mean, and rounding in the affine step; these are parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, get_args

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators.ailn_stages import (
    Squares,
    ptf_quantise,
    reciprocal,
    rsqrt,
    rsqrt_table,
    square_scale,
    square_table,
    statistics,
)
from hls4attn.models.operators.attributes import as_attribute, check_ranges, from_attribute
from hls4attn.models.operators.base import Attributes, check_same_attributes, take_attributes
from hls4attn.models.operators.norm_base import (
    Affine,
    IntegerNorm,
    affine_codes,
    apply_affine,
    check_out_format,
    check_vectors,
    register_norm,
)

_RANGES = {
    "zero_point": (0, 255),
    "multiplier": (1, 65535),
    "shift": (0, 31),
    "rsqrt_bits": (6, 14),
    "mean_frac": (0, 7),
    "bias_frac": (0, 6),
    "gamma_bits": (4, 12),
}


@register_norm
@dataclass(frozen=True)
class AILayerNormSpec(IntegerNorm):
    """AILayerNorm.

    Args:
        in_format: format of the input codes, at most 24 bits.
        out_format: signed format of the output codes; 8 bits in the paper.
        gamma: one a channel.
        beta: one a channel.
        alpha: power-of-two factor of each channel's quantiser step, 0 to 3.
        zero_point: zp, 0 to 255.
        multiplier: with `shift` the quantiser's step s for alpha = 0: ``1/s = multiplier * 2**-shift`` of an input
            step.  1 where s is a power of two of at least an input step.
        shift: see `multiplier`.
        squares: "paper" (16 squares of compressed codes), "lut32" (32 bin means) or "exact".
        rsqrt_entries: entries of the reciprocal square root table: a power of two from 8 to 1024.
        rsqrt_bits: bits of an entry.
        mean_frac: fraction bits of the mean.
        bias_frac: fraction bits that are kept until beta is added.
        gamma_bits: bits of the integer gamma.
    """

    op_type: ClassVar[str] = "AILayerNorm"

    in_format: Fixed
    out_format: Fixed
    gamma: tuple[float, ...]
    beta: tuple[float, ...]
    alpha: tuple[int, ...]
    zero_point: int = 128
    multiplier: int = 1
    shift: int = 0
    squares: Squares = "paper"
    rsqrt_entries: int = 64
    rsqrt_bits: int = 9
    mean_frac: int = 4
    bias_frac: int = 4
    gamma_bits: int = 8

    def __post_init__(self) -> None:
        for name, kind in (("gamma", float), ("beta", float), ("alpha", int)):
            object.__setattr__(self, name, tuple(kind(v) for v in getattr(self, name)))
        check_vectors(self.op_type, self.channels, gamma=self.gamma, beta=self.beta, alpha=self.alpha)
        check_ranges(self, _RANGES)
        check_out_format(self.op_type, self.out_format)
        if not all(0 <= a <= 3 for a in self.alpha):
            raise SpecError(
                f"{self.op_type}: alpha must be 0 to 3. Received: {min(self.alpha)} to {max(self.alpha)}; subtract the "
                "smallest and change the scale instead"
            )
        if self.in_format.width > 24:
            raise SpecError(f"{self.op_type}: takes codes of at most 24 bits. Received: {self.in_format}")
        if self.squares not in get_args(Squares):
            raise SpecError(f"{self.op_type}: squares must be one of {get_args(Squares)}. Received: {self.squares!r}")
        if self.rsqrt_entries not in [1 << n for n in range(3, 11)]:
            raise SpecError(
                f"{self.op_type}: rsqrt_entries must be a power of two from 8 to 1024. Received: {self.rsqrt_entries}"
            )
        if self.affine_shift < 0:
            raise SpecError(
                f"{self.op_type}: gamma up to {np.abs(self.gamma).max():.3g} is too large for outputs in "
                f"{self.out_format}; use an output format with fewer fraction bits"
            )

    @staticmethod
    def step_constants(step: float, in_format: Fixed) -> tuple[int, int]:
        """`multiplier` and `shift` for a quantiser step s: exact for powers of two, else with 16 significant bits.

        Raises:
            SpecError: for a step that is not positive, or too far from the input's own step.
        """
        ratio = in_format.step / step if step > 0 and math.isfinite(step) else 0.0
        mantissa, exponent = math.frexp(ratio)
        bits = 1 if mantissa == 0.5 else 16
        multiplier, shift = round(math.ldexp(mantissa, bits)), bits - exponent
        if multiplier == 1 << bits and bits > 1:
            multiplier, shift = 1, shift - bits
        while multiplier % 2 == 0 and multiplier and shift > 0:
            multiplier, shift = multiplier // 2, shift - 1
        if shift < 0:
            multiplier, shift = multiplier << min(-shift, 17), 0
        if not (1 <= multiplier <= _RANGES["multiplier"][1] and shift <= _RANGES["shift"][1]):
            raise SpecError(
                f"AILayerNorm: a quantiser step of {step} does not suit inputs in {in_format}; it must be positive and "
                f"between {in_format.step} / 32768 and {in_format.step} * 32768"
            )
        return multiplier, shift

    @property
    def channels(self) -> int:
        """Length of the last axis."""
        return len(self.gamma)

    @property
    def step(self) -> float:
        """s: real value of a step of XQ in channels with alpha = 0."""
        return self.in_format.step * math.ldexp(1.0, self.shift) / self.multiplier

    @cached_property
    def affine(self) -> Affine:
        """Integer gamma and beta."""
        return affine_codes(self.gamma, self.beta, self.out_format, self.gamma_bits, self.bias_frac)

    @property
    def affine_shift(self) -> int:
        """Right shift of the product for e = 0."""
        return self.affine.frac + self.rsqrt_bits - self.bias_frac

    @cached_property
    def alpha_codes(self) -> Codes:
        """Alpha as an array."""
        return np.array(self.alpha, dtype=np.int64)

    @cached_property
    def table(self) -> Codes:
        """Reciprocal square roots."""
        return np.array(rsqrt_table(self.rsqrt_entries, self.rsqrt_bits), dtype=np.int64)

    def quantise(self, codes: Codes) -> Codes:
        """XQ of input codes: what the hardware buffers."""
        return ptf_quantise(codes, self.multiplier, self.shift, self.alpha_codes, self.zero_point)

    def statistics(self, quantised: Codes) -> tuple[Codes, Codes]:
        """Mean and variance of a row of XQ, shape ``(..., 1)``, with `mean_frac` and twice as many fraction bits."""
        x = quantised - self.zero_point
        total = (x << self.alpha_codes).sum(axis=-1, keepdims=True)
        table = np.array(square_table(self.squares), dtype=np.int64)
        squares = (table[np.abs(x)] << (2 * self.alpha_codes)).sum(axis=-1, keepdims=True)
        return statistics(total, squares, self.channels, self.mean_frac, square_scale(self.squares))

    def _unlimited(self, codes: Codes) -> Codes:
        quantised = self.quantise(codes)
        mean, variance = self.statistics(quantised)
        v, e = rsqrt(variance, self.table)
        centred = ((quantised - self.zero_point) << (self.alpha_codes + self.mean_frac)) - mean
        product = self.affine.gamma * v * centred
        return apply_affine(product, self.affine_shift + e, self.affine.beta, self.bias_frac)

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        r, frac = reciprocal(self.channels)
        total_shift = self.alpha_codes + self.shift
        position = np.arange(MAX_VARIANCE_BITS, dtype=np.int64)
        index_bits = (self.rsqrt_entries // 2).bit_length() - 1
        numbers = {
            "mult_code": self.multiplier,
            "zero_code": self.zero_point,
            "mean_one": 1 << self.mean_frac,
            "reciprocal": r,
            "mean_half": 1 << (frac - self.mean_frac - 1),
            "mean_divisor": 1 << (frac - self.mean_frac),
            "square_one": 1 << square_scale(self.squares),
            "variance_divisor": 1 << (frac - 2 * self.mean_frac),
            "index_one": 1 << index_bits,
            "bias_one": 1 << self.bias_frac,
            "low": self.out_format.min,
            "high": self.out_format.max,
        }
        half_bias = (1 << self.bias_frac) >> 1
        return {f.name: as_attribute(getattr(self, f.name)) for f in fields(self)} | {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "input_half": (np.int64(1) << total_shift) >> 1,
            "input_divisor": np.int64(1) << total_shift,
            "channel_factor": np.int64(1) << self.alpha_codes,
            "square_factor": np.int64(1) << (2 * self.alpha_codes),
            "square_table": np.array(square_table(self.squares), dtype=np.int64),
            "powers": np.int64(1) << position,
            "index_base": ((position & 1) - 1) << index_bits,  # takes off the leading one as well
            "rsqrt_codes": self.table,
            "row_divisor": np.int64(1) << (self.affine_shift + (position >> 1)),
            "gamma_codes": self.affine.gamma,
            "beta_codes": self.affine.beta + half_bias,
            "out_step": np.array(self.out_format.step, dtype=np.float32),
            **{name: np.array(value, dtype=np.int64) for name, value in numbers.items()},
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> AILayerNormSpec:
        """The spec that `to_attributes` described; constants are recomputed and must agree."""
        a = take_attributes(cls.op_type, attributes, [f.name for f in fields(cls)])
        spec = cls(**{f.name: from_attribute(f.name, f.type, a[f.name]) for f in fields(cls)})
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec


#: Variances have fewer bits: squares of 255 << 3, and 14 fraction bits.
MAX_VARIANCE_BITS = 37
