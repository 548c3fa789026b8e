# SPDX-License-Identifier: Apache-2.0
"""E2Softmax: every stage exhaustively, the whole against a scalar model, and the paper's error bands."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sole_oracles import corner_rows, divider_position, e2_probability, e2_row

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2SoftmaxSpec, score_from_attributes, score_types
from hls4attn.models.operators.distance import distance
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER, PAPER_DIVIDER, divide, leading_one, log2exp

S8 = Fixed(8, 4)
WIDE = {"out_width": 16, "out_frac": 16}


def spec(**options) -> E2SoftmaxSpec:
    return E2SoftmaxSpec(options.pop("in_format", S8), options.pop("score_scale", (1.0,)), **options)


def gaussian(rows, cols, std, seed=0, fmt=S8):
    return fmt.quantise(np.random.default_rng(seed).normal(scale=std, size=(1, 1, rows, cols)))


# ---------------------------------------------------------------------------------------------- stages
@pytest.mark.parametrize("frac", range(0, 8))
@pytest.mark.parametrize("code_width", [3, 4, 5, 6])
def test_log2exp_is_23_sixteenths_rounded_half_up_for_every_distance(frac, code_width):
    d = np.arange(256)
    got = log2exp(d, 23, frac + 4, (1 << code_width) - 1)
    want = [min((1 << code_width) - 1, (2 * 23 * int(v) + (1 << (frac + 4))) // (1 << (frac + 5))) for v in d]
    assert got.tolist() == want


@pytest.mark.parametrize(
    ("frac", "edges"),
    [
        (4, [0, 6, 17, 28, 39, 51, 62, 73, 84, 95, 106, 117, 128, 140, 151, 162]),
        (3, [0, 3, 9, 14, 20, 26, 31, 37, 42, 48, 53, 59, 64, 70, 76, 81]),
    ],
)
def test_log2exp_changes_at_the_published_distances(frac, edges):
    k = log2exp(np.arange(256), 23, frac + 4, 15)
    assert [int(np.argmax(k >= n)) for n in range(16)] == edges


@pytest.mark.parametrize("divider", [PAPER_DIVIDER, FOUR_WAY_DIVIDER])
@pytest.mark.parametrize("round_up", [True, False])
@pytest.mark.parametrize("out_frac", [8, 12, 16])
def test_divider_for_every_exponent_sum_and_mantissa(divider, round_up, out_frac):
    s = spec(divider=divider, out_rounding="half_up" if round_up else "floor", out_width=16, out_frac=out_frac)
    for ks in range(11):
        for q in range(len(divider)):
            want = [e2_probability(k, ks, q, divider, 8, out_frac, round_up) for k in range(16)]
            got = divide(np.arange(16), ks, q, divider, 8, out_frac, 65535, round_up)
            assert got.tolist() == want
            assert s.table[ks * len(divider) + q].tolist() == want


@pytest.mark.parametrize("mux_bits", [1, 2, 3])
def test_leading_one_for_sums_around_every_edge(mux_bits):
    sums = {v + d for p in range(15, 26) for j in range(8) for v in [(1 << p) + (j << (p - 3))] for d in (-1, 0, 1)}
    sums = np.array(sorted(v for v in sums if 1 << 15 <= v <= 1 << 25))
    ks, q = leading_one(sums, 15, mux_bits)
    assert list(zip(ks.tolist(), q.tolist(), strict=True)) == [
        divider_position(int(v), 15, 1 << mux_bits) for v in sums
    ]
    assert [int(v[0]) for v in leading_one(np.array([0]), 15, mux_bits)] == [0, 0]


def test_divider_error_is_almost_unbiased_but_ten_percent_rms():
    sums = np.arange(1 << 15, 1 << 16)
    _, q = leading_one(sums, 15, 1)
    error = np.array(PAPER_DIVIDER)[q] / 256 * (sums / (1 << 15)) - 1
    assert abs(error.mean()) < 0.012
    assert 0.095 < np.sqrt(np.mean(error**2)) < 0.107
    assert -0.19 < error.min() < -0.17 and 0.21 < error.max() < 0.235
    four = np.array(FOUR_WAY_DIVIDER)[leading_one(sums, 15, 2)[1]] / 256 * (sums / (1 << 15)) - 1
    assert np.sqrt(np.mean(four**2)) < 0.06


# ---------------------------------------------------------------------------------------------- whole rows
@settings(max_examples=120, deadline=None)
@given(
    row=st.lists(st.integers(-128, 127), min_size=1, max_size=40),
    slice_length=st.integers(0, 9),
    code_width=st.integers(3, 6),
    scale=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    masked=st.integers(0, 2**40 - 1),
    round_up=st.booleans(),
)
def test_rows_equal_the_scalar_model(row, slice_length, code_width, scale, masked, round_up):
    s = spec(
        score_scale=(scale,),
        slice_length=slice_length,
        code_width=code_width,
        sum_frac=20,
        out_rounding="half_up" if round_up else "floor",
        **WIDE,
    )
    keep = [not masked >> j & 1 for j in range(len(row))]
    got = s.reference(np.array(row).reshape(1, 1, 1, -1), np.array(keep))[0, 0, 0]
    if not any(keep):
        assert not got.any()
        return
    k, total = e2_row(row, Fraction(23, 16) * Fraction(scale) / 16, 20, (1 << code_width) - 1, slice_length, keep)
    ks, q = divider_position(total, 20, 2)
    want = [e2_probability(k[j], ks, q, PAPER_DIVIDER, 8, 16, round_up) * keep[j] for j in range(len(row))]
    assert got.tolist() == want


def test_published_corner_rows():
    floor = spec(out_rounding="floor")
    low = -128

    def first(row):
        return int(floor.reference(np.array(row).reshape(1, 1, 1, -1))[0, 0, 0, 0])

    assert first([127] + [low] * 15) == 209  # 0.816: a one-hot row does not reach 1
    assert first([127, 127] + [low] * 14) == 104  # 0.406
    assert first([5] * 16) == 13  # 0.0508
    assert first([17]) == 209  # a row of length 1
    assert first([127] * 1024) == 0  # 209 / 256 / 1024 is below half of an 8-bit step
    assert spec(**WIDE).reference(np.zeros((1, 1, 1, 1024), int)).ravel().tolist() == [52] * 1024


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 197, 1024])
@pytest.mark.parametrize("slice_length", [0, 1, 32])
def test_corner_rows_and_their_lengths(length, slice_length):
    s = spec(slice_length=slice_length, **WIDE)
    for row in corner_rows(length, -128, 127):
        k, total = e2_row(row.tolist(), Fraction(23, 256), slice_length=slice_length)
        found = s.unnormalised(row.reshape(1, 1, 1, -1))
        assert found.exponent.ravel().tolist() == k and int(found.total.item()) == total
        assert total >= 1 << 15


def test_online_equals_two_pass_where_the_maximum_comes_first_or_the_slice_holds_the_row():
    x = np.sort(gaussian(50, 100, 3.0))[..., ::-1]
    assert np.array_equal(spec(slice_length=8).reference(x), spec().reference(x))
    y = gaussian(50, 100, 3.0, seed=1)
    assert np.array_equal(spec(slice_length=100).reference(y), spec().reference(y))
    assert not np.array_equal(spec(slice_length=8).reference(y), spec().reference(y))


@pytest.mark.parametrize("slice_length", [0, 3])
def test_causal_rows_equal_shorter_rows(slice_length):
    x = gaussian(9, 9, 3.0)
    full = spec(causal=True, slice_length=slice_length).reference(x)
    for i in range(9):
        part = spec(slice_length=slice_length).reference(x[:, :, i : i + 1, : i + 1])
        assert np.array_equal(full[0, 0, i, : i + 1], part[0, 0, 0]) and not full[0, 0, i, i + 1 :].any()


def test_heads_have_scales_of_their_own():
    x = np.repeat(gaussian(7, 20, 3.0), 2, axis=1)
    both = spec(score_scale=(0.25, 1.0)).reference(x)
    for head, scale in enumerate((0.25, 1.0)):
        assert np.array_equal(both[:, head], spec(score_scale=(scale,)).reference(x[:, :1])[:, 0])


def test_folded_scale_is_the_nearest_constant_and_close_to_the_float_function():
    scale = 32**-0.5
    s = spec(score_scale=(scale,), log2e="folded", scale_bits=12)
    multiplier, shift = (int(v.item()) for v in s.scale_constants)
    assert abs(multiplier / 2.0**shift / (scale * np.log2(np.e) / 16) - 1) < 2.0**-12
    d = distance(spec(score_scale=(scale,), log2e="folded", **WIDE), gaussian(200, 64, 3.0))
    assert 0.9 < d.gain < 1.1


# ---------------------------------------------------------------------------------------------- spec
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slice_length": 32, "divider": FOUR_WAY_DIVIDER, "causal": True},
        {"score_scale": (0.3, 0.2), "log2e": "folded", "out_rounding": "floor"},
        {"code_width": 6, "sum_frac": 31, "out_width": 12, "out_frac": 10},
    ],
)
def test_attributes_round_trip(options):
    s = spec(**options)
    assert "E2Softmax" in score_types()
    assert score_from_attributes("E2Softmax", s.to_attributes()) == s


def test_edited_attributes_are_refused():
    attributes = spec().to_attributes()
    with pytest.raises(SpecError, match="does not follow"):
        score_from_attributes("E2Softmax", attributes | {"table": np.asarray(attributes["table"]) * 2})
    with pytest.raises(SpecError, match="missing"):
        score_from_attributes("E2Softmax", {k: v for k, v in attributes.items() if k != "sum_frac"})
    with pytest.raises(SpecError, match="unknown"):
        score_from_attributes("E2Softmax", attributes | {"extra": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_scale": (32**-0.5,)}, "power of two.*folded"),
        ({"score_scale": (0.0,)}, "positive"),
        ({"score_scale": (float("nan"),)}, "finite"),
        ({"score_scale": ()}, "positive"),
        ({"score_scale": (2.0**-60,)}, "1 to 40 bits"),
        ({"score_scale": (2.0**40,)}, "1 to 40 bits"),
        ({"in_format": Fixed(8, 4, signed=False)}, "signed"),
        ({"in_format": Fixed(13, 4)}, "2 to 12 bits"),
        ({"code_width": 2}, "code_width must be 3 to 6"),
        ({"code_width": 7}, "code_width"),
        ({"sum_frac": 7}, "sum_frac"),
        ({"max_length": 1025}, "max_length"),
        ({"slice_length": -1}, "slice_length"),
        ({"out_width": 17}, "out_width"),
        ({"out_frac": 0}, "out_frac"),
        ({"divider": (209,)}, "2, 4 or 8"),
        ({"divider": (256, 145)}, "1 to 255"),
        ({"log2e": "exact"}, "log2e"),
        ({"out_rounding": "ceil"}, "out_rounding"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        spec(**options)


def test_bad_scores_are_refused():
    s = spec(max_length=16)
    with pytest.raises(InputError, match="max_length=16"):
        s.reference(np.zeros((1, 1, 2, 17), int))
    with pytest.raises(InputError, match="1 to max_length"):
        s.reference(np.zeros((1, 1, 2, 0), int))
    with pytest.raises(InputError, match="integer"):
        s.reference(np.zeros((1, 1, 2, 4)))
    with pytest.raises(InputError, match="heads=1"):
        s.reference(np.zeros((1, 2, 2, 4), int))
    with pytest.raises(FormatError, match="outside"):
        s.reference(np.full((1, 1, 2, 4), 128))
    with pytest.raises(InputError, match="causal"):
        spec(causal=True).reference(np.zeros((1, 1, 2, 4), int))


def test_saturations_are_counted():
    s = spec(out_width=4, out_frac=8)
    x = np.array([127, -128, -128, -128]).reshape(1, 1, 1, 4)
    assert s.saturations(x) == 1 and s.reference(x).max() == 15
    assert spec().saturations(x) == 0
