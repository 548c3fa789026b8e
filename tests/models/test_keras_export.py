# SPDX-License-Identifier: Apache-2.0
"""Keras to QONNX: equal codes for every tensor, or a refusal that names the layer."""

import numpy as np
import pytest
from qkeras import QActivation, QDense
from tensorflow import keras
from tensorflow.keras.layers import Activation, Add, Flatten, Input, LayerNormalization, Softmax

from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.keras_export import export_keras, freeze_weights
from hls4attn.models.export.keras_stage import KerasStage, load_weights, weight_arrays
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage
from hls4attn.models.files import write_arrays
from hls4attn.models.layers import ConSmax, QSelfAttention

Q8, Q8_2 = "quantized_bits(8,0,alpha=1)", "quantized_bits(8,2,alpha=1)"


def dense(units, name, **kwargs):
    return QDense(units, **{"kernel_quantizer": Q8, "bias_quantizer": Q8, "name": name, **kwargs})


def attention(score, name="attention", **kwargs):
    quantisers = dict.fromkeys(
        ("kernel_quantizer", "bias_quantizer", "qk_quantizer", "v_quantizer", "context_quantizer"), Q8
    )
    return QSelfAttention(
        2,
        4,
        score,
        score_quantizer="quantized_bits(8,3,alpha=1)",
        output_quantizer=Q8_2,
        name=name,
        **quantisers,
        **kwargs,
    )


def functional(*layers, shape=(6, 8)):
    x = start = Input(shape)
    x = QActivation(Q8_2, name="tokens")(x)
    for layer in layers:
        x = layer(x)
    return keras.Model(start, x)


def compare(model, samples=300):
    """Mismatches over all tensors between Keras, a stock onnxruntime and the reference."""
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(scale=0.2, size=w.shape).astype(np.float32) for w in model.get_weights()])
    freeze_weights(model)
    proto = export_keras(model)
    graph = read_graph(proto)
    codes = random_codes(graph.input, samples, seed=1)
    truth = Reference(graph).trace(codes)
    found = {}
    for stage in (KerasStage(graph, model), OnnxRuntimeStage(graph, proto)):
        shown = stage.trace(codes)
        assert graph.output.name in shown
        found[stage.name] = (len(shown), sum(np.count_nonzero(shown[n] != truth[n]) for n in shown))
        found[stage.name + " output"] = np.count_nonzero(stage.run(codes) != truth[graph.output.name])
    return found, len(np.unique(truth[graph.output.name]))


@pytest.mark.parametrize("score", ["consmax", "softmax"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_block(score, causal):
    model = functional(
        attention(score, score_options={"causal": causal}),
        QActivation(Q8_2, name="after"),
        dense(5, "head"),
        QActivation("quantized_relu(6,1)", name="out"),
    )
    found, distinct = compare(model)
    assert found["keras"] == (11, 0)
    assert found["onnxruntime"][1] == found["keras output"] == found["onnxruntime output"] == 0
    assert distinct > 20


def test_score_functions_are_pluggable():
    from hls4attn.models.formats import Fixed

    for causal in (False, True):  # the layer's own name is of no account
        split = ConSmax(2, Fixed(8, 4), 0.5, method="split", out_frac=(7, 6), causal=causal)
        found, _ = compare(functional(attention(split)))
        assert found["keras"] == (8, 0)
        assert found["keras output"] == found["onnxruntime output"] == 0


def test_options_of_a_score_function_that_is_given_as_a_layer_are_not_passed_over():
    score = ConSmax(2, "fixed<8,4>", 0.5, name="mine")
    with pytest.raises(SpecError, match="give them to mine itself.*causal"):
        attention(score, score_options={"causal": True})


def test_trailing_quantiser_and_residual_of_unlike_formats():
    start = Input((4,))
    x = QActivation("quantized_bits(6,1,alpha=1)", name="x")(start)
    y = QActivation(Q8, name="y")(dense(4, "d", use_bias=False)(x))
    model = keras.Model(start, QActivation("quantized_bits(5,1,1,alpha=1)", name="out")(Add(name="sum")([x, y])))
    found, distinct = compare(model)
    assert found["keras output"] == found["onnxruntime output"] == 0
    assert distinct <= 31


def test_weights_off_their_grid_are_moved_onto_it():
    model = functional(dense(3, "d"))
    model.get_layer("d").set_weights([np.full((8, 3), 5.123), np.full(3, -0.3001)])
    freeze_weights(model)
    kernel, bias = model.get_layer("d").get_weights()
    assert np.all(kernel == 127 / 128)
    assert np.all(bias == np.rint(-0.3001 * 128) / 128)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([keras.layers.Dense(3, name="plain")], "plain: layer Dense cannot be represented exactly; use QDense"),
        ([LayerNormalization(name="ln")], "ln: layer LayerNormalization"),
        ([Softmax(name="soft")], "soft: layer Softmax"),
        ([Activation("tanh", name="act")], r"act: Activation\('tanh'\)"),
        ([dense(3, "d", kernel_quantizer=None)], "d kernel_quantizer: no quantiser"),
        ([dense(3, "d", bias_quantizer="quantized_bits(8,0,alpha='auto')")], "d bias_quantizer: .*alpha='auto'"),
        ([dense(3, "d", kernel_quantizer="ternary()")], "d kernel_quantizer: quantiser ternary"),
        ([dense(3, "d", activation="tanh")], "d: activation 'tanh' cannot be represented exactly; use"),
        ([QActivation("quantized_tanh(8)", name="t")], "t: quantiser quantized_tanh"),
        (
            [ConSmax(2, "fixed<8,5>", 1.0, quantised=False, name="float_score")],
            "float_score: built with quantised=False",
        ),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(layers, message):
    shape = (2, 4, 4) if "score" in layers[0].name else (6, 8)
    with pytest.raises(UnsupportedError, match=message):
        export_keras(functional(*layers, shape=shape))


def test_nan_weights_and_wide_sums_are_refused():
    model = functional(dense(3, "d"))
    model.get_layer("d").set_weights([np.full((8, 3), np.nan), np.zeros(3)])
    with pytest.raises(UnsupportedError, match="d kernel: .*24 of 24 values are NaN"):
        export_keras(model)
    wide = functional(
        Flatten(name="flat"), dense(1, "d", kernel_quantizer="quantized_bits(16,0,alpha=1)"), shape=(64, 64)
    )
    wide.get_layer("d").set_weights([np.ones((4096, 1)), np.zeros(1)])
    with pytest.raises(UnsupportedError, match="d_matmul: values need fixed<.*24 bits"):
        export_keras(wide)


def test_weight_files_must_fit_the_model(tmp_path):
    model = functional(dense(3, "d"))
    good, path = weight_arrays(model), tmp_path / "w.npz"
    cases = {
        "are missing or unknown": {**good, "other": np.zeros(1)},
        r"finite floats of shape \(3,\)": {**good, "d/bias:0": np.zeros(4, np.float32)},
        "finite floats": {**good, "d/bias:0": np.full(3, np.inf, np.float32)},
    }
    for message, arrays in cases.items():
        write_arrays(path, arrays)
        with pytest.raises(ModelFileError, match=message):
            load_weights(model, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelFileError, match="not a readable .npz"):
        load_weights(model, path)
    np.savez(path, **{**good, "d/bias:0": np.array([{}], dtype=object)})
    with pytest.raises(ModelFileError, match="not a readable .npz of plain arrays"):
        load_weights(model, path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ModelFileError, match="not a readable .npz of plain arrays: it is one array"):
        load_weights(model, path)
