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
from hls4attn.models.operators.gain_scaling import NonIdeality, Scalers
from hls4attn.models.quantise.adapt import adapt_scalers, collect_targets, gain_layers
from hls4attn.models.zoo.char_gpt.checkpoint import TrainedGpt, export_gpt, save_gpt
from hls4attn.models.zoo.char_gpt.data import CharText, Codes32, batches, check_length, windows
from hls4attn.models.zoo.char_gpt.model import FLOAT, GptSize, char_gpt, copy_weights
from hls4attn.models.zoo.char_gpt.recipe import Recipe, device, loss_on, train_phase, validation_loss

Route = tuple[str, ...]
Record = dict[str, Any]
#: Called with seed, route so far, finished steps, steps of the phase.
OnStep = Callable[[int, Route, int, int], None]

#: Windows whose statistics are adapted, and where their draw comes from.
ADAPTATION_WINDOWS, _ADAPTATION_STREAM = 64, 1 << 20
ADAPTATION_STEPS, ADAPTATION_TOLERANCE = 20, 1e-3
#: Windows at most that a sweep evaluates.
SWEEP_WINDOWS = 128
#: Conditions of the final gain-cell model, which was trained with the paper's leak and without noise: leak a token;
#: read noise as a share of saturation; relative spread of the cells' currents.
SWEEPS: dict[str, tuple[float, ...]] = {
    "leak": (0.0, 1.6e-4, 1e-3, 4e-3, 1.6e-2, 0.05, 0.1, 0.2),
    "read_noise": (0.0, 0.01, 0.03, 0.1, 0.3),
    "mismatch": (0.0, 0.03, 0.1, 0.3),
}

#: The attention of each phase, by the name of the final model.
ROUTES: dict[str, Route] = {
    "softmax": ("softmax", "softmax", "softmax"),
    "integer-softmax": ("integer-softmax", "integer-softmax", "integer-softmax"),
    "consmax": ("consmax", "consmax", "consmax"),
    "gaincell-linear": ("softmax", "gaincell-linear", "gaincell-linear"),
    "gaincell": ("softmax", "gaincell-linear", "gaincell"),
    "gaincell-direct": ("softmax", "gaincell", "gaincell"),
}

_LINEAR, _CELLS, _DIRECT = (ROUTES[name] for name in ("gaincell-linear", "gaincell", "gaincell-direct"))
#: Lines of the result: name, meaning, the phase they belong to, the entry of its record.
_LINES: tuple[tuple[str, str, Route, str], ...] = (
    ("softmax, first phase", "float; where the hardware models start from", ROUTES["softmax"][:1], "loss"),
    ("softmax", "float, trained on", ROUTES["softmax"], "loss"),
    ("integer-softmax", "exact integer softmax, 8 bits, from scratch", ROUTES["integer-softmax"], "loss"),
    ("consmax", "8 bits, from scratch", ROUTES["consmax"], "loss"),
    ("linear cells, untrained", "weights of the first phase, linear current", _LINEAR[:2], "initial_loss"),
    ("linear cells", "fine-tuned for one phase", _LINEAR[:2], "loss"),
    ("gaincell-linear", "trained on", _LINEAR, "loss"),
    ("cubic cells, unadapted", "weights and scalers of the linear cells after one phase", _CELLS, "initial_loss"),
    ("cubic cells, scalers reset", "a = 1, b = 0: where the authors' adaptation begins", _CELLS, "reset_loss"),
    ("cubic cells, adapted from reset", "scalers by statistics, no gradients", _CELLS, "adapted_reset_loss"),
    ("cubic cells, adapted", "scalers by statistics, from those of the linear cells", _CELLS, "adapted_loss"),
    ("gaincell", "adapted, then fine-tuned for one phase", _CELLS, "loss"),
    ("cubic cells, untrained", "weights of the first phase, no linear one", _DIRECT[:2], "initial_loss"),
    ("gaincell-direct", "two phases without linear cells", _DIRECT, "loss"),
)


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
        """Train what is not finished; write and return ``char-gpt-<attention>.json``, for several ``char-gpt.json``.

        The first seed's models are written as ``char-gpt-<attention>.npz``, and ``.onnx`` where they are integer,
        whatever their losses: choosing the best would be choosing on the validation text.

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
        sweeps = [self.sweeps(seed) for seed in seeds] if "gaincell" in attentions else []
        result = self._summary(attentions, seeds, records) | ({"sweeps": summarise(sweeps)} if sweeps else {})
        name = f"char-gpt-{attentions[0]}" if len(attentions) == 1 else "char-gpt"
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
        entries: Record = {"initial_loss": self._loss(model)}
        if route == ROUTES["gaincell"]:
            entries |= self._adapt(seed, self.trained(seed, route[:-1]), model)
        steps = self.recipe.length(len(route) - 1)
        told = self.on_step and (lambda done, loss: self.on_step(seed, route, done, steps))  # type: ignore[misc]
        losses = train_phase(model, self.text.train, self.recipe, seed, len(route) - 1, told)
        entries |= {
            "train_loss": float(np.mean(losses[-max(steps // 10, 1) :])),
            "loss": self._loss(model),
            "seconds": round(time.monotonic() - start, 1),
            "device": device(),
            "tensorflow": tf.__version__,
        }
        write_arrays(path.with_suffix(".npz"), weight_arrays(model))
        write_json(path, identity | entries)  # last: it is what says that the phase is finished
        return identity | entries

    def start(self, seed: int, route: Route) -> keras.Model:
        """The untrained model of a route's last phase, with the weights of the phase before it."""
        keras.backend.clear_session()  # the graphs of earlier models
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

    def sweeps(self, seed: int) -> Record:
        """Losses of the final gain-cell model under other conditions than it was trained for: read, or measured."""
        path, identity = self.out / f"seed{seed}" / "sweeps.json", self._identity(seed, ROUTES["gaincell"])
        if path.exists():
            return _read_record(path, identity)
        trained, pieces = self.trained(seed, ROUTES["gaincell"]), sweep_pieces(self.text, self.size.window)
        record: Record = identity | {"characters": pieces[:, 1:].size}
        for name, values in SWEEPS.items():
            record[name] = []
            for value in values:
                keras.backend.clear_session()
                model = self._build("gaincell", **condition(name, value, seed))
                copy_weights(trained, model)
                record[name].append(loss_on(model, pieces))
        write_json(path, record)
        return record

    def _adapt(self, seed: int, source: keras.Model, model: keras.Model) -> Record:
        """Losses before and after adaptation; leaves the model adapted from the scalers of `source`."""
        drawn = batches(self.text.train, self.size.window, ADAPTATION_WINDOWS, 1, (seed, _ADAPTATION_STREAM))
        batch = next(drawn)[:, :-1]
        entries: Record = {}
        targets = collect_targets(source, [batch])
        for start in ("reset_", ""):
            copy_weights(source, model)
            if start:
                for layer in gain_layers(model).values():
                    layer.set_scalers(Scalers(*((1.0,) * self.size.heads, (0.0,) * self.size.heads) * 4))
                entries["reset_loss"] = self._loss(model)
            adaptation = adapt_scalers(model, targets, batch, ADAPTATION_STEPS, ADAPTATION_TOLERANCE, reset=False)
            entries[f"adapted_{start}loss"] = self._loss(model)
            entries[f"adapted_{start}errors"] = [i.error for i in adaptation.curve]
        return entries

    def _build(self, attention: str, **cells: Any) -> keras.Model:
        return char_gpt(attention, len(self.text.vocabulary), self.size, **cells)

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
            path = self.out / f"char-gpt-{attention}.npz"
            save_gpt(path, trained, self.size.to_json())
            if trained.attention != FLOAT:
                export_gpt(path)

    def _summary(
        self, attentions: Sequence[str], seeds: Sequence[int], records: dict[tuple[int, Route], Record]
    ) -> dict[str, Any]:
        rows = [
            {"name": name, "meaning": meaning, "steps": self._steps(route, key)}
            | _figures([records[s, route][key] for s in seeds])
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
            "rows": rows,
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


def sweep_pieces(text: CharText, window: int) -> Codes32:
    """Windows of the validation text for the sweeps, evenly spread."""
    pieces = windows(text.validation, window)
    return pieces[:: -(-len(pieces) // SWEEP_WINDOWS)]


def condition(name: str, value: float, seed: int) -> dict[str, Any]:
    """Fields of a gain-cell spec for a point of a sweep."""
    return {"leak": value} if name == "leak" else {"nonideal": NonIdeality(**{name: value}, seed=seed)}


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Every point of the sweeps over the seeds."""
    return {
        "characters": records[0]["characters"],
        **{
            name: [
                {"value": value, **_figures(tuple(record[name][n] for record in records))}
                for n, value in enumerate(values)
            ]
            for name, values in SWEEPS.items()
        },
    }


def _figures(losses: Sequence[float]) -> dict[str, Any]:
    """Losses of the seeds, mean, and sample standard deviation (0 for a single one)."""
    spread = float(np.std(losses, ddof=1)) if len(losses) > 1 else 0.0
    return {"losses": list(losses), "mean": float(np.mean(losses)), "spread": spread}


def _read_record(path: Path, identity: Record) -> Record:
    try:
        record: Record = json.loads(path.read_text())
        differs = [key for key, value in identity.items() if record[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is not a finished phase: {error!r}; remove it to train it again") from error
    if differs:
        raise SpecError(f"{path} was trained with another {', '.join(differs)}; choose another folder or remove it")
    return record
