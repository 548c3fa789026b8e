# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import SoftmaxSpec
from hls4attn.models.operators.distance import distance

SPEC = SoftmaxSpec(Fixed(8, 4), (0.25, 0.5))


def scores(rows):
    return np.broadcast_to(np.asarray(rows, dtype=np.int64), (2, *np.shape(rows)))


def test_never_further_from_the_float_function_than_its_bound():
    """Half a step of the last rounding, 2**-(guard+1) of the reciprocal, and the table's own rounding."""
    codes = np.random.default_rng(0).integers(-128, 128, (200, 2, 4, 64))
    assert distance(SPEC, codes).max_steps < 0.5 + 2.0**-4 + 0.05
    assert 0.98 < distance(SPEC, codes).gain < 1.02


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([5, 5, 5, 5], [64, 64, 64, 64]),
        ([-128, 127, -128, -128], [0, 255, 0, 0]),
        ([127] * 16, [16] * 16),
        ([3], [255]),
        ([-128] * 256, [1] * 256),
    ],
)
def test_rows_known_by_hand(row, expected):
    assert SPEC.reference(scores([row]))[1, 0].tolist() == expected


def test_largest_last_reverses_with_the_row():
    row = np.arange(-60, 61, 3)
    up, down = SPEC.reference(scores([row]))[0, 0], SPEC.reference(scores([row[::-1]]))[0, 0]
    assert np.array_equal(up, down[::-1])
    assert np.all(np.diff(up) >= 0)


def test_causal_rows_see_only_the_past():
    causal = SoftmaxSpec(Fixed(8, 4), (0.25, 0.5), causal=True)
    codes = np.random.default_rng(2).integers(-128, 128, (20, 2, 7, 7))
    got = causal.reference(codes)
    for i in range(7):
        assert np.array_equal(got[..., i, : i + 1], SPEC.reference(codes[..., i : i + 1, : i + 1])[..., 0, :])
        assert not got[..., i, i + 1 :].any()


def test_a_single_certain_entry_saturates_and_is_counted():
    assert SPEC.saturations(scores([[-128, 127]])) == 1  # the head with the larger scale


def test_attributes_are_loss_free_and_guarded():
    assert SoftmaxSpec.from_attributes(SPEC.to_attributes()) == SPEC
    with pytest.raises(SpecError, match="'table' does not follow"):
        SoftmaxSpec.from_attributes({**SPEC.to_attributes(), "table": SPEC.to_attributes()["table"] + 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(score_scale=(0.0,)), "score_scale must be positive"),
        (dict(exp_frac=30), "exp_frac must be 4 to 20"),
        (dict(max_length=0), "max_length must be 1 to 4096"),
        (dict(in_format=Fixed(16, 4)), "2 to 12 bits"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        SoftmaxSpec(**{"in_format": Fixed(8, 4), "score_scale": (0.25,), **change})


def test_rows_longer_than_the_adder_are_refused():
    spec = SoftmaxSpec(Fixed(8, 4), (0.25,), max_length=8)
    with pytest.raises(SpecError, match="row of 9 scores, max_length=8"):
        spec.reference(np.zeros((1, 1, 9), dtype=int))
