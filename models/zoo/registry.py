# SPDX-License-Identifier: Apache-2.0
"""The models that ship with the package, by name; what files that were exported from them go back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError


@dataclass(frozen=True)
class ZooModel:
    """A model with its data and recipe; the functions import TensorFlow or scikit-learn when called.

    Args:
        name: as on the command line.
        folder: where its trained files are.
        scores: the score functions it is trained with.
        epochs: the recipe's length.
        load_data: its data set, with fields x_train, y_train, x_test, y_test.
        build: untrained Keras model for a score function.
        train: ``train(score, seed, data, epochs, on_epoch)`` -> trained Keras model.
        accuracy: ``accuracy(model, data)`` on the test set.
        float_epochs: length of the float model's recipe.
        train_float: ``train_float(seed, data, epochs, on_epoch)`` -> trained float twin with LayerNorm.
    """

    name: str
    folder: Path
    scores: tuple[str, ...]
    epochs: int
    load_data: Callable[[], Any]
    build: Callable[[str], Any]
    train: Callable[..., Any]
    accuracy: Callable[[Any, Any], float]
    float_epochs: int
    train_float: Callable[..., Any]


@dataclass(frozen=True)
class SavedModel:
    """What a file that was exported from a model of the zoo goes back to.

    Args:
        load: ``load(score, weights)`` -> the Keras model of a weights file, with the file's input.
        inputs: ``inputs(shape, samples, seed)`` -> at most so many of the inputs that it is made for.
        kind: what these are, before the word "samples".
    """

    load: Callable[[str, Path], Any]
    inputs: Callable[[tuple[int, ...], int, int], Any]
    kind: str


def _digits_vit() -> ZooModel:
    from hls4attn.models.zoo.digits_vit.data import load_digits

    def build(score: str) -> Any:
        from hls4attn.models.zoo.digits_vit.model import digits_vit

        return digits_vit(score)

    def train(*args: Any, **kwargs: Any) -> Any:
        from hls4attn.models.zoo.digits_vit.recipe import train_digits_vit

        return train_digits_vit(*args, **kwargs)

    def train_float(*args: Any, **kwargs: Any) -> Any:
        from hls4attn.models.zoo.digits_vit.float_model import train_float_digits_vit

        return train_float_digits_vit(*args, **kwargs)

    def accuracy(model: Any, data: Any) -> float:
        from hls4attn.models.zoo.digits_vit.recipe import accuracy as measure

        return measure(model, data)

    folder = Path(__file__).parent / "digits_vit"
    return ZooModel(
        "digits-vit", folder, ("consmax", "softmax"), 150, load_digits, build, train, accuracy, 100, train_float
    )


#: Has a recipe of its own.
GPT = "char-gpt"
_MODELS: dict[str, Callable[[], ZooModel]] = {"digits-vit": _digits_vit}


def zoo_model(name: str) -> ZooModel:
    """A model by name.

    Raises:
        SpecError: listing the known names.
    """
    if name not in _MODELS:
        raise SpecError(f"Unknown model {name!r}; known: {', '.join(_MODELS)}; {GPT} has a recipe of its own")
    return _MODELS[name]()


def saved_model(name: str) -> SavedModel:
    """The way back from an exported file, by the name that it has for its model.

    Raises:
        SpecError: listing the known names.
    """
    return _char_gpt() if name == GPT else _saved_zoo_model(zoo_model(name))


def _saved_zoo_model(zoo: ZooModel) -> SavedModel:
    def load(score: str, weights: Path) -> Any:
        from hls4attn.models.export.keras_stage import load_weights

        model = zoo.build(score)
        load_weights(model, weights)
        return model

    return SavedModel(load, lambda shape, samples, seed: zoo.load_data().x_test[:samples], "test-set")


def _char_gpt() -> SavedModel:
    def load(score: str, weights: Path) -> Any:
        from hls4attn.models.zoo.char_gpt.checkpoint import load_gpt

        return load_gpt(weights, one_hot=True).model

    def inputs(shape: tuple[int, ...], samples: int, seed: int) -> Any:
        """Text of characters drawn at random, for half of the samples."""
        from hls4attn.models.zoo.char_gpt.data import one_hot

        window, vocabulary = shape
        drawn = np.random.default_rng(seed).integers(0, vocabulary, (samples - samples // 2, window))
        return one_hot(drawn, vocabulary)

    return SavedModel(load, inputs, "random-text")
