# SPDX-License-Identifier: Apache-2.0
"""LayerNorm written out in elementary operators, as exporters below opset 17 do, put together again."""

from __future__ import annotations

from collections.abc import Iterable

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
    for divide in [n for n in graph.node if n.op_type == "Div"]:
        pattern = _Pattern(model).match(divide)
        if pattern is None:
            continue
        x, epsilon, inner = pattern
        made = helper.make_node("LayerNormalization", [x], [divide.output[0]], name=divide.name, epsilon=epsilon)
        place = list(graph.node).index(divide)
        graph.node.remove(divide)
        graph.node.insert(place, made)
        drop_unused(model, inner)
        found.append((divide.name, "Div", f"{len(inner) + 1} nodes of a written-out LayerNorm taken as one"))
    return found


class _Pattern:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.producers = {o: n for n in model.graph.node for o in n.output}
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                value = next((a for a in node.attribute if a.name in ("value", "value_float", "value_ints")), None)
                if value is not None:
                    raw = helper.get_attribute_value(value)
                    self.constants[node.output[0]] = (
                        numpy_helper.to_array(raw) if isinstance(raw, onnx.TensorProto) else np.asarray(raw)
                    )

    def match(self, divide: onnx.NodeProto) -> tuple[str, float, list[onnx.NodeProto]] | None:
        """The normalised tensor, epsilon, and the nodes inside."""
        centred, root = (self.producers.get(i) for i in divide.input)
        if centred is None or root is None or centred.op_type != "Sub" or root.op_type != "Sqrt":
            return None
        mean = self.producers.get(centred.input[1])
        x = centred.input[0]
        if mean is None or not self._is_mean(mean) or mean.input[0] != x:
            return None
        total = self.producers.get(root.input[0])
        if total is None or total.op_type != "Add":
            return None
        sides = [(self.constants.get(a), self.producers.get(b)) for a, b in (total.input, reversed(total.input))]
        for epsilon, variance in sides:
            if epsilon is None or variance is None or epsilon.size != 1 or not self._is_mean(variance):
                continue
            square = self.producers.get(variance.input[0])
            if square is not None and self._is_square(square, x, mean.output[0]):
                again = self.producers.get(square.input[0])
                inner = [centred, root, mean, total, variance, square]
                inner += [again] if again is not None and again is not centred else []
                return x, float(epsilon.ravel()[0]), inner
        return None

    def _is_mean(self, node: onnx.NodeProto) -> bool:
        """Whether it is the mean over the last axis, kept."""
        if node.op_type != "ReduceMean":
            return False
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1:
            axes = self.constants.get(node.input[1])
        return axes is not None and list(np.ravel(axes)) == [-1] and attributes.get("keepdims", 1) == 1

    def _is_square(self, node: onnx.NodeProto, x: str, mean: str) -> bool:
        """Whether it is the square of ``x - mean``."""
        if node.op_type == "Pow":
            exponent = self.constants.get(node.input[1])
            if exponent is None or exponent.size != 1 or float(exponent.ravel()[0]) != 2.0:
                return False
        elif node.op_type != "Mul" or node.input[0] != node.input[1]:
            return False
        centred = self.producers.get(node.input[0])
        return centred is not None and centred.op_type == "Sub" and list(centred.input) == [x, mean]


def drop_unused(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Remove those of the nodes that nothing reads; they are returned."""
    left, dropped = list(nodes), list[onnx.NodeProto]()
    while True:
        used = {i for n in model.graph.node for i in n.input} | {o.name for o in model.graph.output}
        dead = [n for n in left if not any(o in used for o in n.output)]
        dropped += dead
        if not dead:
            return dropped
        for node in dead:
            model.graph.node.remove(node)
            left.remove(node)
