# SPDX-License-Identifier: Apache-2.0
"""Training of one phase, and the loss on all of the validation text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from hls4attn.models.errors import SpecError
from hls4attn.models.zoo.char_gpt.data import Codes32, batches, windows

#: Windows that are evaluated at once.
EVALUATION_BATCH = 128
#: Weight decay is for matrices: not for vectors, nor for what scales a head.
_UNDECAYED = ("bias", "gamma", "beta", "_[ab]:")


@dataclass(frozen=True)
class Recipe:
    """How every phase is trained, whatever the attention.

    AdamW, gradient norm clipped at 1, learning rate warmed up over a tenth of the phase and then down a cosine to a
    tenth of itself.  No early stopping, no choice among checkpoints.

    Args:
        steps: of the first phase; each later one has half as many.
        batch: windows a step.
        rate: peak learning rate of the first phase.
        fine_rate: of each later one.
        decay: weight decay.

    Raises:
        SpecError: for fewer than 2 steps or other values out of range.
    """

    steps: int = 1000
    batch: int = 32
    rate: float = 6e-3
    fine_rate: float = 2e-3
    decay: float = 0.1

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= 1_000_000 or not 1 <= self.batch <= 4096:
            raise SpecError(f"Steps are 2 to 1000000, batch 1 to 4096. Received: {self.steps} and {self.batch}")
        if not (self.rate > 0 and self.fine_rate > 0 and self.decay >= 0):
            raise SpecError(f"Rates are positive. Received: {self.rate}, {self.fine_rate}, {self.decay}")

    def length(self, phase: int) -> int:
        """Steps of a phase."""
        return self.steps if phase == 0 else self.steps // 2

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def optimizer(self, phase: int) -> keras.optimizers.Optimizer:
        """A fresh optimizer for a phase."""
        steps, peak = self.length(phase), self.rate if phase == 0 else self.fine_rate
        warm = max(steps // 10, 1)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(steps - warm, 1), alpha=0.1, warmup_target=peak, warmup_steps=warm
        )
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=self.decay, beta_2=0.99, global_clipnorm=1.0)
        optimizer.exclude_from_weight_decay(var_names=list(_UNDECAYED))
        return optimizer


def train_phase(
    model: keras.Model,
    codes: Codes32,
    recipe: Recipe,
    seed: int,
    phase: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train a model for one phase, in place; the loss of every step, in nats a character.

    Args:
        model: from `char_gpt`.
        codes: the training text.
        recipe: length and optimizer.
        seed: of the batches, with the phase's number; all attentions see the same ones.
        phase: 0, 1, ...
        on_step: called with finished steps and the loss of the last one.
    """
    optimizer = recipe.optimizer(phase)
    optimizer.build(model.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def step(piece: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(character_losses(model(piece[:, :-1], training=True), piece[:, 1:]))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    window, losses = int(model.inputs[0].shape[1]), []
    drawn = batches(codes, window, recipe.batch, recipe.length(phase), (seed, phase))
    for done, piece in enumerate(drawn, 1):
        losses.append(float(step(tf.constant(piece))))
        if on_step:
            on_step(done, losses[-1])
    return losses


def validation_loss(model: keras.Model, codes: Codes32) -> float:
    """Mean loss in nats a character over a text, in windows that do not overlap: each begins without context."""
    return loss_on(model, windows(codes, int(model.inputs[0].shape[1])))


def loss_on(model: keras.Model, pieces: Codes32) -> float:
    """Mean loss in nats a character on pieces of ``window + 1`` characters."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def total(piece: tf.Tensor) -> tf.Tensor:
        losses = character_losses(model(piece[:, :-1], training=False), piece[:, 1:])
        return tf.reduce_sum(tf.cast(losses, tf.float64))

    parts = (pieces[n : n + EVALUATION_BATCH] for n in range(0, len(pieces), EVALUATION_BATCH))
    return float(np.sum([float(total(tf.constant(part))) for part in parts]) / pieces[:, 1:].size)


def character_losses(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Nats lost on each character."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def device() -> str:
    """What TensorFlow computes on."""
    found = tf.config.list_physical_devices("GPU")
    return "GPU: " + ", ".join(d.name for d in found) if found else "CPU"
