# SPDX-License-Identifier: Apache-2.0
"""AILayerNorm: every stage exhaustively, the whole against a scalar model, and the measured error bands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sole_oracles import ailn_row, compress, corner_rows, square

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, norm_from_attributes, norm_types
from hls4attn.models.operators.ailn_stages import (
    dynamic_compress,
    ptf_quantise,
    rsqrt,
    rsqrt_table,
    square_scale,
    square_table,
)

IN, OUT = Fixed(16, 10), Fixed(8, 5)
METHODS = ("paper", "exact", "lut32")


def spec(channels=8, **options) -> AILayerNormSpec:
    vectors = {"gamma": (1.0,) * channels, "beta": (0.0,) * channels, "alpha": (0,) * channels}
    return AILayerNormSpec(options.pop("in_format", IN), options.pop("out_format", OUT), **{**vectors, **options})


def bytes_spec(channels, **options) -> AILayerNormSpec:
    """Its input codes are XQ - 128."""
    return spec(channels, in_format=Fixed(8, 0), **options)


# ---------------------------------------------------------------------------------------------- stages
def test_dynamic_compression_of_every_magnitude():
    y, s = dynamic_compress(np.arange(256))
    assert list(zip(y.tolist(), s.tolist(), strict=True)) == [compress(x) for x in range(256)]
    edges = [0, 2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58]  # smallest magnitude of each low bin
    assert [int(np.argmax(y >= n)) for n in range(16)] == edges
    assert [int(np.argmax((y >= n) & (s == 1))) for n in range(4, 16)] == [64, *range(72, 240, 16)]


@pytest.mark.parametrize("method", METHODS)
def test_squares_of_every_magnitude(method):
    table = np.array(square_table(method)) << square_scale(method)
    assert table.tolist() == [square(x, method) for x in range(256)]


def test_conditional_means_are_the_published_ones():
    table = square_table("lut32")
    low = [0, 1, 4, 8, 15, 24, 35, 47, 62, 79, 98, 118, 141, 166, 193, 229]
    high = [285, 396, 571, 778, 1017, 1288, 1591, 1926, 2293, 2692, 3123, 3709]
    assert [table[x] for x in (0, 2, 6, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50, 54, 58)] == low
    assert [table[x] for x in (64, *range(72, 240, 16))] == high


def test_error_of_the_squares_as_drawn_is_twice_what_the_paper_quotes():
    x = np.arange(256)

    def errors(method):
        second = (np.array(square_table(method)) << square_scale(method)).mean()
        mean = x.mean()
        return second / (x**2).mean() - 1, math.sqrt((second - mean**2) / ((x**2).mean() - mean**2)) - 1

    square_error, std_error = errors("paper")
    assert square_error == pytest.approx(-0.0042, abs=2e-4) and std_error == pytest.approx(-0.0084, abs=2e-4)
    assert abs(errors("lut32")[0]) < 2e-4 and errors("exact") == (0.0, 0.0)
    signed = np.abs(np.arange(-128, 128))
    assert (np.array(square_table("paper"))[signed] * 16).mean() / (signed**2).mean() - 1 == pytest.approx(
        0.0144, abs=2e-4
    )


@pytest.mark.parametrize("sigma", [64, 32, 16, 8, 5])
def test_the_std_error_has_the_sign_of_rounding_and_grows_for_small_codes(sigma):
    x = np.clip(np.rint(np.random.default_rng(0).normal(scale=sigma, size=200_000)), -255, 255).astype(int)
    exact = (x.astype(float) ** 2).mean()
    rounded = np.sqrt(np.array(square_table("paper"))[np.abs(x)].mean() * 16 / exact) - 1
    truncated = np.where(np.abs(x) >= 64, np.abs(x) >> 4 << 4, np.abs(x) >> 2 << 2)
    assert rounded > 0.004 and np.sqrt((truncated.astype(float) ** 2).mean() / exact) - 1 < -0.03
    published = {64: 0.005, 32: 0.010, 16: 0.028, 8: 0.061, 5: 0.107}[sigma]
    assert rounded == pytest.approx(published, abs=0.003 + 0.05 * published)


@pytest.mark.parametrize(
    ("entries", "bits", "worst", "rms"),
    [
        (16, 8, 0.032, 0.014),
        (32, 8, 0.018, 0.0073),
        (64, 9, 0.0095, 0.0037),
        (128, 10, 0.0045, 0.0019),
        (256, 12, 0.0023, 0.0009),
    ],
)
def test_reciprocal_root_for_every_index_and_exponent(entries, bits, worst, rms):
    table = np.array(rsqrt_table(entries, bits))
    assert table.size == entries and table.min() >= 1 << (bits - 1) and table.max() < 1 << bits
    bins = entries // 2
    used = set()
    errors = []
    for p in range(0, 37):
        fine = np.unique(np.linspace(1 << p, (2 << p) - 1, 1024).astype(np.int64))
        v, e = rsqrt(fine, table)
        assert np.all(e == p // 2)
        index = (p % 2) * bins + np.array([math.floor((int(x) - (1 << p)) * bins / (1 << p)) for x in fine])
        assert np.array_equal(v, table[index])
        used |= set(index.tolist())
        if p >= 8:
            errors.append(v * 2.0 ** -(bits + e.astype(float)) * np.sqrt(fine.astype(float)) - 1)
    error = np.concatenate(errors)
    assert used == set(range(entries))
    assert np.abs(error).max() < worst and np.sqrt(np.mean(error**2)) < rms


@pytest.mark.parametrize(("multiplier", "shift"), [(1, 0), (1, 4), (3, 2), (40000, 17)])
def test_input_quantiser_rounds_half_up_on_both_sides_of_zero(multiplier, shift):
    codes = np.arange(-600, 601)
    for alpha in range(4):
        got = ptf_quantise(codes, multiplier, shift, np.array(alpha), 100)
        want = [
            min(max(((2 * int(c) * multiplier + (1 << (shift + alpha))) // (2 << (shift + alpha))) + 100, 0), 255)
            for c in codes
        ]
        assert got.tolist() == want


# ---------------------------------------------------------------------------------------------- whole rows
@settings(max_examples=100, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 3, 7, 16, 33, 100]),
    seed=st.integers(0, 2**32 - 1),
    squares=st.sampled_from(METHODS),
    table=st.sampled_from([(16, 8), (64, 9), (256, 12)]),
    mean_frac=st.integers(0, 7),
    bias_frac=st.integers(0, 6),
    quantiser=st.sampled_from([(1, 0), (1, 5), (51234, 20), (12, 0)]),
    zero_point=st.integers(0, 255),
)
def test_rows_equal_the_scalar_model(channels, seed, squares, table, mean_frac, bias_frac, quantiser, zero_point):
    rng = np.random.default_rng(seed)
    s = spec(
        channels,
        in_format=Fixed(12, 6),
        gamma=tuple(rng.normal(size=channels)),
        beta=tuple(rng.normal(size=channels)),
        alpha=tuple(rng.integers(0, 4, channels)),
        zero_point=zero_point,
        multiplier=quantiser[0],
        shift=quantiser[1],
        squares=squares,
        rsqrt_entries=table[0],
        rsqrt_bits=table[1],
        mean_frac=mean_frac,
        bias_frac=bias_frac,
    )
    codes = np.concatenate(
        [
            corner_rows(channels, -2048, 2047),
            rng.integers(-2048, 2048, (4, channels)),
            rng.integers(-9, 9, (2, channels)),
        ]
    )
    got = s.reference(codes)
    for row, want in zip(codes, got, strict=True):
        assert ailn_row(s, row) == want.tolist()


@pytest.mark.parametrize("channels", [1, 5, 64, 1000, 1024])
@pytest.mark.parametrize("squares", METHODS)
def test_constant_rows_give_beta(channels, squares):
    beta = np.linspace(-2, 2, channels)
    s = bytes_spec(channels, beta=tuple(beta), squares=squares)
    for value in (-128, -1, 0, 1, 127):
        got = OUT.to_real(s.reference(np.full((1, channels), value)))
        assert np.abs(got - beta).max() <= OUT.step / 2 + 2.0**-10


@pytest.mark.parametrize("squares", METHODS)
def test_the_longest_row_at_full_scale(squares):
    s = bytes_spec(1024, alpha=(3,) * 1024, squares=squares, zero_point=0, mean_frac=7)
    codes = np.tile(np.array([127, -128]), 512).reshape(1, -1)  # XQ of 127 and (clipped) 0
    assert s.reference(codes)[0].tolist() == ailn_row(s, codes[0])


# ---------------------------------------------------------------------------------------------- spec
def test_attributes_round_trip():
    s = spec(3, gamma=(0.3, -1.0, 1e-9), beta=(0.1, 0.0, -1.0), alpha=(0, 3, 1), squares="lut32", multiplier=7, shift=9)
    assert {"AILayerNorm", "IntegerLayerNorm"} <= set(norm_types())
    attributes = s.to_attributes()
    assert norm_from_attributes("AILayerNorm", attributes) == s
    with pytest.raises(SpecError, match="does not follow"):
        norm_from_attributes("AILayerNorm", attributes | {"gamma_codes": np.zeros(3, int)})
    with pytest.raises(SpecError, match="Unknown"):
        norm_from_attributes("BatchNorm", attributes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": (0,) * 7 + (4,)}, "alpha must be 0 to 3"),
        ({"alpha": (-1,) + (0,) * 7}, "alpha must be 0 to 3"),
        ({"alpha": (0,)}, "alpha must be 8"),
        ({"beta": (float("inf"),) * 8}, "finite"),
        ({"zero_point": 256}, "zero_point"),
        ({"multiplier": 0}, "multiplier"),
        ({"shift": 32}, "shift"),
        ({"squares": "half"}, "squares"),
        ({"rsqrt_entries": 48}, "rsqrt_entries"),
        ({"rsqrt_bits": 20}, "rsqrt_bits"),
        ({"mean_frac": 8}, "mean_frac"),
        ({"bias_frac": 7}, "bias_frac"),
        ({"gamma_bits": 2}, "gamma_bits"),
        ({"out_format": Fixed(8, 5, signed=False)}, "out_format"),
        ({"out_format": Fixed(8, 5, overflow="wrap")}, "out_format"),
        ({"in_format": Fixed(25, 5)}, "24 bits"),
        ({"gamma": (1e4,) * 8}, "too large"),
        ({"beta": (1e6,) * 8}, "too large"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        spec(**options).to_attributes()


def test_bad_lengths_and_codes_are_refused():
    for channels in (0, 1025):
        with pytest.raises(SpecError, match="1 to 1024"):
            spec(channels)
    with pytest.raises(InputError, match="channels=8"):
        spec().reference(np.zeros((2, 7), int))
    with pytest.raises(InputError, match="integer"):
        spec().reference(np.zeros((2, 8)))
    with pytest.raises(FormatError, match="outside"):
        spec().reference(np.full((2, 8), 40000))


def test_saturations_are_counted():
    s = bytes_spec(4, gamma=(7.0,) * 4)
    codes = np.array([[-100, 0, 0, 100]])
    assert s.saturations(codes) == int(np.isin(s.reference(codes), (-128, 127)).sum()) == 2
