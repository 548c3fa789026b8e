# SPDX-License-Identifier: Apache-2.0
"""Keras/QKeras -> QONNX; a layer or quantiser without an exact representation is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from qkeras import QActivation, QDense
from qkeras.quantizers import BaseQuantizer
from tensorflow import keras

from hls4attn.models.errors import FormatError, ModelFileError, UnsupportedError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.keras_plain import PLAIN, Emitter, remedy
from hls4attn.models.export.reader import read_graph
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.layers import (
    AILayerNorm,
    ClippedActivation,
    E2Context,
    GainCells,
    IntegerLayerNorm,
    NormLayer,
    QBatchNorm,
    QEmbedding,
    QMeanPool,
    QPositionEmbedding,
    QSelfAttention,
)
from hls4attn.models.layers.quantizers import fixed_of
from hls4attn.models.layers.score import ScoreLayer

INPUT_NAME = "input"


def export_keras(model: keras.Model, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """The QONNX model of a functional Keras model.

    Tensors keep their layer's name (inside an attention layer: the keys of `QSelfAttention.trace`), so that
    Keras and every later stage can be compared tensor by tensor.  A layer that is not known here may bring a method
    ``to_graph(builder, input, shape)`` that adds its nodes and returns the name of the result.

    Raises:
        UnsupportedError: naming the layer or quantiser that cannot be represented exactly, a weight that is NaN,
            or a tensor too wide for float32 to hold exactly.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "_is_graph_network", False):
        raise UnsupportedError(f"Export takes a functional or sequential Keras model. Received: {type(model).__name__}")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnsupportedError(
            f"{model.name}: one input and one output. Received: {len(model.inputs)} and {len(model.outputs)}; export "
            "each part as a model of its own"
        )
    exporter = _Exporter(model)
    proto = exporter.run(dict(metadata or {}))
    read_graph(proto)  # a file that our own reader would refuse is never handed out
    return proto


def freeze_weights(model: keras.Model) -> None:
    """Move every QDense weight, and those of layers with a method ``freeze``, onto their quantisers' grids, in place.

    Quantisers then return the weights unchanged, so that Keras computes with exactly the exported codes.
    """
    for layer in _flatten(model):
        if isinstance(layer, QDense):
            layer.set_weights([fmt.to_real(codes) for codes, fmt in _dense_constants(layer) if codes is not None])
        elif hasattr(layer, "freeze"):
            layer.freeze()


def _flatten(model: keras.Model) -> list[keras.layers.Layer]:
    return list(model._flatten_layers(include_self=False))


def _dense_constants(layer: QDense) -> list[tuple[Codes | None, Fixed]]:
    """Codes and formats of kernel and bias (no codes where there is no bias)."""
    kernel_format = fixed_of(layer.kernel_quantizer_internal, f"{layer.name} kernel_quantizer")
    found: list[tuple[Codes | None, Fixed]] = [
        (_codes(layer.kernel, kernel_format, f"{layer.name} kernel"), kernel_format)
    ]
    if layer.use_bias:
        bias_format = fixed_of(layer.bias_quantizer_internal, f"{layer.name} bias_quantizer")
        found.append((_codes(layer.bias, bias_format, f"{layer.name} bias"), bias_format))
    return found


def _codes(weight: Any, fmt: Fixed, where: str) -> Codes:
    try:
        return fmt.quantise(weight.numpy())
    except FormatError as error:
        raise UnsupportedError(f"{where}: {error}") from error


class _Exporter:
    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.builder = GraphBuilder(model.name)
        self.names: dict[int, str] = {}  # id of a Keras tensor -> tensor name in the file

    def run(self, metadata: dict[str, str]) -> onnx.ModelProto:
        source = self.model.inputs[0]
        self.builder.input(INPUT_NAME, _shape(source))
        self.names[id(source)] = INPUT_NAME
        for depth in sorted(self.model._nodes_by_depth, reverse=True):
            for node in self.model._nodes_by_depth[depth]:
                self._visit(node)
        result = self.names[id(self.model.outputs[0])]
        return self.builder.model([INPUT_NAME], [result], metadata)

    def _visit(self, node: Any) -> None:
        layer = node.layer
        if isinstance(layer, keras.layers.InputLayer):
            return
        uses = len(layer.inbound_nodes)
        if uses != 1:
            raise UnsupportedError(f"{layer.name}: a layer used {uses} times is not supported; make one for each use")
        emit = _EMITTERS.get(type(layer))
        if emit is None and isinstance(layer, ScoreLayer):
            emit = _score
        if emit is None and hasattr(layer, "to_graph"):
            emit = _own_nodes
        if emit is None:
            raise UnsupportedError(
                f"{layer.name}: layer {type(layer).__name__} cannot be represented exactly; "
                + remedy(layer, sorted(t.__name__ for t in _EMITTERS))
            )
        inputs = [self.names[id(t)] for t in node.keras_inputs]
        try:
            self.names[id(node.outputs)] = emit(self.builder, layer, inputs, _shape(node.outputs))
        except (UnsupportedError, ModelFileError):
            raise
        except FormatError as error:
            raise UnsupportedError(f"{layer.name}: {error}") from error


def _shape(tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape[1:])
    if any(d is None for d in shape):
        raise UnsupportedError(
            f"{tensor.name}: all axes but the batch must be fixed: give Input the length of the "
            f"sequence. Received: {tuple(tensor.shape)}"
        )
    return shape


def _activation(b: GraphBuilder, layer: QActivation, inputs: list[str], shape: tuple[int, ...]) -> str:
    x = inputs[0]
    if type(layer.quantizer).__name__ == "quantized_relu" and x != INPUT_NAME:
        x = b.node("Relu", [x], f"{layer.name}_relu", shape)
    return b.quant(x, fixed_of(layer.quantizer, layer.name), layer.name, shape)


def _dense(b: GraphBuilder, layer: QDense, inputs: list[str], shape: tuple[int, ...]) -> str:
    kind = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    if layer.activation is None or kind == "linear":
        return _product(b, layer, inputs, shape, layer.name)
    if kind == "relu":
        return b.node("Relu", [_product(b, layer, inputs, shape, f"{layer.name}_dense")], layer.name, shape)
    if not isinstance(layer.activation, BaseQuantizer):
        instead = (
            "leave it out, the largest logit is the same"
            if kind == "softmax"
            else "use activation='quantized_relu(8,2)'"
        )
        raise UnsupportedError(f"{layer.name}: activation {kind!r} cannot be represented exactly; {instead}")
    y = _product(b, layer, inputs, shape, f"{layer.name}_dense")
    if kind == "quantized_relu":
        y = b.node("Relu", [y], f"{layer.name}_relu", shape)
    return b.quant(y, fixed_of(layer.activation, f"{layer.name} activation"), layer.name, shape)


def _product(b: GraphBuilder, layer: QDense, inputs: list[str], shape: tuple[int, ...], name: str) -> str:
    (kernel, kernel_format), *bias = _dense_constants(layer)
    if kernel is None:
        raise UnsupportedError(f"{layer.name}: no kernel")
    w = b.quantised_constant(f"{layer.name}_kernel", kernel, kernel_format)
    y = b.node("MatMul", [inputs[0], w], f"{name}_matmul" if bias else name, shape)
    for codes, fmt in bias:
        if codes is not None:
            y = b.node("Add", [y, b.quantised_constant(f"{layer.name}_bias", codes, fmt)], name, shape)
    return y


def _own_nodes(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    name: str = layer.to_graph(b, inputs[0], shape)
    return name


def _embedding(b: GraphBuilder, layer: QEmbedding, inputs: list[str], shape: tuple[int, ...]) -> str:
    if not layer.quantised:
        raise UnsupportedError(f"{layer.name}: built with quantised=False; only the integer form can be exported")
    if len(b.shapes[inputs[0]]) != 2:
        raise UnsupportedError(
            f"{layer.name}: hardware takes one-hot rows (length, {layer.input_dim}), not codes of shape "
            f"{b.shapes[inputs[0]]}; build the model on an input of 1-bit rows"
        )
    codes = _codes(layer.embeddings, layer.format, layer.name)
    table = b.quantised_constant(f"{layer.name}_table", codes, layer.format)
    return b.node("MatMul", [inputs[0], table], layer.name, shape)


def _batch_norm(b: GraphBuilder, layer: QBatchNorm, inputs: list[str], shape: tuple[int, ...]) -> str:
    scale, bias = layer.folded_codes()
    y = b.node(
        "Mul",
        [inputs[0], b.quantised_constant(f"{layer.name}_scale", scale, layer.scale_format)],
        f"{layer.name}_scaled",
        shape,
    )
    return b.node("Add", [y, b.quantised_constant(f"{layer.name}_bias", bias, layer.bias_format)], layer.name, shape)


def _position(b: GraphBuilder, layer: QPositionEmbedding, inputs: list[str], shape: tuple[int, ...]) -> str:
    codes = _codes(layer.embedding, layer.format, layer.name)
    return b.node(
        "Add",
        [inputs[0], b.quantised_constant(f"{layer.name}_embedding", codes, layer.format)],
        layer.name,
        shape,
    )


def _pool(b: GraphBuilder, layer: QMeanPool, inputs: list[str], shape: tuple[int, ...]) -> str:
    axes = b.constant(f"{layer.name}_axes", [1], np.int64)
    total = b.node("ReduceSum", [inputs[0], axes], f"{layer.name}_sum", shape, attributes={"keepdims": 0})
    reciprocal = b.quantised_constant(f"{layer.name}_reciprocal", np.array([layer.reciprocal_code]), layer.format)
    return b.node("Mul", [total, reciprocal], layer.name, shape)


def _add(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    if len(inputs) != 2:
        raise UnsupportedError(f"{layer.name}: Add of {len(inputs)} tensors; add two at a time")
    return b.node("Add", inputs, layer.name, shape)


def _score(
    b: GraphBuilder, layer: ScoreLayer, inputs: list[str], shape: tuple[int, ...], name: str | None = None
) -> str:
    if not layer.quantised:
        raise UnsupportedError(f"{layer.name}: built with quantised=False; only the integer form can be exported")
    return b.score(inputs[0], layer.spec(), name or layer.name, shape)


def _context(
    b: GraphBuilder, layer: E2Context, inputs: list[str], shape: tuple[int, ...], name: str | None = None
) -> str:
    if not layer.quantised:
        raise UnsupportedError(f"{layer.name}: built with quantised=False; only the integer form can be exported")
    scores, values = inputs
    return b.context(scores, values, layer.spec(), name or layer.name, shape)


def _cells(b: GraphBuilder, layer: GainCells, inputs: list[str], shape: tuple[int, ...]) -> str:
    if not layer.quantised:
        raise UnsupportedError(f"{layer.name}: built with quantised=False; only the integer form can be exported")
    q, k, v = inputs
    return b.cells(q, k, v, layer.spec(), layer.name, shape)


def _norm(b: GraphBuilder, layer: NormLayer, inputs: list[str], shape: tuple[int, ...]) -> str:
    if not layer.quantised:
        raise UnsupportedError(f"{layer.name}: built with quantised=False; only the integer form can be exported")
    return b.norm(inputs[0], layer.spec(), layer.name, shape)


def _attention(b: GraphBuilder, layer: QSelfAttention, inputs: list[str], shape: tuple[int, ...]) -> str:
    n, (seq, _), heads, width = layer.name, shape, layer.heads, layer.head_dim

    def project(dense: QDense, act: QActivation) -> str:
        y = _dense(b, dense, inputs, (seq, heads * width))
        return _activation(b, act, [y], (seq, heads * width))

    def split(x: str, order: tuple[int, int, int]) -> str:
        return b.transpose(b.reshape(x, (seq, heads, width), f"{x}_split"), order, f"{x}_heads")

    q = split(project(layer.wq, layer.q_act), (1, 0, 2))
    k_transposed = split(project(layer.wk, layer.k_act), (1, 2, 0))
    v = split(project(layer.wv, layer.v_act), (1, 0, 2))
    per_score = (heads, seq, seq)
    products = b.node("MatMul", [q, k_transposed], f"{n}_qk", per_score)
    scores = _activation(b, layer.score_act, [products], per_score)
    if layer.score.takes_values:
        context = _context(b, layer.score, [scores, v], (heads, seq, width), f"{n}_context")
    else:
        p = _score(b, layer.score, [scores], per_score, f"{n}_score")  # as in `trace`, whatever the layer's own name
        weighted = b.node("MatMul", [p, v], f"{n}_pv", (heads, seq, width))
        context = _activation(b, layer.context_act, [weighted], (heads, seq, width))
    merged = b.reshape(b.transpose(context, (1, 0, 2), f"{n}_merge"), (seq, heads * width), f"{n}_merged")
    return _activation(b, layer.out_act, [_dense(b, layer.wo, [merged], shape)], shape)


def _reshape(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return b.reshape(inputs[0], shape, layer.name)


def _permute(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return b.transpose(inputs[0], [d - 1 for d in layer.dims], layer.name)


_EMITTERS: dict[type, Emitter] = {
    **PLAIN,
    QActivation: _activation,
    ClippedActivation: _activation,
    QDense: _dense,
    QEmbedding: _embedding,
    QBatchNorm: _batch_norm,
    QPositionEmbedding: _position,
    QMeanPool: _pool,
    QSelfAttention: _attention,
    E2Context: _context,
    GainCells: _cells,
    AILayerNorm: _norm,
    IntegerLayerNorm: _norm,
    keras.layers.Add: _add,
    keras.layers.Reshape: _reshape,
    keras.layers.Flatten: _reshape,
    keras.layers.Permute: _permute,
}
