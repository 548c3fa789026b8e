# SPDX-License-Identifier: Apache-2.0
"""Streaming attention against the reference, for every length; its cycles, its refusals, and how it fails."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from attention_cases import CASES, E2, LONG, S8, V8, Case, consmax, random_case
from attention_dataflow import AttentionDataflow
from hls_typed import TypedMaker

from hls4attn.hls import lower_graph
from hls4attn.hls.compiler import ap_types_dir, find_compiler
from hls4attn.hls.design import KERNELS, HwNode
from hls4attn.hls.stream.attention import fuse, with_structure
from hls4attn.hls.stream.attention_graph import AttentionFormats, attention_graph, attention_node
from hls4attn.hls.stream.attention_sim import AttentionSim
from hls4attn.models.errors import InputError, SimulationError, UnsupportedError
from hls4attn.models.export import Reference, random_codes
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, SoftmaxSpec

NAMES = [case.name for case in CASES]


@cache
def sim_of(name: str) -> AttentionSim:
    return CASES[NAMES.index(name)].sim()


def lengths_of(rows: int, batch: int, seed: int) -> Codes:
    """Lengths from 1 to all rows, after the corner codes at full length."""
    lengths = np.random.default_rng(seed).integers(1, rows + 1, batch)
    lengths[:8] = rows
    lengths[8:11] = 1, rows, max(rows - 1, 1)
    return lengths


def check(sim: AttentionSim, batch: int, seed: int, values: int = 4) -> None:
    codes, lengths = sim.random_codes(batch, seed), lengths_of(sim.rows, batch, seed)
    expected = sim.reference(*codes, lengths)
    assert np.count_nonzero(sim.run(*codes, lengths) != expected) == 0
    if sim.rows > 4:
        assert len(np.unique(expected[8:])) >= values  # the comparison is about something


@pytest.mark.compile
@pytest.mark.parametrize("name", NAMES)
def test_every_length_equals_the_reference(name: str) -> None:
    check(sim_of(name), 12 if "long" in name else 40, 100 + NAMES.index(name))


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_attentions_equal_the_reference(seed: int) -> None:
    check(random_case(seed, 200).sim(), 24, seed, 2)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("case", LONG, ids=lambda c: c.name)
def test_long_attentions_equal_the_reference(case: Case) -> None:
    check(case.sim(), 12, 9)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_exact_widths_are_wide_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with integers of exactly the widths that hardware gets."""
    source = AttentionSim.source
    monkeypatch.setattr(AttentionSim, "source", lambda self: "#define HLS4ATTN_EXACT_WIDTHS\n" + source(self))
    case = CASES[NAMES.index(name)]
    check(replace(case, rows=min(case.rows, 65)).sim(), 16, 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_bench_has_the_models_reference(name: str) -> None:
    """What the bench computes itself is what executing the graph gives."""
    case = CASES[NAMES.index(name)]
    case = replace(case, rows=min(case.rows, 65))
    graph = attention_graph(case.spec, case.rows, case.head_dim, case.formats)
    trace = Reference(graph).trace(random_codes(graph.input, 9, 3))
    bench = AttentionSim.__new__(AttentionSim)  # without compiling it
    bench.spec, bench.rows, bench.head_dim, bench.formats = case.spec, case.rows, case.head_dim, case.formats
    bench.channels = case.spec.heads * case.head_dim
    assert np.array_equal(bench.reference(*(trace[n] for n in "qkv")), trace["y"])


# ---- time ------------------------------------------------------------------------------------------------------------

TIMED = [
    Case("consmax", consmax(), 24, 8, 4, 2, 3),
    Case("softmax_causal", SoftmaxSpec(S8, (0.3, 0.25), causal=True), 24, 8, 2),
    Case("e2softmax_online", replace(E2, slice_length=8), 24, 8, 4, 1, 4),
    Case(
        "e2context_causal",
        E2ContextSpec(S8, (0.5, 0.25), v_format=V8, out_format=V8, slice_length=4, causal=True),
        *(24, 8, 2, 2, 8),
    ),
]


@pytest.mark.compile
@pytest.mark.parametrize(("case", "latency"), zip(TIMED, (1, 9, 5, 1), strict=True), ids=[c.name for c in TIMED])
def test_sequences_follow_each_other_at_the_documented_interval(case: Case, latency: int) -> None:
    """Side by side on FIFOs of their real depth the processes give the same codes and never wait for each other."""
    sim = case.sim()
    node = replace(sim.node, ints=sim.node.ints | {"latency": latency})
    sim = AttentionSim(*(case.spec, case.rows, case.head_dim, case.lanes, case.parallel_heads, case.width), node=node)
    network = AttentionDataflow(sim)
    codes, full = sim.random_codes(12, 1), np.full(12, sim.rows)
    timed = network.run(codes, full)
    expected = sim.reference(*codes, full)
    assert np.array_equal(timed.codes, expected)
    assert set(np.diff(timed.ends)) == {sim.cycles}
    busy = {name.split("/")[-1]: cycles // 12 for name, cycles in timed.busy.items()}
    load = sim.rows * case.spec.heads // case.parallel_heads * -(-case.head_dim // (case.width or case.head_dim))
    assert busy["score_slices"] == busy["weigh_slices"] == sim.cycles
    assert busy["load_keys"] == busy["load_values"] == load
    lengths = lengths_of(sim.rows, 12, 2)
    expected = sim.reference(*codes, lengths)
    for seed in range(2):
        found = network.run(codes, lengths, seed=seed, stalls=30, switches=30)
        assert np.array_equal(found.codes, expected)


# ---- how it fails ----------------------------------------------------------------------------------------------------

#: Case, member or table, and the member's other value or the table's entry that grows.
MUTATIONS = [
    ("consmax", "table", 160),
    ("consmax_causal", "p_rounding", 0),
    ("split16", "head_shift", 0),
    ("softmax_causal", "causal", 0),
    ("e2softmax", "p_rounding", 2),
    ("e2softmax_online_floor", "slice_length", 16),
    ("e2context", "factor", 1),
    ("e2context_online", "out_shift", 17),
]


@pytest.mark.compile
@pytest.mark.parametrize(("name", "member", "value"), MUTATIONS)
def test_every_comparison_can_fail(name: str, member: str, value: int) -> None:
    case, node = CASES[NAMES.index(name)], sim_of(name).node
    if member in node.ints:
        assert node.ints[member] != value
        changed = replace(node, ints=node.ints | {member: value})
    else:
        rom = node.roms[member].copy()
        rom[value] += 1 + rom[value] // 8
        changed = replace(node, roms=node.roms | {member: rom})
    structure = case.lanes, case.parallel_heads, case.width
    sim = AttentionSim(case.spec, case.rows, case.head_dim, *structure, formats=case.formats, node=changed)
    codes, lengths = sim.random_codes(40, 4), lengths_of(sim.rows, 40, 4)
    assert np.count_nonzero(sim.run(*codes, lengths) != sim.reference(*codes, lengths)) > 0


@pytest.mark.compile
@pytest.mark.parametrize(
    ("given", "text"),
    [("length - 1", "stream y: read while it is empty"), ("length + 1", "stream k: read while it is empty")],
)
def test_a_wrong_length_is_an_error(given: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = AttentionSim.source
    monkeypatch.setattr(AttentionSim, "source", lambda self: source(self).replace("none, length);", f"none, {given});"))
    sim = AttentionSim(consmax(1), 5, 8)
    codes = sim.random_codes(2, 1)
    with pytest.raises(SimulationError, match=f"attention: {text}"):
        sim.run(*codes, [4, 4])


def compiled(source: str, *flags: str) -> subprocess.CompletedProcess[str]:
    folders = sim_of("consmax").includes
    command = [*find_compiler(), "-std=c++11", "-fsyntax-only", "-Wno-unknown-pragmas", *flags]
    command += [f"-I{f}" for f in folders if f != ap_types_dir()] + ["-isystem", str(ap_types_dir()), "-x", "c++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


@pytest.mark.compile
@pytest.mark.parametrize("name", ["split16", "softmax_causal", "e2softmax", "e2context_online"])
def test_no_warnings(name: str) -> None:
    done = compiled(sim_of(name).source(), "-Wall", "-Wextra", "-Werror")
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.compile
@pytest.mark.parametrize(
    ("name", "member", "value", "message"),
    [
        ("consmax", "parallel_heads", 3, "parallel_heads divides heads"),
        ("consmax", "width", 9, "width is 1 to head_dim"),
        ("consmax", "lanes", 25, "lanes is 1 to rows"),
        ("consmax", "k_width", 7, "the rows of K are not the ones"),
        ("consmax", "entries", 128, "one table a head"),
        ("consmax", "score_core_width", 17, "accumulator does not hold"),
        ("consmax", "core_width", 12, "accumulator does not hold"),
        ("split16", "max_shift", 9, "max_shift follows"),
        ("softmax_causal", "max_length", 39, "longer than max_length"),
        ("e2softmax_online_floor", "slice_length", 6, "lanes divides slice_length"),
        ("e2context", "mux_bits", 2, "one mantissa for each value of q"),
    ],
)
def test_illegal_members_do_not_compile(name: str, member: str, value: int, message: str) -> None:
    text = sim_of(name).source()
    changed = re.sub(rf"(static const [a-z ]+ {member} = )[^;]+;", rf"\g<1>{value};", text)
    assert changed != text
    done = compiled(changed)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr[:2000]


# ---- fusing ----------------------------------------------------------------------------------------------------------


def test_three_nodes_become_one() -> None:
    case = CASES[0]
    graph = attention_graph(case.spec, case.rows, case.head_dim, case.formats)
    node = attention_node(graph)
    assert (node.op, node.inputs) == ("AttnAttentionConSmax", ("q", "k", "v"))
    assert dict(node.tensors()) == {"merged": (24, 2, 8), "y": (24, 16)}
    assert node.in_formats == tuple(graph.tensors[n].format for n in "qkv")
    assert {"qk", "quantise_scores", "attention", "pv", "quantise_context"} <= set(node.sources)
    assert (node.ints["lanes"], node.ints["parallel_heads"], node.ints["width"]) == (1, 1, 8)
    ops = {attention_node(attention_graph(c.spec, c.rows, c.head_dim, c.formats)).op for c in CASES}
    assert ops == {op for op in KERNELS if op.startswith("AttnAttention")}


def attention(m: TypedMaker, heads: int = 2, **change: object) -> list[HwNode]:
    """The lowered nodes of an attention over x, with one thing changed."""
    rows, channels = m.shape("x")
    dim = channels // heads
    shape = (rows, dim, heads) if change.get("interleaved") else (rows, heads, dim)
    split, back = ((2, 0, 1), (2, 1, 0)) if change.get("interleaved") else ((1, 0, 2), (1, 2, 0))
    q, k, v = (m.reshape(m.quant("x", Fixed(8, 5)), shape) for _ in range(3))
    scores = m.add("MatMul", *(m.add("Transpose", q, permutation=split), m.add("Transpose", k, permutation=back)))
    if "score_factors" in change:
        scores = m.add("Mul", scores, m.constant(change["score_factors"], Fixed(4, 2)))  # type: ignore[arg-type]
    p = m.score(m.quant(scores, S8), consmax(heads))
    if change.get("relu"):
        p = m.quant(m.add("Relu", p), Fixed(6, 4))
    if change.get("probability_factor"):
        p = m.quant(m.add("Mul", p, m.constant((), Fixed(4, 2))), Fixed(6, 4))
    y = m.add("MatMul", p, m.add("Transpose", v, permutation=split))
    if "result_factors" in change:
        y = m.add("Mul", y, m.constant(change["result_factors"], Fixed(4, 2)))  # type: ignore[arg-type]
    y = m.quant(y, V8)
    if not change.get("apart"):
        y = m.reshape(m.add("Transpose", y, permutation=(1, 0, 2)), (rows, channels))
    return [n for n in lower_graph(m.graph(y)).nodes if n.op not in ("AttnAffine", "AttnPermute")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"score_factors": (2, 1, 1)}, r"matmul.*a constant for each of its scores.*score_scale"),
        ({"result_factors": (2, 1, 4)}, r"matmul.*a constant for each of its results.*the layer behind"),
        ({"relu": True}, r"score.*a constant or a ReLU before P V.*apply it to the result"),
        ({"probability_factor": True}, r"score.*a constant or a ReLU before P V"),
        ({"interleaved": True}, r"matmul.*q with strides \(1, 8, 2\).*heads side by side"),
        ({"apart": True}, r"matmul.*the result with strides \(24, 4, 1\).*instead of \(4, 8, 1\)"),
    ],
)
def test_what_the_kernel_does_not_do_is_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(UnsupportedError, match=text):
        fuse(*attention(TypedMaker((6, 8), Fixed(8, 4)), **change))


@pytest.mark.compile
@pytest.mark.parametrize("change", [{"score_factors": ()}, {"score_factors": (6,), "result_factors": (4,)}])
def test_constants_for_a_key_and_for_a_channel(change: dict[str, object]) -> None:
    m = TypedMaker((6, 8), Fixed(8, 4), 3)
    nodes = attention(m, **change)
    sim = AttentionSim(consmax(), 6, 4, 2, 1, 3, node=fuse(*nodes))
    graph = m.graph(nodes[-1].output)
    trace = Reference(graph).trace(random_codes(graph.input, 50, 1))
    found = sim.run(*(trace[name] for name in sim.node.inputs))
    assert np.count_nonzero(found != trace[sim.node.output].reshape(found.shape)) == 0


def test_other_refusals() -> None:
    qk, function, pv = attention(TypedMaker((6, 8), Fixed(8, 4)))
    with pytest.raises(UnsupportedError, match=r"AttnMatMul is no score function.*AttnConSmax.*io_parallel"):
        fuse(qk, qk, pv)
    with pytest.raises(UnsupportedError, match="has a score function"):
        fuse(qk, None, None)
    with pytest.raises(UnsupportedError, match=r"AttnConSmax where AttnMatMul belongs"):
        fuse(function, function, pv)
    with pytest.raises(UnsupportedError, match=r"its operand 'elsewhere', which .* does not produce"):
        fuse(qk, replace(function, inputs=("elsewhere",)), pv)
    for part, member, text in ((qk, "cols", "Q K.T"), (pv, "cols", "P V"), (function, "rows", "the scores")):
        nodes = [replace(n, ints=n.ints | {member: 5}) if n is part else n for n in (qk, function, pv)]
        with pytest.raises(UnsupportedError, match=rf"{text} of .*self-attention has as many keys as rows"):
            fuse(*nodes)
    with pytest.raises(UnsupportedError, match=r"k with strides .* from a dense layer of its own"):
        fuse(replace(qk, ints=qk.ints | {"b_col": 24}), function, pv)


@pytest.mark.parametrize(
    ("structure", "text"),
    [
        ((51, 1, 8), "lanes=51; use 1 to 50 lanes"),
        ((0, 1, 8), "lanes=0; use 1 to 50 lanes"),
        ((4, 3, 8), "parallel_heads=3; use a divisor of its 2 heads"),
        ((4, 1, 9), "width=9; use 1 to 8 elements"),
        ((3, 1, 8), "lanes=3 with a slice_length of 8.*divides slice_length"),
    ],
)
def test_structures_that_do_not_exist_are_refused(structure: tuple[int, int, int], text: str) -> None:
    case = CASES[NAMES.index("e2softmax_online_floor")]
    node = attention_node(attention_graph(case.spec, case.rows, case.head_dim, case.formats))
    with pytest.raises(UnsupportedError, match=text):
        with_structure(node, *structure)


@pytest.mark.compile
def test_the_bench_refuses_what_it_cannot_take() -> None:
    sim = sim_of("consmax")
    q, k, v = sim.random_codes(9, 1)
    for arguments, text in (
        ((q, k[:1], v), "k must hold integer codes of shape .*batch >= 1, 24, 16"),
        ((q.astype(float), k, v), "q must hold integer codes"),
        ((q, k, v * 2), r"v must be within \[-128, 127\]"),
        ((q, k, v, [0] * 9), "lengths must be 9 integers from 1 to 24"),
        ((q, k, v, [25] * 9), "lengths must be 9 integers from 1 to 24"),
        ((q, k, v, 7), "lengths must be 9 integers"),
    ):
        with pytest.raises(InputError, match=text):
            sim.run(*arguments)
    with pytest.raises(InputError, match="rows and head_dim must be positive"):
        AttentionSim(consmax(), 0, 8, formats=AttentionFormats())
