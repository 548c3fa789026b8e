# SPDX-License-Identifier: Apache-2.0
"""Keras' own layers that are exact in integers as they are, and what to use instead of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tensorflow import keras

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.builder import GraphBuilder

Emitter = Callable[[GraphBuilder, Any, list[str], tuple[int, ...]], str]


def _identity(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    """Layers that do nothing at inference."""
    return inputs[0]


def _relu(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    for option, plain in (("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)):
        value = getattr(layer, option)
        if value != plain:
            raise UnsupportedError(
                f"{layer.name}: ReLU with {option}={value} is not supported; use ReLU() or "
                'QActivation("quantized_relu(8,2)"), whose range is its limit'
            )
    return b.node("Relu", [inputs[0]], layer.name, shape)


def _activation(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    kind = getattr(layer.activation, "__name__", str(layer.activation))
    if kind == "linear":
        return inputs[0]
    if kind == "relu":
        return b.node("Relu", [inputs[0]], layer.name, shape)
    remedy = _SOFTMAX if kind == "softmax" else 'use QActivation("quantized_relu(8,2)") or ReLU'
    raise UnsupportedError(f"{layer.name}: Activation({kind!r}) has no exact integer form; {remedy}")


def _dot(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    """``Dot(axes)`` of two tensors (batch, rows, columns) is one matrix product."""
    axes = (layer.axes, layer.axes) if isinstance(layer.axes, int) else tuple(layer.axes)
    shapes = [b.shapes[name] for name in inputs]
    if layer.normalize or any(len(s) != 2 for s in shapes):
        raise UnsupportedError(
            f"{layer.name}: Dot takes two tensors (batch, rows, columns), without normalize. Received: shapes "
            f"{shapes}, normalize={layer.normalize}; for several heads use QSelfAttention"
        )
    first, second = (a % 3 for a in axes)
    left, right = inputs
    if first == 1:
        left = b.transpose(left, (1, 0), f"{layer.name}_left")
    if second == 2:
        right = b.transpose(right, (1, 0), f"{layer.name}_right")
    return b.node("MatMul", [left, right], layer.name, shape)


def _multiply(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    if len(inputs) != 2:
        raise UnsupportedError(f"{layer.name}: Multiply of {len(inputs)} tensors; multiply two at a time")
    return b.node("Mul", inputs, layer.name, shape)


def _average(b: GraphBuilder, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    length = b.shapes[inputs[0]][0]
    if layer.keepdims or layer.data_format != "channels_last" or length & (length - 1):
        raise UnsupportedError(
            f"{layer.name}: GlobalAveragePooling1D is exact over a power-of-two length only, channels last, without "
            f"keepdims. Received: length {length}, {layer.data_format}, keepdims={layer.keepdims}; use QMeanPool()"
        )
    axes = b.constant(f"{layer.name}_axes", [1], np.int64)
    total = b.node("ReduceSum", [inputs[0], axes], f"{layer.name}_sum", shape, attributes={"keepdims": 0})
    return b.node("Mul", [total, b.constant(f"{layer.name}_reciprocal", [1.0 / length])], layer.name, shape)


#: Stock layers that export as they are.
PLAIN: dict[type, Emitter] = {
    keras.layers.Activation: _activation,
    keras.layers.ActivityRegularization: _identity,
    keras.layers.Dot: _dot,
    keras.layers.Dropout: _identity,
    keras.layers.GaussianDropout: _identity,
    keras.layers.GaussianNoise: _identity,
    keras.layers.GlobalAveragePooling1D: _average,
    keras.layers.Multiply: _multiply,
    keras.layers.ReLU: _relu,
    keras.layers.SpatialDropout1D: _identity,
}

_FLOAT = "; a trained float model with attention or LayerNorm as a whole: hls4attn quantise MODEL.keras OUT.onnx"
_ATTENTION = (
    "use QSelfAttention(heads, head_dim, 'consmax' or 'softmax', ...), which holds the projections, both products and "
    "the score function"
)
_SOFTMAX = (
    "use QSelfAttention(..., 'softmax', ...), or on scores s of shape (rows, columns) behind a QActivation: "
    'Reshape((rows, columns))(IntegerSoftmax(1, "quantized_bits(8,3,alpha=1)", head_dim**-0.5)'
    "(Reshape((1, rows, columns))(s))); a classifier's last softmax can be left out: the largest logit is the same"
)
_OWN = "write it with layers that are supported, or as a Layer with a method to_graph(builder, input, shape)"
_CONV = "a kernel of 1 is QDense, which acts on the last axis of any shape; there is no hardware for wider ones here"
_REMEDIES = {
    "Attention": _ATTENTION,
    "AdditiveAttention": _ATTENTION,
    "MultiHeadAttention": _ATTENTION + _FLOAT,
    "Softmax": _SOFTMAX,
    "Dense": "use QDense(units, kernel_quantizer=..., bias_quantizer=...)" + _FLOAT,
    "EinsumDense": "use QDense, which acts on the last axis of any shape",
    "TimeDistributed": "leave it out: QDense acts on the last axis of any shape",
    "LayerNormalization": "use IntegerLayerNorm or AILayerNorm(in_format, out_format) behind a QActivation of in_format"
    + _FLOAT,
    "BatchNormalization": "use QBatchNorm(scale_quantizer, bias_quantizer), one integer scale and bias a channel",
    "QBatchNormalization": "use QBatchNorm(scale_quantizer, bias_quantizer), one integer scale and bias a channel",
    "GlobalAveragePooling2D": "use Reshape to (positions, channels) and QMeanPool()",
    "Embedding": "use QEmbedding(...), which takes one-hot rows on hardware",
    "Conv1D": _CONV,
    "QConv1D": _CONV,
    "Rescaling": "scale the data before the model, or choose the format of the first QActivation for them",
    "Normalization": "scale the data before the model, or choose the format of the first QActivation for them",
    "Subtract": "use Add, with the sign in the weights of the layer before",
    "Concatenate": "use one QDense a branch and Add: the same sums as one QDense of the concatenation",
    "Functional": "call its layers one by one: a model inside a model is not looked into",
    "Sequential": "call its layers one by one: a model inside a model is not looked into",
    "Lambda": _OWN,
    "TFOpLambda": _OWN,
    "SlicingOpLambda": "no token can be taken out of a sequence: use QMeanPool() or Flatten() over all of them",
    "Masking": "all sequences have one length: pad them before the model",
    "ZeroPadding1D": "all sequences have one length: pad them before the model",
}
#: TensorFlow functions on Keras tensors, by the layer that Keras makes of them.
_FUNCTIONS = {
    "matmul": "use Dot(axes=(2, 2))([q, k]) for q k^T and Dot(axes=(2, 1))([p, v]) for p v; for several heads "
    "QSelfAttention",
    "einsum": "use Dot(axes=(2, 2))([q, k]) for q k^T and Dot(axes=(2, 1))([p, v]) for p v; for several heads "
    "QSelfAttention",
    "add": "use Add()([x, y])",
    "subtract": _REMEDIES["Subtract"],
    "multiply": "use Multiply()([x, y]) for two tensors; a constant factor belongs into a weight, or into a score "
    "function's score_scale",
    "truediv": "a constant factor belongs into a weight, or into a score function's score_scale",
    "softmax": _SOFTMAX,
    "reshape": "use Reshape",
    "transpose": "use Permute",
    "reduce_mean": "use QMeanPool()",
}


def remedy(layer: Any, supported: list[str]) -> str:
    """What to write instead of a layer that cannot be exported.

    Args:
        layer: the Keras layer.
        supported: names of the layers that can be exported, for one that nothing comes near.
    """
    kind = type(layer).__name__
    if kind == "TFOpLambda":
        function = str(getattr(layer, "symbol", layer.name)).rsplit(".", 1)[-1]
        return _FUNCTIONS.get(function, _OWN)
    return _REMEDIES.get(kind, "supported: " + ", ".join(supported))
