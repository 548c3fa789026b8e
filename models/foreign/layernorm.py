# SPDX-License-Identifier: Apache-2.0
"""LayerNorm written out in elementary operators, by exporters below opset 17 or by hand, put together again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper


def fuse_layer_norms(model: onnx.ModelProto) -> list[tuple[str, str, str]]:
    """Replace ``(x - mean) / sqrt(mean((x - mean)**2) + epsilon)`` by LayerNormalization, in place.

    The affine step after it stays a Mul and an Add, which the importer takes over; so the new node has no scale, and
    only the importer can read it.

    Returns:
        Node, operator and what became of it, for each.
    """
    graph = model.graph
    found: list[tuple[str, str, str]] = []
    pattern = _Pattern(model)
    for last in [n for n in graph.node if n.op_type in ("Div", "Mul")]:
        norm = pattern.match(last)
        if norm is None:
            continue
        made = helper.make_node(
            "LayerNormalization", [norm.x], [last.output[0]], name=last.name, epsilon=norm.epsilon, axis=norm.axis
        )
        place = list(graph.node).index(last)
        graph.node.remove(last)
        graph.node.insert(place, made)
        dropped = drop_unused(model, norm.inner)
        pattern.producers = _producers(model)
        found.append((last.name, last.op_type, f"{len(dropped) + 1} nodes of a written-out LayerNorm taken as one"))
    return found


class _Norm(NamedTuple):
    """A LayerNorm that was found: the tensor, its axis, epsilon, and the nodes before the last."""

    x: str
    axis: int
    epsilon: float
    inner: list[onnx.NodeProto]


def _producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {o: n for n in model.graph.node for o in n.output}


class _Pattern:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.producers = _producers(model)
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                value = next((a for a in node.attribute if a.name in ("value", "value_float", "value_ints")), None)
                if value is not None:
                    raw = helper.get_attribute_value(value)
                    self.constants[node.output[0]] = (
                        numpy_helper.to_array(raw) if isinstance(raw, onnx.TensorProto) else np.asarray(raw)
                    )

    def match(self, last: onnx.NodeProto) -> _Norm | None:
        """The norm that ends in a Div, or in a Mul with the reciprocal of the root."""
        first, second = (self.producers.get(i) for i in last.input)
        if last.op_type == "Div":
            return self._norm(first, second, [])
        for centred, inverse in ((first, second), (second, first)):
            if inverse is not None and inverse.op_type == "Reciprocal":
                return self._norm(centred, self.producers.get(inverse.input[0]), [inverse])
        return None

    def _norm(
        self, centred: onnx.NodeProto | None, root: onnx.NodeProto | None, inner: list[onnx.NodeProto]
    ) -> _Norm | None:
        found = self._centred(centred)
        if centred is None or root is None or found is None or not self._is_power(root, "Sqrt", 0.5):
            return None
        x, axis, mean = found
        total = self.producers.get(root.input[0])
        if total is None or total.op_type != "Add":
            return None
        sides = [(self.constants.get(a), self.producers.get(b)) for a, b in (total.input, reversed(total.input))]
        for epsilon, variance in sides:
            if epsilon is None or variance is None or epsilon.size != 1 or self._mean_axis(variance) != axis:
                continue
            square = self.producers.get(variance.input[0])
            if square is None or not self._is_power(square, "Mul", 2.0):
                continue
            again = self.producers.get(square.input[0])
            same = self._centred(again)
            # The variance may have a mean of its own, as x.var() is exported.
            if again is not None and same is not None and same[:2] == (x, axis):
                parts = {id(n): n for n in (*inner, centred, root, mean, total, variance, square, again, same[2])}
                return _Norm(x, axis, float(epsilon.ravel()[0]), list(parts.values()))
        return None

    def _centred(self, node: onnx.NodeProto | None) -> tuple[str, int, onnx.NodeProto] | None:
        """Of ``x - mean(x)``: x, the mean's axis, and its node."""
        if node is None or node.op_type != "Sub":
            return None
        mean = self.producers.get(node.input[1])
        axis = None if mean is None else self._mean_axis(mean)
        if mean is None or axis is None or mean.input[0] != node.input[0]:
            return None
        return node.input[0], axis, mean

    def _mean_axis(self, node: onnx.NodeProto) -> int | None:
        """The one axis of a mean that keeps it; whether that is the last is for the norm's handler to see."""
        if node.op_type != "ReduceMean":
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1:
            axes = self.constants.get(node.input[1])
        if axes is None or np.size(axes) != 1 or attributes.get("keepdims", 1) != 1:
            return None
        return int(np.ravel(axes)[0])

    def _is_power(self, node: onnx.NodeProto, operator: str, exponent: float) -> bool:
        """Whether it is a square or a root: Pow by that exponent, Mul of a tensor by itself, or Sqrt."""
        if node.op_type == "Pow":
            given = self.constants.get(node.input[1])
            return given is not None and given.size == 1 and float(given.ravel()[0]) == exponent
        return node.op_type == operator and len(set(node.input)) == 1


def drop_unused(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Remove those of the nodes, which have names of their own, that lead to no output; they are returned."""
    graph, names = model.graph, {n.name for n in nodes}
    used = {o.name for o in graph.output}
    kept: list[onnx.NodeProto] = []
    dropped: list[onnx.NodeProto] = []
    for node in reversed(graph.node):  # once, from the end: files may hold long chains
        if node.name in names and used.isdisjoint(node.output):
            dropped.append(node)
            continue
        used.update(node.input)
        kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    return dropped[::-1]
