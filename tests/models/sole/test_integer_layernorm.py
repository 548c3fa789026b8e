# SPDX-License-Identifier: Apache-2.0
"""The exact integer LayerNorm: against plain Python integers, and half a step from the float function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sole_oracles import corner_rows, layernorm_row

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import IntegerLayerNormSpec, norm_from_attributes
from hls4attn.models.operators.layernorm import integer_sqrt

IN, OUT = Fixed(8, 4), Fixed(8, 5)


def spec(channels=8, **options) -> IntegerLayerNormSpec:
    vectors = {"gamma": (1.0,) * channels, "beta": (0.0,) * channels}
    return IntegerLayerNormSpec(options.pop("in_format", IN), options.pop("out_format", OUT), **{**vectors, **options})


def test_square_root_around_every_square():
    roots = np.unique(np.concatenate([np.arange(1, 3000), (1 << np.arange(1, 20)), (1 << np.arange(2, 20)) - 1]))
    x = np.concatenate([roots**2 - 1, roots**2, roots**2 + 1])
    assert integer_sqrt(x, 20).tolist() == [math.isqrt(int(v)) for v in x]


@settings(max_examples=100, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 3, 17, 64, 100]),
    width=st.integers(4, 16),
    seed=st.integers(0, 2**32 - 1),
    root_bits=st.integers(8, 20),
    rsqrt_bits=st.integers(8, 20),
    bias_frac=st.integers(0, 6),
)
def test_rows_equal_the_scalar_model(channels, width, seed, root_bits, rsqrt_bits, bias_frac):
    rng = np.random.default_rng(seed)
    fmt = Fixed(width, 3)
    s = spec(
        channels,
        in_format=fmt,
        gamma=tuple(rng.normal(size=channels)),
        beta=tuple(rng.normal(size=channels)),
        root_bits=root_bits,
        rsqrt_bits=rsqrt_bits,
        bias_frac=bias_frac,
    )
    codes = np.concatenate(
        [
            corner_rows(channels, fmt.min, fmt.max),
            rng.integers(fmt.min, fmt.max + 1, (4, channels)),
            rng.integers(-2, 2, (2, channels)),
        ]
    )
    for row, got in zip(codes, s.reference(codes), strict=True):
        assert layernorm_row(s, row) == got.tolist()


@pytest.mark.parametrize("gamma_bits", [8, 12])
def test_the_widest_and_longest_rows_do_not_overflow(gamma_bits):
    rng = np.random.default_rng(0)
    fmt = Fixed(16, 8)
    s = spec(1024, in_format=fmt, root_bits=20, rsqrt_bits=20, bias_frac=6, gamma_bits=gamma_bits, gamma=(3.97,) * 1024)
    hot = np.full(1024, fmt.min)
    hot[5] = fmt.max
    codes = np.stack(
        [hot, -1 - hot, rng.integers(fmt.min, fmt.max + 1, 1024), np.where(np.arange(1024) < 512, fmt.min, fmt.max)]
    )
    for row, got in zip(codes, s.reference(codes), strict=True):
        assert layernorm_row(s, row) == got.tolist()


@pytest.mark.parametrize("channels", [3, 32, 384, 1024])
def test_distance_to_the_float_function_is_half_a_step(channels):
    rng = np.random.default_rng(channels)
    codes = np.clip(np.rint(rng.normal(scale=40, size=(200, channels))), -128, 127).astype(np.int64)
    s = spec(channels)
    error = np.abs(s.out_format.to_real(s.reference(codes)) - s.real(IN.to_real(codes))) / OUT.step
    inside = np.abs(s.real(IN.to_real(codes))) < 3.9
    assert error[inside].max() < 0.52
    assert spec(channels, root_bits=8, rsqrt_bits=8).reference(codes).shape == codes.shape


@pytest.mark.parametrize("channels", [1, 3, 1000])
def test_constant_rows_give_beta(channels):
    beta = np.linspace(-3, 3, channels)
    got = spec(channels, beta=tuple(beta)).reference(np.stack([np.full(channels, v) for v in (-128, 0, 127)]))
    assert np.abs(OUT.to_real(got) - beta).max() <= OUT.step / 2 + 2.0**-9


def test_attributes_round_trip():
    s = spec(2, gamma=(0.5, -2.0), root_bits=12)
    assert norm_from_attributes("IntegerLayerNorm", s.to_attributes()) == s
    with pytest.raises(SpecError, match="missing"):
        norm_from_attributes("IntegerLayerNorm", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_format": Fixed(17, 4)}, "16 bits"),
        ({"root_bits": 21}, "root_bits"),
        ({"rsqrt_bits": 7}, "rsqrt_bits"),
        ({"gamma": (1.0,) * 7}, "beta must be 7"),
        ({"gamma": (1e7,) * 8}, "too large"),
        ({"out_format": Fixed(20, 5)}, "out_format"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        spec(**options)


def test_bad_codes_are_refused():
    with pytest.raises(InputError, match="channels=8"):
        spec().reference(np.zeros(7, int))
    with pytest.raises(FormatError, match="outside"):
        spec().reference(np.full((1, 8), 128))
