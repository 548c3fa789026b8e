# SPDX-License-Identifier: Apache-2.0
"""A QKeras transformer of one's own, from training to the board: diagnoses from scikit-learn's breast cancer data.

Each patient is a sequence of ten tokens, one a measured property of the cell nuclei (radius, texture, ...), with three
numbers a token: mean, standard error and worst value.

    python examples/qkeras_transformer.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from qkeras import QActivation, QDense
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from tensorflow import keras
from tensorflow.keras.layers import Add, Input

from hls4attn.host.flow import STAGES, Flow
from hls4attn.host.ladder import climb
from hls4attn.models.export import random_codes
from hls4attn.models.export.builder import save_model
from hls4attn.models.export.keras_export import export_keras, freeze_weights
from hls4attn.models.export.keras_stage import KEY_WEIGHTS, KEY_WEIGHTS_HASH, file_hash
from hls4attn.models.layers import AILayerNorm, QMeanPool, QPositionEmbedding, QSelfAttention, calibrate_norms

TOKENS, NUMBERS, WIDTH, HEADS = 10, 3, 16, 2
WEIGHT, SMALL, STREAM = (f"quantized_bits(8,{integer},alpha=1)" for integer in (0, 1, 2))


def patients() -> list[np.ndarray]:
    """Training and test sequences of standardised numbers, then their diagnoses: 1 is benign."""
    x, y = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    mean, deviation = x.mean(axis=0), x.std(axis=0)

    def tokens(rows: np.ndarray) -> np.ndarray:
        standard = (rows - mean) / deviation
        return standard.reshape(-1, NUMBERS, TOKENS).transpose(0, 2, 1).astype(np.float32)

    return [tokens(x), tokens(x_test), y, y_test]


def dense(units: int, name: str) -> QDense:
    """A QKeras dense layer with 8-bit weights."""
    return QDense(units, kernel_quantizer=WEIGHT, bias_quantizer=SMALL, name=name)


def transformer() -> keras.Model:
    """One post-norm encoder block; every value behind a quantiser whose scale is a power of two."""
    start = Input((TOKENS, NUMBERS), name="numbers")
    x = QActivation(STREAM, name="measured")(start)
    x = QActivation(STREAM, name="embedded")(dense(WIDTH, "embed")(x))
    x = QActivation(STREAM, name="tokens")(QPositionEmbedding(WEIGHT, name="position")(x))
    attention = QSelfAttention(
        HEADS,
        WIDTH // HEADS,
        "consmax",
        kernel_quantizer=WEIGHT,
        bias_quantizer=SMALL,
        qk_quantizer=SMALL,
        v_quantizer=SMALL,
        score_quantizer="quantized_bits(8,4,alpha=1)",
        context_quantizer=SMALL,
        output_quantizer=STREAM,
        name="attention",
    )
    x = normalise(Add(name="sum1")([x, attention(x)]), "norm1")
    y = QActivation("quantized_relu(8,2)", name="hidden")(dense(2 * WIDTH, "up")(x))
    y = QActivation(STREAM, name="mlp")(dense(WIDTH, "down")(y))
    x = normalise(Add(name="sum2")([x, y]), "norm2")
    x = QActivation(SMALL, name="pooled")(QMeanPool(name="pool")(x))
    logit = QActivation("quantized_bits(8,3,alpha=1)", name="logit")(dense(1, "classify")(x))
    return keras.Model(start, logit, name="diagnosis")


def normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """AILayerNorm, which takes and gives quantised values."""
    wide = "quantized_bits(10,3,alpha=1)"
    return AILayerNorm(wide, STREAM, name=name)(QActivation(wide, name=f"{name}_in")(x))


def train(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int = 20) -> None:
    """Train in place; the weights end on their quantisers' grids."""
    calibrate_norms(model, x)
    model.compile(keras.optimizers.Adam(4e-3, clipnorm=1.0), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    calibrate_norms(model, x)
    freeze_weights(model)


def accuracy(logits: np.ndarray, y: np.ndarray) -> float:
    """Share of right diagnoses."""
    return float(np.mean((logits[:, 0] > 0) == (y == 1)))


def main() -> None:
    """Train, export, verify every stage, run on the (emulated) board."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    x, x_test, y, y_test = patients()
    model = transformer()
    train(model, x, y)
    kept, exported = folder / "diagnosis.keras", folder / "diagnosis.onnx"
    model.save(kept)
    np.save(folder / "x_test.npy", x_test)
    save_model(export_keras(model, {KEY_WEIGHTS: kept.name, KEY_WEIGHTS_HASH: file_hash(kept)}), exported)

    flow = Flow.open(exported, folder=folder / "project")
    codes = random_codes(flow.graph.input, 300, seed=0)
    for rung in climb(flow.graph, {name: lambda n=name: flow.stage(n) for name in STAGES}, codes):
        print(f"{rung.stage:<12} {rung.mismatches}/{rung.samples} mismatches {rung.device}")
        if rung.mismatches:
            sys.exit(str(rung.difference))

    with flow.on_board() as overlay:
        logits, device = overlay.model.predict(x_test), overlay.model.device_tag
    for where, found in (("Keras on the CPU", model.predict(x_test, verbose=0)), (device, logits)):
        print(f"{where}: {accuracy(found, y_test):.2%} of {len(y_test)} test patients")


if __name__ == "__main__":
    main()
