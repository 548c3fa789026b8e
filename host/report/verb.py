# SPDX-License-Identifier: Apache-2.0
"""`hls4attn report`: find out what it is about, gather the content, write both twins."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hls4attn.host.paths import check_output
from hls4attn.host.report import arithmetic, hardware, ladder, origin, page
from hls4attn.host.report.content import Page, Section, Tile
from hls4attn.host.report.made import now
from hls4attn.host.report.subject import Subject, find_subject
from hls4attn.host.report.versions import versions
from hls4attn.models.errors import InputError, MismatchError, UnsupportedError
from hls4attn.models.files import write_json

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.flow import Flow
    from hls4attn.host.report.made import Made

#: Samples on each rung if the user does not say.
SAMPLES = 1000
#: Options of the command line by the names that configurations have for them.
_OPTIONS = {
    "io_type": "--io",
    "reuse_factor": "--reuse",
    "lanes": "--lanes",
    "parallel_heads": "--parallel-heads",
}
_KINDS = {
    "model": "Model",
    "project": "Converted model",
    "build": "Build",
    "archive": "Built overlay",
}


@dataclass(frozen=True)
class Asked:
    """What the user asked for; None is for what was left open.

    Attributes:
        samples: on each rung; 0 climbs none.
        seed: of the random samples.
        stages: of the ladder.
        board: name of the board.
        choices: conversion options.
        json: file for the content.
    """

    samples: int | None = None
    seed: int | None = None
    stages: Sequence[str] | None = None
    board: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    json: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: naming it.
        """
        from hls4attn.host.flow import ALL_STAGES

        unknown = [s for s in self.stages or () if s not in ALL_STAGES]
        if unknown or self.stages == []:
            raise InputError(f"Unknown stages {unknown}; known: {', '.join(ALL_STAGES)}")
        for name, value in (("--samples", self.samples), ("--seed", self.seed)):
            if value is not None and value < 0:
                raise InputError(f"{name} must not be negative. Received: {value}")

    def refuse(self, kind: str, names: Sequence[str]) -> None:
        """Refuse options that would change nothing.

        Raises:
            InputError: naming them.
        """
        given = {"samples": self.samples, "seed": self.seed, "stages": self.stages, "board": self.board}
        useless = [f"--{n}" for n in names if given.get(n) is not None] + [_OPTIONS.get(c, c) for c in self.choices]
        if useless:
            raise InputError(f"{kind} says itself how it was made; leave out {', '.join(useless)}")


def report(out: Console, err: Console, what: Path, target: Path | None, asked: Asked) -> None:
    """Write the report of a file or folder.

    Args:
        out: for results.
        err: for progress.
        what: a model, folder, archive or file of results.
        target: the HTML file; ``build/report/<name>.html`` if None.
        asked: options.

    Raises:
        MismatchError: after writing, if a stage differs from the reference.
    """
    asked.check()
    subject = find_subject(what)
    target = target or Path("build") / "report" / f"{subject.name}.html"
    check_output(target, ".html", [what])
    check_output(asked.json, inputs=[what, target])
    if subject.kind == "sweep":
        from hls4attn.host.report.sweep import sweep_page

        asked.refuse("A sweep's file", ("samples", "seed", "stages", "board"))
        write(out, sweep_page(what), target, asked.json)
        return
    content, found = model_page(out, err, subject, asked)
    write(out, content, target, asked.json)
    if found is not None and found.wrong:
        raise MismatchError(f"stages that differ from the reference: {', '.join(found.wrong)}")


def write(out: Console, content: Page, target: Path, json: Path | None = None) -> None:
    """Write both twins and say where."""
    twin = page.write(content, target)
    if json:
        write_json(json, content.to_json())
    out.print(f"report: {target}   the same in Markdown: {twin}", soft_wrap=True, markup=False, highlight=False)


def model_page(out: Console, err: Console, subject: Subject, asked: Asked) -> tuple[Page, ladder.Verification | None]:
    """The content for anything but a sweep, and its ladder."""
    if subject.model is None:
        asked.refuse(f"{subject.path}", ("samples", "seed", "stages", "board"))
        return _without_model(subject), None
    flow, chosen = open_flow(subject, asked)
    folder = subject.path if subject.path.is_dir() else None
    found, reason = _verified(out, err, flow, subject, folder, asked)
    return assemble(subject, flow, chosen, found, reason, asked.seed or 0), found


def open_flow(subject: Subject, asked: Asked) -> tuple[Flow, str]:
    """The model with its conversion options, and who chose the reuse factor.

    Raises:
        InputError: for choices that contradict the folder.
    """
    from hls4attn.hls.config import HlsConfig
    from hls4attn.hls.lowering import lower_graph
    from hls4attn.hls.stream.network import to_stream
    from hls4attn.host.connect import chosen_board
    from hls4attn.host.estimate import capacity, fitting_config
    from hls4attn.host.flow import Flow
    from hls4attn.overlays.boards import board as find_board

    if subject.model is None:
        raise InputError(f"{subject.path} holds no model")
    if subject.kind == "model":
        board = chosen_board(asked.board)
        flow = Flow(subject.name, subject.model, source=subject.path.parent, board=board)
        plain = lower_graph(flow.graph)

        def make(config: HlsConfig) -> Any:
            return plain if config.io_type == "io_parallel" else to_stream(plain, config)

        target = find_board(board)
        choices = {"io_type": "io_stream", **asked.choices, "part": target.part}
        try:
            config, chosen = fitting_config(make, choices, capacity(target))
        except UnsupportedError as error:
            if asked.choices:
                raise
            config, chosen = HlsConfig(part=target.part), f"; it does not stream: {error}"
        return replace(flow, config=config), chosen
    asked.refuse(f"{subject.path}", ("board",))
    made = subject.made
    if subject.kind == "project":
        from hls4attn.hls.project import open_project

        project = open_project(subject.path)
        board = made.board if made else _board_of(project.config.part)
        source = Path(made.source_folder) if made else None
        return Flow(subject.name, subject.model, source=source, board=board, config=project.config, made=project), ""
    if made is None:
        raise InputError(f"{subject.path} does not say how its model was made; build again")
    source = Path(made.source_folder) if made.source_folder else None
    config = HlsConfig.from_dict(dict(made.config))
    return Flow(subject.name, subject.model, source=source, board=made.board, config=config), ""


def _board_of(part: str) -> str:
    """A board with that FPGA, the usual one first."""
    from hls4attn.host.connect import chosen_board
    from hls4attn.overlays.boards import board, load_boards

    usual = chosen_board()
    names = [usual, *load_boards()]
    return next((name for name in names if board(name).part == part), usual)


def _verified(
    out: Console, err: Console, flow: Flow, subject: Subject, folder: Path | None, asked: Asked
) -> tuple[ladder.Verification | None, str]:
    """The ladder that lies there and still holds, or a new one; or why there is none."""
    if asked.samples == 0:
        return None, "the report was asked for without samples (--samples 0)"
    if folder is not None and asked.samples is None and asked.seed is None and asked.stages is None:
        taken = ladder.take(subject.ladder, folder, flow)
        if taken is not None:
            out.print(f"verification of {taken.when} taken from {folder / taken.taken}", soft_wrap=True, markup=False)
            return taken, ""
    samples = SAMPLES if asked.samples is None else asked.samples
    out.print(f"{subject.name}: every stage on {samples:,} samples", soft_wrap=True, markup=False, highlight=False)
    found = ladder.climb(out, err, flow, folder, samples, asked.seed or 0, asked.stages)
    if folder is not None:
        ladder.leave(found, folder)
    return found, ""


def assemble(
    subject: Subject,
    flow: Flow,
    chosen: str,
    found: ladder.Verification | None,
    reason: str,
    seed: int,
    measured: str = "",
) -> Page:
    """The content from a model, its ladder and what lies in its folder.

    Args:
        subject: what the report is about.
        flow: the model with its choices.
        chosen: who chose the reuse factor.
        found: the ladder.
        reason: why there is none.
        seed: of random samples.
        measured: accuracy that a board has reached, in words.
    """
    graph = flow.graph
    codes, words = arithmetic.typical_codes(graph, arithmetic.TYPICAL, seed)
    tiles: list[Tile] = []
    sections: list[Section] = []

    def add(section: Section, more: Sequence[Tile] = ()) -> None:
        sections.append(section)
        tiles.extend(more)

    add(arithmetic.model_section(graph))
    add(*arithmetic.verification_section(found, reason))
    add(*arithmetic.accuracy_section(graph, measured))
    add(*arithmetic.errors_section(graph, codes, words))
    for section in arithmetic.attention_sections(graph, codes, words):
        add(section)
    add(*_estimate(flow, chosen, subject))
    add(hardware.synthesis_section(subject.record, _waiting(subject), graph))
    add(origin.claims_section(graph))
    add(
        origin.reproduce_section(
            _commands(subject, flow, found), _hashes(subject, flow), subject.made, found.seed if found else seed
        )
    )
    device = found.device if found and found.device else "no board took part"
    lead = f"{flow.graph.name} for {flow.board}; ran on {device}." if found else f"{flow.graph.name} for {flow.board}."
    made = f"Written {now()} by hls4attn {versions()['hls4attn'].partition(',')[0]}."
    return Page(subject.name, _KINDS[subject.kind], lead, made, tuple(tiles), tuple(sections))


def _estimate(flow: Flow, chosen: str, subject: Subject) -> tuple[Section, list[Tile]]:
    try:
        if subject.made is not None and subject.made.rtl:
            return hardware.rtl_section(flow)
        return hardware.estimate_section(flow, chosen)
    except UnsupportedError as error:
        return hardware.no_estimate(error)


def _waiting(subject: Subject) -> str:
    """Why nothing was synthesised."""
    if subject.kind == "build":
        where = subject.path.absolute().name
        return f"No finished build: {where} has no build.json yet. The same hls4attn build goes on where it was."
    what = "A converted project" if subject.kind == "project" else "A model file"
    return f"Nothing of this model was synthesised: {what.lower()} has not been built (hls4attn build)."


def _commands(subject: Subject, flow: Flow, found: ladder.Verification | None) -> list[str]:
    """Command lines that lead to this report; files by their names, not by where they lie here."""
    made, config, place = subject.made, flow.settings, subject.path.absolute().name
    source = made.source if made else f"{subject.name}.onnx"
    board, options = ["--board", flow.board], _options(config)
    lines = []
    if subject.kind == "project":
        lines.append(["hls4attn", "convert", source, "--out", place, *board, "--backend", config.backend, *options])
    elif made is not None:
        lines.append(["hls4attn", "build", source, *board, *_built_with(made, config, options)])
    samples = [] if found is None else ["--samples", str(found.samples), "--seed", str(found.seed)]
    if found is not None:
        lines.append(["hls4attn", "verify", source, *samples, *board, *options])
    lines.append(["hls4attn", "report", place, *samples, *([*board, *options] if subject.kind == "model" else [])])
    return [shlex.join(line) for line in lines]


def _options(config: HlsConfig) -> list[str]:
    """Conversion options as all verbs have them."""
    found = ["--io", config.io_type, "--reuse", str(config.reuse_factor)]
    if config.lanes:
        found += ["--lanes", str(config.lanes)]
    if config.parallel_heads > 1:
        found += ["--parallel-heads", str(config.parallel_heads)]
    return found


def _built_with(made: Made, config: HlsConfig, options: Sequence[str]) -> list[str]:
    """Options of a build: gain cells have no structure to choose, Verilog no backend."""
    from hls4attn.host.building.plans import CHOICES

    chosen = CHOICES.get(made.overlay, frozenset())
    found = ["--overlay", made.overlay, *(options if "io_type" in chosen else ())]
    found += ["--rtl"] if made.rtl else ["--backend", config.backend]
    return [*found, "--clock", f"{1000 / config.clock_period_ns:g}"]


def _hashes(subject: Subject, flow: Flow) -> list[tuple[str, str]]:
    """What a result hangs on, by SHA-256."""
    rows = [("Model", flow.model_id)]
    if subject.made is not None and subject.made.source_sha256:
        rows.append((f"File {subject.made.source}", subject.made.source_sha256))
    elif subject.path.is_file():
        rows.append((f"File {subject.path.name}", hashlib.sha256(subject.path.read_bytes()).hexdigest()))
    rows.append(("Design of the overlay", hashlib.sha256(flow.design.to_json().encode()).hexdigest()))
    if flow.made is not None:
        rows.append(("Project: model, choices and sources that wrote it", flow.made.digest))
    if subject.record is not None:
        rows += [(f"Built {name}", digest) for name, digest in subject.record["sha256"].items()]
    return rows


def _without_model(subject: Subject) -> Page:
    """A build that has no one model, such as the bank of operators, or one that does not hold it."""
    waiting = _waiting(subject)
    design, record = subject.design or {}, subject.record
    board = record["board"] if record else design.get("board", "unknown board")
    board = board.get("name", "unknown board") if isinstance(board, Mapping) else board
    hashes = [(f"Built {n}", d) for n, d in (record["sha256"] if record else {}).items()]
    sections = [
        hardware.synthesis_section(record, waiting, None),
        origin.claims_section(None),
        origin.reproduce_section(
            [f"hls4attn report {shlex.quote(subject.path.name)}"], hashes or [("Files", "none were built")], None, None
        ),
    ]
    lead = f"{subject.name} for {board}. It holds no one model, as a bank of operators does not."
    made = f"Written {now()} by hls4attn {versions()['hls4attn'].partition(',')[0]}."
    return Page(subject.name, _KINDS[subject.kind], lead, made, (), tuple(sections))
