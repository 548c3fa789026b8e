# SPDX-License-Identifier: Apache-2.0
"""Keras layers and whole attention blocks with SOLE operators: every stage gives the reference's codes."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("qkeras")

from qkeras import QDense  # noqa: E402
from sole_models import assert_all_stages_equal  # noqa: E402
from sole_oracles import corner_rows  # noqa: E402
from tensorflow import keras  # noqa: E402

from hls4attn.models.errors import SpecError, UnsupportedError  # noqa: E402
from hls4attn.models.export import Reference, quantise_input, read_graph  # noqa: E402
from hls4attn.models.export.keras_export import export_keras, freeze_weights  # noqa: E402
from hls4attn.models.export.keras_stage import KerasStage, load_keras, load_weights  # noqa: E402
from hls4attn.models.export.stages import OnnxRuntimeStage  # noqa: E402
from hls4attn.models.formats import Fixed  # noqa: E402
from hls4attn.models.layers import (  # noqa: E402
    AILayerNorm,
    ClippedActivation,
    E2Context,
    E2Softmax,
    IntegerLayerNorm,
    QSelfAttention,
    calibrate_norms,
)
from hls4attn.models.operators.norm_base import layer_norm  # noqa: E402

S8, OUT = Fixed(8, 4), Fixed(8, 5)
WEIGHT, BIAS, STREAM = (f"quantized_bits(8,{n},alpha=1)" for n in (0, 1, 2))


def attention(score, **options):
    return QSelfAttention(
        2, 4, score, WEIGHT, BIAS, WEIGHT, BIAS, "quantized_bits(8,4,alpha=1)", BIAS, STREAM, options, name="attention"
    )


def block(score, norm, **options):
    """Attention, residual, normalisation and a dense layer, with random gamma and beta."""
    keras.utils.set_random_seed(7)
    x = keras.Input((9, 8), name="tokens")
    start = ClippedActivation(STREAM, name="start")(x)
    mixed = keras.layers.Add(name="residual")([start, attention(score, **options)(start)])
    stream = ClippedActivation("quantized_bits(10,3,alpha=1)", name="stream")(mixed)
    y = norm("quantized_bits(10,3,alpha=1)", STREAM, name="norm")(stream)
    dense = QDense(6, kernel_quantizer=WEIGHT, bias_quantizer=BIAS, name="head")(y)
    model = keras.Model(x, ClippedActivation(STREAM, name="logits")(dense), name="block")
    layer = model.get_layer("norm")
    layer.gamma.assign(tf.random.normal(layer.gamma.shape, 1.0, 0.4))
    layer.beta.assign(tf.random.normal(layer.beta.shape))
    return model


@pytest.mark.parametrize(
    ("score", "norm", "options"),
    [
        ("e2softmax", IntegerLayerNorm, {"score_options": None}),
        ("e2softmax", AILayerNorm, {"causal": True}),
        ("e2softmax-online", AILayerNorm, {"slice_length": 4}),
        ("e2softmax-online", IntegerLayerNorm, {}),
        ("e2softmax-shift", AILayerNorm, {}),
        ("e2softmax-shift", IntegerLayerNorm, {"slice_length": 4, "causal": True}),
    ],
)
def test_blocks_give_the_same_codes_at_every_stage(score, norm, options):
    options.pop("score_options", None)
    model = block(score, norm, **options)
    if norm is AILayerNorm:
        assert calibrate_norms(model, np.random.default_rng(0).normal(size=(32, 9, 8)).astype("f4")) == 1
    freeze_weights(model)
    out = assert_all_stages_equal(export_keras(model), samples=100, keras_stage=lambda g: KerasStage(g, model))
    assert len(np.unique(out)) > 50


@pytest.mark.parametrize("score", ["e2softmax-online", "e2softmax-shift"])
def test_the_trained_digits_transformer_takes_e2softmax_without_retraining(score):
    pytest.importorskip("sklearn")
    from hls4attn.models.zoo import zoo_model

    zoo = zoo_model("digits-vit")
    data, model = zoo.load_data(), zoo.build(score)
    load_weights(model, zoo.folder / "softmax.npz")
    assert zoo.accuracy(model, data) > 0.95
    proto = export_keras(model)
    graph = read_graph(proto)
    codes = quantise_input(graph, data.x_test)
    want = Reference(graph).run(codes)
    for stage in (KerasStage(graph, model), OnnxRuntimeStage(graph, proto)):
        assert np.count_nonzero(stage.run(codes) != want) == 0


def scores(cols):
    rng = np.random.default_rng(cols)
    rows = np.concatenate([corner_rows(cols, -128, 127), rng.integers(-128, 128, (20, cols))])
    rows = rows[: len(rows) // cols * cols] if len(rows) > cols else np.concatenate([rows] * (cols // len(rows) + 1))
    return rows[: len(rows) // cols * cols].reshape(-1, 1, cols, cols)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"slice_length": 3, "causal": True, "divider": (229, 187, 158, 137)},
        {"code_width": 6, "sum_frac": 31, "out_width": 16, "out_frac": 16, "out_rounding": "floor"},
        {"log2e": "folded", "score_scale": 0.3},
    ],
)
@pytest.mark.parametrize("cols", [1, 4, 13])
def test_e2softmax_layer_is_the_reference(options, cols):
    layer = E2Softmax(1, S8, **{"score_scale": 1.0, **options})
    x = scores(cols)
    got = layer(tf.constant(S8.to_real(x), tf.float32)).numpy()
    spec = layer.spec()
    assert np.array_equal(got, spec.out_format.to_real(spec.reference(x)))
    again = E2Softmax.from_config(layer.get_config())
    assert again.spec() == spec


@pytest.mark.parametrize("options", [{}, {"slice_length": 5, "causal": True}, {"log2e": "folded", "score_scale": 0.3}])
def test_context_layer_is_the_reference(options):
    layer = E2Context(1, S8, v_format=S8, out_format="fixed<9,5>", **{"score_scale": 1.0, **options})
    x = scores(12)
    v = np.random.default_rng(0).integers(-128, 128, (len(x), 1, 12, 3))
    got = layer([tf.constant(f.to_real(c), tf.float32) for f, c in ((S8, x), (S8, v))]).numpy()
    spec = layer.spec()
    assert np.array_equal(got, spec.out_format.to_real(spec.reference(x, v)))
    assert E2Context.from_config(layer.get_config()).spec() == spec


@pytest.mark.parametrize(
    ("norm", "options"),
    [
        (AILayerNorm, {}),
        (AILayerNorm, {"squares": "lut32", "rsqrt_entries": 256, "rsqrt_bits": 12, "mean_frac": 7, "bias_frac": 0}),
        (AILayerNorm, {"squares": "exact", "gamma_bits": 12, "bias_frac": 6}),
        (IntegerLayerNorm, {}),
        (IntegerLayerNorm, {"root_bits": 8, "rsqrt_bits": 20, "gamma_bits": 12}),
    ],
)
@pytest.mark.parametrize(("channels", "width"), [(1, 8), (6, 12), (100, 8), (1024, 16)])
def test_norm_layers_are_the_reference(norm, options, channels, width):
    fmt = Fixed(width, 4)
    rng = np.random.default_rng(width)
    layer = norm(fmt, OUT, **options)
    codes = np.concatenate(
        [corner_rows(channels, fmt.min, fmt.max), rng.integers(fmt.min, fmt.max + 1, (12, channels))]
    ).reshape(4, -1, channels)
    x = tf.constant(fmt.to_real(codes), tf.float32)
    for power_of_two in (None, True, False):
        layer(x)
        if norm is AILayerNorm and power_of_two is not None:
            layer.calibrate(fmt.to_real(codes), power_of_two)
        spec = layer.spec()
        assert np.array_equal(layer(x).numpy(), OUT.to_real(spec.reference(codes)))
        layer.gamma.assign(rng.normal(scale=3.0, size=channels))
        layer.beta.assign(rng.normal(size=channels))
        assert np.array_equal(layer(x).numpy(), OUT.to_real(layer.spec().reference(codes)))


@pytest.mark.parametrize("norm", [AILayerNorm, IntegerLayerNorm])
def test_norm_gradients_are_those_of_the_float_layer(norm):
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 3, 8)).astype("f4"))
    gradients = []
    for quantised in (True, False):
        layer = norm(Fixed(16, 8), Fixed(8, 4), quantised=quantised)
        layer(x)
        if norm is AILayerNorm:
            layer.calibrate(x.numpy())
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * tf.range(8.0))
        gradients.append([g.numpy() for g in tape.gradient(loss, [x, layer.gamma, layer.beta])])
        assert np.abs(layer(x).numpy() - layer_norm(x.numpy(), 1.0, 0.0)).max() < 0.2
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_score_gradients_are_those_of_the_float_softmax():
    rng = np.random.default_rng(0)
    x, v = (tf.constant(S8.to_real(rng.integers(-40, 40, (1, 1, 5, n))), tf.float32) for n in (5, 3))
    weight = tf.constant(rng.normal(size=(1, 1, 5, 3)).astype("f4"))
    wide = Fixed(16, 8)
    results = []
    for quantised in (True, False):
        softmax = E2Softmax(1, S8, 1.0, quantised=quantised)
        context = E2Context(1, S8, 1.0, v_format=S8, out_format=wide, quantised=quantised)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, v])
            p, c = softmax(x), tf.reduce_sum(context([x, v]) * weight)
            first = tf.reduce_sum(p[..., :2])
        results.append([tape.gradient(first, x), *tape.gradient(c, [x, v])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_a_model_with_a_norm_survives_saving(tmp_path):
    x = keras.Input((4, 6))
    y = AILayerNorm(S8, OUT, squares="lut32", name="norm")(
        ClippedActivation("quantized_bits(8,3,alpha=1)", name="q")(x)
    )
    model = keras.Model(x, y)
    values = np.random.default_rng(2).normal(size=(8, 4, 6)).astype("f4")
    calibrate_norms(model, values)
    model.save(tmp_path / "model.keras")
    again = load_keras(tmp_path / "model.keras")
    assert again.get_layer("norm").spec() == model.get_layer("norm").spec()
    assert np.array_equal(again(values), model(values))


def test_what_cannot_be_represented_is_refused():
    with pytest.raises(SpecError, match="folded"):
        QSelfAttention(2, 8, "e2softmax", WEIGHT, BIAS, WEIGHT, BIAS, STREAM, BIAS, STREAM)
    assert attention("e2softmax", log2e="folded").score.spec().log2e == "folded"
    with pytest.raises(SpecError, match="other formats"):
        attention(E2Context(2, Fixed(8, 3), 0.5, v_format=S8, out_format=S8))
    with pytest.raises(UnsupportedError, match="power of two"):
        IntegerLayerNorm("quantized_bits(8,0,alpha='auto')", OUT)
    with pytest.raises(SpecError, match=r"\(batch, rows, channels\)"):
        AILayerNorm(S8, OUT)(tf.zeros((2, 8)))
    with pytest.raises(SpecError, match="squares"):
        AILayerNorm(S8, OUT, squares="none")(tf.zeros((2, 3, 8)))
    with pytest.raises(SpecError, match="max_length=4"):
        E2Softmax(1, S8, 1.0, max_length=4)(tf.zeros((1, 1, 5, 5)))
    with pytest.raises(SpecError, match=r"\[scores, values\]"):
        E2Context(1, S8, 1.0, v_format=S8, out_format=S8)(tf.zeros((1, 1, 5, 5)))
    x = keras.Input((4, 6))
    y = IntegerLayerNorm(S8, OUT, quantised=False)(ClippedActivation("quantized_bits(8,3,alpha=1)")(x))
    with pytest.raises(UnsupportedError, match="quantised=False"):
        export_keras(keras.Model(x, y))
    y = IntegerLayerNorm(OUT, OUT)(ClippedActivation("quantized_bits(8,3,alpha=1)")(x))
    with pytest.raises(UnsupportedError, match="takes codes in"):
        export_keras(keras.Model(x, y))
