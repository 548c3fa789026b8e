# SPDX-License-Identifier: Apache-2.0
"""The verb `train` for the character GPT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hls4attn.host.paths import check_folder, check_output
from hls4attn.models.export.keras_stage import require_keras
from hls4attn.models.files import write_json
from hls4attn.models.zoo.registry import GPT

#: Its name on the command line.
NAME = GPT


def train(
    out: Console,
    err: Console,
    attention: str,
    text: Path | None,
    steps: int | None,
    seeds: Sequence[int],
    folder: Path,
    json: Path | None,
) -> None:
    """Train the routes to some attentions, separated by commas, or "all", once a seed; print the validation losses."""
    check_folder(folder)
    check_output(json, inputs=[text])
    require_keras()
    from hls4attn.models.zoo.char_gpt.data import load_text
    from hls4attn.models.zoo.char_gpt.experiment import ROUTES, Experiment
    from hls4attn.models.zoo.char_gpt.recipe import Recipe, device

    recipe = Recipe() if steps is None else Recipe(steps)
    source = load_text(text)
    out.print(f"{source.name}, seeds {', '.join(map(str, seeds))}, on {device()}", soft_wrap=True, markup=False)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("training")

        def on_step(seed: int, route: tuple[str, ...], done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, description=f"seed {seed}: {' > '.join(route)}")

        experiment = Experiment(source, folder, recipe, on_step=on_step)
        result = experiment.run(list(ROUTES) if attention == "all" else attention.split(","), seeds)
    _print(out, result)
    out.print(
        f"written: {folder}: results, checkpoints of seed {seeds[0]} and their ONNX files, every phase",
        soft_wrap=True,
        markup=False,
    )
    if json:
        write_json(json, result)


def _print(out: Console, result: dict[str, Any]) -> None:
    """Losses in nats a character."""
    table = Table("model", "steps", "loss", "spread", *(f"seed {s}" for s in result["seeds"]), box=None, pad_edge=False)
    for row in result["rows"]:
        losses = (f"{loss:.4f}" for loss in row["losses"])
        table.add_row(row["name"], str(row["steps"]), f"{row['mean']:.4f}", f"{row['spread']:.4f}", *losses)
    out.print(table)
    out.print(
        f"loss in nats a character on {result['validation_characters']} characters that were not trained on; spread: "
        "standard deviation over the seeds",
        soft_wrap=True,
        markup=False,
    )
    sweeps = dict(result.get("sweeps", {}))
    characters = sweeps.pop("characters", 0)
    for name, points in sweeps.items():
        out.print(f"gaincell under another {name}, on {characters} of these characters:", markup=False)
        table = Table(name, "loss", "spread", box=None, pad_edge=False)
        for point in points:
            table.add_row(f"{point['value']:g}", f"{point['mean']:.4f}", f"{point['spread']:.4f}")
        out.print(table)
