# SPDX-License-Identifier: Apache-2.0
"""A trained character GPT in one .npz: its weights, and a header that says which model they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hls4attn.models.errors import Hls4attnError, ModelFileError
from hls4attn.models.export.keras_stage import assign_weights, require_keras, weight_arrays
from hls4attn.models.files import read_arrays, write_arrays

#: Name of the header's array: UTF-8 JSON as bytes.
HEADER = "header"
#: The one that ships with the package.
TRAINED = Path(__file__).parent / "gaincell.npz"


class TrainedGpt(NamedTuple):
    """A trained model and what is needed to use it.

    Attributes:
        model: Keras model.
        attention: its attention.
        vocabulary: its alphabet.
    """

    model: Any
    attention: str
    vocabulary: str


def save_gpt(path: Path, trained: TrainedGpt, size: dict[str, int]) -> None:
    """Write a checkpoint atomically."""
    header = {"attention": trained.attention, "vocabulary": trained.vocabulary, "size": size}
    content = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    write_arrays(path, weight_arrays(trained.model) | {HEADER: content})


def load_gpt(path: Path = TRAINED) -> TrainedGpt:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        ModelFileError: if it is missing, truncated, or not a character GPT's.
    """
    require_keras()
    from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt

    arrays = read_arrays(path)
    try:
        header = json.loads(arrays.pop(HEADER).tobytes())
        attention, vocabulary = str(header["attention"]), str(header["vocabulary"])
        model = char_gpt(attention, len(vocabulary), GptSize(**header["size"]))
    except (KeyError, TypeError, ValueError, Hls4attnError) as error:
        raise ModelFileError(f"{path} is not a character GPT's checkpoint: {error}") from error
    assign_weights(model, arrays, path)
    return TrainedGpt(model, attention, vocabulary)
