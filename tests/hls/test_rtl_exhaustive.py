# SPDX-License-Identifier: Apache-2.0
"""Everything that fits into 16 bits, all of it: rows of two elements through the units; tables by their formulas."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from gain_models import reference as gain_reference
from rtl_cases import CELL, ONLINE, TWO_PASS

from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec, E2SoftmaxSpec, IntegerLayerNormSpec, SoftmaxSpec
from hls4attn.models.operators.ailn_stages import rsqrt_table, square_table
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER

#: All pairs of 8-bit codes.
PAIRS = np.stack(np.meshgrid(*(np.arange(-128, 128),) * 2), axis=-1).reshape(-1, 2)
SCORES = {
    "E2Softmax": TWO_PASS,
    "E2Softmax, floor": replace(TWO_PASS, out_rounding="floor", divider=FOUR_WAY_DIVIDER),
    "E2Softmax online": replace(ONLINE, slice_length=1),
    "E2Softmax folded": replace(TWO_PASS, log2e="folded", score_scale=(0.37,)),
    "IntegerSoftmax": SoftmaxSpec(Fixed(8, 4), (0.35,), max_length=4),
}
NORMS = {
    "IntegerLayerNorm": IntegerLayerNormSpec(Fixed(8, 4), Fixed(8, 4), (1.3, -0.8), (0.3, 1.0)),
    "AILayerNorm": AILayerNormSpec(Fixed(8, 4), Fixed(8, 4), (1.3, -0.8), (0.3, 1.0), (0, 1)),
    "AILayerNorm, lut32": AILayerNormSpec(
        Fixed(8, 4), Fixed(8, 4), (1.3, -0.8), (0.3, 1.0), (1, 3), multiplier=3, shift=2, squares="lut32"
    ),
}


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("name", SCORES)
def test_every_row_of_two_scores(name: str) -> None:
    run = RtlSim(rtl_unit(SCORES[name])).run(PAIRS)
    assert np.array_equal(run.outputs, SCORES[name].reference(PAIRS[None])[0])


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("name", NORMS)
def test_every_row_of_two_channels(name: str) -> None:
    run = RtlSim(rtl_unit(NORMS[name])).run(PAIRS)
    assert np.array_equal(run.outputs, NORMS[name].reference(PAIRS))


@pytest.mark.slow
@pytest.mark.compile
def test_every_word_of_a_gain_cell() -> None:
    """A sequence of one token each, with all codes in the first lane and others in the rest."""
    levels = (CELL.q_levels, CELL.k_levels, CELL.v_levels)
    every = np.stack([part.ravel() for part in np.indices(levels)])
    codes = np.random.default_rng(3).integers(0, np.array(levels)[:, None, None, None], (3, every.shape[1], 2, 3))
    codes[:, :, 0, 0] = every
    words = token_words(CELL, *codes)
    want = np.concatenate([gain_reference(CELL, *(part[n : n + 1] for part in codes)) for n in range(len(words))])
    run = RtlSim(rtl_unit(CELL)).run(words, keep=np.zeros(words.shape, dtype=bool))
    assert np.array_equal(run.outputs, want.reshape(len(words), -1))


def half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)).__floor__())


@pytest.mark.parametrize("spec", [SCORES["E2Softmax"], SCORES["E2Softmax, floor"]])
def test_codes_of_the_divider(spec: E2SoftmaxSpec) -> None:
    unit = rtl_unit(spec)
    words = unit.roms["CODE_FILE"].words.reshape(len(spec.divider), -1)
    round_off = half_up if spec.out_rounding == "half_up" else Fraction.__floor__
    for mantissa, codes in zip(spec.divider, words, strict=True):
        exact = [Fraction(mantissa << spec.out_frac, 1 << spec.divider_frac + shift) for shift in range(len(codes))]
        assert codes.tolist() == [min(round_off(value), spec.out_format.max) for value in exact]


def test_squares() -> None:
    """DynamicCompress: the nearest of 16 codes in steps of 4 up to 63, of 16 beyond; their squares in units of 16."""
    bins: dict[tuple[int, int], list[int]] = {}
    paper = []
    for x in range(256):
        s = int(x >= 64)
        y = min(15, half_up(Fraction(x, 16 if s else 4)))
        bins.setdefault((s, y), []).append(x)
        paper.append(Fraction((y << 2 + 2 * s) ** 2, 16))
    means = {key: half_up(Fraction(sum(x * x for x in xs), 16 * len(xs))) for key, xs in bins.items()}
    by_bin = {x: means[key] for key, xs in bins.items() for x in xs}
    assert list(square_table("paper")) == paper
    assert list(square_table("lut32")) == [by_bin[x] for x in range(256)]
    assert list(square_table("exact")) == [x * x for x in range(256)]


@pytest.mark.parametrize(("entries", "bits"), [(8, 6), (64, 9), (1024, 14)])
def test_reciprocal_roots(entries: int, bits: int) -> None:
    half = entries // 2
    with localcontext() as context:
        context.prec = 40
        for index, code in enumerate(rsqrt_table(entries, bits)):
            middle = (1 + (Decimal(index % half) + Decimal("0.5")) / half) * (1 if index < half else 2)
            exact = Decimal(1 << bits) / middle.sqrt()
            assert code == min(int(exact + Decimal("0.5")), (1 << bits) - 1)


def test_exponentials() -> None:
    spec = SCORES["IntegerSoftmax"]
    assert isinstance(spec, SoftmaxSpec)
    table: Codes = rtl_unit(spec).roms["ROM_FILE"].words
    with localcontext() as context:
        context.prec = 40
        step = Decimal(spec.score_scale[0]) / 16
        exact = [(-step * d).exp() * (1 << spec.exp_frac) for d in range(256)]
        assert table.tolist() == [int(value + Decimal("0.5")) for value in exact]
