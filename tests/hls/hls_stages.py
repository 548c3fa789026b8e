# SPDX-License-Identifier: Apache-2.0
"""One translation unit with a loop around every stage function of the SOLE kernels, for many configurations."""

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
from hls4attn.models.formats import Codes
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER, PAPER_DIVIDER

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
