# SPDX-License-Identifier: Apache-2.0
r"""E2Softmax: softmax with log2-quantised exponentials and a division that is a table look-up and a shift.

Formula, per row of score codes x (int64 throughout)::

    m   = max_j x_j                                    d_j = m - x_j
    k_j = min(15, (23 * d_j + half) >> (frac + 4))     exp(-d) ~ 2**-k, 23/16 ~ log2(e)     (equations 7, 8)
    S   = sum_j 2**-k_j = 2**ks * (1 + s)              q = the first bit of s               (equation 9)
    p_j = C[q] >> (k_j + ks)                           C = 209/256, 145/256                 (equations 13, 17)

Online, the row is taken in slices with a running maximum and two corrections (algorithm 1).

A row's sum is not 1: the divider errs by up to -18/+23 %, and a one-hot row gives 0.816.  A row that is masked
entirely gives zeros.

Reference: SOLE (ICCAD 2023, arXiv 2510.17189), section III-B, algorithm 1, figure 4.  The paper does not say how
the shifted-out bits of an output are rounded; `out_rounding` offers both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators.attributes import check_ranges
from hls4attn.models.operators.base import Attributes, OneGrid, causal_mask, register_score
from hls4attn.models.operators.e2core import E2Core
from hls4attn.models.operators.e2stages import divide, leading_one

OutRounding = Literal["half_up", "floor"]


@register_score
@dataclass(frozen=True)
class E2SoftmaxSpec(OneGrid, E2Core):
    """E2Softmax with probability codes as its result.

    Args:
        out_width: bits of an unsigned output code.
        out_frac: code = probability * 2**out_frac.
        out_rounding: of the final right shift: "half_up", or "floor" as the paper's figure 4 draws it, which
            loses a tenth to a third of the row sum in rows of 197 8-bit codes, and more in longer ones.

    The other arguments are those of `E2Core`.
    """

    op_type: ClassVar[str] = "E2Softmax"

    out_width: int = 8
    out_frac: int = 8
    out_rounding: OutRounding = "half_up"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"out_width": (2, 16), "out_frac": (1, 16)})
        if self.out_rounding not in get_args(OutRounding):
            raise SpecError(
                f"{self.op_type}: out_rounding must be one of {get_args(OutRounding)}. Received: {self.out_rounding!r}"
            )

    @cached_property
    def table(self) -> Codes:
        """Output codes for every row index (see `E2Core.row_grid`) and exponent, before saturation."""
        _, ks, q = self.row_grid()
        k = np.arange(self.max_exponent + 1, dtype=np.int64)
        up = self.out_rounding == "half_up"
        no_limit = np.iinfo(np.int64).max
        return divide(k, ks[:, None], q[:, None], self.divider, self.divider_frac, self.out_frac, no_limit, up)

    def _unlimited(self, codes: Codes, keep: NDArray[np.bool_] | None) -> Codes:
        exponent, total = self.unnormalised(codes, keep)
        ks, q = leading_one(total, self.sum_frac, self.mux_bits)
        index = (((ks << self.mux_bits) + q) << self.code_width) + exponent
        return self.table.ravel()[index]

    def reference(self, codes: ArrayLike, keep: NDArray[np.bool_] | None = None) -> Codes:
        """Probability codes in `out_format` for score codes of shape ``(..., heads, rows, cols)``.

        Args:
            codes: scores.
            keep: True where an element counts, broadcast against codes; replaces the causal mask.
        """
        x = self.check(codes)
        p = cast(Codes, np.minimum(self._unlimited(x, keep), self.out_format.max))
        if keep is None and self.causal:
            keep = causal_mask(*x.shape[-2:])
        return p if keep is None else cast(Codes, p * keep)

    def real(self, scores: ArrayLike) -> Reals:
        """The float softmax that it stands for."""
        return self.softmax(scores)

    def saturations(self, codes: ArrayLike) -> int:
        """Number of (unmasked) results that exceed the largest output code."""
        x = self.check(codes)
        over = self._unlimited(x, None) > self.out_format.max
        return int(np.count_nonzero(over & causal_mask(*x.shape[-2:]) if self.causal else over))

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        codes = np.minimum(self.table, self.out_format.max).ravel()
        return super().to_attributes() | {
            "table": self.out_format.to_real(codes).astype(np.float32),
            "row_stride": np.array(self.max_exponent + 1, dtype=np.int64),
        }
