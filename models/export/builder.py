# SPDX-License-Identifier: Apache-2.0
"""Writing a QONNX file: nodes, quantised constants, functions and shapes, with unique names throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from hls4attn.models.errors import FormatError, UnsupportedError
from hls4attn.models.export.functions import (
    DOMAIN,
    DOMAIN_VERSION,
    IR_VERSION,
    OPSET,
    QUANT_DOMAIN,
    QUANT_VERSION,
    functions,
)
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, GainCellSpec, NormSpec, ScoreSpec


class GraphBuilder:
    """Collects nodes; every method returns the name of the tensor it made.

    Shapes are without the batch dimension, which is symbolic in the file.  Each use of a constant gets an
    initialiser of its own: hls4ml resolves shared ones wrongly.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._static: set[str] = set()  # tensors without a batch dimension
        self._functions: set[str] = set()

    def _unique(self, name: str) -> str:
        taken = {n.name for n in self.nodes}
        candidate, k = name, 1
        while candidate in taken:
            candidate, k = f"{name}_{k}", k + 1
        return candidate

    def input(self, name: str, shape: Sequence[int]) -> str:
        """Declare the graph's input."""
        self.shapes[name] = tuple(shape)
        return name

    def constant(self, name: str, value: ArrayLike, dtype: Any = np.float32) -> str:
        """An initialiser."""
        if any(t.name == name for t in self.initialisers):
            raise FormatError(f"Initialiser {name!r} is defined twice")
        self.initialisers.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        name: str,
        shape: Sequence[int],
        domain: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """A node with one output, named like the node."""
        unique = self._unique(name)
        made = helper.make_node(op, list(inputs), [unique], name=unique, domain=domain)
        for key, value in (attributes or {}).items():
            plain = numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            made.attribute.append(helper.make_attribute(key, plain))
        self.nodes.append(made)
        self.shapes[unique] = tuple(shape)
        return unique

    def quant(self, x: str, fmt: Fixed, name: str, shape: Sequence[int]) -> str:
        """A QONNX `Quant` node.

        Raises:
            UnsupportedError: for a rounding or overflow mode that QONNX `Quant` does not have.
        """
        if fmt.rounding != "half_even" or fmt.overflow == "wrap":
            raise UnsupportedError(f"{name}: QONNX Quant rounds half to even and saturates. Received: {fmt}")
        unique = self._unique(name)
        inputs = [
            x,
            self.constant(f"{unique}_scale", fmt.step),
            self.constant(f"{unique}_zero_point", 0.0),
            self.constant(f"{unique}_bits", float(fmt.width)),
        ]
        self._functions.add("Quant")
        attributes = {
            "signed": int(fmt.signed),
            "narrow": int(fmt.overflow == "saturate_symmetric"),
            "rounding_mode": "ROUND",
        }
        return self.node("Quant", inputs, unique, shape, QUANT_DOMAIN, attributes)

    def quantised_constant(self, name: str, codes: Codes, fmt: Fixed) -> str:
        """Codes as a float initialiser followed by the `Quant` that tells their format."""
        raw = self.constant(f"{name}_value", fmt.to_real(codes))
        quantised = self.quant(raw, fmt, name, codes.shape)
        self._static.add(quantised)
        return quantised

    def score(self, x: str, spec: ScoreSpec, name: str, shape: Sequence[int]) -> str:
        """A score function node of our own domain."""
        self._functions.add(spec.op_type)
        return self.node(spec.op_type, [x], name, shape, DOMAIN, spec.to_attributes())

    def context(self, x: str, v: str, spec: E2ContextSpec, name: str, shape: Sequence[int]) -> str:
        """A node of our own domain that takes scores and values to a context."""
        self._functions.add(spec.op_type)
        return self.node(spec.op_type, [x, v], name, shape, DOMAIN, spec.to_attributes())

    def cells(self, q: str, k: str, v: str, spec: GainCellSpec, name: str, shape: Sequence[int]) -> str:
        """A gain-cell attention node of our own domain."""
        self._functions.add(spec.op_type)
        return self.node(spec.op_type, [q, k, v], name, shape, DOMAIN, spec.to_attributes())

    def norm(self, x: str, spec: NormSpec, name: str, shape: Sequence[int]) -> str:
        """A normalisation node of our own domain."""
        self._functions.add(spec.op_type)
        return self.node(spec.op_type, [x], name, shape, DOMAIN, spec.to_attributes())

    def reshape(self, x: str, target: Sequence[int], name: str) -> str:
        """Reshape, batch kept."""
        shape = self.constant(f"{self._unique(name)}_shape", [0, *target], np.int64)
        return self.node("Reshape", [x, shape], name, target)

    def transpose(self, x: str, permutation: Sequence[int], name: str) -> str:
        """Transpose of the non-batch axes, numbered from 0."""
        shape = [self.shapes[x][p] for p in permutation]
        return self.node("Transpose", [x], name, shape, attributes={"perm": [0, *(p + 1 for p in permutation)]})

    def model(self, inputs: Sequence[str], outputs: Sequence[str], metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished, checked model."""
        infos = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, self._dims(n)) for n in self.shapes}
        ends = {*inputs, *outputs}
        for tensor in self.initialisers:
            infos[tensor.name] = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [infos[n] for n in inputs],
            [infos[n] for n in outputs],
            initializer=self.initialisers,
            value_info=[v for n, v in infos.items() if n not in ends],
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid(QUANT_DOMAIN, QUANT_VERSION),
                helper.make_opsetid(DOMAIN, DOMAIN_VERSION),
            ],
            functions=[functions()[name] for name in sorted(self._functions)],
            producer_name="hls4attn",
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model

    def _dims(self, name: str) -> list[int | str]:
        return [*self.shapes[name]] if name in self._static else ["batch", *self.shapes[name]]


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model file atomically."""
    atomic_write(path, model.SerializeToString(deterministic=True))
