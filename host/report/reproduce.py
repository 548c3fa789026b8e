# SPDX-License-Identifier: Apache-2.0
"""What it takes to get the results of a report again: command lines, hashes, versions."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hls4attn.host.report.content import Block, Commands, Facts, Note, Section
from hls4attn.host.report.made import Made
from hls4attn.host.report.subject import Subject
from hls4attn.host.versions import versions

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.flow import Flow
    from hls4attn.host.report.ladder import Verification

#: What the command lines call the file of choices.
CHOICES_FILE = "choices.toml"


def of_model(subject: Subject, flow: Flow, found: Verification | None, seed: int) -> Section:
    """The section of a report on a model, a project or a build.

    Args:
        subject: what the report is about.
        flow: the model with its choices.
        found: the ladder; None without.
        seed: of random samples.
    """
    return reproduce_section(_commands(subject, flow, found, seed), _hashes(subject, flow), subject.made, seed)


def _commands(subject: Subject, flow: Flow, found: Verification | None, seed: int) -> list[str]:
    """Command lines that lead to this report; files by their names, not by where they lie here."""
    made, config, place = subject.made, flow.settings, subject.path.absolute().name
    source = made.source if made else place if subject.kind == "model" else f"{subject.name}.onnx"
    board, options = ["--board", flow.board], _options(config)
    clock = subject.kind == "project" and config.clock_period_ns != type(config)().clock_period_ns
    first, written = _choices_file(config, clock)
    lines = []
    if subject.kind == "project":
        lines.append(
            ["hls4attn", "convert", source, "--out", place, *board, "--backend", config.backend, *options, *written]
        )
    elif made is not None:
        folder = ["--out", place]
        if subject.kind == "archive":  # a build leaves its archive in its folder
            stem = subject.path.stem
            folder, place = ["--out", stem], f"{stem}/{place}"
        unbuilt = ["--dry-run"] if subject.record is None else []
        lines.append(
            ["hls4attn", "build", source, *unbuilt, *folder, *board, *_built_with(made, config, options), *written]
        )
    samples = ["--samples", str(found.samples if found else 0), "--seed", str(seed)]
    chosen = [*board, *options] if subject.kind == "model" else []
    stages = _stages(found)
    if found is not None and not written:
        lines.append(["hls4attn", "verify", source, *samples, *stages, *board, *options])
    lines.append(["hls4attn", "report", place, *samples, *stages, *chosen])
    return [*first, *(shlex.join(line) for line in lines)]


def _choices_file(config: HlsConfig, clock: bool) -> tuple[list[str], list[str]]:
    """A line that writes into a file what no option says, and the option that reads it; both empty without need.

    Args:
        config: the choices.
        clock: whether the clock is among them.
    """
    text = [f"clock_period_ns = {config.clock_period_ns!r}"] if clock else []
    if config.project_name != type(config)().project_name:
        text.append(f"project_name = {json.dumps(config.project_name)}")
    if config.layer_reuse_factor:
        pairs = (f"{json.dumps(name)} = {value}" for name, value in config.layer_reuse_factor.items())
        text.append(f"layer_reuse_factor = {{{', '.join(pairs)}}}")
    if not text:
        return [], []
    return [rf"printf '%s\n' {shlex.join(text)} > {CHOICES_FILE}"], ["--config", CHOICES_FILE]


def _stages(found: Verification | None) -> list[str]:
    """The option that names the stages, unless it was all there are."""
    if found is None:
        return []
    from hls4attn.host.flow import STAGES

    climbed = [str(r["stage"]) for r in found.rungs] + list(found.failed)
    return [] if set(STAGES) <= {*climbed, *found.absent} else ["--stages", ",".join(climbed)]


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


def reproduce_section(
    commands: Sequence[str], hashes: Sequence[tuple[str, str]], made: Made | None, seed: int | None
) -> Section:
    """Command lines, hashes and versions.

    Args:
        commands: that lead here.
        hashes: what, and its SHA-256.
        made: how the folder came about, if it is known.
        seed: of the random samples; None if nothing was drawn.
    """
    here = versions()
    where = "In a shell, in the folder that the model file or the results lie in; names are without their folders:"
    blocks: list[Block] = [Note(where), Commands(tuple(commands))]
    blocks += [Note("SHA-256 of what the results hang on:"), Facts(tuple(hashes), code=True)]
    then = {} if made is None else dict(made.versions)
    names = [name for name in {**then, **here} if then.get(name) != here.get(name)]
    other = tuple((f"{made.verb if made else ''}: {name}", then.get(name, "none")) for name in names)
    if made is not None and other:
        words = f"{made.verb} ran on {made.when} with other versions than this report:"
        blocks += [Note(words), Facts(other, code=True)]
    blocks.append(Note("This report was written with:"))
    facts = [*here.items()] + ([] if seed is None else [("Seed", str(seed))])
    return Section("reproduce", "Reproduce", (*blocks, Facts(tuple(facts), code=True)))
