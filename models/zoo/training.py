# SPDX-License-Identifier: Apache-2.0
"""Training a zoo model over several seeds and saving what the flow starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.export.builder import save_model
from hls4attn.models.export.keras_export import export_keras
from hls4attn.models.export.keras_stage import (
    KEY_MODEL,
    KEY_SCORE,
    KEY_WEIGHTS,
    KEY_WEIGHTS_HASH,
    file_hash,
    require_keras,
    weight_arrays,
)
from hls4attn.models.files import write_arrays, write_json
from hls4attn.models.zoo.registry import ZooModel
from hls4attn.models.zoo.vectors import make_vectors, write_vectors


@dataclass(frozen=True)
class TrainingResult:
    """Test accuracies over seeds; the files hold the first seed's model.

    Attributes:
        model: zoo name.
        score: score function.
        epochs: length of each training.
        seeds: as given.
        accuracies: share of the test set, one a seed.
        test_images: size of the test set.
    """

    model: str
    score: str
    epochs: int
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    test_images: int

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"mean": self.mean, "spread": self.spread}


def train_zoo(
    zoo: ZooModel,
    score: str,
    seeds: Sequence[int],
    out: Path,
    epochs: int | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> TrainingResult:
    """Train once a seed; write weights, ONNX file and results to the folder `out`.

    The files are those of the first seed, whatever the accuracies: choosing the best would be choosing on the
    test set.

    Args:
        zoo: the model.
        score: one of its score functions.
        seeds: at least one.
        out: folder for ``<score>.npz``, ``<score>.onnx``, ``<score>.json`` and ``<score>_vectors.npz``.
        epochs: the recipe's number unless given.
        on_epoch: called with (seed, finished epochs).

    Raises:
        SpecError: for an unknown score function or no seeds.
    """
    require_keras()
    if score not in zoo.scores:
        raise SpecError(f"{zoo.name} is trained with {', '.join(zoo.scores)}. Received: score={score!r}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise SpecError(f"Seeds must be given and distinct. Received: {list(seeds)}")
    length = zoo.epochs if epochs is None else epochs
    if length < 1:
        raise SpecError(f"epochs must be at least 1. Received: {length}")
    data = zoo.load_data()
    accuracies = []
    for seed in seeds:
        callback = (lambda done, s=seed: on_epoch(s, done)) if on_epoch else None
        model = zoo.train(score, seed, data, length, callback)
        accuracies.append(zoo.accuracy(model, data))
        if seed == seeds[0]:
            path = save_zoo_model(zoo, score, model, out)
            write_vectors(make_vectors(path, data.x_test, data.y_test), path)
    result = TrainingResult(zoo.name, score, length, tuple(seeds), tuple(accuracies), len(data.x_test))
    write_json(out / f"{score}.json", result.to_json())
    return result


def save_zoo_model(zoo: ZooModel, score: str, model: Any, out: Path) -> Path:
    """Write weights and ONNX file; the latter names the former with its checksum."""
    weights = out / f"{score}.npz"
    write_arrays(weights, weight_arrays(model))
    return export_zoo_weights(zoo, score, model, weights)


def export_zoo_weights(zoo: ZooModel, score: str, model: Any, weights: Path, out: Path | None = None) -> Path:
    """Export a zoo model whose weights are saved in `weights`."""
    path = out or weights.with_suffix(".onnx")
    metadata = {
        KEY_MODEL: zoo.name,
        KEY_SCORE: score,
        KEY_WEIGHTS: weights.name,
        KEY_WEIGHTS_HASH: file_hash(weights),
    }
    save_model(export_keras(model, metadata), path)
    return path
