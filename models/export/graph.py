# SPDX-License-Identifier: Apache-2.0
"""The typed integer graph: every tensor carries its shape and its exact fixed-point format.

It is what an ONNX file means, node by node and with nothing left to a runtime's taste.  Reading a file into it
(`hls4attn.models.export.reader`) refuses whatever has no exact integer meaning; executing it
(`hls4attn.models.export.execute`) is the reference for a whole model; lowering it gives the hardware.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, GainCellSpec, NormSpec, ScoreSpec

#: Operators of a typed graph; scores, contexts, norms and gain cells appear under one name each, with their spec.
OPERATORS = (
    *("Quant", "MatMul", "Add", "Mul", "Relu", "Transpose", "Reshape", "ReduceSum"),
    *("Score", "Context", "Norm", "Cells"),
)

#: float32 represents every integer up to this magnitude, so codes below it are exact in Keras and onnxruntime.
FLOAT32_EXACT = 1 << 24


@dataclass(frozen=True)
class Tensor:
    """A named tensor; `shape` is without the batch dimension."""

    name: str
    shape: tuple[int, ...]
    format: Fixed


@dataclass(frozen=True, eq=False)
class Constant(Tensor):
    """A tensor whose codes are known."""

    codes: Codes


@dataclass(frozen=True)
class Node:
    """One operation with one output.

    Args:
        op: one of `OPERATORS`.
        name: the ONNX node's name, used in every message.
        inputs: names of its operands (constants included).
        output: name of its result.
        permutation: for Transpose: order of the non-batch axes.
        axes: for ReduceSum: non-batch axes that are summed away, numbered from 0.
        spec: for Score.
        context: for Context: scores and values in, context out.
        norm: for Norm.
        cells: for Cells: q, k and v in, the sums of their tiles' codes out.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    permutation: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    spec: ScoreSpec | None = None
    context: E2ContextSpec | None = None
    norm: NormSpec | None = None
    cells: GainCellSpec | None = None

    @property
    def carried(self) -> Any:
        """The spec of a score function, a context, a normalisation or a gain-cell head.

        Raises:
            InputError: if there is none.
        """
        for spec in (self.spec, self.context, self.norm, self.cells):
            if spec is not None:
                return spec
        raise InputError(f"{self.name}: a {self.op} node without a spec")


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order, with one input and one output.

    Attributes:
        input: the quantised input: codes enter here.
        output: the result.
        float_input: name of the float input in the ONNX file, before its quantiser.
        tensors: every tensor by name, constants included.
        metadata: the file's own key-value properties.
    """

    name: str
    input: Tensor
    output: Tensor
    float_input: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def constant(self, name: str) -> Constant | None:
        """The constant of that name, if it is one."""
        found = self.tensors[name]
        return found if isinstance(found, Constant) else None

    def operand(self, node: Node) -> tuple[Tensor, Constant | None]:
        """Of a two-operand node: the dynamic operand and the constant one, if there is one."""
        first, second = (self.tensors[n] for n in node.inputs)
        if isinstance(second, Constant):
            return first, second
        return (second, first) if isinstance(first, Constant) else (first, None)

    def activations(self) -> Iterator[Tensor]:
        """Input and node results, in execution order."""
        yield self.input
        for node in self.nodes:
            yield self.tensors[node.output]

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Nodes that read a tensor."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def check_float32(self) -> None:
        """Refuse a graph whose values float32 cannot hold exactly.

        Keras, onnxruntime and qonnx carry codes as float32.  Formats bound every partial sum too, so a graph
        that passes gives the same codes everywhere, in any order of summation.

        Raises:
            UnsupportedError: naming the first tensor that is too wide.
        """
        for tensor in self.tensors.values():
            if max(-tensor.format.min, tensor.format.max) > FLOAT32_EXACT:
                raise UnsupportedError(
                    f"{tensor.name}: values need {tensor.format}, more than the 24 bits that float32 holds exactly; "
                    "use narrower weights or activations, or a quantiser in between"
                )
