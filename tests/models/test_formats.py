# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls4attn.models.errors import FormatError
from hls4attn.models.formats import Fixed, covering, exact_product_format, exact_sum_format, shift_round

formats = st.builds(
    Fixed,
    width=st.integers(2, 20),
    frac=st.integers(-4, 24),
    signed=st.booleans(),
    rounding=st.sampled_from(["half_even", "half_up", "floor"]),
    overflow=st.sampled_from(["saturate", "saturate_symmetric", "wrap"]),
)


def rounded(value: Fraction, mode: str) -> int:
    if mode == "half_even":
        return round(value)
    return floor(value + Fraction(1, 2)) if mode == "half_up" else floor(value)


@given(st.integers(-(2**40), 2**40), st.integers(-10, 70), st.sampled_from(["half_even", "half_up", "floor"]))
def test_shift_round_is_exact_rational_rounding(code, shift, mode):
    assert int(shift_round(code, shift, mode)) == rounded(Fraction(code) / Fraction(2) ** shift, mode)


@given(formats, st.integers(-(2**24), 2**24), st.integers(-4, 24))
def test_requantise_rounds_once_then_limits(fmt, code, frac):
    whole = rounded(Fraction(code) * Fraction(2) ** (fmt.frac - frac), fmt.rounding)
    got = int(fmt.requantise(code, frac))
    if fmt.overflow == "wrap":
        assert (got - whole) % 2**fmt.width == 0
        assert fmt.min <= got <= fmt.max
    else:
        assert got == min(max(whole, fmt.min), fmt.max)
    assert fmt.saturations(code, frac) == (not fmt.min <= whole <= fmt.max)


@given(formats, st.floats(-(2.0**20), 2.0**20, width=32))
def test_quantise_of_floats_agrees_with_requantise_of_their_exact_codes(fmt, value):
    exact = Fraction(value)
    frac = exact.denominator.bit_length() - 1
    if abs(exact.numerator) < 2**40 and frac <= 30:
        assert int(fmt.quantise(value)) == int(fmt.requantise(exact.numerator, frac))


@given(formats)
def test_text_form_is_loss_free(fmt):
    assert Fixed.parse(str(fmt)) == fmt


@given(formats)
def test_codes_survive_the_way_through_real_values(fmt):
    codes = np.unique(np.linspace(fmt.min, fmt.max, 50).astype(np.int64))
    assert np.array_equal(fmt.quantise(fmt.to_real(codes)), codes)


@given(formats, formats, st.integers(1, 100))
def test_exact_formats_hold_every_extreme(a, b, terms):
    product = exact_product_format(a, b)
    extremes = [x * y for x in (a.min, a.max) for y in (b.min, b.max)]
    assert product.contains(extremes)
    total = exact_sum_format(terms, a)
    assert total.contains([terms * a.min, terms * a.max])
    assert (
        not Fixed(max(total.width - 1, 1 + total.signed), total.frac, total.signed).contains(
            [terms * a.min, terms * a.max]
        )
        or total.width <= 2
    )


def test_covering_is_the_narrowest():
    assert covering(-128, 127, 0).width == 8
    assert covering(-129, 0, 0).width == 9
    assert covering(0, 255, 3) == Fixed(8, 3, signed=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Fixed(0, 0), "Fixed width must be 1 to 62"),
        (lambda: Fixed(63, 0), "Received: width=63"),
        (lambda: Fixed(1, 0), "at least 2 bits"),
        (lambda: Fixed(8, 0, rounding="up"), "rounding must be one of"),
        (lambda: Fixed(8, 0, overflow="clip"), "overflow must be one of"),
        (lambda: Fixed.parse("int8"), "Received: 'int8'"),
        (lambda: Fixed(8, 0).quantise([1.0, float("nan")]), "1 of 2 values are NaN"),
        (lambda: shift_round(2**50, -20), "Left shift by 20"),
    ],
)
def test_illegal_use_is_refused(build, message):
    with pytest.raises(FormatError, match=message):
        build()
