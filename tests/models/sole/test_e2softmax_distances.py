# SPDX-License-Identifier: Apache-2.0
"""E2Softmax: distances to the float softmax, and the bands that row sums stay in."""

from __future__ import annotations

import numpy as np
import pytest

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2SoftmaxSpec
from hls4attn.models.operators.e2stages import PAPER_DIVIDER, divide, leading_one

S8 = Fixed(8, 4)
WIDE = {"out_width": 16, "out_frac": 16}


def spec(**options) -> E2SoftmaxSpec:
    return E2SoftmaxSpec(options.pop("in_format", S8), options.pop("score_scale", (1.0,)), **options)


def gaussian(rows, cols, std, seed=0, fmt=S8):
    return fmt.quantise(np.random.default_rng(seed).normal(scale=std, size=(1, 1, rows, cols)))


# ---------------------------------------------------------------------------------------------- distances
@pytest.mark.parametrize("cols", [16, 64, 197, 1024])
@pytest.mark.parametrize("std", [1.0, 2.0, 3.0])
def test_row_sums_stay_within_their_bands(cols, std):
    x = gaussian(300, cols, std, seed=cols)
    for slice_length, low, high in ((0, 0.80, 1.24), (32, 0.45, 1.9)):
        s = spec(slice_length=slice_length, **WIDE)
        sums = s.out_format.to_real(s.reference(x)).sum(axis=-1)
        assert low <= sums.min() and sums.max() <= high
        assert abs(sums.mean() - 1) < 0.08


def test_a_swapped_mux_shows_in_the_row_sums_though_not_in_the_direction():
    k, total = spec().unnormalised(gaussian(500, 197, 2.0))
    ks, q = leading_one(total, 15, 1)
    right, swapped = (divide(k, ks, q, c, 8, 16, 65535, True) / 65536 for c in (PAPER_DIVIDER, PAPER_DIVIDER[::-1]))
    assert right.sum(-1).min() >= 0.80 and right.sum(-1).max() <= 1.24
    assert swapped.sum(-1).min() < 0.70 or swapped.sum(-1).max() > 1.4
    cosine = (right * swapped).sum(-1) / np.sqrt((right**2).sum(-1) * (swapped**2).sum(-1))
    assert cosine.min() > 0.999
    with pytest.raises(SpecError, match="swapped"):
        spec(divider=PAPER_DIVIDER[::-1])


@pytest.mark.parametrize(
    ("slice_length", "std", "distance_band"),
    [(0, 1, 0.091), (0, 2, 0.083), (0, 3, 0.073), (32, 1, 0.099), (32, 2, 0.089), (32, 3, 0.076)],
)
def test_distance_to_the_float_function_is_the_measured_one(slice_length, std, distance_band):
    fmt = Fixed(8, 3 if std == 3 else 4)  # the largest score still fits
    x = gaussian(400, 197, float(std), seed=7, fmt=fmt)
    s = spec(in_format=fmt, slice_length=slice_length, **WIDE)
    p, q = s.real(fmt.to_real(x)), s.out_format.to_real(s.reference(x))
    total_variation = 0.5 * np.abs(p - q).sum(axis=-1).mean()
    cosine = (p * q).sum(-1) / np.sqrt((p**2).sum(-1) * (q**2).sum(-1))
    assert abs(total_variation - distance_band) < 0.004
    assert cosine.mean() >= 0.975 and cosine.min() >= 0.95


def test_four_bits_are_the_knee():
    fmt = Fixed(8, 3)
    x = gaussian(300, 197, 3.0, seed=3, fmt=fmt)
    p = spec(in_format=fmt).real(fmt.to_real(x))

    def error(width):
        s = spec(in_format=fmt, code_width=width, sum_frac=20, **WIDE)
        return 0.5 * np.abs(p - s.out_format.to_real(s.reference(x))).sum(axis=-1).mean()

    three, four, five = (error(w) for w in (3, 4, 5))
    assert three > 3 * four and abs(four - five) < 1e-3
