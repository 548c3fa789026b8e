# SPDX-License-Identifier: Apache-2.0
"""Row-wise streaming kernels against the reference: every length, any blocks and lanes; and their cycles."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hls_rows import SIM, Case, Rows, make

from hls4attn.hls import include_dir
from hls4attn.hls.compiler import ap_types_dir, compile_library, find_compiler
from hls4attn.hls.stream.blocks import block_order
from hls4attn.models.errors import UnsupportedError

KINDS = {
    "dense": 9,
    "affine": 4,
    "add": 4,
    "multiply": 3,
    "reduce": 5,
    "permute": 5,
    "layernorm": 3,
    "ailayernorm": 2,
    "ailayernorm_lut32": 1,
    "ailayernorm_exact": 1,
}
CASES = [
    make(100 * n + seed, kind, seed == 0) for n, (kind, count) in enumerate(KINDS.items()) for seed in range(count)
]
NAMES = [f"{kind}{seed}" for kind, count in KINDS.items() for seed in range(count)]
#: For slower simulations.
SOME = [NAMES.index(name) for name in ["dense1", "dense2", "add1", "reduce1", "permute1", "layernorm1", "ailayernorm1"]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return Rows(CASES)


def mistakes(rows: Rows, k: int, seed: int = 0) -> int:
    lengths, operands, results = rows.cases[k].sequences(k)
    found, _ = rows.run(k, lengths, operands, results, seed)
    return int(np.count_nonzero(found != np.concatenate([r.ravel() for r in results])))


@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(CASES)), ids=NAMES)
def test_every_length_back_to_back(rows: Rows, k: int) -> None:
    """All sequences wait in the streams; each call takes and gives the rows of its own, and no word is left."""
    assert mistakes(rows, k) == 0


def test_the_cases_are_worth_it() -> None:
    """Sizes, blocks and tails that differ: several cycles a row, idle lanes, every indexing of both constants."""
    ints = [c.node.ints for c in CASES]
    assert max(c.rows for c in CASES) >= 5
    assert {c.cycles > 1 for c in CASES} == {True, False}
    assert any(i["channels"] % i["lanes"] for i in ints if i.get("lanes"))
    dense = [i for i in ints if "in_block" in i]
    assert any(i["n_in"] % i["in_block"] and i["n_out"] % i["out_block"] for i in dense)
    assert any(len(c.node.shape) == 1 for c in CASES if c.node.op == "AttnDense")
    for member in ("scale_by", "offset_by"):
        assert {i.get(member, 0) for i in ints} == {0, 1, 2, 3}
    assert {i["relu"] for i in ints} == {0, 1}


@pytest.fixture(scope="module")
def timed() -> Rows:
    return Rows([CASES[k] for k in SOME], ("HLS4ATTN_DATAFLOW", "HLS4ATTN_EXACT_WIDTHS"))


@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(SOME)), ids=[NAMES[k] for k in SOME])
def test_cycles_are_the_formulas(timed: Rows, k: int) -> None:
    """Processes side by side, at the widths of synthesis: right codes, and busy for as long as the headers say.

    The last row leaves soon after that: processes overlap, none waits for a FIFO that is too short.
    """
    case: Case = timed.cases[k]
    lengths, operands, results = case.sequences(k)
    found, (end, *busy) = timed.run(k, lengths, operands, results)
    expected = np.concatenate([r.ravel() for r in results])
    assert np.count_nonzero(found != expected) == 0
    total = sum(lengths) * case.cycles + len(lengths) * case.extra * case.cycles
    latency = case.node.ints["latency"]
    if case.node.op == "AttnPermute":
        assert busy == [len(lengths) * case.node.ints["in_rows"], total]
    else:
        assert busy == [total] * (3 if case.node.kernel.region else 1)
        assert total <= end <= total + (len(busy) - 1) * case.cycles + len(busy) * (latency + 2)
    for seed in (1, 2):
        assert np.array_equal(timed.run(k, lengths, operands, results, seed)[0], expected)


@pytest.mark.compile
def test_the_comparison_can_fail(rows: Rows) -> None:
    """Weights out of order, a length too many, a row too many: each is noticed."""
    k, case = next((k, c) for k, c in enumerate(CASES) if c.node.op == "AttnDense" and c.rows > 2 and c.cycles > 2)
    weights = case.node.roms["weights"]
    assert len(np.unique(weights)) > 2
    wrong = replace(case, node=replace(case.node, roms=case.node.roms | {"weights": weights[::-1]}))
    assert mistakes(Rows([wrong]), 0) > 0
    lengths, operands, results = case.sequences(k)
    with pytest.raises(RuntimeError, match="a stream ran dry"):
        rows.run(k, [*lengths[:-1], lengths[-1] + 1], operands, results)
    with pytest.raises(RuntimeError, match="words are left in a stream"):
        rows.run(k, lengths, [*operands[:-1], [np.repeat(o, 2, axis=0) for o in operands[-1]]], results)


def test_block_order() -> None:
    weights = np.arange(1, 16)  # 3 inputs, 5 outputs
    expected = [1, 2, 6, 7, 11, 12, 0, 0, 3, 4, 8, 9, 13, 14, 0, 0, 5, 0, 10, 0, 15, 0, 0, 0]
    assert block_order(weights, 3, 5, 2, 2).tolist() == expected
    assert block_order(weights, 3, 5, 3, 5).tolist() == weights.tolist()
    for block in ((0, 1), (4, 1), (1, 6)):
        with pytest.raises(UnsupportedError, match="in_block="):
            block_order(weights, 3, 5, *block)


def _check(source: str) -> str:
    command = [*find_compiler(), "-std=c++11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    command += [f"-I{SIM}", "-isystem", str(ap_types_dir()), f"-I{include_dir()}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr


@pytest.mark.compile
def test_warnings_are_errors(timed: Rows) -> None:
    unused = r"unsigned seed, int interrupts, long long \*times"
    assert _check(re.sub(unused, "unsigned, int, long long *", timed.main.read_text())) == ""


_FORK = """#include "attn_fork_stream.h"
namespace f{copies} {{
typedef hls4attn::row<ap_fixed<8, 4>, {size}> row_t;
struct config : hls4attn::fork_config {{ static const int rows = 3, channels = 2; }};
}}
extern "C" __attribute__((visibility("default"))) int run{copies}() {{
    typedef f{copies}::row_t row_t;
    int wrong = 0;
    {{
        hls::stream<row_t> in("in"), {names};
        for (int r = 0; r < 5; r++) {{
            row_t word;
            word[0] = r;
            word[1] = -r;
            in.write(word);
        }}
        hls4attn::fork<row_t, f{copies}::config>(in, {names}, 3);
        hls4attn::fork<row_t, f{copies}::config>(in, {names}, 2);
        hls::stream<row_t> *outs[] = {{{pointers}}};
        for (unsigned n = 0; n < {copies}; n++) {{
            for (int r = 0; r < 5; r++) {{
                const row_t word = outs[n]->read();
                wrong += word[0] != r || word[1] != -r;
            }}
        }}
    }}
    return wrong + 100 * !hls4attn::sim::take_note().empty();
}}
"""


def _fork(copies: int, size: int = 2) -> str:
    names = [f"s{n}" for n in range(copies)]
    return _FORK.format(names=", ".join(names), pointers=", ".join(f"&{n}" for n in names), copies=copies, size=size)


@pytest.mark.compile
def test_fork(tmp_path: Path) -> None:
    path = tmp_path / "fork.cpp"
    path.write_text("".join(_fork(n) for n in range(2, 9)))
    library = ctypes.CDLL(str(compile_library(path, (include_dir(), SIM, ap_types_dir()))))
    assert [getattr(library, f"run{n}")() for n in range(2, 9)] == [0] * 7


@pytest.mark.compile
def test_illegal_configurations_do_not_compile() -> None:
    assert _check(_fork(2)) == ""
    assert "fork: rows of other size" in _check(_fork(2, 3))
    source = Rows([next(c for c in CASES if c.node.op == "AttnDense" and c.rows > 1)]).main.read_text()
    wrong = {
        "in_block": (23, "whole blocks of weights"),
        "n_out": (99, "n_out values a row"),
        "in_width": (31, "input rows are not those"),
        "row_stride": (77, "cannot be read transposed"),
    }
    text = source
    for k, (member, (value, _)) in enumerate(wrong.items(), start=1):
        changed = re.sub(rf"int {member} = \d+;", f"int {member} = {value};", source[source.index("namespace k0") :])
        text += changed.replace("k0", f"k{k}").replace("run0", f"run{k}")
    errors = _check(text)
    assert [message for _, message in wrong.values() if message not in errors] == []
