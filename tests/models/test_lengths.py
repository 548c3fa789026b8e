# SPDX-License-Identifier: Apache-2.0
"""Graphs for shorter sequences: equal to the same model exported at that length, and refused where there is none."""

from pathlib import Path

import numpy as np
import pytest

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export import Constant, Graph, Node, Reference, Tensor, random_codes, read_graph, shortened
from hls4attn.models.export.infer import infer
from hls4attn.models.formats import Fixed
from tests.models.builders import attention_model, specs

ROOT = Path(__file__).parents[2]
SEED = 5
A8 = Fixed(8, 4)


@pytest.mark.parametrize("name", specs())
@pytest.mark.parametrize("length", [1, 3, 7, 8])
def test_it_is_the_model_exported_at_that_length(name: str, length: int) -> None:
    full, truth = (read_graph(attention_model(specs()[name], seq)) for seq in (8, length))
    short = shortened(full, full.input.name, length)
    codes = random_codes(truth.input, 60, SEED)
    found, expected = Reference(short).trace(codes), Reference(truth).trace(codes)
    assert {n: v.shape for n, v in found.items()} == {n: v.shape for n, v in expected.items()}
    assert sum(np.count_nonzero(found[n] != expected[n]) for n in expected) == 0
    assert len(np.unique(found[short.output.name])) > 10
    assert all(short.tensors[n].format == full.tensors[n].format for n in expected)


def test_constants_of_tokens_are_cut_and_sums_are_over_what_is_left() -> None:
    graph = read_graph(ROOT / "models/zoo/digits_vit/consmax.onnx")
    codes = random_codes(graph.input, 20, SEED)
    full = Reference(graph).trace(codes)
    found = Reference(shortened(graph, "embed", 5)).trace(full["embed"][:, :5])
    assert np.array_equal(found["tokens"], full["tokens"][:, :5])
    assert found["block0_attention_scores"].shape == (20, 2, 5, 5)
    assert found["block0_attention_merged"].shape == (20, 5, 32)
    assert np.any(found["block0_attention_merged"] != full["block0_attention_merged"][:, :5])
    pool = graph.tensors["pooled"].format
    mean = found["block1_norm1_out"].sum(axis=1)  # times 1/16, whatever the length
    before = graph.tensors["block1_norm1_out"].format.frac + 4
    assert np.array_equal(found["pooled"], pool.requantise(mean, before))
    assert np.any(found["logits"] != full["logits"])


def test_the_full_length_is_the_full_graph() -> None:
    graph = read_graph(ROOT / "models/zoo/digits_vit/sole.onnx")
    full = Reference(graph).trace(random_codes(graph.input, 10, SEED))
    found = Reference(shortened(graph, "embed_codes", 16)).trace(full["embed_codes"])
    assert len(found) > 50
    assert sum(np.count_nonzero(found[n] != full[n]) for n in found) == 0


def graph_of(nodes: list[Node], constants: list[Constant], shapes: dict[str, tuple[int, ...]]) -> Graph:
    port = Tensor("x", (4, 6), A8)
    tensors: dict[str, Tensor] = {t.name: t for t in (port, *constants)}
    for node in nodes:
        target = Tensor("", shapes.get(node.output, ()), A8)
        tensors[node.output] = infer(node, [tensors[n] for n in node.inputs], target)
    return Graph("g", port, tensors[nodes[-1].output], "f", tuple(nodes), tensors)


TURN = Node("Transpose", "turn", ("x",), "t", permutation=(1, 0))
MIX = Constant("mix", (4, 3), A8, np.ones((4, 3), dtype=np.int64))


@pytest.mark.parametrize(
    ("nodes", "shapes", "message"),
    [
        ([TURN, Node("MatMul", "mixer", ("t", "mix"), "y")], {}, "mixer: sums over tokens with weights"),
        ([Node("Reshape", "flat", ("x",), "y")], {"y": (24,)}, r"flat: reshapes tokens .* \(4, 6\) to \(24,\)"),
        ([Node("Reshape", "pairs", ("x",), "y")], {"y": (2, 12)}, "pairs: reshapes tokens"),
    ],
)
def test_what_has_no_shorter_form_is_refused(nodes, shapes, message) -> None:
    with pytest.raises(UnsupportedError, match=message):
        shortened(graph_of(nodes, [MIX], shapes), "x", 2)


def test_tokens_keep_their_axis_through_reshapes() -> None:
    nodes = [Node("Reshape", "split", ("x",), "s"), Node("ReduceSum", "sum", ("s",), "y", axes=(1,))]
    short = shortened(graph_of(nodes, [], {"s": (4, 2, 3)}), "x", 2)
    codes = random_codes(short.input, 9, SEED)
    assert short.output.shape == (2, 3)
    assert np.array_equal(Reference(short).run(codes), codes.reshape(9, 2, 2, 3).sum(axis=2))


def test_constants_that_broadcast_are_kept() -> None:
    rows = Constant("rows", (4, 1), A8, np.arange(4).reshape(4, 1))
    each = Constant("each", (6,), A8, np.arange(6))
    nodes = [Node("Add", "a", ("x", "rows"), "m"), Node("Mul", "b", ("m", "each"), "y")]
    short = shortened(graph_of(nodes, [rows, each], {}), "x", 3)
    codes = random_codes(short.input, 9, SEED)
    assert np.array_equal(Reference(short).run(codes), (codes + np.arange(3).reshape(3, 1)) * np.arange(6))


@pytest.mark.parametrize(
    ("start", "length", "message"),
    [
        ("nothing", 2, "'nothing' is no tensor"),
        ("mix", 2, "'mix' is no tensor"),
        ("x", 0, "from 1 to 4. Received: 0"),
        ("x", 5, "from 1 to 4. Received: 5"),
        ("m", 2, "b: reads x, which does not come from m"),
    ],
)
def test_wrong_starts_are_refused(start: str, length: int, message: str) -> None:
    nodes = [Node("Relu", "a", ("x",), "m"), Node("Add", "b", ("m", "x"), "y")]
    with pytest.raises(UnsupportedError, match=message):
        shortened(graph_of(nodes, [MIX], {}), start, length)
