# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the command line do, apart from parsing arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from hls4attn.host.connect import chosen_board
from hls4attn.host.flow import STAGES, Flow
from hls4attn.host.ladder import Rung, climb
from hls4attn.host.paths import check_folder, check_output, read_npy
from hls4attn.host.samples import verification_codes
from hls4attn.models.errors import InputError, MismatchError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.keras_stage import KEY_MODEL
from hls4attn.models.files import atomic_write, write_json
from hls4attn.models.formats import MAX_WIDTH, Codes, Fixed
from hls4attn.models.operators import GainCellSpec

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.models.export.graph import Graph
    from hls4attn.models.export.keras_stage import KerasStage
    from hls4attn.models.export.stages import Stage


@contextmanager
def working(err: Console, text: str) -> Iterator[Any]:
    """A spinner on the error stream; call what it yields to change its text."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(text)
        yield lambda new: progress.update(task, description=new)


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


def export(out: Console, source: Path, target: Path, name: str | None, score: str | None) -> None:
    """Export a .keras file, or a zoo model from its weights; a character GPT's say themselves what they are."""
    check_output(target, ".onnx", [source])
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
    out.print(f"written: {target}", soft_wrap=True, markup=False)
    if not beside:
        out.print(f"note: verify compares with Keras only if {source.name} lies beside {target.name}", markup=False)


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
    _tell_reuse(out, flow)
    found = "found finished" if project.cached else "written"
    described = f"{settings.backend}, {settings.io_type}, {settings.part}"
    out.print(f"project {found}: {folder} ({described})", soft_wrap=True, markup=False)
    inside = folder / package.bit.relative_to(project.path)
    out.print(f"overlay: {inside} for the emulated {board}; no bitstream was built", soft_wrap=True, markup=False)


def hls_settings(
    board: str,
    config: Path | None = None,
    choices: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[HlsConfig, bool]:
    """Conversion options from a file and from the command line, which must not contradict each other.

    Args:
        board: name of the board.
        config: the file.
        choices: from the command line.
        defaults: for what neither of them says.

    Returns:
        The options, and whether the reuse factor is left to us.
    """
    from hls4attn.hls.config import HlsConfig
    from hls4attn.overlays.boards import board as find_board

    part = find_board(board).part
    given = {name: value for name, value in (choices or {}).items() if value is not None} | {"part": part}
    wished = {**(defaults or {}), **given}
    if config is None:
        return HlsConfig(**wished), "reuse_factor" not in given
    settings = HlsConfig.from_toml(config, **wished)
    for name, wanted in given.items():
        received = getattr(settings, name)
        if wanted != received:
            raise InputError(f"{config} says {name}={received!r}, the command line {wanted!r} (board {board})")
    # Another default tells whether the file has one of its own.
    probe = HlsConfig.from_toml(config, **{"reuse_factor": settings.reuse_factor + 1, **wished})
    return settings, probe.reuse_factor != settings.reuse_factor


def _tell_reuse(out: Console, flow: Flow) -> None:
    """Say what was chosen for the user."""
    settings = flow.settings
    if flow.fitted and settings.io_type == "io_stream":
        out.print(f"io_stream, reuse factor {settings.reuse_factor}: the smallest that fits {flow.board}", markup=False)


def verify(
    out: Console,
    err: Console,
    path: Path | None,
    operator: str | None,
    samples: int,
    seed: int,
    names: list[str] | None,
    board: str | None,
    json: Path | None,
    choices: Mapping[str, Any] | None = None,
) -> None:
    """Climb the ladder for a model or an operator.

    Raises:
        MismatchError: after all rungs, if any stage differs.
    """
    unknown = [n for n in names or () if n not in STAGES]
    if unknown or names == []:
        raise InputError(f"Unknown stages {unknown}; known: {', '.join(STAGES)}")
    if seed < 0:
        raise InputError(f"The seed must not be negative. Received: {seed}")
    check_output(json, inputs=[path])
    board = chosen_board(board)
    settings, fitted = hls_settings(board, choices=choices)
    rungs: list[Rung] = []
    try:
        if path is not None:
            flow = Flow.open(path, board=board, config=settings, fitted=fitted)
            codes, described = verification_codes(flow.graph, samples, seed)
            out.print(f"{path.name}: {described}", soft_wrap=True, markup=False)
            _tell_reuse(out, flow)
            climb_and_print(out, err, flow, codes, names, into=rungs)
        else:
            _verify_operator(out, err, operator or "", samples, seed, names, board, rungs, settings, fitted)
    finally:
        if json and rungs:
            write_json(json, [r.to_json() for r in rungs])
    wrong = sorted({r.stage for r in rungs if r.mismatches})
    if wrong:
        raise MismatchError(f"stages that differ from the reference: {', '.join(wrong)}")


def _verify_operator(
    out: Console,
    err: Console,
    operator: str,
    rows: int,
    seed: int,
    names: list[str] | None,
    board: str,
    rungs: list[Rung],
    settings: HlsConfig,
    fitted: bool,
) -> None:
    from hls4attn.host.cell_stage import NAME, coprocessor_stage
    from hls4attn.host.operator_models import (
        is_norm,
        operator_cases,
        operator_codes,
        operator_distance,
        operator_model,
    )

    if rows < 1:
        raise InputError(f"samples must be at least 1. Received: {rows}")
    for number, case in enumerate(operator_cases(operator)):
        spec = case.spec()
        flow = Flow(
            f"{operator}_{number}",
            operator_model(spec),
            board=board,
            config=settings,
            fitted=fitted,
            keras=lambda graph, s=spec: _operator_keras_stage(graph, s),  # type: ignore[misc]
        )
        codes = operator_codes(flow.graph, rows, seed)
        axes = 2 if is_norm(spec) else 3
        count = prod(codes.shape[:axes])
        out.print(
            f"{operator}, {case.title}: {count} rows of {codes.shape[-1]} (seed {seed})", highlight=False, markup=False
        )
        found = operator_distance(spec, codes)
        if found:
            on = " on Gaussian rows" if is_norm(spec) else ""
            out.print(f"  distance to the float function{on}: {found}", highlight=False, soft_wrap=True, markup=False)
        further = {}
        if isinstance(spec, GainCellSpec):
            further[NAME] = partial(coprocessor_stage, flow.graph, spec, board)
        climb_and_print(out, err, flow, codes, names, unit_axes=axes, into=rungs, further=further)


def _operator_keras_stage(graph: Graph, spec: Any) -> KerasStage:
    from hls4attn.host.operator_layers import operator_keras
    from hls4attn.models.export.keras_stage import KerasStage

    return KerasStage(graph, operator_keras(spec, graph.input.shape))


def climb_and_print(
    out: Console,
    err: Console,
    flow: Flow,
    codes: Codes,
    names: Sequence[str] | None,
    unit_axes: int = 1,
    into: list[Rung] | None = None,
    further: Mapping[str, Callable[[], AbstractContextManager[Stage]]] | None = None,
) -> list[Rung]:
    """One line a rung; `into` receives the rungs as they finish, so that they outlast the error of a later one.

    Without `names` every stage runs; Keras and the board are left out, with a note, where they are not there.  Those in
    `further` run where the board does.
    """
    wanted = list(names or STAGES)
    if names is None:
        for stage, reason in flow.absent_stages().items():
            wanted.remove(stage)
            out.print(f"  {stage:<12} not compared: {reason}", soft_wrap=True, markup=False)
    rungs = [] if into is None else into
    with working(err, "reference") as tell:
        stages: dict[str, Any] = {n: partial(flow.stage, n) for n in wanted}
        stages |= dict(further or {}) if "board" in wanted else {}
        for rung in climb(flow.graph, stages, codes, tell, unit_axes):
            rungs.append(rung)
            colour = "red" if rung.mismatches else "green"
            line = Text(f"  {rung.stage:<12} ")
            line.append(f"{rung.mismatches}/{rung.samples} mismatches", style=colour)
            line.append(f"  against the {rung.against}, {rung.seconds:.1f} s")
            line.append(f"  ({rung.device})" if rung.device else "")
            out.print(line, soft_wrap=True)
            if rung.difference:
                out.print(f"               {rung.difference}", soft_wrap=True, markup=False)
    return rungs


def run(
    out: Console,
    err: Console,
    path: Path,
    board: str | None,
    data: Path | None,
    result: Path | None,
    json: Path | None,
    choices: Mapping[str, Any] | None = None,
) -> None:
    """Run a batch on the board."""
    check_output(result, inputs=[path, data])
    check_output(json, inputs=[path, data, result])
    board = chosen_board(board)
    settings, fitted = hls_settings(board, choices=choices)
    flow = Flow.open(path, board=board, config=settings, fitted=fitted)
    batch, labels = _batch(flow, data)
    codes = quantise_input(flow.graph, batch)
    clipped = _clipped(flow.graph.input.format, batch, codes)
    with working(err, "loading the overlay") as tell, flow.on_board() as overlay:
        tell("running")
        values = overlay.model.predict(batch)
        tag, samples = overlay.model.device_tag, overlay.model.samples
        cycles, cycles_are = overlay.model.cycles, overlay.model.cycles_are
        saturated = Reference(flow.graph).saturations(codes)
    summary: dict[str, Any] = {"model": path.name, "device": tag, "samples": len(batch), "counter": samples}
    out.print(f"{path.name} on {tag}: {len(batch)} samples (the IP counted {samples})", soft_wrap=True, markup=False)
    if cycles is not None:
        out.print(f"cycles: {cycles:,}, {cycles_are}", highlight=False, markup=False)
    summary |= {"cycles": cycles, "cycles_are": cycles_are}
    if clipped:
        out.print(f"input: {clipped} of {codes.size} values clipped to the input format", markup=False)
    summary["clipped"] = clipped
    for name, (count, total) in saturated.items():
        out.print(f"{name}: {count} of {total} results saturate", highlight=False, markup=False)
    summary["saturated"] = {name: count for name, (count, _) in saturated.items()}
    if labels is not None:
        accuracy = float(np.mean(np.argmax(values, axis=1) == labels))
        summary["accuracy"] = accuracy
        out.print(f"accuracy: {accuracy:.2%} of {len(labels)} test images", markup=False)
    if result:
        import io

        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        atomic_write(result, buffer.getvalue())
        out.print(f"written: {result}", soft_wrap=True, markup=False)
    if json:
        write_json(json, summary)


def _clipped(fmt: Fixed, values: Any, codes: Codes) -> int:
    """How many real values are beyond the format: those that a wider one rounds to another code."""
    wide = replace(fmt, width=MAX_WIDTH, signed=True, overflow="saturate")
    return int(np.count_nonzero(wide.quantise(values) != codes))


def _batch(flow: Flow, data: Path | None) -> tuple[Any, Any]:
    """The batch to run and, for a zoo model's test set, its labels."""
    if data is not None:
        return read_npy(data), None
    from hls4attn.models.zoo import zoo_model
    from hls4attn.models.zoo.registry import GPT

    name = flow.graph.metadata.get(KEY_MODEL)
    if not name or name == GPT:
        raise InputError("This model brings no test set; give a batch with --input FILE.npy")
    digits = zoo_model(name).load_data()
    return digits.x_test, digits.y_test
