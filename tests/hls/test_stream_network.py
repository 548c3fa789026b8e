# SPDX-License-Identifier: Apache-2.0
"""From hardware nodes to a network of streams: forms, forks, attention, FIFO depths, schedules, refusals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hls_models import A8, ModelMaker, consmax
from hls_networks import GRAPHS, STREAM, ZOO, digits, residuals, streamed
from hls_sole import CONTEXT, layernorm
from hls_typed import TypedMaker

from hls4attn.hls import Design, HlsConfig, lower, lower_graph, read_design
from hls4attn.hls.hwfile import to_onnx
from hls4attn.hls.stream.cycles import interval, is_attention, row_interval
from hls4attn.hls.stream.forks import MAX_COPIES
from hls4attn.hls.stream.schedule import dense_blocks
from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.export import Graph, read_graph
from hls4attn.models.formats import Fixed


@pytest.fixture(scope="module", params=GRAPHS)
def network(request: pytest.FixtureRequest) -> Design:
    return streamed(GRAPHS[request.param]())


def test_every_stream_has_one_writer_and_one_reader(network: Design) -> None:
    written = Counter([network.input.name, *(name for n in network.nodes for name in n.outputs)])
    read = Counter([network.result, *(name for n in network.nodes for name in n.inputs)])
    assert set(written.values()) == set(read.values()) == {1}
    assert set(written) == set(read) == set(network.streams)
    assert all(2 <= len(n.copies) <= MAX_COPIES for n in network.nodes if n.op == "AttnFork")
    seen = {network.input.name}
    for node in network.nodes:
        assert seen.issuperset(node.inputs), node.name
        seen.update(node.outputs)
    names = [n.name.lower() for n in network.nodes]
    assert len(set(names)) == len(names)


def test_kernels_agree_on_rows_formats_and_tokens(network: Design) -> None:
    formats = {network.input.name: network.input.format}
    for node in network.nodes:
        assert [formats[name] for name in node.inputs] == list(node.in_formats)
        formats |= dict.fromkeys(node.outputs, node.format)
        before, after = ([network.streams[n] for n in side] for side in (node.inputs, node.outputs))
        ints = node.ints
        if node.op == "AttnPermute":
            assert (before[0].rows, before[0].channels) == (ints["in_rows"], ints["in_channels"])
            assert (after[0].rows, after[0].channels) == (ints["out_rows"], ints["out_channels"])
        elif node.op == "AttnReduceSum":
            assert (before[0].rows, after[0].rows, after[0].channels) == (ints["count"], 1, ints["channels"])
        else:
            assert {s.rows for s in (*before, *after)} == {ints["rows"]}
            assert len({s.tokens for s in (*before, *after)}) == 1
        if is_attention(node):
            assert all(s.tokens for s in (*before, *after))


def test_the_lowered_file_holds_all_of_it(network: Design) -> None:
    found = read_design(to_onnx(network))
    assert found.io_type == "io_stream"
    assert dict(found.streams) == dict(network.streams)
    assert (found.name, found.input, found.output, found.result) == (
        network.name,
        network.input,
        network.output,
        network.result,
    )
    for mine, theirs in zip(network.nodes, found.nodes, strict=True):
        assert (mine.to_dict(), mine.ints, mine.in_formats) == (theirs.to_dict(), theirs.ints, theirs.in_formats)
        assert all(np.array_equal(rom, theirs.roms[name]) for name, rom in mine.roms.items())


def test_what_attention_is_made_of() -> None:
    design = digits("consmax")
    attention = [n for n in design.nodes if is_attention(n)]
    assert [n.op for n in attention] == ["AttnAttentionConSmax"] * 2
    assert attention[0].inputs == ("block0_attention_q", "block0_attention_k", "block0_attention_v")
    assert not {"AttnMatMul", "AttnConSmax"} & {n.op for n in design.nodes}
    assert design.seq_len == 16
    assert design.any_length
    tokens = [name for name, s in design.streams.items() if s.tokens]
    assert "gather" in tokens
    assert {"pixels", "pooled", "logits"}.isdisjoint(tokens)
    context = ModelMaker("m", (10, 8), A8, 1)
    spec = replace(CONTEXT, v_format=A8, out_format=A8)
    made = streamed(read_graph(context.model(context.attention(context.x, (10, 8), spec, "a"))), lanes=3)
    assert [n.op for n in made.nodes if is_attention(n)] == ["AttnAttentionE2Context"]


def test_no_run_time_length_where_a_permute_collects_tokens_or_lengths_differ() -> None:
    m = ModelMaker("m", (4, 8), A8, 1)
    y = m.attention(m.x, (4, 8), consmax(2), "a")
    flat = m.model(m.dense(m.b.reshape(y, (32,), "flat"), (32,), 3, "head", A8))
    design = streamed(read_graph(flat))
    assert (design.seq_len, design.any_length) == (4, False)
    m = ModelMaker("m", (4, 8), A8, 1)
    y = m.attention(m.x, (4, 8), consmax(2), "a")
    y = m.b.reshape(y, (8, 4), "more_rows")
    two = m.model(m.attention(m.dense(y, (8, 4), 8, "widen", A8), (8, 8), consmax(2), "b"))
    design = streamed(read_graph(two))
    assert (design.seq_len, design.any_length) == (0, False)


def test_transposed_input_is_dealt_out_again() -> None:
    m = TypedMaker((4, 6), Fixed(6, 2), 9)
    x = m.add("Transpose", "x", permutation=(1, 0))
    design = streamed(m.graph(m.quant(m.add("MatMul", x, m.constant((4, 5), Fixed(4, 2))), A8)))
    move, dense = design.nodes
    assert (move.op, move.moves, list(move.tensors())) == ("AttnPermute", True, [])
    assert {k: move.ints[k] for k in ("n2", "n3", "s2", "s3")} == {"n2": 6, "n3": 4, "s2": 1, "s3": 6}
    assert (dense.ints["row_stride"], dense.ints["in_stride"]) == (4, 1)
    assert design.streams[dense.inputs[0]].channels == 4


# ---- refusals --------------------------------------------------------------------------------------------------------


def scores_only() -> Graph:
    m = TypedMaker((2, 4, 4), Fixed(8, 2), 1)
    return m.graph(m.score("x", consmax(2)))


def computed_product() -> Graph:
    m = TypedMaker((4, 3), Fixed(6, 2), 1)
    return m.graph(m.add("MatMul", "x", m.add("Transpose", "x", permutation=(1, 0))))


def scores_with_two_readers() -> Graph:
    m = TypedMaker((4, 4), Fixed(6, 2), 1)
    heads = m.reshape("x", (1, 4, 4))
    s = m.quant(m.add("MatMul", heads, m.add("Transpose", heads, permutation=(0, 2, 1))), Fixed(8, 2))
    p = m.score(s, consmax(1))
    c = m.quant(m.add("MatMul", p, heads), A8)
    return m.graph(m.add("Add", m.quant(p, A8), c))


def sum_of_channels() -> Graph:
    m = TypedMaker((4, 6), Fixed(6, 2), 1)
    return m.graph(m.quant(m.add("ReduceSum", "x", axes=(1,)), A8))


def sum_with_repeated_constants() -> Graph:
    m = TypedMaker((4, 2, 3), Fixed(6, 2), 1)
    y = m.add("ReduceSum", "x", axes=(0,))
    return m.graph(m.quant(m.add("Add", y, m.constant((3,), Fixed(4, 2))), A8))


def wide_rows() -> Graph:
    m = TypedMaker((2, 600), Fixed(8, 2), 1)
    return m.graph(m.quant(m.add("Relu", "x"), A8))


def dead_end() -> Graph:
    m = TypedMaker((4, 6), Fixed(6, 2), 1)
    x = m.quant(m.add("MatMul", "x", m.constant((6, 6), Fixed(4, 2))), A8)
    m.quant(m.add("MatMul", x, m.constant((6, 6), Fixed(4, 2))), A8)
    return m.graph(m.quant(m.add("MatMul", x, m.constant((6, 5), Fixed(4, 2))), A8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (scores_only, r"score0 \(AttnConSmax\): a score function streams only between .*io_type='io_parallel'"),
        (computed_product, r"matmul\d \(AttnMatMul\): a product of two computed tensors .*io_type='io_parallel'"),
        (scores_with_two_readers, r"\(Attn\w+\): .*io_type='io_parallel'"),
        (sum_of_channels, r"reducesum0: only sums over the rows stream"),
        (sum_with_repeated_constants, r"one row of 6 values, but a constant repeats every 3; reshape"),
        (wide_rows, r"x: rows of 600 values of 8 bits are wider than a stream word of 4096 bits"),
        (dead_end, r"nothing reads it, so its stream would fill up"),
    ],
)
def test_what_has_no_streaming_form_is_refused(make, message) -> None:
    graph = make()
    lower_graph(graph)
    with pytest.raises(UnsupportedError, match=message):
        streamed(graph)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"parallel_heads": 3}, "block0_attention_score: .*parallel_heads=3"),
        ({"lanes": 17}, "block0_attention_score: .*lanes=17"),
        ({"reuse_factor": 17}, "a reuse factor of 17 is more than the 16 elements of a head"),
        ({"layer_reuse_factor": {"nothing": 2}}, "names 'nothing', which is no kernel of this design; it has: gather"),
        ({"layer_reuse_factor": {"gather": 2}}, "'gather', which always passes one row a cycle"),
        ({"layer_reuse_factor": {"fork_tokens": 2}}, "'fork_tokens', which always passes one row a cycle"),
        ({"layer_reuse_factor": {"position": 33}}, "layer_reuse_factor=33, but it takes at most 32 cycles a row"),
    ],
)
def test_impossible_choices_are_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        digits("consmax", **choices)


def test_choices_of_attention_need_one() -> None:
    with pytest.raises(UnsupportedError, match="of attention, and this design has none"):
        streamed(residuals(2), lanes=2)


def test_lanes_divide_slices() -> None:
    m = ModelMaker("m", (12, 8), A8, 1)
    spec = replace(CONTEXT, v_format=A8, out_format=A8, slice_length=6)
    graph = read_graph(m.model(m.attention(m.x, (12, 8), spec, "a")))
    assert [n.ints["lanes"] for n in streamed(graph).nodes if is_attention(n)] == [3]  # not 4
    with pytest.raises(UnsupportedError, match="lanes=4 .*slice_length"):
        streamed(graph, lanes=4)


# ---- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reuse", [1, 3, 16])
@pytest.mark.parametrize("heads", [1, 2])
def test_every_kernel_keeps_up_with_the_attention(reuse: int, heads: int) -> None:
    design = digits("sole", reuse_factor=reuse, parallel_heads=heads, lanes=8)
    attention = [n for n in design.nodes if is_attention(n)]
    chunks = -(-16 // -(-16 // reuse))
    assert {interval(n) for n in attention} == {16 * (2 // heads) * 2 * chunks}
    longest = interval(attention[0])
    for node in design.nodes:
        assert interval(node) <= longest, node.name
        if "lanes" in node.ints and not is_attention(node) and node.ints["lanes"] > 1:
            fewer = replace(node, ints=node.ints | {"lanes": node.ints["lanes"] - 1})
            assert interval(fewer) > longest, node.name


def test_single_kernels_have_their_own_factor() -> None:
    names = {"block0_expand_matmul": 7, "block1_attention_score": 4, "position": 32}
    design = digits("consmax", reuse_factor=2, layer_reuse_factor=names)
    nodes = {n.name: n for n in design.nodes}
    assert row_interval(nodes["block0_expand_matmul"]) <= 7
    assert nodes["block1_attention_score"].ints["width"] == 4
    assert nodes["block0_attention_score"].ints["width"] == 8
    assert nodes["position"].ints["lanes"] == 1
    assert {n: nodes[n].ints["reuse_factor"] for n in (*names, "gather")} == names | {"gather": 2}
    assert all(n.ints["latency"] >= 1 for n in design.nodes)


def test_without_attention_the_factor_is_cycles_a_row() -> None:
    design = streamed(residuals(3), reuse_factor=4)
    assert {row_interval(n) for n in design.nodes if n.op != "AttnFork"} <= {3, 4}
    assert any(row_interval(n) == 4 for n in design.nodes)


@pytest.mark.parametrize("scaled", [False, True])
def test_blocks_have_the_fewest_multipliers(scaled: bool) -> None:
    for n_in, n_out, budget in product((1, 4, 7, 12), (1, 5, 10), (1, 2, 3, 5, 8, 17, 200)):
        in_block, out_block = dense_blocks(n_in, n_out, budget, scaled)
        assert -(-n_in // in_block) * -(-n_out // out_block) <= budget
        best = min(
            a * b + scaled * b
            for a, b in product(range(1, n_in + 1), range(1, n_out + 1))
            if -(-n_in // a) * -(-n_out // b) <= budget
        )
        assert in_block * out_block + scaled * out_block == best, (n_in, n_out, budget)


# ---- lowered files ---------------------------------------------------------------------------------------------------


def test_lowering_takes_the_form_and_the_choices() -> None:
    path = ZOO / "consmax.onnx"
    assert read_design(lower(path)).io_type == "io_parallel"
    assert not read_design(lower(path)).streams
    plain = read_design(lower(path, io_type="io_stream"))
    chosen = read_design(lower(path, config=HlsConfig(io_type="io_stream", reuse_factor=4)))
    assert plain.io_type == chosen.io_type == "io_stream"
    widths = [[n.ints["width"] for n in d.nodes if is_attention(n)] for d in (plain, chosen)]
    assert widths == [[16, 16], [4, 4]]
    with pytest.raises(UnsupportedError, match="io_type='io_parallel', but the configuration says 'io_stream'"):
        lower(path, "io_parallel", STREAM)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('"gather"', '"other"'), "does not describe its streams"),
        (lambda text: text.replace("[16, 4, 1, 2]", "[16, 4, 1, 9]"), "otherwise than the node before"),
        (lambda text: text.replace("[16, 4, 1, 2]", "[16, 0, 1, 2]"), "no stream"),
        (lambda text: text.replace("[16, 4, 1, 2]", "[16, 4]"), "its streams are malformed"),
        (lambda text: "[]", "its streams are malformed"),
        (lambda text: "{}", "does not describe its streams"),
    ],
)
def test_spoilt_files_are_refused(spoil, message) -> None:
    model = lower(ZOO / "consmax.onnx", io_type="io_stream")
    attribute = next(a for a in model.graph.node[1].attribute if a.name == "streams")
    attribute.s = spoil(attribute.s.decode()).encode()
    with pytest.raises(ModelFileError, match=message):
        read_design(model)


def test_norms_stream_on_their_own() -> None:
    m = ModelMaker("m", (5, 12), A8, 2)
    graph = read_graph(m.model(m.norm(m.x, (5, 12), "n", A8, layernorm(12, in_format=A8))))
    design = streamed(graph, reuse_factor=3)
    assert [n.ints.get("lanes") for n in design.nodes if "LayerNorm" in n.op] == [4]
