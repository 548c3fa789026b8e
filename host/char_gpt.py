# SPDX-License-Identifier: Apache-2.0
"""The verbs `train` and `run` for the character GPT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hls4attn.host.connect import chosen_board
from hls4attn.host.paths import check_folder, check_output
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.keras_stage import require_keras
from hls4attn.models.files import write_json
from hls4attn.models.zoo.registry import GPT

if TYPE_CHECKING:
    from hls4attn.host.board.gaincell_model import GainCellModel
    from hls4attn.models.zoo.char_gpt.integer import IntegerGpt

#: Its name on the command line.
NAME = GPT
#: Values of --board that are no board's name: the chosen board, emulated; and the NumPy integers.
EMULATED, NO_BOARD = "emulated", "none"
PROMPT = "ROMEO:"


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


def run(
    out: Console,
    board: str | None,
    prompt: str,
    tokens: int,
    seed: int,
    weights: Path | None,
    json: Path | None,
) -> None:
    """Write text: attention on a board or in NumPy, all else in integers here; the same text for a seed."""
    check_output(json, inputs=[weights])
    if seed < 0:
        raise InputError(f"The seed must not be negative. Received: {seed}")
    require_keras()
    from hls4attn.models.zoo.char_gpt.checkpoint import TRAINED, load_gpt
    from hls4attn.models.zoo.char_gpt.generate import continuation
    from hls4attn.models.zoo.char_gpt.integer import IntegerGpt, Reader, ReferenceCells

    if weights is None and not TRAINED.is_file():
        raise InputError(f"{NAME} has no trained weights here; hls4attn train {NAME}, then give --weights FILE.npz")
    trained = load_gpt(weights or TRAINED)
    gpt = IntegerGpt.of(trained.model)

    def write(reader: Reader) -> str:
        text = ""
        for character in continuation(reader, gpt.window, trained.vocabulary, prompt, tokens, seed):
            out.out(prompt + character if not text else character, end="", highlight=False)
            text += character
        out.out("")
        return text

    summary: dict[str, Any] = {"model": NAME, "prompt": prompt, "seed": seed, "layers": len(gpt.blocks)}
    if board == NO_BOARD:
        reader = Reader(gpt, ReferenceCells(gpt.specs))
        summary |= {"device": "none", "text": write(reader), "tokens": reader.tokens}
        out.print(f"without a board: attention by the integer reference, seed {seed}", soft_wrap=True, markup=False)
    else:
        with on_board(gpt, board) as model:
            reader = Reader(gpt, model)
            summary |= {"device": model.device_tag, "text": write(reader), "tokens": reader.tokens}
            summary |= {"counter": model.tokens, "cycles": model.cycles, "cycles_are": model.cycles_are}
            clock = model.design.clock.mhz
        _print_cycles(out, summary, clock)
    if json:
        write_json(json, summary)


@contextmanager
def on_board(gpt: IntegerGpt, board: str | None = None) -> Iterator[GainCellModel]:
    """The gain cells of a model's layers on a board.

    Args:
        gpt: the model.
        board: a board's name, "emulated", or None for the chosen one.

    Raises:
        UnsupportedError: for an unknown board, or layers that differ, which one table cannot serve.
        DeviceError: if the board is not there or refuses.
        ToolError: if PYNQ is missing, or the compiler of the C simulation.
    """
    from hls4attn.host.cell_stage import cells_on_board
    from hls4attn.overlays.gaincell import in_logic

    first, *others = gpt.specs
    if any(in_logic(spec) != in_logic(first) for spec in others):
        raise UnsupportedError("The layers' gain cells differ; a board has one kind for all layers")
    with cells_on_board(first, chosen_board(None if board == EMULATED else board), len(gpt.specs)) as model:
        yield model


def _print_cycles(out: Console, summary: dict[str, Any], clock_mhz: float) -> None:
    passed = summary["tokens"] * summary["layers"]
    summary["cycles_per_token"] = round(summary["cycles"] / passed, 2) if passed else 0
    each = summary["cycles_per_token"]
    for line in (
        f"attention on {summary['device']}, seed {summary['seed']}: {summary['tokens']} tokens through each of "
        f"{summary['layers']} layers (the IP counted {summary['counter']})",
        f"{each:g} cycles a token and layer, {summary['cycles_are']}; {each / clock_mhz:.2f} us at an assumed clock of "
        f"{clock_mhz:g} MHz",
    ):
        out.print(line, soft_wrap=True, markup=False, highlight=False)


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
