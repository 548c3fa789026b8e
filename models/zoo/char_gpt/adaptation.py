# SPDX-License-Identifier: Apache-2.0
r"""Adaptation of scalers by statistics alone, without gradients.

For the same batch, every scaler of the new model shall give the standard deviation and mean that it gives in the old
one (marked \*), head by head; with a step eta that shrinks from 1 to 0.1::

    a <- a (eta sigma* / sigma + 1 - eta)        b <- b + eta (mu* - mu)

Reference: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), Methods, and the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from hls4attn.models.zoo.char_gpt.gaincell import GainCellSelfAttention, Moments, ScaledDense
from hls4attn.models.zoo.char_gpt.recipe import character_losses

ITERATIONS = 20
FIRST_STEP, LAST_STEP = 1.0, 0.1
#: Largest distance in standard deviation and mean at which nothing remains to be done.
TOLERANCE = 1e-3

#: One for every scaler, in the order of `scalers`.
Targets = list[Moments]


def scalers(model: keras.Model) -> list[ScaledDense]:
    """Every scaler of a model, block by block."""
    return [s for layer in _attentions(model) for s in layer.scalers.values()]


def reset_scalers(model: keras.Model) -> None:
    """Set every scaler to a = 1, b = 0, as the authors' figure begins."""
    for scaler in scalers(model):
        scaler.factor.assign(tf.ones_like(scaler.factor))
        scaler.offset.assign(tf.zeros_like(scaler.offset))


def measure(model: keras.Model, pieces: Any) -> Targets:
    """What every scaler gives for these pieces of ``window + 1`` characters."""
    return [Moments(d.numpy(), m.numpy()) for d, m in _meter(model)(tf.constant(pieces))[0]]


def adapt(model: keras.Model, targets: Targets, pieces: Any, iterations: int = ITERATIONS) -> list[float]:
    """Fit a model's scalers, in place; its loss on these pieces before every iteration and after the last.

    Args:
        model: the new model, with the weights of the old one.
        targets: `measure` of the old model on the same pieces.
        pieces: a fixed batch of the training text.
        iterations: at most so many.
    """
    meter, losses = _meter(model), []
    for step in np.linspace(FIRST_STEP, LAST_STEP, iterations):
        found, loss = meter(tf.constant(pieces))
        losses.append(float(loss))
        moves = [_move(*pair, float(step)) for pair in zip(targets, found, strict=True)]
        if all(done for _, _, done in moves):
            return losses
        for scaler, (factor, shift, _) in zip(scalers(model), moves, strict=True):
            scaler.factor.assign(scaler.factor * factor)
            scaler.offset.assign_add(shift)
    losses.append(float(meter(tf.constant(pieces))[1]))
    return losses


def _move(target: Moments, found: Moments, step: float) -> tuple[Any, Any, bool]:
    deviation, mean = found.deviation.numpy(), found.mean.numpy()
    ratio = np.where(deviation > 0, target.deviation / np.where(deviation > 0, deviation, 1), 1)
    apart = [np.abs(target.deviation - deviation), np.abs(target.mean - mean)]
    return step * ratio + 1 - step, step * (target.mean - mean), bool(np.max(apart) <= TOLERANCE)


def _attentions(model: keras.Model) -> list[GainCellSelfAttention]:
    return [layer for layer in model.layers if isinstance(layer, GainCellSelfAttention)]


def _meter(model: keras.Model) -> Callable[[tf.Tensor], tuple[Targets, tf.Tensor]]:
    layers = _attentions(model)
    probe = keras.Model(model.inputs, [*(layer.input for layer in layers), model.outputs[0]])

    @tf.function  # type: ignore[untyped-decorator]
    def run(pieces: tf.Tensor) -> Any:
        *entering, logits = probe(pieces[:, :-1], training=False)
        moments = [m for layer, x in zip(layers, entering, strict=True) for m in layer.moments(x).values()]
        return moments, tf.reduce_mean(character_losses(logits, pieces[:, 1:]))

    return run  # type: ignore[no-any-return]
