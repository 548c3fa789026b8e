# SPDX-License-Identifier: Apache-2.0
"""A typed graph as the boxes and links of a drawing: constants inside their consumer, quantisers on the links."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.formats import Fixed

#: Kinds of boxes, in the order of the legend, and what the legend says.
KINDS = {
    "input": "input, output",
    "dense": "product with weights",
    "product": "product of two activations",
    "score": "score function",
    "context": "scores and values to context",
    "cells": "gain cells",
    "norm": "normalisation",
    "elementwise": "element by element",
    "move": "reshape, transpose",
}
_KIND_OF = {"Score": "score", "Context": "context", "Norm": "norm", "Cells": "cells"}
_MOVES = ("Reshape", "Transpose")
#: Box kinds that a following quantiser, constant or rectifier is drawn into.
_OPEN = ("dense", "product", "elementwise")


@dataclass(frozen=True)
class Box:
    """One box.

    Attributes:
        kind: one of `KINDS`.
        title: name of the tensor that leaves it.
        lines: what it does.
        nodes: the nodes drawn in it, in execution order.
        tensor: what leaves it; None for the output, which nothing leaves.
        detail: everything about it.
    """

    kind: str
    title: str
    lines: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensor: Tensor | None
    detail: str


@dataclass(frozen=True)
class Link:
    """A tensor on its way from one box to an operand of another; numbers count the boxes."""

    source: int
    target: int
    tensor: str


def short_format(fmt: Fixed) -> str:
    """A format in the project's notation, without the usual rounding and overflow."""
    if fmt.rounding == "half_even" and fmt.overflow == "saturate":
        return str(fmt).replace(",half_even,saturate", "")
    return str(fmt)


def shape_text(shape: Iterable[int]) -> str:
    """A shape without the batch."""
    return "×".join(map(str, shape)) or "1"


def tensor_text(tensor: Tensor) -> str:
    """Shape and format of a tensor."""
    return f"{shape_text(tensor.shape)} · {short_format(tensor.format)}"


def to_boxes(graph: Graph) -> tuple[list[Box], list[Link]]:
    """The boxes of a graph in execution order, the input first and the output last, and all links between them.

    Every node is in one box.  A box takes a following node in if that is the only reader of its result: constants
    and a rectifier behind a product or a sum, one quantiser behind these, and moves behind moves.
    """
    groups: list[list[Node]] = []
    maker: dict[str, int] = {}
    for node in graph.nodes:
        home = _home(graph, node, groups, maker)
        if home is None:
            home = len(groups)
            groups.append([])
        groups[home].append(node)
        maker[node.output] = home
    found = [_input_box(graph), *(_box(graph, group) for group in groups), _output_box(graph)]
    links = [
        Link(maker.get(name, -1) + 1, k, name)
        for k, group in enumerate(groups, start=1)
        for name in _read(graph, group)
    ]
    links.append(Link(maker.get(graph.output.name, -1) + 1, len(found) - 1, graph.output.name))
    return found, links


def _read(graph: Graph, group: list[Node]) -> list[str]:
    """Activations that a group reads from elsewhere, operand by operand."""
    made = {n.output for n in group}
    return [name for n in group for name in _dynamic(graph, n) if name not in made]


def _dynamic(graph: Graph, node: Node) -> list[str]:
    return [n for n in node.inputs if not isinstance(graph.tensors[n], Constant)]


def _home(graph: Graph, node: Node, groups: list[list[Node]], maker: dict[str, int]) -> int | None:
    """The group that a node is drawn in with others, if there is one."""
    operands = _dynamic(graph, node)
    if len(operands) != 1 or len(node.inputs) > 2 or operands[0] not in maker or operands[0] == graph.output.name:
        return None
    number = maker[operands[0]]
    group = groups[number]
    if group[-1].output != operands[0] or len(graph.consumers[operands[0]]) != 1:
        return None
    kind, last = _kind(graph, group[0]), group[-1]
    if node.op == "Quant":
        same = graph.tensors[node.output].format == graph.tensors[operands[0]].format
        fits = kind in _OPEN and (last.op != "Quant" or same)
    elif node.op in _MOVES:
        fits = kind == "move"
    else:
        fits = node.op in ("Add", "Mul", "Relu") and kind in _OPEN and last.op != "Quant"
    return number if fits else None


def _kind(graph: Graph, node: Node) -> str:
    if node.op == "MatMul":
        return "dense" if len(_dynamic(graph, node)) == 1 else "product"
    return _KIND_OF.get(node.op, "move" if node.op in _MOVES else "elementwise")


def _box(graph: Graph, group: list[Node]) -> Box:
    kind, result = _kind(graph, group[0]), graph.tensors[group[-1].output]
    if kind == "move":
        shapes = [graph.tensors[group[0].inputs[0]].shape, *(graph.tensors[n.output].shape for n in group)]
        lines = [" → ".join(shape_text(s) for k, s in enumerate(shapes) if k == 0 or s != shapes[k - 1])]
    else:
        lines = [line for n in group if (line := _LINES[n.op](graph, n))]
        if group == [n for n in group if n.op == "Quant"]:
            lines = ["quantise"]
    detail = "\n".join(_node_text(graph, n) for n in group)
    return Box(kind, result.name, tuple(lines), tuple(group), result, detail)


def _input_box(graph: Graph) -> Box:
    detail = f"{graph.float_input}, quantised to {graph.input.name}: {tensor_text(graph.input)}"
    return Box("input", graph.input.name, ("input",), (), graph.input, detail)


def _output_box(graph: Graph) -> Box:
    return Box("input", graph.output.name, ("output",), (), None, f"{graph.output.name}: {tensor_text(graph.output)}")


def _with_constant(word: str, vector: str) -> Callable[[Graph, Node], str]:
    """The line of a sum or a product with a constant; `word` alone if there is none."""

    def line(graph: Graph, node: Node) -> str:
        _, constant = graph.operand(node)
        if constant is None:
            return word
        return f"{vector if len(constant.shape) <= 1 else 'constant'} {tensor_text(constant)}"

    return line


def _matmul_line(graph: Graph, node: Node) -> str:
    first, second = (graph.tensors[n] for n in node.inputs)
    if isinstance(second, Constant):
        return f"weights {tensor_text(second)}"
    return f"{shape_text(first.shape)} by {shape_text(second.shape)}"


def _spec_line(graph: Graph, node: Node) -> str:
    spec = node.spec or node.context or node.norm or node.cells
    if node.norm is not None:
        return f"{node.norm.op_type}, {node.norm.channels} channels"
    if node.cells is not None:
        return f"{node.cells.op_type}, window {node.cells.window}"
    return f"{getattr(spec, 'op_type', node.op)}{', causal' if getattr(spec, 'causal', False) else ''}"


_LINES: dict[str, Callable[[Graph, Node], str]] = {
    "Quant": lambda graph, node: "",
    "MatMul": _matmul_line,
    "Add": _with_constant("add", "bias"),
    "Mul": _with_constant("multiply", "scale"),
    "Relu": lambda graph, node: "relu",
    "ReduceSum": lambda graph, node: f"sum over axis {', '.join(map(str, node.axes))}",
    **dict.fromkeys(("Score", "Context", "Norm", "Cells"), _spec_line),
}


def _node_text(graph: Graph, node: Node) -> str:
    """A node with its operands, its result and its parameters."""
    operands = ", ".join(f"{n} {tensor_text(graph.tensors[n])}" for n in node.inputs)
    text = f"{node.op} {node.name}: {operands} -> {tensor_text(graph.tensors[node.output])}"
    spec = node.spec or node.context or node.norm or node.cells
    return text if spec is None else f"{text}\n  {spec.op_type}: {_parameters(spec)}"


def _parameters(spec: Any) -> str:
    """Parameters of a spec; long ones by their number."""
    if not is_dataclass(spec):
        return ""
    found = []
    for f in fields(spec):
        value = getattr(spec, f.name)
        many = isinstance(value, tuple) and len(value) > 8
        found.append(f"{f.name}={f'{len(value)} values' if many else value}")
    return ", ".join(found)
