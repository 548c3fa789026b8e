# SPDX-License-Identifier: Apache-2.0
"""Keras' own layers in a user's model: exact where they can be, else refused with what to write instead."""

import re

import numpy as np
import pytest
import tensorflow as tf
from qkeras import QActivation, QBatchNormalization, QConv1D, QDense
from tensorflow import keras
from tensorflow.keras import layers

from hls4attn.hls import CSim, convert
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.keras_export import export_keras, freeze_weights
from hls4attn.models.export.keras_stage import KerasStage
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage
from hls4attn.models.layers import IntegerSoftmax

Q8, Q8_2 = "quantized_bits(8,0,alpha=1)", "quantized_bits(8,2,alpha=1)"
UNSIGNED = "quantized_bits(8,0,keep_negative=0,alpha=1)"


def dense(units, name, **more):
    return QDense(units, kernel_quantizer=Q8, bias_quantizer=Q8, name=name, **more)


def model_of(body, length=6):
    """`body` between a quantiser of the input and one of the output."""
    start = layers.Input((length, 8))
    y = body(QActivation(Q8_2, name="tokens")(start))
    return keras.Model(start, QActivation(Q8_2, name="out")(y))


def projections(x, names="qkv"):
    return [QActivation(Q8, name=f"{n}_codes")(dense(8, n)(x)) for n in names]


def attention(x):
    """Attention of products and a softmax, as the refusal of Softmax says."""
    q, k, v = projections(x)
    s = QActivation("quantized_bits(8,3,alpha=1)", name="scores")(layers.Dot(axes=(2, 2), name="qk")([q, k]))
    head_dim, rows, columns = 8, 6, 6
    softmax = IntegerSoftmax(1, "quantized_bits(8,3,alpha=1)", head_dim**-0.5, name="p")
    p = layers.Reshape((rows, columns))(softmax(layers.Reshape((1, rows, columns))(s)))
    return layers.Dot(axes=(2, 1), name="pv")([layers.Dropout(0.2, name="drop")(p), v])


def turned(x):
    q, k = projections(x, "qk")
    return layers.Dot(axes=1, name="turned")([q, k])


BODIES = {
    "attention": attention,
    "dot of columns": turned,
    "dropout": lambda x: dense(4, "d")(layers.SpatialDropout1D(0.3)(layers.GaussianNoise(0.1)(x))),
    "relu": lambda x: layers.ReLU(name="r")(dense(4, "d")(x)),
    "activation": lambda x: layers.Activation("relu", name="r")(layers.Activation("linear")(dense(4, "d")(x))),
    "multiply": lambda x: layers.Multiply(name="m")(projections(x, "qk")),
    "dense with a relu": dense(4, "d", activation="relu"),
    "dense with a quantised relu": dense(4, "d", activation="quantized_relu(6,1)"),
    "dense with a quantiser": dense(4, "d", activation="quantized_bits(5,1,1,alpha=1)"),
}


def mismatches(model):
    """Samples whose codes differ from the reference in Keras, and in a stock onnxruntime; file, codes and truth."""
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(scale=0.2, size=w.shape).astype(np.float32) for w in model.get_weights()])
    freeze_weights(model)
    proto = export_keras(model)
    graph = read_graph(proto)
    codes = random_codes(graph.input, 200, seed=1)
    truth = Reference(graph).run(codes)
    assert len(np.unique(truth)) > 8
    stages = (KerasStage(graph, model), OnnxRuntimeStage(graph, proto))
    return {s.name: int(np.count_nonzero(s.run(codes) != truth)) for s in stages}, proto, (codes, truth)


@pytest.mark.parametrize("name", BODIES)
def test_stock_layers_are_exact(name):
    found, _, _ = mismatches(model_of(BODIES[name]))
    assert found == {"keras": 0, "onnxruntime": 0}


def test_average_pooling_is_exact_over_powers_of_two():
    found, _, _ = mismatches(model_of(layers.GlobalAveragePooling1D(name="mean"), length=8))
    assert found == {"keras": 0, "onnxruntime": 0}


def test_a_layer_that_is_exported_wrongly_would_be_seen(monkeypatch):
    """The comparison above: operands the wrong way round."""
    from hls4attn.models.export import keras_export

    def wrong(b, layer, inputs, shape):
        left = b.transpose(inputs[1], (1, 0), f"{layer.name}_left")
        return b.node("MatMul", [left, inputs[0]], layer.name, shape)

    monkeypatch.setitem(keras_export._EMITTERS, layers.Dot, wrong)
    found, _, _ = mismatches(model_of(turned))
    assert found["keras"] > 0


@pytest.mark.compile
def test_attention_of_stock_pieces_runs_as_hardware(tmp_path):
    found, proto, (codes, truth) = mismatches(model_of(attention))
    assert found == {"keras": 0, "onnxruntime": 0}
    assert np.array_equal(CSim(convert(proto, tmp_path / "p")).run(codes), truth)


def softmax_between_products(x):
    q, k, v = projections(x)
    s = QActivation("quantized_bits(8,3,alpha=1)", name="scores")(layers.Dot(axes=(2, 2), name="qk")([q, k]))
    p = QActivation(UNSIGNED, name="p_codes")(layers.Softmax(name="p")(s))
    return layers.Dot(axes=(2, 1), name="pv")([p, v])


_SOFTMAX = "use QSelfAttention(..., 'softmax', ...), or on scores s of shape (rows, columns) behind a QActivation: "
_FLOAT = "; a trained float model with attention or LayerNorm as a whole: hls4attn quantise MODEL.keras OUT.onnx"
_CANNOT = "cannot be represented exactly; "
REFUSALS = {
    "Softmax": (softmax_between_products, f"p: layer Softmax {_CANNOT}{_SOFTMAX}Reshape((rows, columns))("),
    "softmax activation": (
        layers.Activation("softmax", name="sm"),
        f"sm: Activation('softmax') has no exact integer form; {_SOFTMAX}",
    ),
    "softmax of a dense layer": (
        dense(4, "d", activation="softmax"),
        f"d: activation 'softmax' {_CANNOT}leave it out, the largest logit is the same",
    ),
    "tanh of a dense layer": (
        dense(4, "d", activation="tanh"),
        f"d: activation 'tanh' {_CANNOT}use activation='quantized_relu(8,2)'",
    ),
    "gelu": (
        layers.Activation("gelu", name="g"),
        "g: Activation('gelu') has no exact integer form; use QActivation(\"quantized_relu(8,2)\") or ReLU",
    ),
    "MultiHeadAttention": (
        lambda x: layers.MultiHeadAttention(2, 4, name="mha")(x, x),
        f"mha: layer MultiHeadAttention {_CANNOT}use QSelfAttention(heads, head_dim, 'consmax' or 'softmax', ...), "
        f"which holds the projections, both products and the score function{_FLOAT}",
    ),
    "Attention": (lambda x: layers.Attention(name="att")([x, x]), f"att: layer Attention {_CANNOT}use QSelfAttention("),
    "Lambda": (
        layers.Lambda(lambda x: tf.matmul(x, x, transpose_b=True), name="lam"),
        f"lam: layer Lambda {_CANNOT}write it with layers that are supported, or as a Layer with a method "
        "to_graph(builder, input, shape)",
    ),
    "tf.matmul": (
        lambda x: tf.matmul(x, x, transpose_b=True),
        f"tf.linalg.matmul: layer TFOpLambda {_CANNOT}use Dot(axes=(2, 2))([q, k]) for q k^T and "
        "Dot(axes=(2, 1))([p, v]) for p v; for several heads QSelfAttention",
    ),
    "tf.nn.softmax": (tf.nn.softmax, f"tf.nn.softmax: layer TFOpLambda {_CANNOT}{_SOFTMAX}"),
    "plus": (lambda x: x + x, f"tf.__operators__.add: layer TFOpLambda {_CANNOT}use Add()([x, y])"),
    "times": (lambda x: x * 0.5, f"tf.math.multiply: layer TFOpLambda {_CANNOT}use Multiply()([x, y]) for two"),
    "another function": (tf.exp, f"tf.math.exp: layer TFOpLambda {_CANNOT}write it with layers that are supported"),
    "Dense": (layers.Dense(3, name="d"), f"d: layer Dense {_CANNOT}use QDense(units, kernel_quantizer=..., bias_quant"),
    "LayerNormalization": (
        layers.LayerNormalization(name="ln"),
        f"ln: layer LayerNormalization {_CANNOT}use IntegerLayerNorm or AILayerNorm(in_format, out_format) behind a "
        f"QActivation of in_format{_FLOAT}",
    ),
    "BatchNormalization": (
        layers.BatchNormalization(name="bn"),
        f"bn: layer BatchNormalization {_CANNOT}use QBatchNorm(scale_quantizer, bias_quantizer)",
    ),
    "QBatchNormalization": (QBatchNormalization(name="bn"), f"bn: layer QBatchNormalization {_CANNOT}use QBatchNorm("),
    "a mean over six": (
        layers.GlobalAveragePooling1D(name="mean"),
        "mean: GlobalAveragePooling1D is exact over a power-of-two length only, channels last, without keepdims. "
        "Received: length 6, channels_last, keepdims=False; use QMeanPool()",
    ),
    "Concatenate": (
        lambda x: layers.Concatenate(name="c")([x, x]),
        f"c: layer Concatenate {_CANNOT}use one QDense a branch and Add",
    ),
    "Subtract": (lambda x: layers.Subtract(name="s")([x, x]), f"s: layer Subtract {_CANNOT}use Add, with the sign in"),
    "three factors": (
        lambda x: layers.Multiply(name="m")([x, x, x]),
        "m: Multiply of 3 tensors; multiply two at a time",
    ),
    "normalised Dot": (
        lambda x: layers.Dot(axes=2, normalize=True, name="dot")([x, x]),
        "dot: Dot takes two tensors (batch, rows, columns), without normalize. Received: shapes [(6, 8), (6, 8)], "
        "normalize=True; for several heads use QSelfAttention",
    ),
    "limited ReLU": (
        layers.ReLU(6.0, name="r"),
        'r: ReLU with max_value=6.0 is not supported; use ReLU() or QActivation("quantized_relu(8,2)")',
    ),
    "QConv1D": (
        QConv1D(4, 3, kernel_quantizer=Q8, bias_quantizer=Q8, name="conv"),
        f"conv: layer QConv1D {_CANNOT}a kernel of 1 is QDense",
    ),
    "TimeDistributed": (layers.TimeDistributed(dense(3, "d"), name="td"), f"td: layer TimeDistributed {_CANNOT}leave"),
    "Rescaling": (layers.Rescaling(0.5, name="rs"), f"rs: layer Rescaling {_CANNOT}scale the data before the model"),
    "a model inside": (
        keras.Sequential([layers.Input((6, 8)), dense(4, "d")], name="inner"),
        f"inner: layer Sequential {_CANNOT}call its layers one by one: a model inside a model is not looked into",
    ),
    "something else": (
        layers.UpSampling1D(2, name="up"),
        f"up: layer UpSampling1D {_CANNOT}supported: AILayerNorm, Activation, ",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_name_the_layer_the_reason_and_the_remedy(name):
    body, message = REFUSALS[name]
    with pytest.raises(UnsupportedError, match=f"^{re.escape(message)}"):
        export_keras(model_of(body))


def test_a_layer_used_twice_an_open_length_and_two_inputs():
    def twice(x):
        shared = dense(8, "shared")
        return layers.Add()([shared(x), shared(QActivation(Q8, name="again")(x))])

    with pytest.raises(UnsupportedError, match="^shared: a layer used 2 times is not supported; make one for each use"):
        export_keras(model_of(twice))
    with pytest.raises(UnsupportedError, match="all axes but the batch must be fixed: give Input the length"):
        export_keras(model_of(lambda x: x, length=None))
    first, second = layers.Input((6, 8)), layers.Input((6, 8))
    with pytest.raises(UnsupportedError, match="Received: 2 and 1; export each part as a model of its own"):
        export_keras(keras.Model([first, second], layers.Add()([first, second])))
    with pytest.raises(UnsupportedError, match=r"must feed one Quant node.*in Keras: begin with a QActivation"):
        export_keras(keras.Model(first, dense(4, "d")(first)))
