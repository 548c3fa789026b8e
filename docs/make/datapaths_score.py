# SPDX-License-Identifier: Apache-2.0
"""The datapaths of the score functions; widths follow from the specs in their usual configuration."""

from __future__ import annotations

from drawing import Drawing, bits

from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSplitSpec, SoftmaxSpec

ROWS = 1024  # elements of the longest row


def signed_bits(values: Codes) -> str:
    """Bits of a signed integer that holds all values."""
    return bits(max(int(values.max()), -int(values.min()) - 1), True)


def consmax() -> Drawing:
    """One table a head; below the paper's split tables."""
    tables = ConSmaxSplitSpec(Fixed(8, 3), (1.0,), (8.0,), (0.25,)).tables
    shift_bits, sum_bits = signed_bits(tables.shift), signed_bits(tables.shift.sum(axis=0))
    d = Drawing(860, 395, "ConSmax: a table look-up; split tables: two look-ups, one product, one shift")
    d.frame(8, 8, 844, 120, "direct: one table a head")
    table = d.box(290, 75, "T[head]", "256 entries", w=120, kind="rom")
    mask = d.box(500, 75, "j > i ? 0 : p", w=110)
    grid = d.box(690, 75, "tail", "× + round", w=90)
    d.text(40, 75, "x")
    d.wire((50, 75), table.left, bits="8", name="score code")
    d.wire(table.right, mask.left, bits="8", name="p")
    d.wire(mask.right, grid.left, bits="8")
    d.wire(grid.right, (820, 75), bits="8", name="to P V")
    d.wire((290, 30), table.top, name="head", side=-1)
    d.frame(8, 140, 844, 245, "split: one table of 16 entries a nibble")
    flip = d.op(105, 255, "+")
    d.text(40, 255, "x")
    d.wire((50, 255), flip.left, bits="8")
    d.wire((105, 205), flip.top, name="128", side=-1)
    high = d.box(270, 205, "T1[h]", "16 entries", w=110, kind="rom")
    low = d.box(270, 315, "T0[l]", "16 entries", w=110, kind="rom")
    d.dot(155, 255)
    d.wire(flip.right, (155, 255), head=False)
    d.wire((155, 255), (155, 205), high.left, bits="4", name="h", at=1)
    d.wire((155, 255), (155, 315), low.left, bits="4", name="l", at=1)
    times, plus = d.op(430, 205, "×"), d.op(430, 315, "+")
    d.wire((325, 205), times.left, bits="8")
    d.wire((325, 300), (350, 300), (350, 240), (430, 240), times.bottom, bits="8", at=2, along=0.6)
    d.wire((325, 218), (375, 218), (375, 280), (430, 280), plus.top, bits=shift_bits, at=1, along=0.75, side=1)
    d.wire((325, 315), plus.left, bits=shift_bits)
    d.text(430, 178, "mantissas", size=11.5, dim=True)
    d.text(430, 343, "shifts", size=11.5, dim=True)
    shift = d.box(560, 255, "≫ shift,", "round half up", w=110)
    d.wire(times.right, (480, 205), (480, 245), (505, 245), bits="16", at=0)
    d.wire(plus.right, (480, 315), (480, 265), (505, 265), bits=sum_bits, at=0, side=1)
    top = d.box(680, 255, "min(·, 255)", w=90)
    d.wire(shift.right, top.left)
    gate = d.box(780, 255, "mask", w=60)
    d.wire(top.right, gate.left, bits="8")
    d.wire(gate.right, (845, 255), bits="8")
    d.text(
        270, 368, "blue: constants in ROM; C = exp(−beta)/gamma and the output exponent are in T1", size=11.5, dim=True
    )
    return d


def softmax() -> Drawing:
    """Three passes over a row, one division."""
    spec = SoftmaxSpec(Fixed(8, 3), (0.25,))
    total = bits(ROWS << spec.exp_frac)
    ratio = bits(1 << (spec.out_frac + spec.guard))
    d = Drawing(
        860, 270, "Integer softmax: maximum, exponentials and their sum, one reciprocal, one product an element"
    )
    d.text(12, 75, "x")
    row = d.box(125, 75, "row buffer", w=92, kind="buffer")
    d.wire((20, 75), row.left, bits="8", along=0.32)
    top = d.box(125, 190, "max", w=70)
    d.dot(56, 75)
    d.wire((56, 75), (56, 190), top.left)
    minus = d.op(225, 75, "−")
    d.wire(row.right, minus.left, bits="8")
    d.wire(top.right, (225, 190), minus.bottom, bits="8", name="m", at=0)
    table = d.box(350, 75, "exp table", "256 entries", w=116, kind="rom")
    d.wire(minus.right, table.left, bits="8", name="d")
    wait = d.box(510, 75, "e buffer", w=90, kind="buffer")
    d.wire(table.right, wait.left, bits=bits(1 << spec.exp_frac), name="e", along=0.25)
    d.dot(436, 75)
    add = d.op(436, 190, "Σ")
    d.wire((436, 75), add.top)
    divide = d.box(560, 190, "(2^R + S/2) ÷ S", w=130)
    d.wire(add.right, divide.left, bits=total, name="S")
    times = d.op(650, 75, "×")
    d.wire(wait.right, times.left, bits=bits(1 << spec.exp_frac))
    d.wire(divide.right, (650, 190), times.bottom, bits=ratio, name="r", at=1, side=1)
    end = d.box(750, 75, "+ half, ≫", "min(·, 255)", w=96)
    d.wire(times.right, end.left, bits=bits((1 << spec.exp_frac) << (spec.out_frac + spec.guard)))
    d.wire(end.right, (850, 75), bits="8", name="p")
    d.text(115, 245, "pass 1", weight=600)
    d.text(350, 245, "pass 2", weight=600)
    d.text(650, 245, "pass 3", weight=600)
    return d


def e2softmax() -> Drawing:
    """Exponents of four bits, a sum, a leading one, shifts."""
    total = bits(ROWS << 15)
    d = Drawing(
        860, 440, "E2Softmax: maximum, Log2Exp by shifts and adds, sum of powers of two, division by a mux and a shift"
    )
    d.text(12, 90, "x")
    row = d.box(120, 90, "row buffer", w=88, kind="buffer")
    d.wire((20, 90), row.left, bits="8", along=0.32)
    top = d.box(120, 185, "max", w=70)
    d.dot(56, 90)
    d.wire((56, 90), (56, 185), top.left)
    minus = d.op(205, 90, "−")
    d.wire(row.right, minus.left, bits="8")
    d.wire(top.right, (205, 185), minus.bottom, bits="8", name="m", at=0)
    d.frame(236, 8, 420, 165, "Log2Exp: k = min(15, (23 d + half) ≫ (frac + 4))")
    d.wire(minus.right, (285, 90), bits="8", name="d", along=0.65, head=False)
    d.dot(285, 90)
    up4, up3 = d.box(345, 50, "≪ 4", w=54, h=26), d.box(345, 90, "≪ 3", w=54, h=26)
    d.wire((285, 90), (285, 50), up4.left)
    d.wire((285, 90), up3.left)
    plus = d.op(435, 90, "+")
    d.wire(up4.right, (435, 50), plus.top, bits="12")
    d.wire(up3.right, plus.left, bits="11")
    less = d.op(495, 90, "−")
    d.wire(plus.right, less.left, bits="13")
    d.wire((285, 90), (285, 145), (495, 145), less.bottom, bits="8", name="d", at=1)
    cut = d.box(590, 90, "+ half, ≫", "min(·, 15)", w=90)
    d.wire(less.right, cut.left, bits="13")
    wait = d.box(785, 90, "k buffer", "4 bits each", w=104, kind="buffer")
    d.wire(cut.right, wait.left, bits="4", name="k", along=0.6)
    d.dot(675, 90)
    power = d.box(675, 225, "2^−k", w=76)
    d.wire((675, 90), power.top)
    add = d.op(540, 225, "Σ")
    d.wire(power.left, add.right, bits="16", name="one bit set")
    lead = d.box(420, 225, "leading one", w=104)
    d.wire(add.left, lead.right, bits=total, name="S")
    mux = d.box(275, 225, "q ? 145 : 209", w=118, kind="rom")
    d.wire(lead.left, mux.right, bits="1", name="q")
    plus2 = d.op(420, 345, "+")
    d.wire(lead.bottom, plus2.top, bits="4", name="ks", side=1)
    d.wire(wait.bottom, (785, 345), plus2.right, bits="4", name="k", at=1)
    shift = d.box(275, 345, "≫ (k + ks)", "+ half", w=112)
    d.wire(plus2.left, shift.right, bits="5")
    d.wire(mux.bottom, shift.top, bits="8", name="C[q] / 256", side=1)
    limit = d.box(140, 345, "min(·, 255)", w=96)
    d.wire(shift.left, limit.right, bits="8")
    d.wire(limit.left, (30, 345), bits="8", name="p")
    d.text(120, 225, "pass 1", weight=600)
    d.text(608, 262, "pass 2", weight=600)
    d.text(275, 395, "pass 3", weight=600)
    d.text(
        430,
        425,
        "green: memories of a row; blue: two constants; no multiplier, no table of exponentials",
        size=11.5,
        dim=True,
    )
    return d


DRAWINGS = {f.__name__: f for f in (consmax, e2softmax, softmax)}
