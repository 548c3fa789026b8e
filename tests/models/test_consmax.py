# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec
from hls4attn.models.operators.distance import distance

HEADS = dict(beta=(1.0, -0.5), gamma=(8.0, 20.0), score_scale=(0.25, 0.3), out_frac=(8, 10))


def every_code(spec):
    codes = np.arange(spec.in_format.min, spec.in_format.max + 1)
    return np.broadcast_to(codes, (spec.heads, 1, codes.size))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(2, 10),
    frac=st.integers(0, 6),
    beta=st.floats(-2, 3),
    gamma=st.floats(0.5, 200),
    scale=st.floats(0.05, 1),
    out_frac=st.integers(0, 12),
    out_width=st.integers(4, 12),
)
def test_every_entry_is_the_correctly_rounded_exponential(width, frac, beta, gamma, scale, out_frac, out_width):
    spec = ConSmaxSpec(Fixed(width, frac), (beta,), (gamma,), (scale,), (out_frac,), out_width)
    codes = every_code(spec)
    exact = np.exp(scale * codes * 2.0**-frac - beta) / gamma * 2.0**out_frac
    limited = np.minimum(exact, 2**out_width - 1)
    assert np.all(np.abs(spec.reference(codes) - limited) <= 0.5 + 1e-9)
    assert spec.saturations(codes) == np.count_nonzero(np.rint(exact) > 2**out_width - 1)


def test_constant_is_exp_of_minus_beta_over_gamma():
    """Equation 3 of the paper prints -exp(beta)/gamma; that would be negative."""
    spec = ConSmaxSpec(Fixed(8, 4), (2.5,), (100.0,), (1.0,), (16,), 16)
    at_zero = spec.out_format.to_real(spec.reference(np.zeros((1, 1, 1), dtype=int)))
    assert float(at_zero.item()) == pytest.approx(np.exp(-2.5) / 100, abs=2.0**-17)


def test_saturates_and_never_wraps():
    spec = ConSmaxSpec(Fixed(8, 3), (0.0,), (1.0,), (1.0,), (8,))
    table = spec.table[0]
    assert np.all(np.diff(table) >= 0)
    assert table[-1] == 255
    assert spec.saturations(every_code(spec)) == np.count_nonzero(table == 255)


def test_heads_with_different_exponents_share_one_grid():
    spec = ConSmaxSpec(Fixed(8, 4), **HEADS)
    codes = np.broadcast_to(every_code(spec), (2, 1, 256))
    got = spec.out_format.to_real(spec.reference(codes))
    for head, frac in enumerate(spec.out_frac):
        alone = ConSmaxSpec(Fixed(8, 4), (spec.beta[head],), (spec.gamma[head],), (spec.score_scale[head],), (frac,))
        assert np.array_equal(got[head], alone.out_format.to_real(alone.reference(codes[:1]))[0])


def test_masked_entries_are_zero_and_nothing_is_renormalised():
    free, masked = (ConSmaxSpec(Fixed(8, 4), causal=c, **HEADS) for c in (False, True))
    codes = np.random.default_rng(0).integers(-128, 128, (3, 2, 6, 6))
    lower = np.tri(6, dtype=bool)
    assert np.array_equal(masked.reference(codes), free.reference(codes) * lower)


def test_row_sums_follow_the_float_function():
    """A gain error is invisible to a cosine; the sum over a row shows it."""
    for cls in (ConSmaxSpec, ConSmaxSplitSpec):
        spec = cls(Fixed(8, 4), **HEADS)
        codes = np.random.default_rng(1).normal(0, 16, (50, 2, 8, 64)).round().clip(-128, 127).astype(int)
        assert 0.99 < distance(spec, codes).gain < 1.01


@pytest.mark.parametrize("bits", [8, 11])
def test_split_table_stays_within_its_mantissas_precision(bits):
    spec = ConSmaxSplitSpec(Fixed(8, 4), mantissa_bits=bits, **HEADS)
    exact = np.minimum(spec._rounded(spec.real(spec.in_format.to_real(every_code(spec)))), 255)[:, 0]
    relative = 2 * 2.0**-bits  # two rounded mantissas
    assert np.all(np.abs(spec.table - exact) <= 1 + exact * relative)
    assert distance(spec, every_code(spec)).max_steps < 0.51 + 256 * relative


def test_sixteen_bit_scores_take_two_levels():
    spec = ConSmaxSplitSpec(Fixed(16, 12), mantissa_bits=15, out_width=16, **{**HEADS, "out_frac": (16, 16)})
    assert spec.tables.mantissa.shape == (4, 2, 16)
    exact = np.minimum(spec._rounded(spec.real(spec.in_format.to_real(every_code(spec)))), 65535)[:, 0]
    assert np.abs(spec.table - exact).max() <= 1 + 65535 * 4 * 2.0**-15


@pytest.mark.parametrize("spec", [ConSmaxSpec(Fixed(8, 4), **HEADS), ConSmaxSplitSpec(Fixed(8, 4), **HEADS)])
def test_attributes_are_loss_free_and_guarded(spec):
    attributes = spec.to_attributes()
    assert type(spec).from_attributes(attributes) == spec
    for name, change in (("beta", np.array([1.0, 1.0])), ("first_entry", attributes["first_entry"] + 1)):
        with pytest.raises(SpecError, match="does not follow from"):
            type(spec).from_attributes({**attributes, name: change})
    with pytest.raises(SpecError, match="unknown or missing attributes \\['surprise'\\]"):
        type(spec).from_attributes({**attributes, "surprise": 1})
    del attributes["gamma"]
    with pytest.raises(SpecError, match="attributes missing: \\['gamma'\\]"):
        type(spec).from_attributes(attributes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(gamma=(0.0, 1.0)), "gamma and score_scale must be positive"),
        (dict(gamma=(1.0,)), "must be one finite number or 2"),
        (dict(beta=(float("nan"), 0.0)), "must be one finite number"),
        (dict(out_frac=(8.5, 8)), "out_frac must be integers"),
        (dict(out_width=1), "out_width must be 2 to 16"),
        (dict(in_format=Fixed(16, 8)), "use the split form"),
        (dict(in_format=Fixed(8, 4, signed=False)), "takes signed scores"),
    ],
)
def test_impossible_parameters_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        ConSmaxSpec(**{"in_format": Fixed(8, 4), **HEADS, **change})


def test_wrong_scores_are_refused():
    spec = ConSmaxSpec(Fixed(8, 4), causal=True, **HEADS)
    with pytest.raises(InputError, match="integer codes. Received: dtype=float64"):
        spec.reference(np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="heads=2"):
        spec.reference(np.zeros((3, 4, 4), dtype=int))
    with pytest.raises(InputError, match="as many rows as columns"):
        spec.reference(np.zeros((2, 4, 5), dtype=int))
    with pytest.raises(FormatError, match="Received: \\[128, 128\\]"):
        spec.reference(np.full((2, 4, 4), 128))
