# SPDX-License-Identifier: Apache-2.0
"""Independent executors of an exported file, each giving integer codes to compare with the reference.

* `onnx`: ONNX's own ReferenceEvaluator, which runs the function bodies in the file.
* `onnxruntime`: a stock session, no custom operator library.
* `qonnx`: qonnx's node-by-node execution, with its own Quant and our references as its custom operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import ArrayLike

from hls4attn.models.errors import Hls4attnError, ModelFileError, ToolError
from hls4attn.models.export.execute import chunk_size
from hls4attn.models.export.functions import DOMAIN
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import (
    GainCellSpec,
    context_from_attributes,
    context_types,
    norm_from_attributes,
    norm_types,
    score_from_attributes,
    score_types,
)

#: What a value off the integer grid (or NaN) becomes: never equal to a code.
OFF_GRID = np.iinfo(np.int64).min


class Stage(Protocol):
    """One way to execute a model."""

    name: str

    def run(self, codes: Codes) -> Codes:
        """Output codes for input codes ``(batch, *shape)``."""

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """Codes of every tensor that this stage can show, by the name it has in the typed graph."""


def to_codes(values: ArrayLike, fmt: Fixed) -> Codes:
    """Codes of real values; one that is not exactly a multiple of the step becomes `OFF_GRID`."""
    scaled = np.ldexp(np.asarray(values, dtype=np.float64), fmt.frac)
    whole = np.rint(scaled)
    exact = (scaled == whole) & (np.abs(whole) < 2.0**62)
    return np.where(exact, np.where(exact, whole, 0).astype(np.int64), OFF_GRID)


@contextmanager
def _translated(stage: str) -> Iterator[None]:
    """Executors raise anything; a file that one of them cannot run is reported as such."""
    try:
        yield
    except Hls4attnError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelFileError(f"{stage} cannot run this file: {reason}") from error


class _FloatStage:
    """An executor that takes and gives float32 values."""

    name = ""

    def __init__(self, graph: Graph, model: onnx.ModelProto) -> None:
        self.graph = graph
        self.model = model

    def _feeds(self, codes: Codes) -> dict[str, Any]:
        return {self.graph.float_input: self.graph.input.format.to_real(codes).astype(np.float32)}

    def _execute(self, feeds: dict[str, Any], everything: bool) -> Mapping[str, Any]:
        raise NotImplementedError

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        out = self.graph.output
        step = chunk_size(self.graph.input)
        pieces = (codes[n : n + step] for n in range(0, len(codes), step))
        parts = [self._execute(self._feeds(piece), False)[out.name] for piece in pieces]
        return to_codes(np.concatenate(parts), out.format)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """Codes of every activation."""
        with _translated(self.name):
            values = self._execute(self._feeds(codes), True)
        return {t.name: to_codes(values[t.name], t.format) for t in self.graph.activations() if t.name in values}


class ReferenceEvaluatorStage(_FloatStage):
    """The file executed by ONNX's reference implementation."""

    name = "onnx"

    def __init__(self, graph: Graph, model: onnx.ModelProto) -> None:
        super().__init__(graph, model)
        from onnx.reference import ReferenceEvaluator

        with _translated(self.name):
            self._evaluator = ReferenceEvaluator(model)

    def _execute(self, feeds: dict[str, Any], everything: bool) -> Mapping[str, Any]:
        if everything:
            return dict(self._evaluator.run(None, feeds, intermediate=True))
        return dict(zip(self._evaluator.output_names, self._evaluator.run(None, feeds), strict=True))


class OnnxRuntimeStage(_FloatStage):
    """The file executed by a stock onnxruntime."""

    name = "onnxruntime"

    def __init__(self, graph: Graph, model: onnx.ModelProto) -> None:
        super().__init__(graph, model)
        with _translated(self.name):
            self._session = self._open(model)

    @staticmethod
    def _open(model: onnx.ModelProto) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise ToolError('onnxruntime is not installed: pip install "hls4attn[convert]"') from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _execute(self, feeds: dict[str, Any], everything: bool) -> Mapping[str, Any]:
        if not everything:
            return {self.graph.output.name: self._session.run([self.graph.output.name], feeds)[0]}
        shown = onnx.ModelProto()
        shown.CopyFrom(self.model)
        have = {o.name for o in shown.graph.output}
        shown.graph.output.extend(
            onnx.helper.make_tensor_value_info(t.name, onnx.TensorProto.FLOAT, ["batch", *t.shape])
            for t in self.graph.activations()
            if t.name not in have
        )
        names = [o.name for o in shown.graph.output]
        return dict(zip(names, self._open(shown).run(names, feeds), strict=True))


class QonnxStage(_FloatStage):
    """The file executed node by node by qonnx; slow, so it is given fewer samples."""

    name = "qonnx"

    def __init__(self, graph: Graph, model: onnx.ModelProto) -> None:
        super().__init__(graph, model)
        register_qonnx()

    def _execute(self, feeds: dict[str, Any], everything: bool) -> Mapping[str, Any]:
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx

        batch = len(feeds[self.graph.float_input])
        wrapper = ModelWrapper(_with_batch(self.model, batch))
        found: Mapping[str, Any] = execute_onnx(wrapper, feeds, return_full_exec_context=everything)
        return found


def _with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy with the symbolic batch axis fixed, which qonnx wants, and without functions."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    fixed.ClearField("functions")
    for info in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_value = batch
    return fixed


def register_qonnx() -> None:
    """Make qonnx execute our operators; may be called any number of times.

    Raises:
        ToolError: if qonnx is not installed.
    """
    try:
        from qonnx.custom_op.base import CustomOp
        from qonnx.custom_op.registry import add_op_to_domain
    except ImportError as error:
        raise ToolError('qonnx is not installed: pip install "hls4attn[convert]"') from error
    families: tuple[tuple[tuple[str, ...], Callable[..., Any]], ...] = (
        (score_types(), score_from_attributes),
        (context_types(), context_from_attributes),
        (norm_types(), norm_from_attributes),
        ((GainCellSpec.op_type,), lambda op_type, attributes: GainCellSpec.from_attributes(attributes)),
    )
    for op_types, from_attributes in families:
        for op_type in op_types:
            add_op_to_domain(DOMAIN, _qonnx_operator(op_type, from_attributes, CustomOp))


def _qonnx_operator(op_type: str, from_attributes: Callable[..., Any], base: type) -> type:
    """A qonnx operator class (its name is the op_type) that calls the reference."""

    def execute_node(self: Any, context: dict[str, Any], graph: Any) -> None:
        node = self.onnx_node
        attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
        spec = from_attributes(op_type, attributes)
        formats = getattr(spec, "in_formats", None) or [spec.in_format, getattr(spec, "v_format", None)]
        codes = [to_codes(context[name], fmt) for name, fmt in zip(node.input, formats, strict=False)]
        context[node.output[0]] = spec.out_format.to_real(spec.reference(*codes)).astype(np.float32)

    def same_shape(self: Any, model: Any) -> onnx.NodeProto:
        return onnx.helper.make_node("Relu", [self.onnx_node.input[0]], [self.onnx_node.output[0]])

    methods: dict[str, Callable[..., Any]] = {
        "execute_node": execute_node,
        "make_shape_compatible_op": same_shape,
        "get_nodeattr_types": lambda self: {},
        "infer_node_datatype": lambda self, model: None,
        "verify_node": lambda self: [],
    }
    return type(op_type, (base,), methods)


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value
