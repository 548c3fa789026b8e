# SPDX-License-Identifier: Apache-2.0
"""Every kernel against the reference: integer equality, tensor by tensor."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hls_typed import Many, TypedMaker, random_graph

from hls4attn.hls import include_dir, lower_graph
from hls4attn.hls.bench import operator_graph
from hls4attn.hls.compiler import ap_types_dir, find_compiler
from hls4attn.models.export import Reference, random_codes
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, ScoreSpec, SoftmaxSpec

HEADERS = sorted(include_dir().glob("*.h"))


def score_codes(spec: ScoreSpec, rows: int, cols: int, seed: int) -> Codes:
    """Random matrices, and rows that are equal, one-hot, ascending, descending, all minimum, all maximum."""
    low, high = spec.in_format.min, spec.in_format.max
    rng = np.random.default_rng(seed)
    shape = (spec.heads, rows, cols)
    ramp = np.linspace(low, high, cols).astype(np.int64)
    hot = np.where(np.arange(cols) == cols // 2, high, low)
    special = [np.broadcast_to(r, shape) for r in (low, high, 0, -1, ramp, ramp[::-1], hot)]
    near = rng.integers(max(low, -9), min(high, 9), (20, *shape), endpoint=True)
    wide = rng.integers(low, high, (60, *shape), endpoint=True)
    return np.concatenate([np.stack(special), near, wide])


def every_code(spec: ScoreSpec, rows: int, cols: int) -> Codes:
    """Every score code at every head (positions vary)."""
    codes = np.arange(spec.in_format.min, spec.in_format.max + 1)
    padded = np.resize(codes, -(-codes.size // (rows * cols)) * rows * cols)
    matrices = padded.reshape(-1, 1, rows, cols)
    return np.repeat(matrices, spec.heads, axis=1)


def consmax(width: int, heads: int = 2, causal: bool = False, split: bool = False, **more: object) -> ConSmaxSpec:
    cls = ConSmaxSplitSpec if split else ConSmaxSpec
    values: dict[str, object] = {
        "in_format": Fixed(width, width - 5),
        "beta": tuple(0.5 + h for h in range(heads)),
        "gamma": tuple(20.0 + 7 * h for h in range(heads)),
        "score_scale": tuple(0.3 + 0.05 * h for h in range(heads)),
        "out_frac": tuple(7 + 2 * (h % 2) for h in range(heads)),
        "causal": causal,
    }
    return cls(**(values | more))  # type: ignore[arg-type]


SCORES: list[tuple[str, ScoreSpec, int, int]] = [
    ("direct8", consmax(8), 4, 8),
    ("direct8_causal", consmax(8, causal=True), 6, 6),
    ("direct8_three_heads_wide", consmax(8, 3, out_width=12), 2, 5),
    ("direct2", consmax(2, 1), 1, 1),
    ("direct12", consmax(12, 2, out_width=16), 3, 4),
    ("direct_narrow", consmax(6, in_format=Fixed(6, 2, overflow="saturate_symmetric")), 3, 5),
    ("direct_negative_frac", consmax(5, in_format=Fixed(5, -1), score_scale=0.2), 2, 3),
    ("split8", consmax(8, split=True), 4, 8),
    ("split8_causal_fp16", consmax(8, 3, causal=True, split=True, mantissa_bits=11), 5, 5),
    ("split16", consmax(16, split=True, mantissa_bits=11, out_width=12), 3, 4),
    ("split16_whole", consmax(16, 1, split=True, mantissa_bits=15, out_width=16, out_frac=14), 2, 7),
    ("softmax8", SoftmaxSpec(Fixed(8, 3), (0.35, 0.25)), 4, 8),
    ("softmax8_causal", SoftmaxSpec(Fixed(8, 4), (0.35, 0.25), causal=True), 7, 7),
    ("softmax_small", SoftmaxSpec(Fixed(2, 0), (1.0,), out_width=2, out_frac=1, exp_frac=4, guard=0), 2, 3),
    (
        "softmax_large",
        SoftmaxSpec(Fixed(12, 8), (0.5,), out_width=16, out_frac=16, exp_frac=20, guard=6, max_length=33),
        2,
        33,
    ),
    ("softmax_one_column", SoftmaxSpec(Fixed(6, 2), (0.5, 0.5)), 3, 1),
]


@pytest.fixture(scope="module")
def scores() -> Many:
    return Many([lower_graph(operator_graph(spec, r, c)) for _, spec, r, c in SCORES])


@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(SCORES)), ids=[name for name, *_ in SCORES])
def test_score_kernels(scores: Many, k: int) -> None:
    _, spec, rows, cols = SCORES[k]
    exhaustive = every_code(spec, rows, cols) if spec.in_format.width <= 12 else None
    parts = [score_codes(spec, rows, cols, k), *([] if exhaustive is None else [exhaustive])]
    codes = np.concatenate(parts)
    expected = spec.reference(codes)
    found = scores.trace(k, codes)["probabilities"]
    assert np.count_nonzero(found != expected) == 0
    assert len(np.unique(expected)) > 1 or cols == 1 or spec.in_format.width == 2  # else nothing was compared


GRAPHS = [random_graph(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def graphs() -> Many:
    return Many([lower_graph(g) for g in GRAPHS])


@pytest.mark.compile
def test_random_graphs_tensor_by_tensor(graphs: Many) -> None:
    seen: set[str] = set()
    for k, graph in enumerate(GRAPHS):
        codes = random_codes(graph.input, 40, k)
        expected = Reference(graph).trace(codes)
        for name, found in graphs.trace(k, codes).items():
            assert np.count_nonzero(found != expected[name]) == 0, f"graph {k}, tensor {name}"
        seen |= {n.op for n in lower_graph(graph).nodes}
    assert {"AttnDense", "AttnMatMul", "AttnAffine", "AttnAdd", "AttnMultiply", "AttnReduceSum", "AttnPermute"} <= seen


@pytest.mark.compile
def test_exact_widths_give_the_same(graphs: Many) -> None:
    """What synthesis sees (ap_int of the derived widths) and what C simulation sees (native ints) agree."""
    some = list(range(0, len(GRAPHS), 4))
    exact = Many([lower_graph(GRAPHS[k]) for k in some], ("HLS4ATTN_EXACT_WIDTHS",))
    for j, k in enumerate(some):
        codes = random_codes(GRAPHS[k].input, 20, k)
        native = graphs.trace(k, codes)
        for name, found in exact.trace(j, codes).items():
            assert np.array_equal(found, native[name]), f"graph {k}, tensor {name}"


@pytest.mark.compile
def test_exact_widths_of_scores(scores: Many) -> None:
    exact = Many([lower_graph(operator_graph(s, r, c)) for _, s, r, c in SCORES], ("HLS4ATTN_EXACT_WIDTHS",))
    for k, (name, spec, rows, cols) in enumerate(SCORES):
        codes = score_codes(spec, rows, cols, 100 + k)
        assert np.array_equal(exact.trace(k, codes)["probabilities"], spec.reference(codes)), name


@pytest.mark.compile
def test_warnings_are_errors(scores: Many, graphs: Many) -> None:
    for many in (scores, graphs):
        done = _check(many.main.read_text(), "-Wall", "-Wextra", "-Werror", "-DHLS4ATTN_TRACE=64")
        assert done.returncode == 0, done.stderr[:2000]


def _check(source: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [*find_compiler(), "-std=c++11", "-fsyntax-only", "-Wno-unknown-pragmas", *flags]
    command += ["-isystem", str(ap_types_dir()), f"-I{include_dir()}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


@pytest.mark.compile
@pytest.mark.parametrize("header", HEADERS, ids=lambda h: h.stem)
def test_header_stands_alone(header: Path) -> None:
    done = _check(f'#include "{header.name}"\n', "-Wall", "-Wextra", "-Werror")
    assert done.returncode == 0, done.stderr[:2000]


_DENSE = """
#include "attn_dense.h"
struct config : hls4attn::dense_config {{
    static const int n_in = 2, n_out = 1, core_width = {width}, scaled_width = {width}, sum_width = {width};
    static const long long core_min = -{bound}, core_max = {bound};
}};
static const signed char w[{weights}] = {{127}};
void top({input} x[2], ap_fixed<8, 4> y[1]) {{
    hls4attn::dense<{input}, ap_fixed<8, 4>, config>(x, y, w, hls4attn::none, hls4attn::none);
}}
"""


@pytest.mark.compile
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"width": 15}, "accumulator does not hold"),
        ({"input": "ap_fixed<9, 9>"}, "input type is not the one"),
        ({"input": "ap_ufixed<8, 8>"}, "input type is not the one"),
        ({"input": "ap_fixed<8, 4>"}, "input type is not the one"),
        ({"weights": 3}, "n_in \\* n_out weights"),
    ],
)
def test_illegal_configurations_do_not_compile(changes: dict[str, object], message: str | None) -> None:
    values = {"width": 17, "bound": 2 * 127 * 128, "weights": 2, "input": "ap_fixed<8, 8>"} | changes
    done = _check(_DENSE.format(**values))
    if message is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert re.search(message, done.stderr)


@pytest.mark.parametrize("header", HEADERS, ids=lambda h: h.stem)
def test_header_rules(header: Path) -> None:
    text = header.read_text(encoding="ascii")
    assert text.startswith("// SPDX-License-Identifier: Apache-2.0\n")
    code = re.sub(r"//.*", "", text)
    forbidden = re.findall(r"\b(float|double|new|malloc|std::vector|goto)\b", code)
    assert not forbidden
    if header.stem != "attn_common":
        assert "Formula:" in text
        assert "Source:" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.compile
def test_the_comparison_can_fail() -> None:
    """One changed weight, one changed rounding mode, one changed table entry: the comparison notices each."""
    m = TypedMaker((3, 4), Fixed(6, 2), 5)
    y = m.quant(m.add("MatMul", "x", m.constant((4, 5), Fixed(5, 3))), Fixed(6, 2))
    graph = m.graph(y)
    design = lower_graph(graph)
    node = design.nodes[0]
    weights = node.roms["weights"].copy()
    weights[7] ^= 1
    spec = consmax(8)
    score = lower_graph(operator_graph(spec, 4, 8))
    table = score.nodes[0].roms["table"].copy()
    table[300] += 1
    many = Many(
        [
            replace(design, nodes=(replace(node, roms={"weights": weights}),)),
            replace(design, nodes=(replace(node, format=Fixed(6, 2, rounding="floor")),)),
            replace(score, nodes=(replace(score.nodes[0], roms={"table": table}),)),
        ]
    )
    codes = random_codes(graph.input, 200, 1)
    for k in range(2):
        assert np.count_nonzero(many.trace(k, codes)[y] != Reference(graph).run(codes)) > 0
    scores = every_code(spec, 4, 8)
    assert np.count_nonzero(many.trace(2, scores)["probabilities"] != spec.reference(scores)) == 1
