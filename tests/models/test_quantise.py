# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation: every variant is an integer model that all executors agree on, or a refusal."""

import json

import numpy as np
import pytest
from tensorflow import keras
from tensorflow.keras.layers import Add, Dense, GlobalAveragePooling1D, Input, LayerNormalization, MultiHeadAttention

from hls4attn.models.errors import InputError, SpecError, UnsupportedError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.keras_export import export_keras
from hls4attn.models.export.keras_stage import KerasStage, load_keras
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage
from hls4attn.models.formats import Fixed
from hls4attn.models.layers import IntegerLayerNorm
from hls4attn.models.layers.quantizers import FixedQuantizer, fixed_of
from hls4attn.models.quantise import QuantisePlan, choose_format
from hls4attn.models.quantise.attention import float_tensors, projections
from hls4attn.models.quantise.convert import quantise_model
from hls4attn.models.quantise.save import save_keras
from hls4attn.models.zoo import zoo_model
from hls4attn.models.zoo.sole import BASELINE, BOTH, CALIBRATION_IMAGES, VARIANTS, train_sole

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(64, 6, 8)).astype(np.float32)


def transformer(epsilon=1e-6, **attention):
    keras.utils.set_random_seed(0)
    start = Input((6, 8))
    x = LayerNormalization(epsilon=epsilon, name="norm")(start)
    x = Add(name="sum")([start, MultiHeadAttention(2, 4, name="attention", **attention)(x, x)])
    x = Dense(5, activation="relu", name="mlp")(x)
    return keras.Model(start, Dense(3, name="out")(GlobalAveragePooling1D(name="pool")(x)), name="small")


@pytest.mark.parametrize("plan", [p for p in VARIANTS.values() if p], ids=lambda p: f"{p.score}-{p.norm}")
def test_every_variant_is_exact_and_near_the_float_model(plan):
    model = transformer()
    result = quantise_model(model, DATA, plan)
    proto = export_keras(result)
    graph = read_graph(proto)
    codes = quantise_input(graph, DATA)
    truth = Reference(graph).run(codes)
    for stage in (KerasStage(graph, result), OnnxRuntimeStage(graph, proto)):
        assert np.count_nonzero(stage.run(codes) != truth) == 0
    exact = model.predict(DATA, verbose=0)
    error = graph.output.format.to_real(truth) - exact
    assert np.sqrt(np.mean(error**2)) < (0.08 if plan.score == "softmax" else 0.15) * exact.std()


def test_float_attention_is_what_keras_computes():
    model = transformer()
    layer = model.get_layer("attention")
    x = RNG.normal(size=(3, 6, 8)).astype(np.float32)
    assert np.allclose(float_tensors(projections(layer), x, 2)["out"], layer(x, x).numpy(), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 77.0])
@pytest.mark.parametrize("signed", [True, False])
def test_chosen_formats_fit_the_values(scale, signed):
    values = np.abs(RNG.normal(size=2000)) * scale if not signed else RNG.normal(size=2000) * scale
    fmt = choose_format(values, 8, signed)
    error = fmt.to_real(fmt.quantise(values)) - values
    for other in range(fmt.frac - 2, fmt.frac + 3):
        alternative = Fixed(8, other, signed)
        assert np.mean(error**2) <= np.mean((alternative.to_real(alternative.quantise(values)) - values) ** 2) + 1e-18
    covering = choose_format(values, 8, signed, cover=True)
    assert np.max(values) <= covering.to_real(covering.max) * (1 + 2.0**-7)


def test_fixed_quantiser_does_what_its_format_says_and_survives_saving(tmp_path):
    quantiser = FixedQuantizer("fixed<8,11,half_even,saturate>")
    x = RNG.normal(size=500).astype(np.float32) * 0.05
    assert np.array_equal(quantiser(x).numpy(), quantiser.format.to_real(quantiser.format.quantise(x)))
    assert fixed_of(quantiser, "here") == Fixed(8, 11)
    with pytest.raises(UnsupportedError, match="rounds half to even and saturates"):
        FixedQuantizer(Fixed(8, 4, overflow="wrap"))
    result = quantise_model(transformer(), DATA, QuantisePlan())
    save_keras(result, tmp_path / "integer.keras")
    again = load_keras(tmp_path / "integer.keras")
    assert np.array_equal(again.predict(DATA, verbose=0), result.predict(DATA, verbose=0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, 6, 8)), "calibration set is empty"),
        (np.ones((9, 6, 8)), r"is constant \(1.0\)"),
        (np.full((9, 6, 8), np.nan), "NaN or infinity"),
        (DATA.astype(np.float64) * 1e300, "numbers that float32 does not hold"),
        (np.ones((9, 8, 6)), r"shape \(samples, \(6, 8\)\)"),
    ],
)
def test_unusable_calibration_sets_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        quantise_model(transformer(), data, QuantisePlan())


def cross_attention():
    start = Input((6, 8))
    other = Dense(8, name="other")(start)
    return keras.Model(start, MultiHeadAttention(2, 4, name="cross")(start, other))


def masked_attention(*arguments, **options):
    """Arguments behind query and value: key, attention_mask, return_attention_scores, training, use_causal_mask."""
    start = Input((6, 8))
    y = MultiHeadAttention(2, 4, name="masked")(start, start, *arguments, **options)
    return keras.Model(start, y[0] if isinstance(y, list | tuple) else y)


def with_activation(name):
    start = Input((6, 8))
    return keras.Model(start, Dense(3, activation=name, name="head")(LayerNormalization(epsilon=1e-6, name="n")(start)))


def after_norm(*layers):
    return keras.Sequential([Input((6, 8)), LayerNormalization(epsilon=1e-6, name="n"), *layers])


def test_a_linear_output_keeps_its_sign_even_if_calibration_saw_none():
    model = after_norm(GlobalAveragePooling1D(), Dense(1, name="out"))
    chosen = DATA[model.predict(DATA, verbose=0)[:, 0] > 0]
    held_out = DATA[model.predict(DATA, verbose=0)[:, 0] < -0.1]
    assert len(chosen) > 5
    assert len(held_out) > 5
    result = quantise_model(model, chosen, QuantisePlan(norm="layernorm"))
    assert np.all(result.predict(held_out, verbose=0) < 0)


def test_activations_of_their_own_are_those_of_dense_layers():
    def model(name):
        keras.utils.set_random_seed(3)
        return after_norm(Dense(4, name="d"), name("relu"), Dense(2, name="out"))

    layer = quantise_model(model(keras.layers.Activation), DATA, QuantisePlan()).predict(DATA, verbose=0)
    known = quantise_model(model(lambda _: keras.layers.ReLU()), DATA, QuantisePlan()).predict(DATA, verbose=0)
    assert np.array_equal(layer, known)
    linear = quantise_model(after_norm(keras.layers.Activation("linear", name="none")), DATA, QuantisePlan())
    assert "none" not in [layer.name for layer in linear.layers]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: after_norm(keras.layers.ReLU(max_value=0.5, name="r")), "r: ReLU option max_value=0.5"),
        (lambda: after_norm(keras.layers.ReLU(negative_slope=0.5, name="r")), "r: ReLU option negative_slope=0.5"),
        (lambda: after_norm(GlobalAveragePooling1D(keepdims=True, name="p")), "p: .*keepdims=True has no integer twin"),
        (lambda: after_norm(GlobalAveragePooling1D(data_format="channels_first", name="p")), "p: .*channels_first"),
        (lambda: transformer(output_shape=8), "attention: output_shape=8"),
        (lambda: transformer(epsilon=0.5), "norm: epsilon=0.5 is more than 1%"),
        (lambda: transformer(value_dim=7), "value_dim=7 must equal key_dim=4"),
        (cross_attention, "cross: only self-attention"),
        (lambda: masked_attention(use_causal_mask=True), "masked: masks are not supported"),
        (lambda: masked_attention(None, None, False, None, True), "masked: masks are not supported"),
        (lambda: masked_attention(None, np.tril(np.ones((1, 6, 6), bool))), "masked: masks are not supported"),
        (lambda: masked_attention(return_attention_scores=True), "masked: return_attention_scores=True"),
        (lambda: with_activation(keras.layers.ReLU()), "head: activation ReLU has no .* by name"),
        (lambda: after_norm(keras.layers.Activation("tanh", name="t")), "t: activation tanh has no integer twin"),
        (lambda: with_activation("softmax"), "head: activation softmax .*drop the final softmax"),
        (lambda: with_activation("gelu"), "head: activation gelu"),
        (lambda: keras.Sequential([Input((6, 8)), Dense(3)]), "neither MultiHeadAttention nor LayerNorm.* replace$"),
        (
            lambda: keras.Sequential([Input((6, 8)), IntegerLayerNorm("fixed<8,4>", "fixed<8,5>")]),
            "quantised already: hls4attn export MODEL.keras OUT.onnx",
        ),
        (
            lambda: keras.Sequential(
                [Input((6, 8)), LayerNormalization(epsilon=1e-6), keras.layers.Conv1D(3, 2, name="c")]
            ),
            "c: layer Conv1D has no integer twin; known:",
        ),
    ],
)
def test_models_without_an_integer_twin_are_refused_by_name(build, message):
    with pytest.raises(UnsupportedError, match=message):
        quantise_model(build(), DATA, QuantisePlan())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "relu"}, "score must be one of"),
        ({"weight_bits": 1}, "2 to 12"),
        ({"weight_bits": 8.5}, "2 to 12. Received: 8.5"),
        ({"residual_bits": "8"}, "residual_bits must be 8 to 16. Received: '8'"),
    ],
)
def test_impossible_plans_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        QuantisePlan(**change)


def test_committed_table_is_that_of_the_committed_model():
    zoo = zoo_model("digits-vit")
    data = zoo.load_data()
    record = json.loads((zoo.folder / "sole.json").read_text())
    assert set(record["accuracies"]) == set(VARIANTS)
    assert len(record["seeds"]) == 3
    assert record["calibration_images"] == CALIBRATION_IMAGES
    assert record["drop"] <= 0.01
    assert np.isclose(record["drop"], np.mean(record["accuracies"][BASELINE]) - np.mean(record["accuracies"][BOTH]))
    graph = read_graph(zoo.folder / "sole.onnx")
    logits = Reference(graph).run(quantise_input(graph, data.x_test))
    assert np.mean(logits.argmax(axis=1) == data.y_test) == record["accuracies"][BOTH][0]
    assert zoo.accuracy(load_keras(zoo.folder / "float.keras"), data) == record["accuracies"]["FP32"][0]


@pytest.mark.slow
def test_the_whole_table_again(tmp_path):
    result = train_sole(zoo_model("digits-vit"), [0, 1, 2], tmp_path)
    assert result.drop <= 0.01
    assert min(result.mean(v) for v in VARIANTS) >= 0.93
