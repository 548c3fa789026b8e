# SPDX-License-Identifier: Apache-2.0
"""Two compilers: g++ and clang++ take every header and all generated code, without a warning, and compute the same.

That each header of nnet stands alone is asked in `test_hls_kernels`.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from hls_typed import Many, random_graph
from hls_units import SYNTHESIS, bare, namespaces, units

from hls4attn.hls import include_dir, lower_graph
from hls4attn.hls.compiler import ap_types_dir
from hls4attn.models.export import Reference, random_codes

pytestmark = pytest.mark.compile
SIM = include_dir().parent / "sim"
HEADERS = sorted(include_dir().glob("*.h"))
COMPILERS = pytest.mark.parametrize("compiler", ["g++", "clang++"])


def check(compiler: str, source: str, *flags: str) -> str:
    """What the compiler says to a source, warnings in the vendor's headers aside; empty if nothing."""
    found = shutil.which(compiler)
    assert found, f"{compiler} is not on PATH; install it with: sudo apt-get install g++ clang"
    command = [found, "-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fsyntax-only", *flags]
    command += [f"-I{include_dir()}", "-isystem", str(ap_types_dir()), "-x", "c++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or done.stderr
    return done.stderr[:3000]


def everything() -> str:
    return namespaces({name: bare(text) for name, text in units().items()}, [h.name for h in HEADERS])


@COMPILERS
@pytest.mark.parametrize(
    ("prelude", "flags"),
    [
        ("", (f"-I{SIM}", "-DHLS4ATTN_TRACE=64")),
        ("", (f"-I{SIM}", "-DHLS4ATTN_DATAFLOW")),
        (SYNTHESIS, ()),
    ],
    ids=["simulation", "dataflow", "synthesis"],
)
def test_all_kernels_compile(compiler: str, prelude: str, flags: tuple[str, ...]) -> None:
    assert check(compiler, prelude + everything(), *flags) == ""


@COMPILERS
@pytest.mark.parametrize("flags", [(), ("-DHLS4ATTN_DATAFLOW",)], ids=["plain", "dataflow"])
def test_simulation_header_stands_alone(compiler: str, flags: tuple[str, ...]) -> None:
    """The one that a design includes; it brings the others."""
    assert check(compiler, '#include "hls_stream.h"\n', f"-I{SIM}", *flags) == ""


@COMPILERS
def test_the_check_can_fail(compiler: str) -> None:
    assert "unused" in check(compiler, '#include "attn_tail.h"\nvoid top(int n) {}\n')
    assert "hls4attn" in check(compiler, "int top() { return hls4attn::none[0]; }\n")


def test_clang_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "clang++")
    graphs = [random_graph(seed) for seed in range(3)]
    many = Many([lower_graph(g) for g in graphs])
    for k, graph in enumerate(graphs):
        codes = random_codes(graph.input, 40, k)
        expected = Reference(graph).trace(codes)
        for name, found in many.trace(k, codes).items():
            assert np.count_nonzero(found != expected[name]) == 0, f"graph {k}, tensor {name}"
