# SPDX-License-Identifier: Apache-2.0
"""Streaming units of ConSmax: one table a head, and the paper's split tables with a multiplier."""

from __future__ import annotations

import numpy as np

from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits
from hls4attn.models.formats import Codes
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec


def unit(spec: ConSmaxSpec, row_max: int) -> RtlUnit:
    """The unit; no row is too long for it, since it keeps nothing of a row."""
    return _split(spec, row_max) if isinstance(spec, ConSmaxSplitSpec) else _direct(spec, row_max)


def _direct(spec: ConSmaxSpec, row_max: int) -> RtlUnit:
    on_grid = spec.table << np.array(spec.head_shift)[:, None]
    # A symmetric format has no lowest code, and a table by bits has a word for it.
    on_grid = np.pad(on_grid, ((0, 0), ((1 << spec.in_format.width) - on_grid.shape[1], 0)), mode="edge")
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


def _split(spec: ConSmaxSplitSpec, row_max: int) -> RtlUnit:
    tables, code_width, out_width = spec.tables, spec.out_width, spec.out_format.width
    product_width = tables.nibbles * tables.bits
    rest = tables.nibbles + code_width  # a product has a one in its top `nibbles` bits
    shift = narrow_shifts(tables.shift, product_width - rest + 1, rest)
    shift_width = 1 + max(int(shift.max()).bit_length(), int(-shift.min() - 1).bit_length())
    grid = np.array(spec.head_shift, dtype=np.int64)
    grid_width = max(1, int(grid.max()).bit_length())
    words = (shift << tables.bits) + tables.mantissa
    words[-1] = by_bits(words[-1])
    roms = {f"TABLE{n}": Rom(words[n], shift_width + tables.bits) for n in range(tables.nibbles)}
    user_width = 1 + head_bits(spec.heads)
    parameters = {
        "NIBBLES": tables.nibbles,
        "MANT_W": tables.bits,
        "EXP_W": shift_width,
        "REST_W": rest,
        "DROP": product_width - rest,
        "CODE_W": code_width,
        "OUT_W": out_width,
        "GRID_W": grid_width,
        "USER_W": user_width,
        "HEADS": spec.heads,
    }
    return RtlUnit(
        "op_consmax_split",
        ("op_consmax_split.sv", "op_hold.sv"),
        parameters,
        roms | {"GRID": Rom(grid, grid_width)},
        in_width=spec.in_format.width,
        out_width=out_width,
        user_width=user_width,
        heads=spec.heads,
        row_max=row_max,
    )


def narrow_shifts(shift: Codes, base: int, zero: int) -> Codes:
    """Shifts whose sum is that of `shift` less `base`, in few bits.

    Sums below 0 may become other ones below 0 (they saturate), and sums of `zero` or more others of that kind
    (nothing is left), so that the top table's entries can be limited.

    Args:
        shift: shape ``(nibbles, heads, 16)``.
        base: the smallest sum that does not saturate for certain.
        zero: the smallest sum less `base` that leaves nothing.
    """
    found = shift.copy()
    low = found[:-1].min(axis=2, keepdims=True)
    found[:-1] -= low
    found[-1] += low.sum(axis=0) - base
    rest = int(found[:-1].max(axis=(1, 2)).sum())  # most that the other tables can add
    found[-1] = np.clip(found[-1], -rest - 1, zero)
    return found
