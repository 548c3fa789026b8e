# SPDX-License-Identifier: Apache-2.0
"""The digits transformer as anyone would write it: float Keras layers, softmax attention, layer normalisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tensorflow import keras
from tensorflow.keras.layers import (
    Add,
    Dense,
    GlobalAveragePooling1D,
    Input,
    LayerNormalization,
    MultiHeadAttention,
    Permute,
    Reshape,
)

from hls4attn.models.layers import PositionEmbedding
from hls4attn.models.zoo.digits_vit.data import Digits
from hls4attn.models.zoo.digits_vit.model import BLOCKS, CLASSES, HEADS, HIDDEN, PATCH, PATCHES, WIDTH

EPOCHS = 100
BATCH = 64
LEARNING_RATE = 1e-3
EPSILON = 1e-6


def float_digits_vit() -> keras.Model:
    """The untrained float model: images ``(batch, 8, 8)`` in [0, 1] to ten logits; pre-normalisation blocks."""
    image = Input((8, 8), name="image")
    side = 8 // PATCH
    x = Reshape((side, PATCH, side, PATCH), name="grid")(image)
    x = Permute((1, 3, 2, 4), name="gather")(x)
    x = Reshape((PATCHES, PATCH * PATCH), name="patches")(x)
    x = PositionEmbedding(name="position")(Dense(WIDTH, name="embed")(x))
    for block in range(BLOCKS):
        name = f"block{block}"
        y = LayerNormalization(epsilon=EPSILON, name=f"{name}_norm0")(x)
        y = MultiHeadAttention(HEADS, WIDTH // HEADS, name=f"{name}_attention")(y, y)
        x = Add(name=f"{name}_residual0")([x, y])
        y = LayerNormalization(epsilon=EPSILON, name=f"{name}_norm1")(x)
        y = Dense(WIDTH, name=f"{name}_contract")(Dense(HIDDEN, activation="relu", name=f"{name}_expand")(y))
        x = Add(name=f"{name}_residual1")([x, y])
    x = LayerNormalization(epsilon=EPSILON, name="norm")(x)
    x = GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(image, Dense(CLASSES, name="logits")(x), name="digits_vit_float")


def train_float_digits_vit(
    seed: int, data: Digits, epochs: int = EPOCHS, on_epoch: Callable[[int], None] | None = None
) -> keras.Model:
    """Train the float model: Adam with cosine decay from 1e-3; the test set plays no part.

    Args:
        seed: of initialisation and shuffling.
        data: the digits.
        epochs: passes over the training set.
        on_epoch: called with the number of finished epochs.
    """
    keras.utils.set_random_seed(seed)
    model = float_digits_vit()
    steps = epochs * int(np.ceil(len(data.x_train) / BATCH))
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: on_epoch(e + 1))] if on_epoch else []
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
    return model
