# SPDX-License-Identifier: Apache-2.0
"""The C++ stage functions against the Python stage functions, over every input where there are 16 bits or fewer."""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from hls_sole import EIGHT_WAY

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.norms import squares_rom
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ailn_stages, e2stages
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER, PAPER_DIVIDER
from hls4attn.models.operators.layernorm import IntegerLayerNormSpec

MODES = pytest.mark.parametrize("defines", [(), ("HLS4ATTN_EXACT_WIDTHS",)], ids=["native", "exact_widths"])
CODE_WIDTHS = (3, 4, 5, 6)
#: divider, its fraction bits, output width and fraction bits, rounding up
DIVIDERS = [
    (PAPER_DIVIDER, 8, 8, 8, True),
    (PAPER_DIVIDER, 8, 8, 8, False),
    (FOUR_WAY_DIVIDER, 8, 12, 12, True),
    (EIGHT_WAY, 16, 16, 16, True),
    ((13, 9), 4, 2, 1, False),
]
SQUARES = ("paper", "lut32", "exact")
#: multiplier, shift, zero point, input width
QUANTISERS = [(1, 0, 128, 8), (1, 4, 0, 16), (40503, 17, 255, 16), (65535, 31, 100, 16)]
ROOTS = [(8, 8), (16, 16), (20, 12)]


def _struct(name: str, base: str, **members: object) -> str:
    lines = "".join(
        f"    static const {'long long' if m.startswith('core_') and m != 'core_width' else 'int'} {m} = {v};\n"
        for m, v in members.items()
    )
    return f"struct {name} : hls4attn::{base} {{\n{lines}}};\n"


def _stage(name: str, body: str) -> str:
    """A loop over rows of operands `a`, `b`, `c` with the results `y`, `z`."""
    return f"""
{EXPORT} void {name}(const long long *x, long long *results, long n) {{
    for (long t = 0; t < n; t++) {{
        const long long a = x[3 * t], b = x[3 * t + 1], c = x[3 * t + 2];
        long long y = 0, z = 0;
        {body}
        results[2 * t] = y;
        results[2 * t + 1] = z;
    }}
}}
"""


def _source() -> str:
    parts = [f'#include "attn_{h}.h"\n' for h in ("e2softmax", "e2context", "ailayernorm", "layernorm")]
    for width, folded in product(CODE_WIDTHS, (0, 1)):
        name = f"log2exp{width}_{folded}"
        sizes = {"factor_width": 12, "folded": 1} if folded else {}
        parts.append(_struct(f"{name}_c", "e2softmax_config", code_width=width, in_width=12, max_places=40, **sizes))
        parts.append(_stage(name, f"y = int(hls4attn::log2exp<{name}_c>(a, b, c));"))
        parts.append(_stage(f"numerator{width}_{folded}", f"y = (long long)(hls4attn::numerator<{name}_c>(a));"))
        parts.append(_stage(f"corrected{width}_{folded}", f"y = int(hls4attn::corrected<{name}_c>(a, b));"))
    for k, (divider, frac, out_width, out_frac, up) in enumerate(DIVIDERS):
        core = {"core_width": out_width + 1, "core_min": 0, "core_max": (1 << out_width) - 1}
        parts.append(
            _struct(
                f"divide{k}_c", "e2softmax_config", divider_frac=frac, out_frac=out_frac, round_half_up=int(up), **core
            )
        )
        mantissas = f"static const int m[] = {{{', '.join(map(str, divider))}}};"
        parts.append(_stage(f"divide{k}", f"{mantissas} y = int(hls4attn::divide<divide{k}_c>(a, b, m[c]));"))
    for mux in (1, 2, 3):
        parts.append(_struct(f"leading{mux}_c", "e2softmax_config", mux_bits=mux, numerator_frac=8))
        body = f"int ks, q; hls4attn::leading_one<leading{mux}_c, 255>(a, ks, q); y = ks; z = q;"
        parts.append(_stage(f"leading{mux}", body))
    return "".join(parts) + _norm_source()


def _norm_source() -> str:
    parts = []
    for k, method in enumerate(SQUARES):
        parts.append(_struct(f"squares{k}_c", "ailayernorm_config", squares=k))
        rom = f"static const int m[] = {{{', '.join(map(str, squares_rom(method)))}}};"
        parts.append(_stage(f"squares{k}", f"{rom} y = (long long)(hls4attn::squared<squares{k}_c>(a, m));"))
        members = {"squares": k, "channels": 384, "mean_frac": 5, "reciprocal": 87381, "reciprocal_frac": 25}
        parts.append(_struct(f"statistics{k}_c", "ailayernorm_config", **members))
        body = "const {t}::mean_t mean = hls4attn::row_mean<{c}>(a); y = (long long)(mean);"
        body += "z = (long long)(hls4attn::row_variance<{c}>(b, mean));"
        parts.append(
            _stage(f"statistics{k}", body.format(t=f"hls4attn::ailn_sizes<statistics{k}_c>", c=f"statistics{k}_c"))
        )
    parts.append(_stage("compress", "int v, s; hls4attn::dynamic_compress(a, v, s); y = v; z = s;"))
    for k, (multiplier, shift, zero, width) in enumerate(QUANTISERS):
        members = {"multiplier": multiplier, "quant_shift": shift, "zero_point": zero, "in_width": width}
        parts.append(_struct(f"quantise{k}_c", "ailayernorm_config", **members))
        code = f"hls4attn::integer<{width}>::type(a)"
        parts.append(_stage(f"quantise{k}", f"y = int(hls4attn::ptf_quantise<quantise{k}_c>({code}, b));"))
    for bits in range(2, 10):
        parts.append(_struct(f"rsqrt{bits}_c", "ailayernorm_config", index_bits=bits, mean_frac=7))
        parts.append(_stage(f"rsqrt{bits}", f"int e; y = hls4attn::rsqrt_index<rsqrt{bits}_c>(a, e); z = e;"))
    for k, (root, rsqrt) in enumerate(ROOTS):
        parts.append(
            _struct(f"root{k}_c", "layernorm_config", root_bits=root, rsqrt_bits=rsqrt, in_width=16, channels=1024)
        )
        parts.append(_stage(f"root{k}", f"y = hls4attn::integer_root<root{k}_c>(a);"))
        parts.append(
            _stage(f"inverse{k}", f"int e; y = (long long)(hls4attn::reciprocal_root<root{k}_c>(a, e)); z = e;")
        )
    return "".join(parts)


@cache
def bench(defines: tuple[str, ...]) -> ctypes.CDLL:
    text = _source()
    path = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
    atomic_write(path, text.encode())
    return ctypes.CDLL(str(compile_library(path, (include_dir(), ap_types_dir()), defines)))


def run(defines: tuple[str, ...], name: str, *operands: Any) -> tuple[Codes, Codes]:
    """Both results of a stage over broadcast operands, flat."""
    columns = [np.asarray(c, dtype=np.int64).ravel() for c in np.broadcast_arrays(*operands)]
    x = np.zeros((columns[0].size, 3), dtype=np.int64)
    for j, column in enumerate(columns):
        x[:, j] = column
    y = np.empty((len(x), 2), dtype=np.int64)
    pointers = (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
    getattr(bench(defines), name)(*pointers, ctypes.c_long(len(x)))
    return y[:, 0], y[:, 1]


def same(found: Codes, expected: Any, least: int) -> None:
    wanted = np.asarray(expected).ravel()
    assert found.size == wanted.size >= least
    assert np.count_nonzero(found != wanted) == 0
    assert len(np.unique(wanted)) > 1


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("width", CODE_WIDTHS)
def test_log2exp(defines: tuple[str, ...], width: int) -> None:
    """Every distance of 12-bit scores at every shift; factors of every size."""
    d, places = np.arange(4096)[:, None], np.arange(1, 41)
    top = (1 << width) - 1
    found, _ = run(defines, f"log2exp{width}_0", d, 0, places)
    same(found, e2stages.log2exp(d, 23, places, top), 4096 * 40)
    for factor in (8, 200, 2049, 4095):
        found, _ = run(defines, f"log2exp{width}_1", d[::3], factor, places)
        same(found, e2stages.log2exp(d[::3], factor, places, top), 1366 * 40)
    same(run(defines, f"numerator{width}_0", np.arange(top + 1))[0], e2stages.numerators(15, top), 8)
    k, fall = np.arange(top + 1)[:, None], np.arange(top + 1)
    same(run(defines, f"corrected{width}_0", k, fall)[0], np.minimum(k + fall, top), 64)


@pytest.mark.compile
def test_log2exp_thresholds() -> None:
    """Smallest distances for each exponent, as published for four and three fraction bits."""
    for frac, wanted in (
        (4, [0, 6, 17, 28, 39, 51, 62, 73, 84, 95, 106, 117, 128, 140, 151, 162]),
        (3, [0, 3, 9, 14, 20, 26, 31, 37, 42, 48, 53, 59, 64, 70, 76, 81]),
    ):
        k, _ = run((), "log2exp4_0", np.arange(256), 0, frac + 4)
        assert [int(np.argmax(k >= n)) for n in range(16)] == wanted


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(DIVIDERS)))
def test_divider(defines: tuple[str, ...], k: int) -> None:
    """Every (k, ks, q)."""
    divider, frac, out_width, out_frac, up = DIVIDERS[k]
    axes = np.meshgrid(np.arange(64), np.arange(11), np.arange(len(divider)), indexing="ij")
    found, _ = run(defines, f"divide{k}", *axes)
    same(found, e2stages.divide(*axes, divider, frac, out_frac, (1 << out_width) - 1, up), 64 * 11 * len(divider))


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("mux", [1, 2, 3])
def test_leading_one(defines: tuple[str, ...], mux: int) -> None:
    """Every sum of up to 255 numerators of 8 fraction bits, zero (a masked row) included."""
    sums = np.arange((255 << 8) + 1)
    ks, q = run(defines, f"leading{mux}", sums)
    expected = e2stages.leading_one(sums, 8, mux)
    same(ks, expected[0], 65281)
    same(q, expected[1], 65281)


@MODES
@pytest.mark.compile
def test_dynamic_compression_and_squares(defines: tuple[str, ...]) -> None:
    """Every magnitude, every code; each table entry of a bin."""
    y, s = run(defines, "compress", np.arange(256))
    expected = ailn_stages.dynamic_compress(np.arange(256))
    same(y, expected[0], 256)
    same(s, expected[1], 256)
    x = np.arange(-255, 256)
    for k, method in enumerate(SQUARES):
        table = np.array(ailn_stages.square_table(method))  # type: ignore[arg-type]
        same(run(defines, f"squares{k}", x)[0], table[np.abs(x)], 511)


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(QUANTISERS)))
def test_ptf_quantiser(defines: tuple[str, ...], k: int) -> None:
    """Every code of 8 or 16 bits with every channel factor."""
    multiplier, shift, zero, width = QUANTISERS[k]
    x, alpha = np.arange(-(1 << (width - 1)), 1 << (width - 1))[:, None], np.arange(4)
    found, _ = run(defines, f"quantise{k}", x, alpha)
    same(found, ailn_stages.ptf_quantise(x, multiplier, shift, alpha, zero) - zero, 4 << width)


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(SQUARES)))
def test_statistics(defines: tuple[str, ...], k: int) -> None:
    rng = np.random.default_rng(k)
    unit = ailn_stages.square_scale(SQUARES[k])  # type: ignore[arg-type]
    x = rng.integers(-255, 255, (3000, 384), endpoint=True) // rng.integers(1, 60, (3000, 1))
    x[:3] = np.array([0, 255, -255])[:, None]
    a = rng.integers(0, 4, 384)
    total = (x << a).sum(axis=-1)
    squares = (np.array(ailn_stages.square_table(SQUARES[k]))[np.abs(x)] << (2 * a)).sum(axis=-1)  # type: ignore[arg-type]
    mean, variance = run(defines, f"statistics{k}", total, squares)
    assert ailn_stages.reciprocal(384) == (87381, 25)
    expected = ailn_stages.statistics(total, squares, 384, 5, unit)
    same(mean, expected[0], 3000)
    same(variance, expected[1], 3000)
    assert variance.min() == 1


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("bits", range(2, 10))
def test_rsqrt_index(defines: tuple[str, ...], bits: int) -> None:
    """Every variance of 16 bits, and the edges of every bin at every position of the leading one."""
    p = np.arange(1, 36)[:, None]
    edges = (np.int64(1) << p) + ((np.arange(1 << bits, dtype=np.int64) << p) >> bits)
    variance = np.concatenate([np.arange(1, 1 << 16), edges.ravel(), edges.ravel() - 1])
    found, e = run(defines, f"rsqrt{bits}", variance)
    index, exponent = ailn_stages.rsqrt(variance, np.arange(2 << bits))
    same(found, index, 65535)
    same(e, exponent, 65535)
    assert len(np.unique(index)) == 2 << bits


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(ROOTS)))
def test_integer_roots(defines: tuple[str, ...], k: int) -> None:
    """Every 16-bit radicand, squares and their neighbours; every 16-bit variance and large ones."""
    root_bits, rsqrt_bits = ROOTS[k]
    spec = IntegerLayerNormSpec(Fixed(16, 8), Fixed(8, 5), (1.0,), (0.0,), root_bits=root_bits, rsqrt_bits=rsqrt_bits)
    rng = np.random.default_rng(k)
    squares = rng.integers(1, 1 << root_bits, 3000) ** 2
    x = np.concatenate([np.arange(1 << 16), squares, squares - 1, [(1 << (2 * root_bits)) - 1]])
    found, _ = run(defines, f"root{k}", x)
    assert np.all((found * found <= x) & (x < (found + 1) * (found + 1)))
    large = np.rint(np.exp2(rng.uniform(16, 50, 20000))).astype(np.int64)
    variance = np.concatenate([np.arange(1, 1 << 16), large, np.int64(1) << np.arange(51)])
    r, e = run(defines, f"inverse{k}", variance)
    expected = spec.reciprocal_root(variance)
    same(r, expected[0], 85000)
    same(e, expected[1], 85000)


@pytest.mark.compile
def test_every_comparison_can_fail() -> None:
    """Known mistakes: truncated exponents, swapped mantissas, floored outputs, truncated codes, one bit less."""
    d, q = np.arange(256), np.arange(2)
    k = np.arange(16)[:, None]
    codes = np.arange(-32768, 32768)
    wrong = [
        (run((), "log2exp4_0", d, 0, 8)[0], np.minimum((23 * d) >> 8, 15)),
        (run((), "divide0", k, 2, q)[0], e2stages.divide(k, 2, q, PAPER_DIVIDER[::-1], 8, 8, 255, True)),
        (run((), "divide0", k, 2, q)[0], e2stages.divide(k, 2, q, PAPER_DIVIDER, 8, 8, 255, False)),
        (run((), "leading1", d << 8)[1], e2stages.leading_one(d << 8, 8, 2)[1]),
        (run((), "compress", d)[0], np.where(d >> 6, d >> 4, d >> 2)),
        (run((), "squares0", d)[0], d * d),
        (run((), "quantise1", codes, 1)[0], np.clip(codes >> 5, 0, 255)),
        (run((), "rsqrt5", d[1:])[0], ailn_stages.rsqrt(d[1:], np.arange(32))[0]),
        (run((), "root0", d)[0], np.rint(np.sqrt(d)).astype(np.int64)),
    ]
    for found, other in wrong:
        with pytest.raises(AssertionError):
            same(found, other, 0)
