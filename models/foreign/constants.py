# SPDX-License-Identifier: Apache-2.0
"""Nodes that do not depend on the input, computed now: shapes, masks, transposed weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.foreign.values import MOST_ELEMENTS, Const, Step

#: Operators that only move elements: scales of channels move with the values.
_MOVING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Gather", "Identity")
#: What exporters write to compute shapes, masks and weights; nothing random, nothing that loops.
_COMPUTED = (
    *("Constant", "ConstantOfShape", "Range", "Shape", "Size", "Cast", "CastLike", "Where", "Trilu", "NonZero"),
    *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Sqrt", "Neg", "Abs", "Reciprocal", "Exp", "Min", "Max", "Clip"),
    *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "IsNaN", "Floor", "Ceil"),
    *("Concat", "Expand", "Tile", "MatMul", "ReduceSum", "ReduceMean", "ReduceProd", "Round", "Sign", "CumSum"),
    *("Sin", "Cos", "Log", "ScatterND"),  # position codes
    *_MOVING,
)
_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Where", "Min", "Max", "And", "Or")
_COMPARING = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def evaluated(model: onnx.ModelProto, step: Step, operands: Sequence[Const | None]) -> list[Const]:
    """Results of a node of constants; a quantised constant stays one if its elements are only moved.

    Raises:
        ModelFileError: if ONNX's reference cannot compute it.
    """
    if step.op not in _COMPUTED:
        raise UnsupportedError(
            f"{step.where}: operator {step.op} on constants, which is not computed here; fold it before the export: "
            "torch.onnx.export(..., do_constant_folding=True), or onnxruntime's basic optimisation"
        )
    values = [None if o is None else o.value for o in operands]
    outputs = _computed(model, step, values)
    first = operands[0] if operands else None
    name = first.name if first is not None and step.op in _MOVING else step.name
    if first is None or first.quantiser is None or step.op not in _MOVING:
        return [Const(v, name) for v in outputs]
    quantiser = first.quantiser
    if quantiser.scale.size == 1:
        return [Const(v, name, quantiser) for v in outputs]
    scales = _computed(model, step, [np.broadcast_to(quantiser.scale, first.value.shape), *values[1:]])
    return [Const(v, name, replace(quantiser, scale=s)) for v, s in zip(outputs, scales, strict=True)]


def _computed(model: onnx.ModelProto, step: Step, values: Sequence[NDArray[Any] | None]) -> list[NDArray[Any]]:
    _check_size(step, values)
    feeds = {n: np.asarray(v) for n, v in zip(step.proto.input, values, strict=True) if n and v is not None}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()
    ]
    results = [helper.make_tensor_value_info(n, onnx.TensorProto.UNDEFINED, None) for n in step.proto.output if n]
    graph = helper.make_graph([step.proto], "constant", infos, results)
    alone = helper.make_model(graph, opset_imports=model.opset_import)
    try:
        return [np.asarray(v) for v in ReferenceEvaluator(alone).run(None, feeds)]
    except Exception as error:
        text = str(error).strip().splitlines()
        raise ModelFileError(
            f"{step.where}: ONNX cannot compute it: {text[0] if text else type(error).__name__}"
        ) from error


def _check_size(step: Step, values: Sequence[NDArray[Any] | None]) -> None:
    """Refuse results that are too large before they are made.

    Raises:
        UnsupportedError: naming the node.
    """
    given = [v for v in values if v is not None]
    size = 0.0
    if step.op in (*_BROADCASTING, *_COMPARING) and given:
        size = float(np.prod(np.broadcast_shapes(*(v.shape for v in given)), dtype=np.float64))
    elif step.op in ("ConstantOfShape", "Expand", "Tile") and given:
        size = float(np.abs(given[-1].astype(np.float64)).prod()) * (
            given[0].size if step.op != "ConstantOfShape" else 1
        )
    elif step.op == "Concat":
        size = float(sum(v.size for v in given))
    elif step.op == "Range" and len(given) == 3:
        start, limit, delta = (float(v.ravel()[0]) for v in given)
        size = abs((limit - start) / delta) if delta else np.inf
    elif step.op in ("MatMul", "Gather") and len(given) == 2:
        size = float(given[0].size) * float(given[1].size) / (given[1].shape[0] if step.op == "MatMul" else 1)
    if not size <= MOST_ELEMENTS:
        raise UnsupportedError(f"{step.where}: a constant of {size:.3g} elements; {MOST_ELEMENTS} at most")
