# SPDX-License-Identifier: Apache-2.0
"""The verbs around SOLE: quantise a trained float model, and train and quantise the zoo's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hls4attn.host.paths import check_archive, check_folder, check_output, read_npy
from hls4attn.models.errors import InputError, SpecError
from hls4attn.models.export.keras_stage import (
    KEY_MODEL,
    load_keras,
    require_keras,
)
from hls4attn.models.files import write_json
from hls4attn.models.quantise.plan import QuantisePlan


def quantise(out: Console, err: Console, path: Path, target: Path, calibration: str, score: str, norm: str) -> None:
    """Quantise a float .keras model; write the integer Keras model and its ONNX file."""
    plan = QuantisePlan(score, norm)
    archive = target.with_suffix(".keras")
    check_output(target, ".onnx", [path, Path(calibration)])
    check_archive(archive, target, path)
    data, zoo_name = _calibration(calibration)
    require_keras()
    from hls4attn.models.quantise.convert import quantise_model
    from hls4attn.models.quantise.save import save_quantised

    model = load_keras(path)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("quantising")
        result = quantise_model(
            model, data, plan, lambda done, total: progress.update(task, completed=done, total=total)
        )
    save_quantised(result, target, {KEY_MODEL: zoo_name} if zoo_name else {})
    out.print(f"calibrated on {len(data)} samples; {score} and {norm}, no retraining", soft_wrap=True, markup=False)
    out.print(f"written: {target} and {archive}", soft_wrap=True, markup=False)


def _calibration(source: str) -> tuple[Any, str | None]:
    """Calibration inputs from a .npy file or a zoo model's training set, and that model's name."""
    from hls4attn.models.zoo import zoo_model
    from hls4attn.models.zoo.sole import CALIBRATION_IMAGES

    if source.endswith(".npy"):
        return read_npy(Path(source)), None
    try:
        zoo = zoo_model(source)
    except SpecError as error:
        raise InputError(f"--calibration takes a .npy file of inputs or the name of a zoo model. {error}") from error
    return zoo.load_data().x_train[:CALIBRATION_IMAGES], source


def train(
    out: Console,
    err: Console,
    name: str,
    seeds: Sequence[int],
    folder: Path,
    epochs: int | None,
    json: Path | None,
) -> None:
    """Train the float twin of a zoo model, quantise it in every variant, print the accuracies."""
    from hls4attn.models.zoo import zoo_model
    from hls4attn.models.zoo.sole import train_sole

    check_folder(folder)
    check_output(json)
    zoo = zoo_model(name)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(name, total=1.0)
        result = train_sole(
            zoo,
            seeds,
            folder,
            epochs,
            lambda seed, what, share: progress.update(task, completed=share, description=f"seed {seed}: {what}"),
        )
    table = Table("variant", "mean", "spread", *(f"seed {s}" for s in result.seeds), box=None, pad_edge=False)
    for variant, values in result.accuracies.items():
        table.add_row(
            variant, f"{result.mean(variant):.2%}", f"{result.spread(variant):.2%}", *(f"{v:.2%}" for v in values)
        )
    out.print(table)
    out.print(f"both against INT8: {-100 * result.drop:+.2f} points, mean of {len(seeds)} seeds", markup=False)
    out.print(
        f"written: {folder}: float.keras, sole.keras, sole.onnx (seed {seeds[0]}), sole.json",
        soft_wrap=True,
        markup=False,
    )
    if json:
        write_json(json, result.to_json())
