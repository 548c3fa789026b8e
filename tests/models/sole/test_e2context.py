# SPDX-License-Identifier: Apache-2.0
"""The shift form of E2Softmax: exact against fractions, and closer to the float function than 8-bit codes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sole_oracles import e2_context

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec, context_from_attributes, context_types
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER, PAPER_DIVIDER

S8, V8 = Fixed(8, 4), Fixed(8, 6)


def spec(**options) -> E2ContextSpec:
    formats = {"v_format": V8, "out_format": Fixed(8, 6), **options}
    return E2ContextSpec(formats.pop("in_format", S8), formats.pop("score_scale", (1.0,)), **formats)


@settings(max_examples=80, deadline=None)
@given(
    cols=st.integers(1, 24),
    slice_length=st.integers(0, 6),
    seed=st.integers(0, 2**32 - 1),
    std=st.sampled_from([3, 20, 80]),
    divider=st.sampled_from([PAPER_DIVIDER, FOUR_WAY_DIVIDER]),
    out_frac=st.integers(-2, 9),
)
def test_contexts_equal_exact_fractions(cols, slice_length, seed, std, divider, out_frac):
    rng = np.random.default_rng(seed)
    x = np.clip(np.rint(rng.normal(scale=std, size=(1, 1, 3, cols))), -128, 127).astype(np.int64)
    v = rng.integers(-128, 128, (1, 1, cols, 4))
    s = spec(slice_length=slice_length, divider=divider, out_format=Fixed(8, out_frac))
    got = s.reference(x, v)
    for i in range(3):
        row = x[0, 0, i].tolist()
        want = e2_context(row, v[0, 0], Fraction(23, 256), divider, 6, s.out_format, slice_length)
        assert got[0, 0, i].tolist() == want


def test_causal_rows_equal_shorter_rows():
    rng = np.random.default_rng(5)
    x, v = rng.integers(-128, 128, (2, 1, 7, 7)), rng.integers(-128, 128, (2, 1, 7, 3))
    full = spec(causal=True).reference(x, v)
    for i in range(7):
        part = spec().reference(x[:, :, i : i + 1, : i + 1], v[:, :, : i + 1])
        assert np.array_equal(full[:, :, i], part[:, :, 0])


def test_ties_round_to_even_on_both_sides_of_zero():
    s = spec(out_format=Fixed(12, -1), divider=(128, 64), v_format=Fixed(10, 0))  # gain of a single element: 1/2
    v = np.arange(-20, 21)
    got = np.array([s.reference(np.zeros((1, 1, 1, 1), int), np.full((1, 1, 1, 1), i)).item() for i in v])
    assert got.tolist() == [round(Fraction(int(i), 4)) for i in v]


def test_long_rows_keep_their_sum_where_codes_of_eight_bits_lose_it():
    rng = np.random.default_rng(2)
    x = S8.quantise(rng.normal(scale=1.0, size=(1, 1, 100, 1024)))
    ones = np.full((1, 1, 1024, 1), 64)
    context = Fixed(12, 10).to_real(spec(out_format=Fixed(12, 10)).reference(x, ones))
    drawn = E2SoftmaxSpec(S8, (1.0,), out_rounding="floor")
    codes = drawn.out_format.to_real(drawn.reference(x)).sum(axis=-1)
    assert context.min() >= 0.80 and context.max() <= 1.24 and abs(context.mean() - 1) < 0.05
    assert codes.mean() < 0.4


@pytest.mark.parametrize(("std", "band"), [(1.0, 0.198), (2.0, 0.153), (3.0, 0.127)])
def test_distance_of_the_context_is_the_measured_one(std, band):
    rng = np.random.default_rng(4)
    x = S8.quantise(rng.normal(scale=std, size=(1, 1, 200, 197)))
    v = Fixed(12, 8).quantise(rng.normal(size=(1, 1, 197, 64)))
    s = spec(v_format=Fixed(12, 8), out_format=Fixed(16, 12))
    exact, got = s.real(S8.to_real(x), s.v_format.to_real(v)), s.out_format.to_real(s.reference(x, v))
    assert abs(np.linalg.norm(exact - got) / np.linalg.norm(exact) - band) < 0.025


def test_largest_values_do_not_overflow():
    s = spec(v_format=Fixed(16, 0), out_format=Fixed(16, 0))
    x, v = np.zeros((1, 1, 1, 1024), int), np.full((1, 1, 1024, 1), -32768)
    want = e2_context([0] * 1024, v[0, 0], Fraction(23, 256), PAPER_DIVIDER, 0, s.out_format)
    assert s.reference(x, v).ravel().tolist() == want


def test_attributes_round_trip_and_saturations():
    s = spec(slice_length=32, causal=True)
    assert context_types() == ("E2Context",)
    assert context_from_attributes("E2Context", s.to_attributes()) == s
    narrow = spec(out_format=Fixed(4, 6))
    assert narrow.saturations(np.zeros((1, 1, 1, 2), int), np.full((1, 1, 2, 3), 127)) == 3
    with pytest.raises(SpecError, match="Unknown"):
        context_from_attributes("Nothing", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out_format": Fixed(8, 6, signed=False)}, "signed"),
        ({"out_format": Fixed(8, 6, rounding="floor")}, "half to even"),
        ({"v_format": Fixed(17, 6)}, "16 bits"),
        ({"sum_frac": 31, "v_format": Fixed(16, 8)}, "do not fit"),
        ({"out_format": Fixed(8, 40)}, "do not fit"),
        ({"score_scale": (0.3,)}, "folded"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        spec(**options)


def test_bad_values_are_refused():
    x = np.zeros((1, 1, 2, 3), int)
    with pytest.raises(InputError, match="head_dim"):
        spec().reference(x, np.zeros((1, 1, 2, 3), int))
    with pytest.raises(InputError, match="integer"):
        spec().reference(x, np.zeros((1, 1, 3, 2)))
    with pytest.raises(FormatError, match="outside"):
        spec().reference(x, np.full((1, 1, 3, 2), 200))
