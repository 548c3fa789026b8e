# SPDX-License-Identifier: Apache-2.0
"""A trained character GPT in one .npz: its weights, and a header that says which model they belong to; its ONNX file.

The file's input is text as one-hot rows of one bit, so that the table of characters is a product with constants.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hls4attn.models.errors import Hls4attnError, ModelFileError
from hls4attn.models.export.keras_stage import (
    KEY_MODEL,
    KEY_SCORE,
    KEY_WEIGHTS,
    KEY_WEIGHTS_HASH,
    assign_weights,
    file_hash,
    require_keras,
    weight_arrays,
)
from hls4attn.models.files import read_arrays, write_arrays
from hls4attn.models.zoo.registry import GPT

#: Metadata key of a file's alphabet: row n of its input is character n.
KEY_VOCABULARY = "hls4attn.vocabulary"
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


def is_gpt(path: Path) -> bool:
    """Whether a .npz is a character GPT's checkpoint."""
    return HEADER in read_arrays(path)


def load_gpt(path: Path = TRAINED, one_hot: bool = False) -> TrainedGpt:
    """Read a checkpoint; nothing in it is executed.

    Args:
        path: of the checkpoint.
        one_hot: whether the model takes one-hot rows, as its exported file does, or codes.

    Raises:
        ModelFileError: if it is missing, truncated, or not a character GPT's.
    """
    require_keras()
    from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt

    arrays = read_arrays(path)
    try:
        header = json.loads(arrays.pop(HEADER).tobytes())
        attention, vocabulary = str(header["attention"]), str(header["vocabulary"])
        model = char_gpt(attention, len(vocabulary), GptSize(**header["size"]), one_hot)
    except (KeyError, TypeError, ValueError, Hls4attnError) as error:
        raise ModelFileError(f"{path} is not a character GPT's checkpoint: {error}") from error
    assign_weights(model, arrays, path)
    return TrainedGpt(model, attention, vocabulary)


def export_gpt(path: Path, target: Path | None = None) -> Path:
    """Write the ONNX file of a checkpoint, beside it unless `target` is given.

    Raises:
        ModelFileError: if it is no checkpoint.
        UnsupportedError: naming a layer that has no exact integer form.
    """
    trained = load_gpt(path, one_hot=True)
    from hls4attn.models.export.builder import save_model
    from hls4attn.models.export.keras_export import export_keras

    target = target or path.with_suffix(".onnx")
    metadata = {
        KEY_MODEL: GPT,
        KEY_SCORE: trained.attention,
        KEY_WEIGHTS: path.name,
        KEY_WEIGHTS_HASH: file_hash(path),
        KEY_VOCABULARY: trained.vocabulary,
    }
    save_model(export_keras(trained.model, metadata), target)
    return target
