# SPDX-License-Identifier: Apache-2.0
r"""The shift form of E2Softmax: scores and values to the context, without a multiplier and without rounding p.

Inside a row every probability is ``C[q] * 2**-(k + ks)``, so the product with V needs only shifts::

    A_d = sum_j V_jd << (sum_frac - k_j)                          exact integer shift-accumulate
    y_d = Q_out(A_d * C[q] * 2**-(ks + divider_frac + sum_frac))  one scaling and one rounding a result

k_j, ks, q are those of E2Softmax.  The probabilities never become codes: the loss of a fixed output grid (a large
part of the row sum in long rows) does not arise.  As a single operator with two inputs it holds the wide sums in
int64; as separate float32 tensors they would not be exact.

Reference: SOLE (ICCAD 2023, arXiv 2510.17189), equations 7 to 13; the shift-accumulate form is this package's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.base import Attributes, causal_mask
from hls4attn.models.operators.e2core import E2Core
from hls4attn.models.operators.e2stages import leading_one

#: Exact sums stay below this many bits, so that even executors that divide in float64 are exact.
MAX_SUM_BITS = 52


@dataclass(frozen=True)
class E2ContextSpec(E2Core):
    """E2Softmax and the product with V in one operator.

    Args:
        v_format: format of the codes of V, shape ``(..., heads, cols, head_dim)``; at most 16 bits.
        out_format: signed format of the context codes, shape ``(..., heads, rows, head_dim)``; rounds half to even
            and saturates.

    The other arguments are those of `E2Core`.
    """

    op_type: ClassVar[str] = "E2Context"

    v_format: Fixed = field(kw_only=True)
    out_format: Fixed = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.v_format.width > 16 or not self.out_format.signed or self.out_format.width > 16:
            raise SpecError(
                f"{self.op_type}: v_format has at most 16 bits, out_format is signed with at most 16. "
                f"Received: {self.v_format} and {self.out_format}"
            )
        if self.out_format.rounding != "half_even" or self.out_format.overflow == "wrap":
            raise SpecError(
                f"{self.op_type}: out_format must round half to even and saturate. Received: {self.out_format}"
            )
        bits = self.sum_frac + self.v_format.width + self.max_length.bit_length() + self.divider_frac
        if self.shift < 1 or self.shift + self.max_sum_exponent > MAX_SUM_BITS or bits > MAX_SUM_BITS:
            raise SpecError(
                f"{self.op_type}: sums of {bits} bits and a shift of {self.shift} do not fit {MAX_SUM_BITS} bits; use "
                f"a smaller sum_frac, or formats nearer to each other. Received: {self.v_format} and {self.out_format}"
            )

    @property
    def shift(self) -> int:
        """Right shift from ``A * C[q]`` to output codes for ``ks = 0``."""
        return self.sum_frac + self.divider_frac + self.v_format.frac - self.out_format.frac

    def _unlimited(self, codes: ArrayLike, values: ArrayLike) -> Codes:
        x, v = self.check(codes), self._check_values(codes, values)
        exponent, total = self.unnormalised(x)
        numerator = (np.int64(1) << self.sum_frac) >> exponent
        if self.causal:
            numerator = numerator * causal_mask(*x.shape[-2:])
        ks, q = leading_one(total, self.sum_frac, self.mux_bits)
        # float64 holds every partial sum: they have at most MAX_SUM_BITS bits.
        accumulated = np.matmul(numerator.astype(np.float64), v.astype(np.float64)).astype(np.int64)
        scaled = accumulated * np.asarray(self.divider, dtype=np.int64)[q]
        return _round_half_even(scaled, ks + self.shift)

    def _check_values(self, codes: ArrayLike, values: ArrayLike) -> Codes:
        shape, v = np.shape(codes), np.asarray(values)
        if v.dtype.kind not in "iu" or v.ndim != len(shape) or v.shape[:-1] != (*shape[:-2], shape[-1]):
            raise InputError(
                f"{self.op_type}: values must be integer codes of shape {(*shape[:-2], shape[-1], 'head_dim')}. "
                f"Received: {v.dtype} of shape {v.shape}"
            )
        if not self.v_format.contains(v):
            raise FormatError(f"{self.op_type}: values outside {self.v_format}. Received: [{v.min()}, {v.max()}]")
        return v.astype(np.int64)

    def reference(self, codes: ArrayLike, values: ArrayLike) -> Codes:
        """Context codes in `out_format`.

        Args:
            codes: score codes of shape ``(..., heads, rows, cols)``.
            values: codes of V, shape ``(..., heads, cols, head_dim)``.

        Raises:
            InputError: for shapes or dtypes that do not fit.
            FormatError: for codes outside their format.
        """
        return self.out_format.limit(self._unlimited(codes, values))

    def real(self, scores: ArrayLike, values: ArrayLike) -> Reals:
        """``softmax(score_scale * scores) @ values`` in float64."""
        return cast(Reals, self.softmax(scores) @ np.asarray(values, dtype=np.float64))

    def saturations(self, codes: ArrayLike, values: ArrayLike) -> int:
        """Number of results that were limited to the output range."""
        y = self._unlimited(codes, values)
        return int(np.count_nonzero((y < self.out_format.min) | (y > self.out_format.max)))

    def to_attributes(self) -> Attributes:
        """Parameters and the constants of the ONNX function body."""
        _, ks, q = self.row_grid()
        return super().to_attributes() | {
            "v_scale": np.array(2.0**self.v_format.frac, dtype=np.float32),
            "row_factor": np.asarray(self.divider, dtype=np.int64)[q],
            "row_divisor": np.int64(1) << (ks + self.shift),
            "low": np.array(self.out_format.min, dtype=np.int64),
            "high": np.array(self.out_format.max, dtype=np.int64),
            "out_step": np.array(self.out_format.step, dtype=np.float32),
        }


def _round_half_even(a: Codes, shift: Codes) -> Codes:
    """``a / 2**shift`` rounded half to even, for shifts of at least 1 that vary by row."""
    half = np.int64(1) << (shift - 1)
    return cast(Codes, (a + (half - 1) + ((a >> shift) & 1)) >> shift)


_CONTEXTS = {E2ContextSpec.op_type: E2ContextSpec}


def context_types() -> tuple[str, ...]:
    """The `op_type` of every operator that takes scores and values to a context."""
    return tuple(sorted(_CONTEXTS))


def context_from_attributes(op_type: str, attributes: Mapping[str, Any]) -> E2ContextSpec:
    """The spec that `to_attributes` described.

    Raises:
        SpecError: for an unknown `op_type`, or attributes that are missing or contradict each other.
    """
    if op_type not in _CONTEXTS:
        raise SpecError(f"Unknown context operator {op_type!r}; known: {', '.join(context_types())}")
    return _CONTEXTS[op_type].from_attributes(attributes)
