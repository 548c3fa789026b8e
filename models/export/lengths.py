# SPDX-License-Identifier: Apache-2.0
"""A typed graph for shorter sequences: what hardware that is told a length at run time must compute.

Formats stay those of the full length: hardware is built for the longest sequence, and its types hold any shorter one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor

#: Axes of a tensor that number tokens.
Axes = frozenset[int]
_NONE: Axes = frozenset()


def shortened(graph: Graph, start: str, length: int) -> Graph:
    """The graph from one tensor on, for sequences of fewer tokens.

    Args:
        graph: the full graph.
        start: the tensor that becomes the input; its first axis numbers the tokens.
        length: tokens, at most as many as it has.

    Raises:
        UnsupportedError: if there is no such tensor, if the graph needs another one beside it, or naming the node that
            mixes tokens with constants, so that it has no meaning for another length.

    Examples:
        >>> short = shortened(graph, "embed", 5)  # doctest: +SKIP
        >>> Reference(short).run(embedded[:, :5])  # doctest: +SKIP
    """
    found = graph.tensors.get(start)
    if found is None or isinstance(found, Constant) or not found.shape:
        raise UnsupportedError(f"{start!r} is no tensor with tokens in {graph.name}")
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= found.shape[0]:
        raise UnsupportedError(f"length must be a whole number from 1 to {found.shape[0]}. Received: {length!r}")
    return _Shortening(graph, found, length).run()


class _Shortening:
    def __init__(self, graph: Graph, start: Tensor, length: int) -> None:
        self.graph, self.length = graph, length
        self.input = replace(start, shape=(length, *start.shape[1:]))
        self.tensors: dict[str, Tensor] = {start.name: self.input}
        self.axes: dict[str, Axes] = {start.name: frozenset((0,))}

    def run(self) -> Graph:
        graph = self.graph
        needed = {graph.output.name}
        nodes: list[Node] = []
        for node in reversed(graph.nodes):  # what leads to the output without passing the new input
            if node.output in needed and node.output != self.input.name:
                needed.update(node.inputs)
                nodes.insert(0, node)
        for node in nodes:
            self._node(node)
        output = self.tensors.get(graph.output.name)
        if output is None:
            raise UnsupportedError(f"{self.input.name} does not lead to the output {graph.output.name}")
        return Graph(
            graph.name, self.input, output, f"float_{self.input.name}", tuple(nodes), self.tensors, graph.metadata
        )

    def _node(self, node: Node) -> None:
        for name in node.inputs:
            constant = self.graph.constant(name)
            if constant is None and name not in self.tensors:
                raise UnsupportedError(
                    f"{node.name}: reads {name}, which does not come from {self.input.name}; start where all paths meet"
                )
            if constant is not None and node.op not in ("Add", "Mul"):
                self.tensors[name], self.axes[name] = constant, _NONE
        full = self.graph.tensors[node.output]
        axes = _RULES.get(node.op, _same)(self, node)
        shape = tuple(self.length if axis in axes else n for axis, n in enumerate(full.shape))
        self.axes[node.output] = axes
        self.tensors[node.output] = replace(full, shape=shape)

    def operand_axes(self, node: Node) -> list[Axes]:
        return [self.axes[name] for name in node.inputs]

    def cut(self, node: Node, constant: Constant, dynamic: str) -> None:
        """A constant that is added or multiplied element by element, for the tokens that are left."""
        rank = len(self.graph.tensors[dynamic].shape)
        index: list[slice] = []
        for axis, n in enumerate(constant.shape, start=rank - len(constant.shape)):
            index.append(slice(self.length) if axis in self.axes[dynamic] and n > 1 else slice(None))
        codes = constant.codes[tuple(index)]
        made = Constant(constant.name, codes.shape, constant.format, codes)
        known = self.tensors.setdefault(constant.name, made)
        if known.shape != made.shape:
            raise UnsupportedError(f"{node.name}: {constant.name} is used both with and without tokens")


def _same(work: _Shortening, node: Node) -> Axes:
    """Quant, Relu, Score, Norm: element by element, or along a row whose length they take as it comes."""
    axes = work.axes[node.inputs[0]]
    if node.op == "Norm" and 1 in axes:
        raise UnsupportedError(f"{node.name}: normalises over tokens, and its constants are for all of them")
    return axes


def _elementwise(work: _Shortening, node: Node) -> Axes:
    dynamic, constant = work.graph.operand(node)
    if constant is not None:
        work.cut(node, constant, dynamic.name)
    elif len(set(work.operand_axes(node))) > 1:
        raise UnsupportedError(f"{node.name}: its operands have tokens along different axes")
    return work.axes[dynamic.name]


def _matmul(work: _Shortening, node: Node) -> Axes:
    a, b = work.operand_axes(node)
    ranks = [len(work.graph.tensors[name].shape) for name in node.inputs]
    inner = ranks[0] - 1 in a, ranks[1] - 2 in b
    if inner[0] != inner[1]:
        raise UnsupportedError(f"{node.name}: sums over tokens with weights for all of them; it has no shorter form")
    last = ranks[0] - 1
    return frozenset(x for x in a if x != last) | (frozenset((last,)) if ranks[1] - 1 in b else _NONE)


def _context(work: _Shortening, node: Node) -> Axes:
    scores, values = work.operand_axes(node)
    if (2 in scores) != (1 in values) or 2 in values:
        raise UnsupportedError(f"{node.name}: its scores and values have tokens along different axes")
    return frozenset(x for x in scores if x != 2)


def _transpose(work: _Shortening, node: Node) -> Axes:
    axes = work.axes[node.inputs[0]]
    return frozenset(place for place, source in enumerate(node.permutation) if source in axes)


def _reduce_sum(work: _Shortening, node: Node) -> Axes:
    axes = work.axes[node.inputs[0]]
    return frozenset(x - sum(a < x for a in node.axes) for x in axes if x not in node.axes)


def _reshape(work: _Shortening, node: Node) -> Axes:
    """A token axis stays one if as many elements lie before it, and it is as long."""
    before, after = work.graph.tensors[node.inputs[0]].shape, work.graph.tensors[node.output].shape
    places = {(prod(after[:axis]), n): axis for axis, n in enumerate(after)}
    found = [places.get((prod(before[:axis]), before[axis])) for axis in work.axes[node.inputs[0]]]
    if None in found:
        raise UnsupportedError(f"{node.name}: reshapes tokens and other values together: {before} to {after}")
    return frozenset(axis for axis in found if axis is not None)


_RULES: dict[str, Callable[[_Shortening, Node], Axes]] = {
    "Add": _elementwise,
    "Mul": _elementwise,
    "MatMul": _matmul,
    "Context": _context,
    "Transpose": _transpose,
    "ReduceSum": _reduce_sum,
    "Reshape": _reshape,
}
