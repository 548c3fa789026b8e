# SPDX-License-Identifier: Apache-2.0
"""Routes from a softmax model to a hardware one, over seeds; what is finished is never trained again.

Every route has three phases of N, N/2 and N/2 steps, with the same batches and schedule, so that all final models have
seen the same 2N batches.  What the routes differ in is the attention of each phase; weights pass from one to the next.
Routes that begin alike share those phases.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from hls4attn.models.errors import ModelFileError, SpecError
from hls4attn.models.export.keras_export import freeze_weights
from hls4attn.models.export.keras_stage import load_weights, weight_arrays
from hls4attn.models.files import write_arrays, write_json
from hls4attn.models.zoo.char_gpt.checkpoint import TrainedGpt, save_gpt
from hls4attn.models.zoo.char_gpt.data import CharText, check_length
from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt, copy_weights
from hls4attn.models.zoo.char_gpt.recipe import Recipe, device, train_phase, validation_loss

Route = tuple[str, ...]
Record = dict[str, Any]
#: Called with seed, route so far, finished steps, steps of the phase.
OnStep = Callable[[int, Route, int, int], None]

#: The attention of each phase, by the name of the final model.
ROUTES: dict[str, Route] = {
    "softmax": ("softmax", "softmax", "softmax"),
    "integer-softmax": ("integer-softmax", "integer-softmax", "integer-softmax"),
    "consmax": ("consmax", "consmax", "consmax"),
}

#: Lines of the result: name, meaning, the phase they belong to, the entry of its record.
_LINES: tuple[tuple[str, str, Route, str], ...] = (
    ("softmax, first phase", "float; where the hardware models start from", ROUTES["softmax"][:1], "loss"),
    ("softmax", "float, trained on", ROUTES["softmax"], "loss"),
    ("integer-softmax", "exact integer softmax, 8 bits, from scratch", ROUTES["integer-softmax"], "loss"),
    ("consmax", "8 bits, from scratch", ROUTES["consmax"], "loss"),
)


@dataclass(frozen=True)
class Row:
    """A line of the result.

    Attributes:
        name: of the model.
        meaning: how it came about.
        steps: training steps behind it, all phases together.
        losses: on the validation text, nats a character, one a seed.
    """

    name: str
    meaning: str
    steps: int
    losses: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.losses))

    @property
    def spread(self) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        return float(np.std(self.losses, ddof=1)) if len(self.losses) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "meaning": self.meaning,
            "steps": self.steps,
            "losses": list(self.losses),
            "mean": self.mean,
            "spread": self.spread,
        }


@dataclass(frozen=True)
class Experiment:
    """Trainings on one text with one recipe, in one folder.

    Args:
        text: to train on and validate with.
        out: folder for results, checkpoints and finished phases.
        recipe: of every phase.
        size: of the model.
        on_step: for a progress bar.

    Raises:
        InputError: if the text is too short for the model's window.
    """

    text: CharText
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    size: GptSize = field(default_factory=GptSize)
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        check_length(self.text, self.size.window)

    def run(self, attentions: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
        """Train what is not finished; write and return ``<attention>.json``, or for several ``char-gpt.json``.

        The first seed's models are written as ``<attention>.npz``, whatever their losses: choosing the best would be
        choosing on the validation text.

        Raises:
            SpecError: for unknown attentions, no or repeated seeds, or a folder with results of another recipe.
        """
        unknown = [a for a in attentions if a not in ROUTES]
        if unknown or not attentions:
            raise SpecError(f"char-gpt is trained with attention {', '.join(ROUTES)}. Received: {list(attentions)}")
        if not seeds or len(set(seeds)) != len(seeds):
            raise SpecError(f"Seeds must be given and distinct. Received: {list(seeds)}")
        records: dict[tuple[int, Route], Record] = {}
        for seed in seeds:
            for route in _phases(attentions):
                records[seed, route] = self.phase(seed, route)
            if seed == seeds[0]:
                self._save_checkpoints(attentions, seed)
        result = self._summary(attentions, seeds, records)
        name = attentions[0] if len(attentions) == 1 else "char-gpt"
        write_json(self.out / f"{name}.json", result)
        return result

    def phase(self, seed: int, route: Route) -> Record:
        """The record of the last phase of a (partial) route: read if it is finished, else trained and written."""
        path = self._record_path(seed, route)
        identity = self._identity(seed, route)
        if path.exists():
            return _read_record(path, identity)
        start = time.monotonic()
        model = self.start(seed, route)
        before = self._loss(model)
        steps = self.recipe.length(len(route) - 1)
        told = self.on_step and (lambda done, loss: self.on_step(seed, route, done, steps))  # type: ignore[misc]
        losses = train_phase(model, self.text.train, self.recipe, seed, len(route) - 1, told)
        record = identity | {
            "initial_loss": before,
            "train_loss": float(np.mean(losses[-max(steps // 10, 1) :])),
            "loss": self._loss(model),
            "seconds": round(time.monotonic() - start, 1),
            "device": device(),
            "tensorflow": tf.__version__,
        }
        write_arrays(path.with_suffix(".npz"), weight_arrays(model))
        write_json(path, record)  # last: it is what says that the phase is finished
        return record

    def start(self, seed: int, route: Route) -> keras.Model:
        """The untrained model of a route's last phase, with the weights of the phase before it."""
        keras.utils.set_random_seed(seed)
        model = self._build(route[-1])
        if len(route) > 1:
            copy_weights(self.trained(seed, route[:-1]), model)
        return model

    def trained(self, seed: int, route: Route) -> keras.Model:
        """The model at the end of a finished phase."""
        model = self._build(route[-1])
        load_weights(model, self._record_path(seed, route).with_suffix(".npz"))
        return model

    def _build(self, attention: str) -> keras.Model:
        return char_gpt(attention, len(self.text.vocabulary), self.size)

    def _loss(self, model: keras.Model) -> float:
        return validation_loss(model, self.text.validation)

    def _record_path(self, seed: int, route: Route) -> Path:
        return self.out / f"seed{seed}" / f"{'+'.join(route)}.json"

    def _identity(self, seed: int, route: Route) -> Record:
        return {
            "route": list(route),
            "seed": seed,
            "text_sha256": self.text.sha256,
            "size": self.size.to_json(),
            "recipe": self.recipe.to_json(),
        }

    def _save_checkpoints(self, attentions: Sequence[str], seed: int) -> None:
        for attention in attentions:
            model = self.trained(seed, ROUTES[attention])
            freeze_weights(model)
            trained = TrainedGpt(model, ROUTES[attention][-1], self.text.vocabulary)
            save_gpt(self.out / f"{attention}.npz", trained, self.size.to_json())

    def _summary(
        self, attentions: Sequence[str], seeds: Sequence[int], records: dict[tuple[int, Route], Record]
    ) -> dict[str, Any]:
        rows = [
            Row(name, meaning, self._steps(route, key), tuple(records[s, route][key] for s in seeds))
            for name, meaning, route, key in _rows(attentions)
        ]
        return {
            "text": self.text.name,
            "text_sha256": self.text.sha256,
            "vocabulary": self.text.vocabulary,
            "train_characters": len(self.text.train),
            "validation_characters": len(self.text.validation),
            "size": self.size.to_json(),
            "recipe": self.recipe.to_json(),
            "seeds": list(seeds),
            "device": sorted({r["device"] for r in records.values()}),
            "tensorflow": sorted({r["tensorflow"] for r in records.values()}),
            "seconds": {
                str(s): round(sum(r["seconds"] for (seed, _), r in records.items() if seed == s), 1) for s in seeds
            },
            "rows": [row.to_json() for row in rows],
        }

    def _steps(self, route: Route, key: str) -> int:
        done = len(route) if key == "loss" else len(route) - 1
        return sum(self.recipe.length(p) for p in range(done))


def _phases(attentions: Sequence[str]) -> list[Route]:
    """Every phase that the routes need, each once, shorter ones first."""
    found: dict[Route, None] = {}
    for attention in attentions:
        for length in range(1, len(ROUTES[attention]) + 1):
            found.setdefault(ROUTES[attention][:length])
    return list(found)


def _rows(attentions: Sequence[str]) -> list[tuple[str, str, Route, str]]:
    """The lines whose phases were trained."""
    trained = set(_phases(attentions))
    return [line for line in _LINES if line[2] in trained]


def _read_record(path: Path, identity: Record) -> Record:
    try:
        record: Record = json.loads(path.read_text())
        differs = [key for key, value in identity.items() if record[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is not a finished phase: {error!r}; remove it to train it again") from error
    if differs:
        raise SpecError(f"{path} was trained with another {', '.join(differs)}; choose another folder or remove it")
    return record
