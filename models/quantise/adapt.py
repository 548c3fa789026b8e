# SPDX-License-Identifier: Apache-2.0
"""Statistics adaptation: a model of other gain cells made to behave like a trained one, without gradients.

The standard deviation and the mean of every scaler's result, by layer and head, are collected on the trained model;
then the scalers of the new one are changed, all at once and on one batch, until its statistics are the same.  Standard
deviations are matched by the factors and means by the offsets, with the statistics of the same forward pass.

Reference: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), and the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow import keras

from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.layers.gain_attention import MIN_FACTOR, SCALER_NAMES, GainCellAttention
from hls4attn.models.operators.gain_scaling import Scalers

#: Weight of a new batch in the running statistics.
MOMENTUM = 0.1
#: Step size: from the first to the second value, in so many iterations.
FIRST_STEP, LAST_STEP, RAMP = 1.0, 0.1, 50


class Statistics(NamedTuple):
    """Standard deviation and mean of a scaler's result, one a head."""

    deviation: NDArray[np.float64]
    mean: NDArray[np.float64]


#: Statistics by layer name and scaler.
Targets = dict[str, dict[str, Statistics]]


@dataclass(frozen=True)
class Iteration:
    """How far an adaptation is.

    Attributes:
        number: of this iteration, from 0.
        deviation_error: largest difference of a standard deviation from its target, before the iteration's change.
        mean_error: the same of the means.
        step: by which share of the difference the scalers were moved.
    """

    number: int
    deviation_error: float
    mean_error: float
    step: float

    @property
    def error(self) -> float:
        """The larger of the two."""
        return max(self.deviation_error, self.mean_error)


@dataclass(frozen=True)
class Adaptation:
    """Result of an adaptation.

    Attributes:
        curve: every iteration.
        converged: whether all statistics came within the tolerance.
    """

    curve: tuple[Iteration, ...]
    converged: bool


def gain_layers(model: keras.Model) -> dict[str, GainCellAttention]:
    """The gain-cell attention layers of a model, by name.

    Raises:
        UnsupportedError: if there are none, or two of one name.
    """
    found = [x for x in model._flatten_layers(include_self=False) if isinstance(x, GainCellAttention)]
    layers = {layer.name: layer for layer in found}
    if not found or len(layers) != len(found):
        raise UnsupportedError(f"{model.name}: needs gain-cell attention layers of different names: {[*layers]}")
    return layers


class Probe:
    """Measures a model's scalers again and again, in a compiled forward pass.

    Args:
        model: a model with gain-cell attention layers.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers = gain_layers(model)
        self._model = model
        self._run = tf.function(self._forward)

    def _forward(self, batch: tf.Tensor) -> dict[str, dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        try:
            for layer in self._layers.values():
                layer.watched = {}
            self._model(batch, training=False)
            return {
                name: {n: _moments(y) for n, y in (layer.watched or {}).items()} for name, layer in self._layers.items()
            }
        finally:
            for layer in self._layers.values():
                layer.watched = None

    def __call__(self, batch: Any) -> Targets:
        """Statistics of every scaler on one batch.

        Raises:
            InputError: if a result is NaN or infinite, or the batch is empty.
        """
        if len(batch) == 0:
            raise InputError("The batch is empty")
        found: Targets = {}
        for name, by_scaler in self._run(tf.convert_to_tensor(batch)).items():
            found[name] = {n: Statistics(*(m.numpy() for m in moments)) for n, moments in by_scaler.items()}
            if not all(np.all(np.isfinite(s)) for s in found[name].values()):
                raise InputError(f"{name}: a scaler gives NaN or infinity on this batch")
        return found


def _moments(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Standard deviation and mean by head of ``(batch, heads, tokens, head_dim)``."""
    mean, variance = tf.nn.moments(tf.cast(y, tf.float64), axes=[0, 2, 3])
    return tf.sqrt(variance), mean


def collect_targets(
    model: keras.Model, batches: Iterable[Any], on_batch: Callable[[int], None] | None = None
) -> Targets:
    """Running statistics of a trained model: 0.9 of the old and 0.1 of every new batch; the first counts whole.

    Args:
        model: the trained model.
        batches: representative inputs.
        on_batch: called with the number of finished batches.

    Raises:
        InputError: if there is no batch.
    """
    probe = Probe(model)
    found: Targets = {}
    for done, batch in enumerate(batches, 1):
        new = probe(batch)
        found = {layer: {n: _mixed(found, layer, n, s) for n, s in by_name.items()} for layer, by_name in new.items()}
        if on_batch:
            on_batch(done)
    if not found:
        raise InputError("No batch to collect statistics on")
    return found


def _mixed(old: Targets, layer: str, name: str, new: Statistics) -> Statistics:
    if layer not in old:
        return new
    before = old[layer][name]
    return Statistics(*((1 - MOMENTUM) * b + MOMENTUM * n for b, n in zip(before, new, strict=True)))


def adapt_scalers(
    model: keras.Model,
    targets: Targets,
    batch: Any,
    iterations: int = 101,
    tolerance: float = 1e-4,
    reset: bool = True,
    on_iteration: Callable[[Iteration], None] | None = None,
) -> Adaptation:
    """Change the scalers of `model` until its statistics are the targets.

    Args:
        model: the model to adapt, with layers of the same names as the one that the targets are from.
        targets: from `collect_targets`.
        batch: the one batch of inputs that it is adapted on.
        iterations: at most.
        tolerance: largest difference of a statistic at which it counts as matched.
        reset: begin with all a = 1 and b = 0, as the authors' first release; else with the model's own scalers.
        on_iteration: called after every measurement.

    Raises:
        InputError: for options out of range.
        UnsupportedError: if the targets are those of other layers.
    """
    if iterations < 1 or not 0 < tolerance < np.inf:
        raise InputError(f"iterations and tolerance must be positive. Received: {iterations} and {tolerance}")
    layers = gain_layers(model)
    shapes = {name: layer.cells.spec().heads for name, layer in layers.items()}
    wanted = {name: len(by_name["q"].mean) for name, by_name in targets.items()}
    if shapes != wanted:
        raise UnsupportedError(f"Targets of layers and heads {wanted} for a model with {shapes}")
    if reset:
        for layer in layers.values():
            heads = layer.cells.spec().heads
            layer.set_scalers(Scalers(*((1.0,) * heads, (0.0,) * heads) * 4))
    probe = Probe(model)
    curve: list[Iteration] = []
    for number in range(iterations):
        found = probe(batch)
        step = max(LAST_STEP, FIRST_STEP - (FIRST_STEP - LAST_STEP) * number / RAMP)
        curve.append(Iteration(number, *_errors(found, targets), step))
        if on_iteration:
            on_iteration(curve[-1])
        if curve[-1].error <= tolerance:
            return Adaptation(tuple(curve), True)
        for name, layer in layers.items():
            for scaler in SCALER_NAMES:
                _move(layer, scaler, found[name][scaler], targets[name][scaler], step, tolerance)
    return Adaptation(tuple(curve), max(_errors(probe(batch), targets)) <= tolerance)


def _errors(found: Targets, targets: Targets) -> tuple[float, float]:
    """Largest differences of the standard deviations and of the means."""
    pairs = [(found[layer][n], targets[layer][n]) for layer in targets for n in SCALER_NAMES]
    deviation, mean = (max(float(np.abs(f[i] - t[i]).max()) for f, t in pairs) for i in (0, 1))
    return deviation, mean


def _move(
    layer: GainCellAttention, scaler: str, now: Statistics, target: Statistics, step: float, tolerance: float
) -> None:
    """One step of one scaler.  A head whose result does not vary at all keeps its factor: no factor would change it."""
    a, b = (w[scaler].numpy().astype(np.float64) for w in (layer.factor, layer.offset))
    off = (np.abs(now.deviation - target.deviation) > tolerance) & (now.deviation > 0)
    ratio = np.divide(target.deviation, now.deviation, out=np.ones_like(a), where=off)
    layer.factor[scaler].assign(np.maximum(np.where(off, step * a * ratio + (1 - step) * a, a), MIN_FACTOR))
    difference = target.mean - now.mean
    layer.offset[scaler].assign(b + np.where(np.abs(difference) > tolerance, step * difference, 0.0))
