# SPDX-License-Identifier: Apache-2.0
"""Expressions -> a file in this package's dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import onnx

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.graph import Constant
from hls4attn.models.foreign.exprs import Expr


def written(result: Expr, name: str, metadata: Mapping[str, str]) -> tuple[onnx.ModelProto, dict[int, str]]:
    """The model whose output is an expression, and its tensors by the identity of their expressions."""
    writer = _Writer(identifier(name))
    output = writer.tensor(result)
    return writer.builder.model([writer.source], [output], metadata), writer.tensors


def identifier(name: str) -> str:
    """A node's name as C++ takes it: letters, digits and underscores, a letter first."""
    plain = re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_")
    return plain if plain[:1].isalpha() else f"n_{plain}".rstrip("_")


class _Writer:
    def __init__(self, name: str) -> None:
        self.builder = GraphBuilder(name)
        self.source = ""
        self.tensors: dict[int, str] = {}
        self._taken: set[str] = set()

    def name(self, wanted: str) -> str:
        """A name that nothing has yet."""
        base = candidate = identifier(wanted)
        number = 1
        while candidate in self._taken:
            candidate, number = f"{base}_{number}", number + 1
        self._taken.add(candidate)
        return candidate

    def tensor(self, root: Expr) -> str:
        """The tensor of an expression, written with all that it needs; no recursion, models may be deep."""
        stack = [root]
        while stack:
            x = stack[-1]
            if id(x) in self.tensors:
                stack.pop()
                continue
            missing = [i for i in x.inputs if i.op not in ("Input", "Constant") and id(i) not in self.tensors]
            if missing:
                stack += missing
                continue
            self.tensors[id(x)] = self._write(x)
            stack.pop()
        return self.tensors[id(root)]

    def _write(self, x: Expr) -> str:
        b = self.builder
        if x.op == "Source":
            self.source = b.input(self.name(x.inputs[0].name), x.shape)
            return b.quant(self.source, x.format, self.name(x.name), x.shape)
        inputs = [self._constant(i) if i.op == "Constant" else self.tensors[id(i)] for i in x.inputs]
        name = self.name(x.name)
        if x.op in ("MatMul", "Add", "Mul", "Relu"):
            return b.node(x.op, inputs, name, x.shape)
        write = _WRITERS.get(x.op)
        if write is None:
            raise UnsupportedError(f"{x.name}: has no format; put a quantiser behind it")
        return write(b, x, inputs, name)

    def _constant(self, x: Expr) -> str:
        if not isinstance(x.tensor, Constant):
            raise UnsupportedError(f"{x.name}: not a constant")
        return self.builder.quantised_constant(self.name(x.name), x.tensor.codes, x.tensor.format)


def _reduce_sum(b: GraphBuilder, x: Expr, inputs: list[str], name: str) -> str:
    axes = b.constant(f"{name}_axes", [a + 1 for a in x.details["axes"]], np.int64)
    return b.node("ReduceSum", [inputs[0], axes], name, x.shape, attributes={"keepdims": 0})


def _probabilities(b: GraphBuilder, x: Expr, inputs: list[str], name: str) -> str:
    raise UnsupportedError(
        f"{x.name}: the shift form gives no probabilities, only their product with the values; choose softmax, "
        "e2softmax or e2softmax-online"
    )


_WRITERS: dict[str, Callable[[GraphBuilder, Expr, list[str], str], str]] = {
    "Quant": lambda b, x, inputs, name: b.quant(inputs[0], x.format, name, x.shape),
    "Reshape": lambda b, x, inputs, name: b.reshape(inputs[0], x.shape, name),
    "Transpose": lambda b, x, inputs, name: b.transpose(inputs[0], x.details["permutation"], name),
    "ReduceSum": _reduce_sum,
    "Score": lambda b, x, inputs, name: b.score(inputs[0], x.details["spec"], name, x.shape),
    "Context": lambda b, x, inputs, name: b.context(inputs[0], inputs[1], x.details["context"], name, x.shape),
    "Norm": lambda b, x, inputs, name: b.norm(inputs[0], x.details["norm"], name, x.shape),
    "Probabilities": _probabilities,
}
