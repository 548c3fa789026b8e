# SPDX-License-Identifier: Apache-2.0
"""Saving a quantised Keras model and the ONNX file that names it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from hls4attn.models.export.builder import save_model
from hls4attn.models.export.keras_export import export_keras
from hls4attn.models.export.keras_stage import KEY_WEIGHTS, KEY_WEIGHTS_HASH, file_hash


def save_quantised(model: Any, target: Path, metadata: Mapping[str, str]) -> Path:
    """Write `target` (.onnx) and, beside it, the Keras model that it was exported from.

    Args:
        model: the integer Keras model.
        target: the ONNX file.
        metadata: further properties of the file.

    Returns:
        Path of the .keras archive.

    Raises:
        UnsupportedError: if the model cannot be exported; nothing is written then.
    """
    archive = target.with_suffix(".keras")
    proto = export_keras(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    save_keras(model, archive)
    named = {KEY_WEIGHTS: archive.name, KEY_WEIGHTS_HASH: file_hash(archive)}
    onnx.helper.set_model_props(proto, {**metadata, **named})
    save_model(proto, target)
    return archive


def save_keras(model: Any, path: Path) -> None:
    """Write a .keras archive atomically."""
    part = path.with_name(f".{path.stem}.part.keras")
    try:
        with warnings.catch_warnings():  # Keras doubts quantisers that are not its own constraints
            warnings.simplefilter("ignore", UserWarning)
            model.save(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
