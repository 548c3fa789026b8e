# SPDX-License-Identifier: Apache-2.0
"""The datapath of a gain-cell head; widths follow from the paper's spec."""

from __future__ import annotations

from drawing import Drawing, bits

from hls4attn.models.operators import GainCellSpec


def gaincell() -> Drawing:
    """Two arrays: tables of currents by age and level, sums, a pulse between them."""
    spec = GainCellSpec()
    keys, _ = spec.tables
    current = int(abs(keys).max())
    score = bits(spec.head_dim * (spec.q_levels - 1) * current, True)
    charge = bits(spec.tile * spec.pulse_steps * current, True)
    pulse, code = bits(spec.pulse_steps), bits(spec.code_limit, True)
    first, second = spec.rescales
    d = Drawing(860, 425, "Gain cells: keys and values as levels, currents from a table, a pulse in place of softmax")
    d.frame(8, 8, 844, 175, "first array: one slot j a clock, 64 elements of a head at once")
    d.text(30, 65, "k")
    store = d.box(140, 65, "keys: window", "1,024 × 64 × 3 bits", w=146, kind="buffer")
    d.wire((40, 65), store.left, bits="3")
    table = d.box(330, 65, "current table", "[age][level]", w=124, kind="rom")
    d.wire(store.right, table.left, bits="3")
    d.text(140, 150, "age of slot j")
    d.wire((190, 150), (330, 150), table.bottom, bits="10", at=0)
    times = d.op(460, 65, "×")
    d.wire(table.right, times.left, bits=bits(current, True))
    d.wire((460, 132), times.bottom, bits="4", side=1)
    d.text(460, 145, "q")
    add = d.op(540, 65, "Σ")
    d.wire(times.right, add.left, bits=bits(current * (spec.q_levels - 1), True))
    cut = d.box(670, 65, f"× {first.multiplier}, + half, ≫ {first.shift}", "clip(·, 0, 600)", w=146)
    d.wire(add.right, cut.left, bits=score, name="S")
    d.wire(cut.right, (800, 65), (800, 245), bits=pulse, name="pulse", at=1, head=False, side=-1)
    d.frame(8, 198, 844, 215, "second array: the same slot")
    d.text(30, 290, "v")
    store2 = d.box(140, 290, "values: window", "1,024 × 64 × 3 bits", w=146, kind="buffer")
    d.wire((40, 290), store2.left, bits="3")
    table2 = d.box(330, 290, "current table", "[age][level]", w=124, kind="rom")
    d.wire(store2.right, table2.left, bits="3")
    d.wire((330, 150), table2.top)
    d.dot(330, 150)
    times2 = d.op(460, 290, "×")
    d.wire(table2.right, times2.left, bits=bits(current, True))
    d.wire((800, 245), (460, 245), times2.top)
    add2 = d.op(540, 290, "Σ")
    d.wire(times2.right, add2.left, bits=bits(current * spec.pulse_steps, True))
    d.text(540, 325, "over a tile", size=11.5, dim=True)
    limit = d.box(670, 290, "limit to ± full charge", w=146)
    d.wire(add2.right, limit.left, bits=charge, name="A")
    cut2 = d.box(670, 375, f"× {second.multiplier:,}, + half,", f"≫ {second.shift}, clip ± {spec.code_limit}", w=160)
    d.wire(limit.bottom, cut2.top)
    add3 = d.op(430, 375, "Σ")
    d.wire(cut2.left, add3.right, bits=code, name="code of a tile")
    d.text(430, 402, "over 16 tiles", size=11.5, dim=True)
    d.wire(add3.left, (250, 375), bits=str(spec.out_format.width), name="y")
    return d
