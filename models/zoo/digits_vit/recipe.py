# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training of the digits transformer: one recipe for every score function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tensorflow import keras

from hls4attn.models.export.keras_export import freeze_weights
from hls4attn.models.zoo.digits_vit.data import Digits
from hls4attn.models.zoo.digits_vit.model import digits_vit

EPOCHS = 150
BATCH = 64
LEARNING_RATE = 5e-4
CLIP_NORM = 1.0


def train_digits_vit(
    score: str, seed: int, data: Digits, epochs: int = EPOCHS, on_epoch: Callable[[int], None] | None = None
) -> keras.Model:
    """Train one model; its weights end up on their quantisers' grids.

    Adam with cosine decay from 5e-4, gradient norm clipped at 1.
    The test set plays no part: no early stopping, no choice among checkpoints.

    Args:
        score: "consmax" or "softmax".
        seed: of initialisation and shuffling.
        data: the digits.
        epochs: passes over the training set.
        on_epoch: called with the number of finished epochs.
    """
    keras.utils.set_random_seed(seed)
    model = digits_vit(score)
    steps = epochs * int(np.ceil(len(data.x_train) / BATCH))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=CLIP_NORM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    callbacks = (
        [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1))] if on_epoch else []
    )
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
    freeze_weights(model)
    return model


def accuracy(model: keras.Model, data: Digits) -> float:
    """Share of test images whose largest logit is at the right digit."""
    logits = model.predict(data.x_test, batch_size=len(data.x_test), verbose=0)
    return float(np.mean(np.argmax(logits, axis=1) == data.y_test))
