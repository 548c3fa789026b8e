# SPDX-License-Identifier: Apache-2.0
"""AILayerNorm: calibration, and distances to the float LayerNorm."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hls4attn.models.errors import InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec
from hls4attn.models.operators.norm_base import layer_norm
from hls4attn.models.operators.ptf import calibrate_ptf

IN, OUT = Fixed(16, 10), Fixed(8, 5)
METHODS = ("paper", "exact", "lut32")


def spec(channels=8, **options) -> AILayerNormSpec:
    vectors = {"gamma": (1.0,) * channels, "beta": (0.0,) * channels, "alpha": (0,) * channels}
    return AILayerNormSpec(options.pop("in_format", IN), options.pop("out_format", OUT), **{**vectors, **options})


def bytes_spec(channels, **options) -> AILayerNormSpec:
    """Its input codes are XQ - 128."""
    return spec(channels, in_format=Fixed(8, 0), **options)


def _sqnr(reference, result):
    return 10 * np.log10((reference**2).sum() / ((reference - result) ** 2).sum())


@pytest.mark.parametrize("power_of_two", [True, False])
@pytest.mark.parametrize("outlier", [1, 10, 30])
@pytest.mark.parametrize("squares", METHODS)
def test_distance_to_the_float_function_is_in_the_measured_band(outlier, squares, power_of_two):
    rng = np.random.default_rng(outlier)
    channels = 768
    scale = np.where(rng.random(channels) < 0.01, float(outlier), 1.0)
    x = rng.normal(size=(197, channels)) * scale
    gamma, beta = rng.normal(1.0, 0.2, channels), rng.normal(0.0, 0.1, channels)
    fmt = Fixed(20, 12)
    found = calibrate_ptf(x, fmt, power_of_two)
    out = Fixed(8, math.floor(math.log2(127 / np.abs(layer_norm(x, gamma, beta)).max())))
    s = AILayerNormSpec(fmt, out, gamma, beta, found.alpha, found.zero_point, found.multiplier, found.shift, squares)
    codes = fmt.quantise(x)
    exact, got = s.real(x), out.to_real(s.reference(codes))
    dequantised = np.ldexp((s.quantise(codes) - s.zero_point).astype(float), np.array(s.alpha)) * s.step
    best = out.to_real(out.quantise(s.real(dequantised)))
    assert _sqnr(exact, got) > _sqnr(exact, best) - 2.0
    cosine = (exact * got).sum(-1) / np.sqrt((exact**2).sum(-1) * (got**2).sum(-1))
    assert cosine.min() > 0.99 and cosine.mean() > 0.997
    _, variance = s.statistics(s.quantise(codes))
    std = np.sqrt(variance[:, 0]) / (1 << s.mean_frac) * s.step / dequantised.std(axis=-1) - 1
    assert abs(std.mean()) < 0.03 and np.abs(std).max() < 0.10


def test_power_of_two_factors_help_where_channels_differ():
    rng = np.random.default_rng(11)
    x = rng.normal(size=(197, 384)) * np.where(rng.random(384) < 0.02, 30.0, 1.0)
    fmt = Fixed(20, 12)
    found = calibrate_ptf(x, fmt)
    assert set(found.alpha) >= {0, 3} or len(set(found.alpha)) > 1

    def error(alpha, shift):
        s = spec(384, in_format=fmt, out_format=Fixed(8, 3), alpha=alpha, zero_point=found.zero_point, shift=shift)
        return _sqnr(s.real(x), s.out_format.to_real(s.reference(fmt.quantise(x))))

    assert error(found.alpha, found.shift) > error((0,) * 384, found.shift + 3) + 2


def test_calibration_covers_the_range_and_takes_arbitrary_steps():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 16)) + 2.0
    for power_of_two in (True, False):
        found = calibrate_ptf(x, IN, power_of_two)
        s = spec(16, alpha=found.alpha, zero_point=found.zero_point, multiplier=found.multiplier, shift=found.shift)
        back = np.ldexp((s.quantise(IN.quantise(x)) - s.zero_point).astype(float), np.array(s.alpha)) * s.step
        assert np.abs(back - x).max() <= s.step * 4 + IN.step
        assert (found.multiplier == 1) == power_of_two
    for bad in (np.zeros((4, 4)), np.full((4, 4), np.nan), np.ones(4), np.ones((0, 4))):
        with pytest.raises(InputError, match="Calibration"):
            calibrate_ptf(bad, IN)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (2.0**-10, (1, 0)),
        (2.0**-6, (1, 4)),
        (2.0**-12, (4, 0)),
        (3 * 2.0**-10, None),
        (0.01, None),
        (2.0**-25, (32768, 0)),
    ],
)
def test_steps_become_a_multiplier_and_a_shift(step, expected):
    multiplier, shift = AILayerNormSpec.step_constants(step, IN)
    assert expected is None or (multiplier, shift) == expected
    assert 2.0**shift / multiplier * IN.step == pytest.approx(step, rel=2.0**-15)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf"), 2.0**-60, 2.0**60])
def test_bad_steps_are_refused(step):
    with pytest.raises(SpecError, match="step"):
        AILayerNormSpec.step_constants(step, IN)
