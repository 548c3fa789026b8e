# SPDX-License-Identifier: Apache-2.0
"""E2Softmax, its shift form and the normalisations in C++ against their references: integer equality."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hls_sole import CONTEXT, NAMES, SOFTMAX, ailayernorm, graphs, layernorm, port_codes
from hls_typed import Many
from test_hls_kernels import _check

from hls4attn.hls import lower_graph, operator_csim
from hls4attn.hls.bench import context_graph, norm_graph, operator_graph
from hls4attn.hls.design import Design
from hls4attn.hls.e2 import e2context_parameters, e2softmax_parameters
from hls4attn.hls.emit import design_cpp
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export import Reference
from hls4attn.models.export.graph import Graph

GRAPHS = graphs()
#: A probability of a row of one score, and beta of a row of one channel, are constants.
ONE_RESULT = {"softmax_one_column", "softmax_one_column_online", "ai_1", "integer_1"}


@cache
def many(*defines: str) -> Many:
    return Many([lower_graph(g) for g in GRAPHS], defines)


@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(GRAPHS)), ids=NAMES)
@pytest.mark.parametrize("defines", [(), ("HLS4ATTN_EXACT_WIDTHS",)], ids=["native", "exact_widths"])
def test_every_option_equals_the_reference(k: int, defines: tuple[str, ...]) -> None:
    graph = GRAPHS[k]
    codes = port_codes(k, graph, 100 + k)
    if defines:
        codes = codes[::3]
    expected = Reference(graph).trace(codes)
    found = many(*defines).trace(k, codes)
    for name, value in found.items():
        assert np.count_nonzero(value != expected[name]) == 0, name
    assert len(np.unique(found[graph.output.name])) > 1 or NAMES[k] in ONE_RESULT


@pytest.mark.compile
def test_no_warnings() -> None:
    done = _check(many().main.read_text(), "-Wall", "-Wextra", "-Werror", "-DHLS4ATTN_TRACE=64")
    assert done.returncode == 0, done.stderr[:2000]


def test_a_long_slice_is_two_passes() -> None:
    ops = {name: lower_graph(g).nodes[-1].op for name, g in zip(NAMES, GRAPHS, strict=True)}
    assert ops["softmax_online_longer_than_row"] == ops["softmax_paper"] == "AttnE2Softmax"
    assert ops["softmax_online_3_of_10"] == "AttnE2SoftmaxOnline"
    assert ops["context_online"] == "AttnE2ContextOnline"
    assert ops["context_paper"] == "AttnE2Context"


#: Operator, member or table, and the member's other value or the table's entry that grows.
MUTATIONS = [
    *(("softmax_online_causal", *m) for m in [("out_frac", 7), ("round_half_up", 0)]),
    *(("softmax_online_causal", *m) for m in [("slice_length", 4), ("code_width", 3), ("causal", 0)]),
    *(("softmax_online_causal", *m) for m in [("places", 0), ("places", 1), ("divider", 0), ("divider", 1)]),
    *(("softmax_folded", *m) for m in [("factor", 0), ("factor", 1), ("divider_frac", 9)]),
    ("softmax_four_way", "divider", 3),
    ("softmax_longest", "numerator_frac", 8),
    *(("context_online_causal", *m) for m in [("numerator_frac", 9), ("out_shift", 24), ("slice_length", 4)]),
    *(("context_online_causal", *m) for m in [("causal", 0), ("divider", 0), ("divider", 1), ("places", 1)]),
    *(("ai_32", *m) for m in [("affine_shift", 6), ("zero_point", 127), ("multiplier", 2), ("quant_shift", 2)]),
    *(("ai_32", *m) for m in [("mean_frac", 3), ("reciprocal", 65000), ("bias_frac", 3)]),
    *(("ai_32", *m) for m in [("alpha", 31), ("squares_rom", 15), ("rsqrt", 40), ("gamma", 0), ("bias", 9)]),
    ("ai_lut32", "squares_rom", 20),
    ("ai_exact", "squares_rom", 64),
    *(("integer_32", *m) for m in [("affine_shift", 14), ("root_bits", 9), ("rsqrt_bits", 15), ("bias_frac", 3)]),
    *(("integer_32", *m) for m in [("gamma", 31), ("bias", 9)]),
]


def mutated(graph: Graph, member: str, value: int) -> Design:
    design = lower_graph(graph)
    node = design.nodes[-1]
    if member in node.ints:
        assert node.ints[member] != value
        changed = replace(node, ints=node.ints | {member: value})
    else:
        rom = node.roms[member].copy()
        rom[value] += 1 + rom[value] // 8
        changed = replace(node, roms=node.roms | {member: rom})
    return replace(design, nodes=(*design.nodes[:-1], changed))


@pytest.mark.compile
def test_every_comparison_can_fail() -> None:
    """A changed member or table entry is noticed, each by itself."""
    compiled = Many([mutated(GRAPHS[NAMES.index(name)], member, value) for name, member, value in MUTATIONS])
    unnoticed = []
    for j, (name, member, value) in enumerate(MUTATIONS):
        k = NAMES.index(name)
        codes = port_codes(k, GRAPHS[k], 7)
        found = compiled.trace(j, codes)[GRAPHS[k].output.name]
        if np.array_equal(found, Reference(GRAPHS[k]).run(codes)):
            unnoticed.append((name, member, value))
    assert unnoticed == []


@pytest.mark.compile
def test_operator_simulations_of_every_kind() -> None:
    rng = np.random.default_rng(1)
    x, v = rng.integers(-128, 127, (50, 2, 4, 6), endpoint=True), rng.integers(-128, 127, (50, 2, 6, 3), endpoint=True)
    spec = replace(CONTEXT, slice_length=4)
    sim = operator_csim(spec, 4, 6, 3)
    assert np.count_nonzero(sim.run(x, v) != spec.reference(x, v)) == 0
    for bad in ((x,), (x, v[:, :, :5]), (x, v * 2), (x, v.astype(float)), (x[:1], v)):
        with pytest.raises(InputError, match="E2Context: "):
            sim.run(*bad)
    norm = ailayernorm(4)
    codes = rng.integers(-512, 511, (50, 3, 4), endpoint=True)
    one = operator_csim(norm, 3)
    assert np.count_nonzero(one.run(codes) != norm.reference(codes)) == 0
    with pytest.raises(InputError, match="takes no values"):
        one.run(codes, v)
    for arguments, text in (((norm, 3, 4), "takes no cols"), ((spec, 4, 6), "head_dim"), ((norm, 0), "rows")):
        with pytest.raises(InputError, match=text):
            operator_csim(*arguments)


def test_what_has_no_kernel_is_refused() -> None:
    short, context = replace(SOFTMAX[0][1], max_length=8), replace(CONTEXT, max_length=8)
    with pytest.raises(UnsupportedError, match="max_length=8"):
        operator_csim(short, 2, 9)
    with pytest.raises(UnsupportedError, match="here: rows of 9 scores, but max_length=8"):
        e2softmax_parameters(short, (2, 2, 9), "here")
    with pytest.raises(UnsupportedError, match="here: rows of 9 scores, but max_length=8"):
        e2context_parameters(context, (2, 2, 9), "here")
    for graph in (
        operator_graph(replace(SOFTMAX[0][1], causal=True), 2, 9),
        context_graph(replace(CONTEXT, causal=True), 2, 9, 2),
    ):
        with pytest.raises(UnsupportedError, match="a causal mask needs as many rows as columns"):
            lower_graph(graph)

    class Better(type(layernorm(3))):  # type: ignore[misc]
        op_type = "BetterLayerNorm"

    spec = layernorm(3)
    unknown = Better(spec.in_format, spec.out_format, spec.gamma, spec.beta)
    with pytest.raises(UnsupportedError, match="no kernel for BetterLayerNorm; there are kernels for AILayerNorm, Int"):
        lower_graph(norm_graph(unknown, 2))


@pytest.mark.compile
@pytest.mark.parametrize(
    ("name", "member", "value", "message"),
    [
        ("softmax_paper", "code_width", 7, "exponents of 3 to 6 bits"),
        ("softmax_paper", "numerator_frac", 32, "8 to 31 fraction bits"),
        ("softmax_paper", "max_places", 41, "1 to 40 places"),
        ("softmax_paper", "mux_bits", 2, "one mantissa for each value of q"),
        ("softmax_paper", "slice_length", 4, "slices take e2softmax_online"),
        ("softmax_paper", "in_width", 7, "score type is not the one"),
        ("context_paper", "out_shift", 0, "sums of 62 bits"),
        ("context_online", "slice_length", 0, "a slice is not longer than the row|division by zero"),
        ("ai_32", "index_bits", 6, "a table of 2"),
        ("ai_32", "squares", 1, r"16 squares \(paper\), 32"),
        ("ai_32", "channels", 31, "one gamma and one beta a channel"),
        ("integer_32", "root_bits", 21, "8 to 20 bits"),
    ],
)
def test_illegal_members_do_not_compile(name: str, member: str, value: int, message: str) -> None:
    graph = GRAPHS[NAMES.index(name)]
    done = _check(design_cpp(mutated(graph, member, value), "top"))
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr[:2000]
