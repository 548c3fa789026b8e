# SPDX-License-Identifier: Apache-2.0
"""Text from a trained model, one character at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError
from hls4attn.models.zoo.char_gpt.data import decode, encode

#: Logits ``(window, vocabulary)`` of codes ``(window,)``; the unused end of a window holds zeros.
Predict = Callable[[NDArray[np.int32]], ArrayLike]
#: Logits ``(vocabulary,)`` of the character after codes ``(1 to window,)``.
Continue = Callable[[NDArray[np.int32]], ArrayLike]


def generate(
    model: Any,
    vocabulary: str,
    prompt: str,
    tokens: int,
    seed: int = 0,
    temperature: float = 0.8,
) -> str:
    """What a Keras model from `char_gpt` writes after a prompt; see `characters`."""
    import tensorflow as tf

    forward = tf.function(lambda codes: model(codes, training=False))
    window = int(model.inputs[0].shape[1])

    def predict(codes: NDArray[np.int32]) -> ArrayLike:
        result: ArrayLike = forward(tf.constant(codes[None])).numpy()[0]
        return result

    return "".join(characters(predict, window, vocabulary, prompt, tokens, seed, temperature))


def characters(
    predict: Predict,
    window: int,
    vocabulary: str,
    prompt: str,
    tokens: int,
    seed: int = 0,
    temperature: float = 0.8,
) -> Iterator[str]:
    """Characters after a prompt, as they are found; each sees the last `window` ones.

    Args:
        predict: forward pass of one window: Keras, ONNX or a board.
        window: its length.
        vocabulary: of the model.
        prompt: at least one character; only its last `window` ones matter.
        tokens: how many to write.
        seed: of the draw; the same text for the same seed.
        temperature: 0 takes the likeliest character; 1 draws as the model says.

    Raises:
        InputError: for an empty prompt, unknown characters, or numbers out of range.
    """

    def last_logits(seen: NDArray[np.int32]) -> ArrayLike:
        codes = np.zeros(window, dtype=np.int32)
        codes[: len(seen)] = seen
        result: ArrayLike = np.asarray(predict(codes))[len(seen) - 1]
        return result

    return continuation(last_logits, window, vocabulary, prompt, tokens, seed, temperature)


def continuation(
    after: Continue,
    window: int,
    vocabulary: str,
    prompt: str,
    tokens: int,
    seed: int = 0,
    temperature: float = 0.8,
) -> Iterator[str]:
    """As `characters`, for a forward pass that takes the characters it sees and gives the logits of the next one."""
    if not prompt:
        raise InputError("The prompt is empty; give at least one character, for example a line break")
    if tokens < 0 or not 0 <= temperature <= 100:
        raise InputError(f"Takes 0 or more tokens, temperature 0 to 100. Received: {tokens} and {temperature}")
    seen = [int(c) for c in encode(prompt, vocabulary)]
    rng = np.random.default_rng(seed)
    return _continuation(after, window, vocabulary, seen, tokens, rng, temperature)


def _continuation(
    after: Continue,
    window: int,
    vocabulary: str,
    seen: list[int],
    tokens: int,
    rng: np.random.Generator,
    temperature: float,
) -> Iterator[str]:
    for _ in range(tokens):
        logits = np.asarray(after(np.array(seen[-window:], dtype=np.int32)), dtype=np.float64)
        seen.append(_choose(logits, rng, temperature))
        yield decode(np.array(seen[-1:]), vocabulary)


def _choose(logits: NDArray[np.float64], rng: np.random.Generator, temperature: float) -> int:
    if temperature == 0:
        return int(np.argmax(logits))
    weights = np.exp((logits - logits.max()) / temperature)
    edges = np.cumsum(weights)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
