# SPDX-License-Identifier: Apache-2.0
r"""Exact integer LayerNorm: the baseline that AILayerNorm is measured against.

Formula, per row of C codes x (int64 throughout)::

    Ex = sum x_c          d_c = C * x_c - Ex              C times the centred code: no mean is rounded
    V  = max(1, C * sum x_c**2 - Ex**2)                   C**2 times the variance, exact
    p  = position of V's leading one, e = p >> 1
    W  = V * 4**(root_bits - 1 - e)                       in [4**(root_bits-1), 4**root_bits); exact if shifted left
    r  = (2**(rsqrt_bits + root_bits) + root/2) div root  with root = isqrt(W)
    y  = saturate(((G_c * r * d_c) >> (N + rsqrt_bits + 1 + e - fb)) + B_c, rounded to a code)

``d / sqrt(V)`` is the normalised value: C cancels.  Only r, the integer gamma and the result are rounded; r has a
relative error below ``2**-(root_bits-1) + 2**-rsqrt_bits``.  A constant row has d = 0 and gives beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators.attributes import as_attribute, check_ranges, from_attribute
from hls4attn.models.operators.base import Attributes, check_same_attributes, take_attributes
from hls4attn.models.operators.norm_base import (
    Affine,
    IntegerNorm,
    affine_codes,
    apply_affine,
    check_out_format,
    check_vectors,
    leading_one_position,
    register_norm,
)

#: V of 16-bit codes in 1024 channels: C**2 * 2**30.
MAX_VARIANCE_BITS = 51


@register_norm
@dataclass(frozen=True)
class IntegerLayerNormSpec(IntegerNorm):
    """LayerNorm in integers.

    Args:
        in_format: format of the input codes, at most 16 bits.
        out_format: signed format of the output codes.
        gamma: one a channel.
        beta: one a channel.
        root_bits: bits of the integer square root.
        rsqrt_bits: its reciprocal lies between ``2**rsqrt_bits`` and twice that.
        bias_frac: fraction bits that are kept until beta is added.
        gamma_bits: bits of the integer gamma.
    """

    op_type: ClassVar[str] = "IntegerLayerNorm"

    in_format: Fixed
    out_format: Fixed
    gamma: tuple[float, ...]
    beta: tuple[float, ...]
    root_bits: int = 16
    rsqrt_bits: int = 16
    bias_frac: int = 4
    gamma_bits: int = 8

    def __post_init__(self) -> None:
        for name in ("gamma", "beta"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        check_vectors(self.op_type, self.channels, gamma=self.gamma, beta=self.beta)
        check_ranges(self, {"root_bits": (8, 20), "rsqrt_bits": (8, 20), "bias_frac": (0, 6), "gamma_bits": (4, 12)})
        check_out_format(self.op_type, self.out_format)
        if self.in_format.width > 16:
            raise SpecError(f"{self.op_type}: takes codes of at most 16 bits. Received: {self.in_format}")
        if self.affine_shift < 0:
            raise SpecError(
                f"{self.op_type}: gamma up to {np.abs(self.gamma).max():.3g} is too large for outputs in "
                f"{self.out_format}; use an output format with fewer fraction bits"
            )

    @property
    def channels(self) -> int:
        """Length of the last axis."""
        return len(self.gamma)

    @cached_property
    def affine(self) -> Affine:
        """Integer gamma and beta."""
        return affine_codes(self.gamma, self.beta, self.out_format, self.gamma_bits, self.bias_frac)

    @property
    def affine_shift(self) -> int:
        """Right shift of the product for e = 0."""
        return self.affine.frac + self.rsqrt_bits + 1 - self.bias_frac

    def reciprocal_root(self, variance: Codes) -> tuple[Codes, Codes]:
        """Mantissa r and exponent e with ``1/sqrt(V) ~ r * 2**-(rsqrt_bits + 1 + e)``, for V of at least 1."""
        e = leading_one_position(variance) >> 1
        up = 2 * (self.root_bits - 1 - e)
        root = integer_sqrt((variance << np.maximum(up, 0)) >> np.maximum(-up, 0), self.root_bits)
        return ((1 << (self.rsqrt_bits + self.root_bits)) + (root >> 1)) // root, e

    def _unlimited(self, codes: Codes) -> Codes:
        total = codes.sum(axis=-1, keepdims=True)
        variance = self.channels * (codes * codes).sum(axis=-1, keepdims=True) - total * total
        r, e = self.reciprocal_root(np.maximum(variance, 1))
        product = self.affine.gamma * r * (self.channels * codes - total)
        return apply_affine(product, self.affine_shift + e, self.affine.beta, self.bias_frac)

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        e = np.arange(MAX_VARIANCE_BITS, dtype=np.int64) >> 1
        up = 2 * (self.root_bits - 1 - e)
        numbers = {
            "channel_count": self.channels,
            "one": 1 << (self.rsqrt_bits + self.root_bits),
            "bias_one": 1 << self.bias_frac,
            "low": self.out_format.min,
            "high": self.out_format.max,
        }
        return {f.name: as_attribute(getattr(self, f.name)) for f in fields(self)} | {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "powers": np.int64(1) << np.arange(MAX_VARIANCE_BITS, dtype=np.int64),
            "scale_up": np.int64(1) << np.maximum(up, 0),
            "scale_down": np.int64(1) << np.maximum(-up, 0),
            "root_weights": np.int64(1) << np.arange(self.root_bits - 1, -1, -1, dtype=np.int64),
            "row_divisor": np.int64(1) << (self.affine_shift + e),
            "gamma_codes": self.affine.gamma,
            "beta_codes": self.affine.beta + ((1 << self.bias_frac) >> 1),
            "out_step": np.array(self.out_format.step, dtype=np.float32),
            **{name: np.array(value, dtype=np.int64) for name, value in numbers.items()},
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> IntegerLayerNormSpec:
        """The spec that `to_attributes` described; constants are recomputed and must agree."""
        a = take_attributes(cls.op_type, attributes, [f.name for f in fields(cls)])
        spec = cls(**{f.name: from_attribute(f.name, f.type, a[f.name]) for f in fields(cls)})
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec


def integer_sqrt(x: Codes, bits: int) -> Codes:
    """``floor(sqrt(x))`` of integers below ``4**bits``, digit by digit from the top."""
    root: Codes = np.zeros_like(x)
    for n in range(bits - 1, -1, -1):
        trial = root + (np.int64(1) << n)
        root = np.where(trial * trial <= x, trial, root)
    return root
