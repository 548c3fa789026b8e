# SPDX-License-Identifier: Apache-2.0
"""SOLE on a zoo model: float training, then each combination of operators by post-training quantisation alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.export.keras_stage import KEY_MODEL, require_keras
from hls4attn.models.files import write_json
from hls4attn.models.quantise.plan import QuantisePlan
from hls4attn.models.zoo.registry import ZooModel

#: Training images that calibrate; never test images.
CALIBRATION_IMAGES = 256

#: Rows of the accuracy table, in order; FP32 has no plan.
VARIANTS: dict[str, QuantisePlan | None] = {
    "FP32": None,
    "INT8, exact softmax and LayerNorm": QuantisePlan("softmax", "layernorm"),
    "INT8 + E2Softmax": QuantisePlan("e2softmax", "layernorm"),
    "INT8 + AILayerNorm": QuantisePlan("softmax", "ailayernorm"),
    "INT8 + both": QuantisePlan("e2softmax", "ailayernorm"),
    "INT8 + both, online softmax": QuantisePlan("e2softmax-online", "ailayernorm"),
    "INT8 + both, shift form": QuantisePlan("e2softmax-shift", "ailayernorm"),
}
BASELINE, BOTH = "INT8, exact softmax and LayerNorm", "INT8 + both"


@dataclass(frozen=True)
class SoleResult:
    """Test accuracies without retraining.

    Attributes:
        model: zoo name.
        epochs: length of each float training.
        seeds: as given.
        calibration_images: images that calibrated each quantisation.
        test_images: size of the test set.
        accuracies: for each variant, one a seed.
    """

    model: str
    epochs: int
    seeds: tuple[int, ...]
    calibration_images: int
    test_images: int
    accuracies: dict[str, tuple[float, ...]]

    def mean(self, variant: str) -> float:
        """Mean accuracy of a variant."""
        return float(np.mean(self.accuracies[variant]))

    def spread(self, variant: str) -> float:
        """Sample standard deviation over seeds; 0 for a single one."""
        values = self.accuracies[variant]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    @property
    def drop(self) -> float:
        """Mean accuracy lost by both operators against exact integer ones."""
        return self.mean(BASELINE) - self.mean(BOTH)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        summary = {v: {"mean": self.mean(v), "spread": self.spread(v)} for v in self.accuracies}
        return asdict(self) | {"summary": summary, "drop": self.drop}


def train_sole(
    zoo: ZooModel,
    seeds: Sequence[int],
    out: Path,
    epochs: int | None = None,
    on_step: Callable[[int, str, float], None] | None = None,
) -> SoleResult:
    """Train the float model once a seed and quantise it in every variant.

    The first seed's float model (``float.keras``) and its "both" variant (``sole.keras``, ``sole.onnx``) are written to
    `out`, the accuracies to ``sole.json``.

    Args:
        zoo: the model.
        seeds: at least one, distinct.
        out: folder.
        epochs: the recipe's number unless given.
        on_step: called with seed, what is being done, and its share done.

    Raises:
        SpecError: for no seeds or epochs.
    """
    require_keras()
    if not seeds or len(set(seeds)) != len(seeds) or (epochs is not None and epochs < 1):
        raise SpecError(f"Seeds must be given and distinct, epochs positive. Received: {list(seeds)}, {epochs}")
    from hls4attn.models.quantise.convert import quantise_model

    tell = on_step or (lambda seed, what, share: None)
    length = epochs or zoo.float_epochs
    data = zoo.load_data()
    accuracies: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for seed in seeds:
        model = zoo.train_float(seed, data, length, lambda done, s=seed: tell(s, "float training", done / length))
        for k, (name, plan) in enumerate(VARIANTS.items()):
            tell(seed, name, k / len(VARIANTS))
            variant = quantise_model(model, data.x_train[:CALIBRATION_IMAGES], plan) if plan else model
            accuracies[name].append(zoo.accuracy(variant, data))
            if seed == seeds[0] and name in ("FP32", BOTH):
                _save(zoo, variant, out, name)
    result = SoleResult(
        zoo.name,
        length,
        tuple(seeds),
        CALIBRATION_IMAGES,
        len(data.x_test),
        {name: tuple(values) for name, values in accuracies.items()},
    )
    write_json(out / "sole.json", result.to_json())
    return result


def _save(zoo: ZooModel, model: Any, out: Path, name: str) -> None:
    from hls4attn.models.quantise.save import save_keras, save_quantised

    out.mkdir(parents=True, exist_ok=True)
    if name == "FP32":
        save_keras(model, out / "float.keras")
    else:
        save_quantised(model, out / "sole.onnx", {KEY_MODEL: zoo.name})
