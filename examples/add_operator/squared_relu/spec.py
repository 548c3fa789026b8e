# SPDX-License-Identifier: Apache-2.0
r"""Squared ReLU in place of softmax: the spec, whose `reference` every other form must equal.

Formula (element-wise)::

    p = max(0, score_scale * x)**2 / length

and in integers, for a score code x, with a factor m of `factor_bits` bits and a shift s, one pair a head::

    r = max(0, x)                                                        in_width - 1 bits
    p = min(2**out_width - 1, (r * r * m_h + 2**(s_h - 1)) >> s_h)       out_width bits, out_frac fraction bits

Reference: W. Hua et al., *Transformer Quality in Linear Time*, ICML 2022, arXiv 2202.10447, whose attention is
``relu(.)**2 / n``.  The integer formats are this example's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.attributes import as_attribute, check_ranges, from_attribute
from hls4attn.models.operators.base import (
    NO_MASK_DIAGONAL,
    Attributes,
    OneGrid,
    causal_mask,
    check_same_attributes,
    check_scores,
    per_head,
    take_attributes,
)


@dataclass(frozen=True)
class SquaredReluSpec(OneGrid):
    """Squared ReLU of the scores.

    Args:
        in_format: format of the score codes, signed; 2 to 12 bits.
        score_scale: factor from the real value of a code to the score, one a head (``1/sqrt(head_dim)``).
        length: what the square is divided by: the number of keys.
        out_width: bits of an unsigned output code.
        out_frac: code = probability * 2**out_frac.
        factor_bits: significant bits of the constant factor.
        causal: zero the entries with column > row.
    """

    op_type: ClassVar[str] = "SquaredRelu"

    in_format: Fixed
    score_scale: tuple[float, ...]
    length: int = 16
    out_width: int = 8
    out_frac: int = 8
    factor_bits: int = 8
    causal: bool = False

    def __post_init__(self) -> None:
        heads = np.size(self.score_scale)
        object.__setattr__(self, "score_scale", per_head("score_scale", self.score_scale, heads, self.op_type))
        if not self.in_format.signed or not 2 <= self.in_format.width <= 12 or min(self.score_scale) <= 0:
            raise SpecError(
                f"{self.op_type}: takes signed scores of 2 to 12 bits and positive factors. "
                f"Received: {self.in_format}, score_scale={self.score_scale}"
            )
        ranges = {"length": (1, 4096), "out_width": (2, 16), "out_frac": (1, 16), "factor_bits": (2, 12)}
        check_ranges(self, ranges)
        _, shift = self.constants
        if not 1 <= shift.min() <= shift.max() <= 40:
            raise SpecError(f"{self.op_type}: needs a shift of 1 to 40 bits. Received: {shift.ravel().tolist()}")

    @cached_property
    def constants(self) -> tuple[Codes, Codes]:
        """Factor m and right shift s, each of shape ``(heads, 1, 1)``."""
        pairs = []
        for scale in self.score_scale:
            exact = (scale * self.in_format.step) ** 2 / self.length * 2.0**self.out_frac
            mantissa, exponent = math.frexp(exact)
            pairs.append((round(math.ldexp(mantissa, self.factor_bits)), self.factor_bits - exponent))
        factor, shift = np.array(pairs, dtype=np.int64).T
        return factor.reshape(-1, 1, 1), shift.reshape(-1, 1, 1)

    def _unlimited(self, codes: ArrayLike) -> Codes:
        factor, shift = self.constants
        rectified = np.maximum(check_scores(codes, self), 0)
        p = (rectified * rectified * factor + (np.int64(1) << (shift - 1))) >> shift
        return cast(Codes, p * causal_mask(*p.shape[-2:]) if self.causal else p)

    def reference(self, codes: ArrayLike) -> Codes:
        """Probability codes in `out_format` for score codes of shape ``(..., heads, rows, cols)``."""
        return cast(Codes, np.minimum(self._unlimited(codes), self.out_format.max))

    def real(self, scores: ArrayLike) -> Reals:
        """``max(0, score_scale * x)**2 / length`` of real inputs x, unmasked."""
        scale = np.reshape(self.score_scale, (self.heads, 1, 1))
        return cast(Reals, np.maximum(scale * np.asarray(scores, dtype=np.float64), 0) ** 2 / self.length)

    def saturations(self, codes: ArrayLike) -> int:
        """Number of results that exceed the largest output code."""
        return int(np.count_nonzero(self._unlimited(codes) > self.out_format.max))

    def to_attributes(self) -> Attributes:
        """Parameters, and the constants of the ONNX function body."""
        factor, shift = self.constants
        return {f.name: as_attribute(getattr(self, f.name)) for f in fields(self)} | {
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "factor": factor,
            "half": np.int64(1) << (shift - 1),
            "divisor": np.int64(1) << shift,
            "max_code": np.array(self.out_format.max, dtype=np.int64),
            "out_step": np.array(self.out_format.step, dtype=np.float32),
            "diagonal": np.array(0 if self.causal else NO_MASK_DIAGONAL, dtype=np.int64),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> SquaredReluSpec:
        """The spec that `to_attributes` described; constants are recomputed and must agree."""
        a = take_attributes(cls.op_type, attributes, [f.name for f in fields(cls)])
        spec = cls(**{f.name: from_attribute(f.name, f.type, a[f.name]) for f in fields(cls)})
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec
