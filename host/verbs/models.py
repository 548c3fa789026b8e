# SPDX-License-Identifier: Apache-2.0
"""What `train`, `export` and `convert` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from hls4attn.host.connect import chosen_board
from hls4attn.host.flow import Flow
from hls4attn.host.paths import check_folder, check_output
from hls4attn.host.report.made import Made
from hls4attn.host.verbs.common import hls_settings, tell_reuse, working
from hls4attn.models.errors import InputError
from hls4attn.models.files import write_json


def train(
    out: Console,
    err: Console,
    name: str,
    score: str,
    seeds: Sequence[int],
    folder: Path,
    epochs: int | None,
    json: Path | None,
) -> None:
    """Train a zoo model and print its accuracies."""
    check_folder(folder)
    check_output(json)
    from hls4attn.models.zoo import zoo_model

    zoo = zoo_model(name)
    from hls4attn.models.zoo.training import train_zoo

    total = epochs or zoo.epochs
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("training", total=total * len(seeds))

        def on_epoch(seed: int, done: int) -> None:
            position = list(seeds).index(seed) * total + done
            progress.update(task, completed=position, description=f"{name} {score}, seed {seed}")

        result = train_zoo(zoo, score, seeds, folder, epochs, on_epoch)
    for seed, accuracy in zip(result.seeds, result.accuracies, strict=True):
        out.print(f"{name} {score} seed {seed}: {accuracy:.2%} of {result.test_images} test images", markup=False)
    out.print(
        f"{name} {score}: mean {result.mean:.2%}, spread {result.spread:.2%} over {len(seeds)} seeds", markup=False
    )
    out.print(f"written: {folder / score}.npz .onnx .json _vectors.npz (seed {seeds[0]})", soft_wrap=True, markup=False)
    if json:
        write_json(json, result.to_json())


def export(out: Console, err: Console, source: Path, target: Path, name: str | None, score: str | None) -> None:
    """Export a .keras file, or a zoo model from its weights; a character GPT's say themselves what they are."""
    check_output(target, ".onnx", [source])
    with working(err, "exporting"):
        beside = _export(source, target, name, score)
    out.print(f"written: {target}", soft_wrap=True, markup=False)
    if not beside:
        out.print(f"note: verify compares with Keras only if {source.name} lies beside {target.name}", markup=False)


def _export(source: Path, target: Path, name: str | None, score: str | None) -> bool:
    """Write the file; whether the source lies beside it."""
    from hls4attn.models.export.keras_stage import (
        KEY_WEIGHTS,
        KEY_WEIGHTS_HASH,
        file_hash,
        load_keras,
        load_weights,
        require_keras,
    )

    require_keras()
    from hls4attn.models.export.builder import save_model
    from hls4attn.models.export.keras_export import export_keras
    from hls4attn.models.zoo.char_gpt.checkpoint import export_gpt, is_gpt
    from hls4attn.models.zoo.registry import GPT

    beside = source.resolve().parent == target.resolve().parent
    if source.suffix == ".npz" and is_gpt(source):
        if name not in (None, GPT) or score is not None:
            raise InputError(f"{source} is a {GPT} and says itself which; leave out --model and --score")
        export_gpt(source, target)
    elif source.suffix == ".npz":
        from hls4attn.models.zoo import zoo_model
        from hls4attn.models.zoo.training import export_zoo_weights

        zoo, score = zoo_model(name or "digits-vit"), score or "consmax"
        model = zoo.build(score)
        load_weights(model, source)
        export_zoo_weights(zoo, score, model, source, target)
    else:
        model = load_keras(source)
        metadata = {KEY_WEIGHTS: source.name, KEY_WEIGHTS_HASH: file_hash(source)} if beside else {}
        save_model(export_keras(model, metadata), target)
    return beside


def convert(
    out: Console,
    err: Console,
    path: Path,
    folder: Path,
    board: str | None,
    config: Path | None,
    choices: Mapping[str, Any] | None = None,
) -> None:
    """Convert a model, compile its C simulation, write its overlay."""
    check_folder(folder)
    board = chosen_board(board)
    options, fitted = hls_settings(board, config, choices)
    with working(err, "reading") as tell:
        flow = Flow.open(path, folder=folder, board=board, config=options, fitted=fitted)
        settings = flow.settings
        tell("converting")
        project = flow.project
        tell("compiling the C simulation")
        _ = flow.csim
        tell("writing the overlay")
        package = flow.package
        Made.of("convert", flow, path).write(folder)
    tell_reuse(out, flow)
    found = "found finished" if project.cached else "written"
    described = f"{settings.backend}, {settings.io_type}, {settings.part}"
    out.print(f"project {found}: {folder} ({described})", soft_wrap=True, markup=False)
    inside = folder / package.bit.relative_to(project.path)
    out.print(f"overlay: {inside} for the emulated {board}; no bitstream was built", soft_wrap=True, markup=False)
