# SPDX-License-Identifier: Apache-2.0
"""The datapaths of the normalisations; widths follow from the specs in their usual configuration."""

from __future__ import annotations

from drawing import Drawing, bits

from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, IntegerLayerNormSpec

CHANNELS = 768
_AILN = AILayerNormSpec(Fixed(12, 6), Fixed(8, 4), (1.0,) * CHANNELS, (0.5,) * CHANNELS, (3,) * CHANNELS)
#: Bits of the mean: a centred code and its fraction.
_MEAN = bits((255 << 3) << _AILN.mean_frac, True)


def ailayernorm() -> Drawing:
    """Statistics of bytes, a row's factors, the affine step."""
    d = Drawing(860, 560, "AILayerNorm: bytes with factors, squares of four bits, a table of reciprocal roots")
    _statistics(d)
    _row(d)
    _affine(d)
    return d


def _statistics(d: Drawing) -> None:
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


def _row(d: Drawing) -> None:
    d.frame(8, 248, 844, 130, "once a row")
    left, right = d.box(110, 325, "× 1/C, round", w=110), d.box(330, 325, "Ex²/C − mu²,", "max(1, ·)", w=116)
    d.wire((25, 325), left.left, bits=bits(CHANNELS * (255 << 3), True), name="Ex")
    d.wire(left.right, right.left, bits=_MEAN, name="mu")
    d.wire((330, 268), right.top, bits=bits(CHANNELS * (225 << 4 << 6)), name="Ex²", side=1)
    lead = d.box(500, 325, "leading one", w=98)
    d.wire(right.right, lead.left, bits=bits((255 << 3) ** 2 << 8), name="var")
    rom2 = d.box(655, 322, "rsqrt table", "64 × 9", w=110, kind="rom")
    d.wire((549, 322), rom2.left, bits="6")
    d.wire(rom2.right, (800, 322), bits="9")
    d.text(812, 322, "v", weight=600)
    d.wire(lead.bottom, (500, 366), (800, 366), bits="5", at=1, along=0.8)
    d.text(812, 366, "e", weight=600)


def _affine(d: Drawing) -> None:
    centred, gain = bits(2 * (255 << 3) << _AILN.mean_frac, True), _AILN.gamma_bits + _AILN.rsqrt_bits
    d.frame(8, 393, 844, 155, "affine, second pass")
    keep2 = d.box(85, 450, "row buffer", w=96, kind="buffer")
    shift = d.box(235, 450, "− zp, ≪ α,", "≪ 4", w=88)
    d.wire(keep2.right, shift.left, bits="8")
    sub = d.op(345, 450, "−")
    d.wire(shift.right, sub.left, bits="16")
    d.wire((345, 510), sub.bottom, bits=_MEAN, side=1)
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


DRAWINGS = {f.__name__: f for f in (ailayernorm, layernorm)}
