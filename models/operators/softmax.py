# SPDX-License-Identifier: Apache-2.0
r"""Integer softmax: the exact baseline that the cheaper score functions are measured against.

Formula, per row of score codes x (int64 throughout)::

    m = max_j x_j                      d_j = m - x_j            0 <= d_j < 2**in_width
    e_j = round(2**exp_frac * exp(-score_scale * step * d_j))   table of 2**in_width entries
    S = sum_j e_j                      r = (2**R + S/2) div S   one division a row
    p_j = min(2**out_width - 1, (e_j * r + half) >> (R - out_frac))

with ``R = exp_frac + out_frac + guard``.  Since ``S >= 2**exp_frac``, r has ``out_frac + guard + 1`` bits; its
rounding adds at most ``2**-(guard+1)`` of an output step to the half step of the final rounding.
A row that is masked entirely gives zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.attributes import check_ranges
from hls4attn.models.operators.base import (
    NO_MASK_DIAGONAL,
    Attributes,
    OneGrid,
    causal_mask,
    check_same_attributes,
    check_scores,
    float_softmax,
    per_head,
    register_score,
    take_attributes,
)

_PARAMETERS = (
    "in_format",
    "score_scale",
    "out_width",
    "out_frac",
    "exp_frac",
    "guard",
    "max_length",
    "causal",
)


@register_score
@dataclass(frozen=True)
class SoftmaxSpec(OneGrid):
    """Softmax in integers.

    Args:
        in_format: format of the score codes, signed; 2 to 12 bits.
        score_scale: factor from the real value of a code to the score, one a head (``1/sqrt(head_dim)``).
        out_width: bits of an unsigned output code; a result of 1.0 saturates to the largest.
        out_frac: code = probability * 2**out_frac.
        exp_frac: fraction bits of a table entry; entries are at most ``2**exp_frac``.
        guard: extra bits of the reciprocal.
        max_length: longest row; sizes the adder in hardware.
        causal: leave the entries with column > row out of the maximum and the sum, and zero them.
    """

    op_type: ClassVar[str] = "IntegerSoftmax"

    in_format: Fixed
    score_scale: tuple[float, ...]
    out_width: int = 8
    out_frac: int = 8
    exp_frac: int = 15
    guard: int = 3
    max_length: int = 1024
    causal: bool = False

    def __post_init__(self) -> None:
        heads = np.size(self.score_scale)
        object.__setattr__(self, "score_scale", per_head("score_scale", self.score_scale, heads, self.op_type))
        if min(self.score_scale) <= 0:
            raise SpecError(f"{self.op_type}: score_scale must be positive. Received: {self.score_scale}")
        if not self.in_format.signed or not 2 <= self.in_format.width <= 12:
            raise SpecError(f"{self.op_type}: takes signed scores of 2 to 12 bits. Received: {self.in_format}")
        ranges = {
            "out_width": (2, 16),
            "out_frac": (1, 16),
            "exp_frac": (4, 20),
            "guard": (0, 6),
            "max_length": (1, 4096),
        }
        check_ranges(self, ranges)

    @property
    def reciprocal_frac(self) -> int:
        """R: fraction bits of the reciprocal of a row sum."""
        return self.exp_frac + self.out_frac + self.guard

    @cached_property
    def table(self) -> Codes:
        """Exponentials, shape ``(heads, 2**in_width)``, entry d for a score d steps below the maximum."""
        d = np.arange(1 << self.in_format.width) * self.in_format.step
        e = np.exp(-np.array(self.score_scale)[:, None] * d)
        return np.rint(np.ldexp(e, self.exp_frac)).astype(np.int64)

    def _unlimited(self, codes: Codes) -> Codes:
        """Probability codes before saturation."""
        rows, cols = codes.shape[-2:]
        if cols > self.max_length:
            raise SpecError(f"{self.op_type}: row of {cols} scores, max_length={self.max_length}")
        keep = causal_mask(rows, cols) if self.causal else None
        seen = codes if keep is None else np.where(keep, codes, self.in_format.min)
        d = np.maximum(seen.max(axis=-1, keepdims=True) - codes, 0)  # a masked score may exceed the maximum
        e = self.table.ravel()[d + (np.arange(self.heads) * self.table.shape[1])[:, None, None]]
        if keep is not None:
            e = e * keep
        total = e.sum(axis=-1, keepdims=True)
        reciprocal = ((1 << self.reciprocal_frac) + (total >> 1)) // np.maximum(total, 1)
        shift = self.reciprocal_frac - self.out_frac
        return cast(Codes, (e * reciprocal + (1 << (shift - 1))) >> shift)

    def reference(self, codes: ArrayLike) -> Codes:
        """Probability codes in `out_format` for score codes of shape ``(..., heads, rows, cols)``."""
        return np.minimum(self._unlimited(check_scores(codes, self)), self.out_format.max)

    def real(self, scores: ArrayLike) -> Reals:
        """Softmax over the last axis of ``score_scale * x``, masked if causal."""
        return float_softmax(np.asarray(scores) * np.reshape(self.score_scale, (self.heads, 1, 1)), self.causal)

    def saturations(self, codes: ArrayLike) -> int:
        """Number of results that exceed the largest output code."""
        return int(np.count_nonzero(self._unlimited(check_scores(codes, self)) > self.out_format.max))

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        shift = self.reciprocal_frac - self.out_frac
        return {
            "in_format": str(self.in_format),
            "score_scale": np.array(self.score_scale),
            "out_width": self.out_width,
            "out_frac": self.out_frac,
            "exp_frac": self.exp_frac,
            "guard": self.guard,
            "max_length": self.max_length,
            "causal": int(self.causal),
            "code_scale": np.array(2.0**self.in_format.frac, dtype=np.float32),
            "min_code": np.array(self.in_format.min, dtype=np.int64),
            "first_entry": (np.arange(self.heads, dtype=np.int64) << self.in_format.width).reshape(-1, 1, 1),
            "table": self.table.ravel(),
            "one": np.array(1 << self.reciprocal_frac, dtype=np.int64),
            "half": np.array(1 << (shift - 1), dtype=np.int64),
            "divisor": np.array(1 << shift, dtype=np.int64),
            "max_code": np.array(self.out_format.max, dtype=np.int64),
            "out_step": np.array(self.out_format.step, dtype=np.float32),
            "diagonal": np.array(0 if self.causal else NO_MASK_DIAGONAL, dtype=np.int64),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> SoftmaxSpec:
        """The spec that `to_attributes` described; tables are recomputed and must agree."""
        a = take_attributes(cls.op_type, attributes, _PARAMETERS)
        scale = tuple(np.atleast_1d(a.pop("score_scale")))
        causal = bool(a.pop("causal"))
        spec = cls(
            Fixed.parse(a.pop("in_format")),
            scale,
            causal=causal,
            **{k: int(v) for k, v in a.items()},
        )
        check_same_attributes(cls.op_type, attributes, spec.to_attributes())
        return spec
