# SPDX-License-Identifier: Apache-2.0
"""The one rounding of the kernels against `Fixed.requantise`: every mode, every code of a narrow source."""

from __future__ import annotations

import ctypes
import hashlib
import re
from functools import cache
from itertools import product

import numpy as np
import pytest

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.emit import cpp_type
from hls4attn.models.errors import ToolError
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed

EXACT_WIDTHS = ("HLS4ATTN_EXACT_WIDTHS",)
ROUNDINGS = ("half_even", "half_up", "floor")
OVERFLOWS = ("saturate", "saturate_symmetric", "wrap")

#: width and fraction bits of the source, width and fraction bits of the result
PAIRS = [
    (8, 3, 8, 3),  # nothing to do but the overflow
    (12, 6, 8, 3),  # the common case
    (12, 6, 4, 5),  # one bit
    (9, 2, 12, 5),  # widening that fits
    (9, 2, 6, 5),  # widening that does not
    (6, 0, 4, 7),  # more zeros than the result has bits
    (6, -3, 8, -5),  # negative fraction bits
    (6, -3, 8, 2),
    (10, 12, 2, 3),  # all but one bit
    (10, 12, 5, 2),  # as many as the source has
    (10, 12, 5, 1),  # more
    (10, 30, 5, -30),  # many more than an int has
    (2, 5, 4, 4),
    (30, 20, 8, 6),  # sums of 31 and 32 bits: the last ones of an int
    (31, 20, 31, 18),
    (32, 12, 16, 2),
    (32, 12, 30, 14),
    (33, 12, 9, 1),  # and what needs 64
    (40, 3, 62, 20),
    (63, 40, 20, 4),
    (64, 31, 33, 0),
    (64, 31, 62, 60),
    (20, 0, 62, 128),
]
CASES = [
    (width, frac, Fixed(to_width, to_frac, signed, rounding, overflow))  # type: ignore[arg-type]
    for (width, frac, to_width, to_frac), signed, rounding, overflow in product(
        PAIRS, (True, False), ROUNDINGS, OVERFLOWS
    )
] + [(5, 2, Fixed(1, frac, False, r, o)) for frac, r, o in product((-1, 1, 2, 4), ROUNDINGS, OVERFLOWS)]  # type: ignore[arg-type]

_SOURCE = """#include "attn_requantise.h"
template <class res_T, int WIDTH, int FRAC> void convert(const long long *codes, long long *y, long long *z, long n) {{
    for (long i = 0; i < n; i++) {{
        typename hls4attn::integer<WIDTH>::type code = codes[i];
        y[i] = (long long)(hls4attn::requantise_code<res_T, WIDTH, FRAC>(code));
        z[i] = (long long)(hls4attn::raw(hls4attn::requantise<res_T, WIDTH, FRAC>(code)));
    }}
}}
typedef void (*convert_t)(const long long *, long long *, long long *, long);
static const convert_t table[] = {{{entries}}};
{export} void run(int k, const long long *codes, long long *y, long long *z, long n) {{
    table[k](codes, y, z, n);
}}
"""


@cache
def bench(defines: tuple[str, ...], every: int) -> ctypes.CDLL:
    """The compiled conversions of one case in `every`; those of exact widths take the compiler a minute."""
    entries = ",\n".join(f"convert<{cpp_type(fmt)}, {width}, {frac}>" for width, frac, fmt in CASES[::every])
    text = _SOURCE.format(entries=entries, export=EXPORT)
    path = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
    atomic_write(path, text.encode())
    return ctypes.CDLL(str(compile_library(path, (include_dir(), ap_types_dir()), defines)))


def run(defines: tuple[str, ...], k: int, codes: Codes, every: int = 1) -> Codes:
    """Results of case `k`, one of those that were compiled."""
    y, z = np.empty_like(codes), np.empty_like(codes)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (codes, y, z)]
    bench(defines, every).run(k // every, *pointers, ctypes.c_long(len(codes)))
    assert np.array_equal(y, z)  # the code, and the type that has it
    return y


def source_codes(width: int, frac: int, fmt: Fixed) -> Codes:
    """All of a narrow source; else the ends, zero, ties and limits of the result with their neighbours, and more."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    if width <= 12:
        return np.arange(low, high + 1)
    rng = np.random.default_rng(width + frac)
    dropped = frac - fmt.frac
    step, half = 1 << max(dropped, 0), (1 << max(dropped, 1)) // 2
    edges = [low, high, 0, *(c * step >> max(-dropped, 0) for c in (fmt.min, fmt.max, fmt.min - 1, fmt.max + 1))]
    ties = [int(n) * step + half for n in rng.integers(-20, 20, 30)]
    near = [c + d for c in edges + ties for d in (-1, 0, 1)]
    wide = [int(n) >> int(s) for n, s in zip(rng.integers(low, high, 500), rng.integers(0, width, 500), strict=True)]
    return np.array([c for c in near + wide if low <= c <= high], dtype=np.int64)


def exact(codes: Codes, frac: int, fmt: Fixed) -> Codes:
    """`Fixed.requantise` on integers without bounds, for sources and shifts that leave int64."""
    values = []
    for code in codes.tolist():
        dropped = frac - fmt.frac
        whole, rest = divmod(code * (1 << max(-dropped, 0)), 1 << max(dropped, 0))
        twice, one = 2 * rest, 1 << max(dropped, 0)
        if fmt.rounding != "floor" and (twice > one or (twice == one and (fmt.rounding == "half_up" or whole & 1))):
            whole += 1
        if fmt.overflow == "wrap":
            whole = (whole - fmt.min) % (1 << fmt.width) + fmt.min
        values.append(min(max(whole, fmt.min), fmt.max))
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("defines", "every"),
    [
        pytest.param((), 1, id="native"),
        pytest.param(EXACT_WIDTHS, 5, id="exact_widths-some"),  # no divisor of the modes: all of them have their turn
        pytest.param(EXACT_WIDTHS, 1, id="exact_widths", marks=pytest.mark.slow),
    ],
)
@pytest.mark.compile
def test_every_mode_between_many_formats(defines: tuple[str, ...], every: int) -> None:
    compared = 0
    for k in range(0, len(CASES), every):
        width, frac, fmt = CASES[k]
        codes = source_codes(width, frac, fmt)
        expected = exact(codes, frac, fmt)
        if width - min(frac - fmt.frac, 0) <= 61:  # the reference refuses what leaves 62 bits
            assert np.array_equal(fmt.requantise(codes, frac), expected)
        found = run(defines, k, codes, every)
        wrong = np.flatnonzero(found != expected)
        assert wrong.size == 0, (width, frac, str(fmt), codes[wrong[:5]], found[wrong[:5]], expected[wrong[:5]])
        compared += codes.size
    assert compared * every > 200_000


@pytest.mark.compile
def test_the_comparison_can_fail() -> None:
    """The modes differ on these codes: another one's result is not accepted."""
    for k, (width, frac, fmt) in enumerate(CASES):
        if (width, frac, fmt.width, fmt.frac) == (12, 6, 8, 3):
            codes = source_codes(width, frac, fmt)
            found = run((), k, codes)
            for rounding, overflow in product(ROUNDINGS, OVERFLOWS):
                other = Fixed(fmt.width, fmt.frac, fmt.signed, rounding, overflow)  # type: ignore[arg-type]
                same = (rounding, other.min, overflow == "wrap") == (fmt.rounding, fmt.min, fmt.overflow == "wrap")
                assert np.array_equal(found, other.requantise(codes, frac)) == same


@pytest.mark.compile
@pytest.mark.parametrize(
    ("modes", "message"),
    [("AP_RND_ZERO, AP_SAT", "rounding: AP_RND_CONV"), ("AP_TRN, AP_SAT_ZERO", "overflow: AP_SAT")],
)
def test_other_modes_do_not_compile(modes: str, message: str) -> None:
    text = '#include "attn_requantise.h"\n'
    text += f"ap_fixed<8, 4, {modes}> y(int x) {{ return hls4attn::requantise<ap_fixed<8, 4, {modes}>, 8, 2>(x); }}\n"
    path = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
    atomic_write(path, text.encode())
    with pytest.raises(ToolError) as failure:
        compile_library(path, (include_dir(), ap_types_dir()))
    assert re.search(message, str(failure.value))
