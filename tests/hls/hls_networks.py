# SPDX-License-Identifier: Apache-2.0
"""Graphs whose streams part and meet: readers of one tensor, reshapes, paths around attention."""

from __future__ import annotations

from pathlib import Path

from hls_models import A8, ModelMaker, classifier, consmax
from hls_typed import TypedMaker

from hls4attn.hls import Design, HlsConfig, lower_graph
from hls4attn.hls.stream.network import to_stream
from hls4attn.models.export import Graph, read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import SoftmaxSpec


def chain(*shapes: tuple[int, ...]) -> Graph:
    """Dense layers with reshapes between them."""
    m = TypedMaker(shapes[0], Fixed(6, 2), 7)
    x = "x"
    for shape in shapes[1:]:
        x = m.quant(m.add("MatMul", x, m.constant((m.shape(x)[-1], m.shape(x)[-1]), Fixed(4, 2))), A8)
        x = m.reshape(x, shape)
    return m.graph(m.quant(m.add("MatMul", x, m.constant((m.shape(x)[-1], 3), Fixed(4, 2))), A8))


def residuals(readers: int) -> Graph:
    """One tensor that many nodes read, twice by the first of them."""
    m = TypedMaker((4, 6), Fixed(6, 2), 8)
    x = m.quant(m.add("MatMul", "x", m.constant((6, 6), Fixed(4, 2))), A8)
    y = m.quant(m.add("Add", x, x), A8)
    for _ in range(readers - 2):
        y = m.quant(m.add("Add", x, m.quant(m.add("MatMul", y, m.constant((6, 6), Fixed(4, 2))), A8)), A8)
    return m.graph(y)


def long_skip(blocks: int = 3) -> Graph:
    """Attention blocks in a row, and one path around all of them."""
    m = ModelMaker("skip", (6, 8), A8, 3)
    x = m.dense(m.x, (6, 8), 8, "first", A8)
    y = x
    for k in range(blocks):
        y = m.block(y, (6, 8), consmax(2), 12, f"b{k}")
    return read_graph(m.model(m.b.quant(m.op("Add", [x, y], "skip", (6, 8)), A8, "skip_q", (6, 8))))


ZOO = Path(__file__).parents[2] / "models/zoo/digits_vit"
STREAM = HlsConfig(io_type="io_stream")


def digits(name: str, **choices: object) -> Design:
    return to_stream(lower_graph(read_graph(ZOO / f"{name}.onnx")), HlsConfig(io_type="io_stream", **choices))  # type: ignore[arg-type]


def streamed(graph: Graph, **choices: object) -> Design:
    return to_stream(lower_graph(graph), HlsConfig(io_type="io_stream", **choices))  # type: ignore[arg-type]


GRAPHS = {
    "digits_consmax": lambda: read_graph(ZOO / "consmax.onnx"),
    "digits_sole": lambda: read_graph(ZOO / "sole.onnx"),
    "classifier": lambda: read_graph(classifier(2, 6, 8, 12, SoftmaxSpec(A8, (0.3, 0.3)), 1)),
    "long_skip": long_skip,
    "flatten": lambda: chain((4, 6), (1, 24), (8, 3)),
    "from_a_vector": lambda: chain((12,), (3, 4), (12,)),
    "readers_2": lambda: residuals(2),
    "readers_9": lambda: residuals(9),
    "readers_20": lambda: residuals(20),
}
