# SPDX-License-Identifier: Apache-2.0
"""The datapaths of the operators; widths follow from the specs in their usual configuration."""

from __future__ import annotations

from drawing import Drawing

from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec, ConSmaxSplitSpec, GainCellSpec, IntegerLayerNormSpec, SoftmaxSpec

ROWS = 1024  # elements of the longest row
CHANNELS = 768


def bits(largest: int, signed: bool = False) -> str:
    """Bits of an integer up to `largest`."""
    return str(int(largest).bit_length() + signed)


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


def ailayernorm() -> Drawing:
    """Statistics of bytes, a row's factors, the affine step."""
    spec = AILayerNormSpec(Fixed(12, 6), Fixed(8, 4), (1.0,) * CHANNELS, (0.5,) * CHANNELS, (3,) * CHANNELS)
    total, square = bits(CHANNELS * (255 << 3), True), bits(CHANNELS * (225 << 4 << 6))
    mean = bits((255 << 3) << spec.mean_frac, True)
    centred, gain = bits(2 * (255 << 3) << spec.mean_frac, True), spec.gamma_bits + spec.rsqrt_bits
    d = Drawing(
        860, 560, "AILayerNorm: bytes with power-of-two factors, squares of four bits, a table of reciprocal roots"
    )
    d.frame(8, 8, 844, 225, "statistics, one pass")
    d.text(28, 75, "X")
    quant = d.box(135, 75, "≫ (shift + α),", "round, + zp, clip", w=126)
    d.wire((38, 75), quant.left, bits="12")
    keep = d.box(330, 75, "row buffer", "8 bits each", w=104, kind="buffer")
    d.wire(quant.right, keep.left, bits="8", along=0.3)
    d.dot(240, 75)
    minus = d.op(240, 150, "−")
    d.wire((240, 75), minus.top)
    d.wire((165, 150), minus.left, bits="8")
    d.text(152, 150, "zp")
    wide = d.box(420, 150, "≪ α", w=64, h=28)
    d.wire(minus.right, wide.left, bits="9", along=0.75)
    first = d.op(790, 150, "Σ")
    d.wire(wide.right, first.left, bits="12")
    d.text(822, 150, "Ex", weight=600)
    d.dot(300, 150)
    mag = d.box(352, 205, "|·|", w=48, h=28)
    d.wire((300, 150), (300, 205), mag.left)
    small = d.box(450, 205, "compress", w=86, h=28)
    d.wire(mag.right, small.left, bits="8")
    rom = d.box(570, 205, "y² : 16", w=76, h=28, kind="rom")
    d.wire(small.right, rom.left, bits="4+1")
    up = d.box(685, 205, "≪ (4s + 2α)", w=96, h=28)
    d.wire(rom.right, up.left, bits="8")
    second = d.op(790, 205, "Σ")
    d.wire(up.right, second.left, bits="18")
    d.text(826, 205, "Ex²", weight=600)
    d.frame(8, 248, 844, 130, "once a row")
    left, right = d.box(110, 325, "× 1/C, round", w=110), d.box(330, 325, "Ex²/C − mu²,", "max(1, ·)", w=116)
    d.wire((25, 325), left.left, bits=total, name="Ex")
    d.wire(left.right, right.left, bits=mean, name="mu")
    d.wire((330, 268), right.top, bits=square, name="Ex²", side=1)
    lead = d.box(500, 325, "leading one", w=98)
    d.wire(right.right, lead.left, bits=bits((255 << 3) ** 2 << 8), name="var")
    rom2 = d.box(655, 322, "rsqrt table", "64 × 9", w=110, kind="rom")
    d.wire((549, 322), rom2.left, bits="6")
    d.wire(rom2.right, (800, 322), bits="9")
    d.text(812, 322, "v", weight=600)
    d.wire(lead.bottom, (500, 366), (800, 366), bits="5", at=1, along=0.8)
    d.text(812, 366, "e", weight=600)
    d.frame(8, 393, 844, 155, "affine, second pass")
    keep2 = d.box(85, 450, "row buffer", w=96, kind="buffer")
    shift = d.box(235, 450, "− zp, ≪ α,", "≪ 4", w=88)
    d.wire(keep2.right, shift.left, bits="8")
    sub = d.op(345, 450, "−")
    d.wire(shift.right, sub.left, bits="16")
    d.wire((345, 510), sub.bottom, bits=mean, side=1)
    d.text(345, 522, "mu")
    times = d.op(455, 450, "×")
    d.wire(sub.right, times.left, bits=centred)
    scale = d.op(455, 520, "×")
    d.wire(scale.top, times.bottom, bits=str(gain), side=1)
    d.wire((405, 520), scale.left, bits="8")
    d.text(392, 520, "G")
    d.wire((510, 520), scale.right, bits="9")
    d.text(520, 520, "v")
    cut = d.box(580, 450, "≫ (N + 9 + e − 4)", w=130)
    d.wire(times.right, cut.left, bits=str(int(centred) + gain))
    plus = d.op(690, 450, "+")
    d.wire(cut.right, plus.left)
    d.wire((690, 510), plus.bottom, bits="12", side=1)
    d.text(690, 522, "B")
    end = d.box(775, 450, "round,", "limit", w=66)
    d.wire(plus.right, end.left)
    d.wire(end.right, (850, 450), bits="8")
    return d


def layernorm() -> Drawing:
    """Exact sums, a root, a reciprocal."""
    spec = IntegerLayerNormSpec(Fixed(12, 6), Fixed(8, 4), (1.0,) * CHANNELS, (0.0,) * CHANNELS)
    top = spec.in_format.max + 1
    total, square = bits(CHANNELS * top, True), bits(CHANNELS * top * top)
    d = Drawing(860, 330, "Integer LayerNorm: exact sums, an integer square root, one reciprocal a row")
    d.text(12, 75, "x")
    row = d.box(125, 75, "row buffer", w=92, kind="buffer")
    d.wire((20, 75), row.left, bits="12", along=0.32)
    d.dot(58, 75)
    first, power, second = d.op(125, 165, "Σ"), d.box(125, 255, "x²", w=52, h=28), d.op(215, 255, "Σ")
    d.wire((58, 75), (58, 165), first.left)
    d.wire((58, 165), (58, 255), power.left)
    d.dot(58, 165)
    d.wire(power.right, second.left, bits="23")
    var = d.box(340, 210, "V = max(1,", "C·Ex² − (Ex)²)", w=124)
    d.wire(first.right, (245, 165), (245, 198), (278, 198), bits=total, name="Ex", along=0.4)
    d.wire(second.right, (255, 255), (255, 222), (278, 222), bits=square, side=1)
    root = d.box(500, 210, "leading one,", "√ (16 bits)", w=104)
    d.wire(var.right, root.left, bits=bits(CHANNELS * CHANNELS * top * top))
    ratio = d.box(655, 210, "2³² ÷ root", w=94)
    d.wire(root.right, ratio.left, bits=str(spec.root_bits))
    minus = d.op(340, 75, "−")
    up = d.box(235, 75, "× C", w=52, h=28)
    d.wire(row.right, up.left, bits="12")
    d.wire(up.right, minus.left, bits=bits(CHANNELS * top, True))
    d.dot(245, 165)
    d.wire((245, 165), (340, 165), minus.bottom)
    times = d.op(655, 75, "×")
    d.wire(minus.right, times.left, bits=bits(2 * CHANNELS * top, True), name="d = C x − Ex")
    d.wire(ratio.top, times.bottom, bits=bits(2 << spec.rsqrt_bits), name="r", side=1)
    d.wire((655, 28), times.top, name="G: 8")
    end = d.box(765, 75, "≫, + B,", "round, limit", w=96)
    d.wire(times.right, end.left)
    d.wire(end.right, (855, 75), bits="8")
    d.text(110, 308, "statistics", weight=600)
    d.text(500, 308, "once a row", weight=600)
    d.text(765, 145, "affine", weight=600)
    return d


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


DRAWINGS = {f.__name__: f for f in (consmax, e2softmax, ailayernorm, gaincell, softmax, layernorm)}
