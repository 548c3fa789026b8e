# SPDX-License-Identifier: Apache-2.0
r"""What the operators are compared with: hls4ml's table softmax, and an online softmax, both as streaming units.

`TableSoftmax` is ``softmax_stable`` of hls4ml 1.3.0 with the types that its Vivado and Vitis backends choose: tables of
1,024 entries of ``ap_fixed<18, 8, AP_RND, AP_SAT>``, fewer if the scores have fewer bits; the distance from the maximum
is an unsigned number of one bit less than a score, and *wraps* beyond it.  For a row x::

    d = (max x - x) mod 2**norm_width            E[d] = round(2**10 exp(-scale step d))
    S = min(sum E[d], 2**17 - 1)                 V[i] = round(2**10 / (i / 4))         i = S >> 8
    p = min(2**out_width - 1, round(E[d] V[i] / 2**(20 - out_frac)))     of type ap_ufixed<8, 0, AP_RND, AP_SAT>

The online softmax has the tables and formats of `SoftmaxSpec` and takes maximum and sum in one pass; each new maximum
scales the sum, which rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.rtl.unit import ROW_MAX, Rom, RtlUnit
from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import SoftmaxSpec

#: hls4ml's types of tables, sum and its index: width and bits in front of the point.
TABLE_BITS, TABLE_INTEGER, TABLE_SIZE = 18, 8, 1024
TABLE_FRAC = TABLE_BITS - TABLE_INTEGER
_SUM_BITS = TABLE_BITS - 1  # of a sum, which is not negative
_INDEX_DROP = TABLE_BITS - (TABLE_SIZE.bit_length() - 1)


@dataclass(frozen=True)
class TableSoftmax:
    """hls4ml's softmax in integers.

    Args:
        in_format: of the scores, signed, 2 to 10 bits.
        score_scale: factor from a code's value to the score; hls4ml's `exp_scale`.
        out_width: bits of an unsigned result.
        out_frac: fraction bits of a result.
        norm_width: bits of a distance from the maximum; 0 for hls4ml's choice, one less than a score has.
    """

    in_format: Fixed
    score_scale: float
    out_width: int = 8
    out_frac: int = 8
    norm_width: int = 0

    def __post_init__(self) -> None:
        width = self.in_format.width
        if not self.in_format.signed or not 2 <= width <= TABLE_SIZE.bit_length() - 1:
            raise SpecError(f"hls4ml's softmax here takes signed scores of 2 to 10 bits. Received: {self.in_format}")
        if self.norm_width not in (0, width - 1, width):
            raise SpecError(f"norm_width must be 0, {width - 1} or {width}. Received: {self.norm_width}")
        if not 1 <= self.out_frac < 2 * TABLE_FRAC or not 1 <= self.out_width <= 16:
            raise SpecError(f"Results have 1 to 16 bits. Received: {self.out_width}, fraction {self.out_frac}")

    @property
    def distance_bits(self) -> int:
        """Bits of a distance."""
        return self.norm_width or self.in_format.width - 1

    @property
    def exponentials(self) -> Codes:
        """E, as hls4ml computes it: in single precision, then rounded half up."""
        d = np.arange(1 << self.distance_bits, dtype=np.float32) * np.float32(self.in_format.step)
        e = np.exp(-(d * np.float32(self.score_scale))).astype(np.float64)
        return np.floor(np.ldexp(e, TABLE_FRAC) + 0.5).astype(np.int64)

    @property
    def inverses(self) -> Codes:
        """V for sums that are not negative; of the first four, which no sum reaches, 0."""
        x = np.ldexp(np.arange(1 << (_SUM_BITS - _INDEX_DROP), dtype=np.float32), _INDEX_DROP - TABLE_FRAC)
        below_one = x < 1
        v = np.float32(1) / np.where(below_one, np.float32(1), x)
        return np.where(below_one, 0, np.floor(np.ldexp(v.astype(np.float64), TABLE_FRAC) + 0.5)).astype(np.int64)

    def reference(self, codes: ArrayLike) -> Codes:
        """Result codes of rows of score codes, shape ``(..., n)``."""
        x = np.asarray(codes, dtype=np.int64)
        e = self.exponentials[(x.max(axis=-1, keepdims=True) - x) & ((1 << self.distance_bits) - 1)]
        total = np.minimum(e.sum(axis=-1, keepdims=True), (1 << _SUM_BITS) - 1)
        down = 2 * TABLE_FRAC - self.out_frac
        p = (e * self.inverses[total >> _INDEX_DROP] + (1 << (down - 1))) >> down
        return np.minimum(p, (1 << self.out_width) - 1)


def table_unit(spec: TableSoftmax, row_max: int = ROW_MAX) -> RtlUnit:
    """The streaming unit of hls4ml's softmax; it takes no mask."""
    entry = TABLE_FRAC + 1
    return RtlUnit(
        "op_softmax_table",
        ("op_softmax_table.sv", "op_rowbuf.sv"),
        {
            "IN_W": spec.in_format.width,
            "NORM_W": spec.distance_bits,
            "OUT_W": spec.out_width,
            "USER_W": 2,
            "N_MAX": row_max,
            "ENTRY_W": entry,
            "SUM_W": _SUM_BITS,
            "INDEX_W": _SUM_BITS - _INDEX_DROP,
            "DOWN": 2 * TABLE_FRAC - spec.out_frac,
        },
        {"EXP_FILE": Rom(spec.exponentials, entry), "INV_FILE": Rom(spec.inverses, entry)},
        in_width=spec.in_format.width,
        out_width=spec.out_width,
        row_max=row_max,
    )


def online_reference(spec: SoftmaxSpec, codes: ArrayLike, keep: ArrayLike = True) -> Codes:
    """Results of the online softmax for rows of one head.

    Args:
        spec: the softmax whose tables and formats it has.
        codes: shape ``(rows, n)``.
        keep: which are not masked.
    """
    x = np.asarray(codes, dtype=np.int64)
    kept = np.broadcast_to(np.asarray(keep, dtype=bool), x.shape)
    table, frac = spec.table[0], spec.exp_frac
    top, total = np.full(len(x), spec.in_format.min), np.zeros(len(x), dtype=np.int64)
    for score, here in zip(x.T, kept.T, strict=True):
        entry, up = table[np.abs(score - top)], here & (score > top)
        scaled = ((total * entry + (1 << (frac - 1))) >> frac) + (1 << frac)
        total = np.where(up, scaled, total + entry * here)
        top = np.where(up, score, top)
    down = frac + spec.guard
    ratio = ((1 << spec.reciprocal_frac) + (total >> 1)) // np.maximum(total, 1)
    e = table[np.maximum(top[:, None] - x, 0)] * kept
    return np.minimum((e * ratio[:, None] + (1 << (down - 1))) >> down, spec.out_format.max)


def online_unit(spec: SoftmaxSpec, row_max: int = ROW_MAX) -> RtlUnit:
    """The streaming unit of the online softmax, for one head.

    Raises:
        UnsupportedError: for more heads.
    """
    if spec.heads != 1:
        raise UnsupportedError(f"The online softmax that units are compared with has one head. Received: {spec.heads}")
    longest = min(row_max, spec.max_length)
    return RtlUnit(
        "op_softmax_online",
        ("op_softmax_online.sv", "op_table.sv"),
        {
            "IN_W": spec.in_format.width,
            "OUT_W": spec.out_width,
            "USER_W": 2,
            "N_MAX": longest,
            "EXP_FRAC": spec.exp_frac,
            "OUT_FRAC": spec.out_frac,
            "GUARD": spec.guard,
        },
        {"ROM_FILE": Rom(spec.table, spec.exp_frac + 1)},
        in_width=spec.in_format.width,
        out_width=spec.out_width,
        row_max=longest,
    )
