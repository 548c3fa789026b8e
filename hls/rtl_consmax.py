# SPDX-License-Identifier: Apache-2.0
"""Streaming units of ConSmax: one table a head, and the paper's split tables with a multiplier."""

from __future__ import annotations

import numpy as np

from hls4attn.hls.rtl_unit import Rom, RtlUnit, head_bits
from hls4attn.models.formats import Codes
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec


def unit(spec: ConSmaxSpec, row_max: int) -> RtlUnit:
    """The unit; no row is too long for it, since it keeps nothing of a row."""
    return _split(spec, row_max) if isinstance(spec, ConSmaxSplitSpec) else _direct(spec, row_max)


def _direct(spec: ConSmaxSpec, row_max: int) -> RtlUnit:
    on_grid = spec.table << np.array(spec.head_shift)[:, None]
    out_width, user_width = spec.out_format.width, 1 + head_bits(spec.heads)
    return RtlUnit(
        "op_consmax",
        ("op_consmax.sv", "op_hold.sv"),
        {"IN_W": spec.in_format.width, "OUT_W": out_width, "USER_W": user_width, "HEADS": spec.heads},
        {"TABLE": Rom(by_bits(on_grid), out_width)},
        in_width=spec.in_format.width,
        out_width=out_width,
        user_width=user_width,
        heads=spec.heads,
        row_max=row_max,
    )


def by_bits(table: Codes) -> Codes:
    """Rows whose entries are in the order of signed codes, in the order of the codes' bits: 0, 1, ..., -2, -1."""
    return np.roll(table, table.shape[-1] // 2, axis=-1)
