# SPDX-License-Identifier: Apache-2.0
"""Keras layers: forward is the integer reference, gradients are those of the float function."""

import numpy as np
import pytest
import tensorflow as tf
from qkeras.quantizers import quantized_bits, quantized_po2, quantized_relu
from tensorflow import keras

from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.models.layers import (
    CUSTOM_OBJECTS,
    ClippedActivation,
    ConSmax,
    IntegerLayerNorm,
    IntegerSoftmax,
    QBatchNorm,
    QMeanPool,
    QPositionEmbedding,
    QSelfAttention,
    fixed_of,
)
from hls4attn.models.layers.quantizers import straight_through

FORMAT = Fixed(8, 4)


@pytest.mark.parametrize(
    "quantiser",
    [
        quantized_bits(b, i, s, keep_negative=k, alpha=1)
        for b in (2, 5, 8)
        for i in (0, 2)
        for s in (0, 1)
        for k in (0, 1)
    ]
    + [quantized_bits(8, 3), quantized_relu(8, 2), quantized_relu(4)],
    ids=str,
)
def test_format_of_a_quantiser_gives_its_values(quantiser):
    fmt = fixed_of(quantiser, "here")
    x = np.concatenate([np.arange(-2000, 2000) / 256, np.arange(-40, 40) / 8]).astype(np.float32)
    assert np.array_equal(quantiser(tf.constant(x)).numpy(), fmt.to_real(fmt.quantise(x)))


@pytest.mark.parametrize(
    ("quantiser", "message"),
    [
        (None, "conv kernel: no quantiser"),
        (quantized_bits(8, 0, alpha="auto_po2"), "alpha='auto_po2'"),
        (quantized_bits(8, 0, alpha=0.7), "alpha=0.7"),
        (quantized_bits(8, 0, alpha=1, use_stochastic_rounding=True), "use_stochastic_rounding=True"),
        (quantized_bits(1, 0, alpha=1), "is binary"),
        (quantized_relu(8, 2, negative_slope=0.25), "negative_slope=0.25"),
        (quantized_relu(8, 2, use_sigmoid=1), "use_sigmoid=1"),
        (quantized_po2(4), "quantiser quantized_po2 cannot be represented"),
    ],
)
def test_quantisers_without_an_exact_format_are_refused(quantiser, message):
    with pytest.raises(UnsupportedError, match=message):
        fixed_of(quantiser, "conv kernel")


def score_layers():
    common = dict(heads=2, in_format=FORMAT, score_scale=0.25)
    return {
        "consmax": ConSmax(**common, out_frac=(8, 6)),
        "consmax-causal": ConSmax(**common, causal=True),
        "consmax-split": ConSmax(**common, method="split"),
        "softmax": IntegerSoftmax(**common),
        "softmax-causal": IntegerSoftmax(**common, causal=True),
    }


@pytest.mark.parametrize("name", score_layers())
def test_forward_is_the_reference(name):
    layer = score_layers()[name]
    layer.build((None, 2, 6, 6))
    if "consmax" in name:
        layer.set_weights([np.array([0.9, 1.3]), np.array([7.7, 9.1])])
    codes = np.random.default_rng(0).integers(-128, 128, (200, 2, 6, 6))
    codes[0] = np.arange(72).reshape(2, 6, 6) * 3 - 100
    y = layer(tf.constant(FORMAT.to_real(codes), tf.float32)).numpy()
    spec = layer.spec()
    assert np.count_nonzero(y != spec.out_format.to_real(spec.reference(codes))) == 0
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["consmax", "consmax-causal", "softmax-causal"])
def test_gradient_is_that_of_the_float_function(name):
    layer = score_layers()[name]
    x = tf.constant(FORMAT.to_real(np.random.default_rng(1).integers(-60, 30, (3, 2, 5, 5))), tf.float32)
    layer.build(x.shape)
    grads = []
    for quantised in (True, False):
        layer.quantised = quantised
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) * tf.cast(tf.reshape(tf.range(150), x.shape), tf.float32))
        grads.append(tape.gradient(loss, [x, *layer.trainable_variables]))
    for exact, smooth in zip(*grads, strict=True):
        assert np.any(smooth.numpy() != 0)
        assert np.array_equal(exact.numpy(), smooth.numpy())


def test_straight_through_is_exact_where_the_usual_trick_is_not():
    smooth, exact = tf.constant([1e8, 300.123]), tf.constant([0.7, 127.0])
    assert np.any((smooth + (exact - smooth)).numpy() != exact.numpy())
    assert np.array_equal(straight_through(exact, smooth).numpy(), exact.numpy())


def test_clipped_activation_keeps_values_and_stops_gradients_outside():
    quantiser = quantized_bits(8, 0, alpha=1)
    layer = ClippedActivation(quantiser)
    x = tf.Variable([-3.0, -1.0, 0.3, 0.99, 2.0])
    with tf.GradientTape() as tape:
        y = layer(x)
    assert np.array_equal(y.numpy(), quantiser(x).numpy())
    assert tape.gradient(y, x).numpy().tolist() == [0, 1, 1, 1, 0]


def test_batch_norm_is_an_integer_scale_and_bias_at_inference():
    layer = QBatchNorm("quantized_bits(8,2,alpha=1)", "quantized_bits(8,2,alpha=1)")
    x = tf.constant(np.random.default_rng(2).integers(-200, 200, (40, 5, 8)) / 32, tf.float32)
    for _ in range(20):
        layer(x, training=True)
    layer.gamma.assign(np.linspace(0.2, 12, 8))
    scale, bias = layer.folded_codes()
    assert scale.max() == 127  # saturates, never wraps
    assert np.array_equal(layer(x).numpy(), x.numpy() * (scale / 32) + bias / 32)


@pytest.mark.parametrize("length", [1, 2, 5, 16, 49])
def test_mean_pool(length):
    layer = QMeanPool()
    x = np.random.default_rng(3).integers(-128, 128, (10, length, 4)).astype(np.float32)
    y = layer(tf.constant(x)).numpy()
    exact = x.mean(axis=1)
    if length & (length - 1) == 0:
        assert np.array_equal(y, exact)
    else:
        assert np.array_equal(y, x.sum(axis=1) * float(layer.format.to_real(layer.reciprocal_code)))
        assert np.all(np.abs(y - exact) <= np.abs(x.sum(axis=1)) / length * 2.0**-8 + 1e-6)


def test_score_layers_refuse_wrong_shapes_and_names():
    with pytest.raises(SpecError, match="heads=2"):
        ConSmax(2, FORMAT, 0.25)(tf.zeros((1, 3, 4, 4)))
    with pytest.raises(SpecError, match="as many rows as columns"):
        ConSmax(2, FORMAT, 0.25, causal=True)(tf.zeros((1, 2, 4, 5)))
    with pytest.raises(SpecError, match="method must be 'direct' or 'split'"):
        ConSmax(2, FORMAT, 0.25, method="magic")


def test_a_saved_model_loads_with_the_same_answers(tmp_path):
    from hls4attn.models.export.keras_stage import load_keras
    from hls4attn.models.zoo.digits_vit.model import digits_vit

    model = digits_vit("consmax")
    path = tmp_path / "model.keras"
    model.save(path)
    x = np.random.default_rng(4).integers(0, 17, (5, 8, 8)) / 16
    assert np.array_equal(load_keras(path).predict(x, verbose=0), model.predict(x, verbose=0))
    assert set(CUSTOM_OBJECTS) >= {"QSelfAttention", "ConSmax"}
    keras.backend.clear_session()


def test_keras_files_that_could_run_code_are_refused_unopened(tmp_path):
    import json
    import zipfile

    from hls4attn.models.errors import ModelFileError
    from hls4attn.models.export.keras_stage import load_keras

    marker = tmp_path / "ran"
    start = keras.layers.Input((2,))
    name = str(marker)
    model = keras.Model(start, keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1])(start))  # noqa: PTH123
    marker.unlink()
    model.save(tmp_path / "zip.keras")
    model.save(tmp_path / "old.h5")
    (tmp_path / "old.keras").write_bytes((tmp_path / "old.h5").read_bytes())
    with pytest.raises(UnsupportedError, match="keras.layers.Lambda, which could run code"):
        load_keras(tmp_path / "zip.keras")
    with pytest.raises(ModelFileError, match="Received: HDF5, Keras' older format"):
        load_keras(tmp_path / "old.keras")
    with zipfile.ZipFile(tmp_path / "module.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"config": [{"module": "this", "class_name": "Layer"}]}))
    with pytest.raises(UnsupportedError, match="names this.Layer"):
        load_keras(tmp_path / "module.keras")
    assert not marker.exists()


def test_keras_files_of_other_kinds_are_told_apart(tmp_path):
    import json
    import zipfile

    from qkeras.utils import load_qmodel

    from hls4attn.models.errors import ModelFileError
    from hls4attn.models.export.keras_stage import load_keras
    from hls4attn.models.layers import CUSTOM_OBJECTS

    start = keras.layers.Input((4, 4))
    model = keras.Model(start, ClippedActivation("quantized_bits(8,2,alpha=1)")(start))
    model.save(tmp_path / "old.h5")
    model.save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "text.txt").write_text("text")
    with zipfile.ZipFile(tmp_path / "whole.keras") as archive, zipfile.ZipFile(tmp_path / "new.keras", "w") as changed:
        changed.writestr("config.json", archive.read("config.json"))
        changed.writestr("metadata.json", json.dumps({"keras_version": "3.6.0"}))
    for name, words in {
        "absent.keras": "nothing is there",
        "old.h5": "load_qmodel",
        "half.keras": "truncated",
        "folder.keras": "a folder",
        "text.txt": "as model.save",
        "new.keras": "written by Keras 3.6.0; QKeras needs Keras 2, here 2",
    }.items():
        with pytest.raises(ModelFileError, match=words):
            load_keras(tmp_path / name)
    load_qmodel(tmp_path / "old.h5", CUSTOM_OBJECTS).save(tmp_path / "again.keras")  # what the message says
    assert load_keras(tmp_path / "again.keras").output_shape == (None, 4, 4)


def _attention(score="consmax", heads=2, name="att", **changed):
    eight = "quantized_bits(8,2,alpha=1)"
    roles = ("kernel", "bias", "qk", "v", "score", "context", "output")
    options = {**{f"{role}_quantizer": eight for role in roles}, **changed}
    return QSelfAttention(heads, 4, score, name=name, **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: _attention(heads=2.5), "att: heads and head_dim must be positive whole numbers. Received: 2.5, 4"),
        (lambda: _attention(heads="2"), "Received: '2', 4"),
        (lambda: _attention(qk_quantizer=None), "att qk_quantizer: no quantiser"),
        (lambda: _attention(kernel_quantizer=None), "att kernel_quantizer: no quantiser"),
        (
            lambda: _attention(bias_quantizer="quantised_bits(8)"),
            "att bias_quantizer: Unknown quantiser 'quant",
        ),
        (
            lambda: _attention("softmax", score_quantizer="quantized_bits(16,4,alpha=1)"),
            "scores of 2 to 12 bits",
        ),
        (lambda: _attention(score_quantizer="quantized_bits(16,4,alpha=1)"), "in Keras method='split'"),
        (lambda: QMeanPool(name="pool")(keras.layers.Input((6,))), r"pool: takes .batch, seq_len, channels."),
        (lambda: QMeanPool(name="pool")(keras.layers.Input((None, 6))), "seq_len fixed. Received"),
        (
            lambda: QPositionEmbedding("fixed<8,7>", name="p")(keras.layers.Input((None, 6))),
            "p: all axes but",
        ),
        (lambda: IntegerLayerNorm("int8", "fixed<8,5>", name="n"), "n in_format: Unknown quantiser 'int8'"),
    ],
)
def test_layers_refuse_before_anything_is_trained(make, words):
    with pytest.raises((SpecError, UnsupportedError), match=words):
        make()


def test_a_score_layer_is_part_of_one_attention_layer():
    """Keras saves the weights of a layer that is part of two once, and cannot load the file."""
    score = ConSmax(2, "fixed<8,5>", 0.5, name="score")
    _attention(score, name="first")
    with pytest.raises(SpecError, match="score is part of first already.*make one for each attention layer"):
        _attention(score, name="second")
