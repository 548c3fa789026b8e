# SPDX-License-Identifier: Apache-2.0
"""The file as it came, executed by onnxruntime: what the integer model is compared with, and calibration values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hls4attn.models.errors import ModelFileError, ToolError
from hls4attn.models.export.functions import QUANT_DOMAIN, QUANT_VERSION, functions

Array = NDArray[Any]


class Original:
    """Runs a file whose quantisers are Quant nodes, QuantizeLinear nodes, or both.

    Args:
        model: the file, its Quant nodes in QONNX's own domain.
        batch: samples that it takes at a time.
    """

    def __init__(self, model: onnx.ModelProto, batch: int) -> None:
        self.batch = batch
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        if any(n.op_type == "Quant" for n in model.graph.node):
            self.model.functions.append(functions()["Quant"])
            del self.model.opset_import[:]
            self.model.opset_import.extend(o for o in model.opset_import if o.domain != QUANT_DOMAIN)
            self.model.opset_import.append(helper.make_opsetid(QUANT_DOMAIN, QUANT_VERSION))
            for node in self.model.graph.node:
                if node.op_type == "Quant":
                    _complete(node)
        self.input = next(i.name for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer})
        self.output = model.graph.output[0].name

    def run(self, inputs: Array, names: Sequence[str] = ()) -> Mapping[str, Array]:
        """Values of the output and of the named tensors; a last batch that is too small is filled up and cut again.

        Raises:
            ModelFileError: if onnxruntime cannot run the file.
            ToolError: if there is no onnxruntime.
        """
        wanted = [self.output, *(n for n in dict.fromkeys(names) if n not in (self.output, self.input))]
        session = self._session(wanted)
        parts: dict[str, list[Array]] = {n: [] for n in wanted}
        for start in range(0, len(inputs), self.batch):
            piece = np.asarray(inputs[start : start + self.batch], dtype=np.float32)
            filled = np.concatenate([piece, np.repeat(piece[-1:], self.batch - len(piece), axis=0)])
            try:
                found = session.run(wanted, {self.input: filled})
            except Exception as error:
                raise ModelFileError(f"onnxruntime cannot run this file: {_first_line(error)}") from error
            for name, value in zip(wanted, found, strict=True):
                parts[name].append(value)
        result = {name: np.stack(values) for name, values in parts.items()}
        if self.input in names:
            result[self.input] = np.asarray(inputs, dtype=np.float32)
        return result

    def _session(self, wanted: Sequence[str]) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise ToolError('onnxruntime is not installed: pip install "hls4attn[convert]"') from error
        shown = onnx.ModelProto()
        shown.CopyFrom(self.model)
        there = {o.name for o in shown.graph.output}
        shown.graph.output.extend(
            helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in wanted if n not in there
        )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Its fusions would compute in integers what the file computes in floats.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelFileError(f"onnxruntime cannot run this file: {_first_line(error)}") from error


def _complete(node: onnx.NodeProto) -> None:
    """Give a Quant node the attributes that QONNX makes optional and a function must have."""
    have = {a.name for a in node.attribute}
    for name, value in (("signed", 1), ("narrow", 0), ("rounding_mode", "ROUND")):
        if name not in have:
            node.attribute.append(helper.make_attribute(name, value))


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
