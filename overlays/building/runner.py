# SPDX-License-Identifier: Apache-2.0
"""Running the scripts of a build, stage by stage, and going on after an interruption."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hls4attn.models.errors import BuildError
from hls4attn.models.interruption import interruptible
from hls4attn.overlays.building.diagnosis import StageError, explain
from hls4attn.overlays.building.folder import Recipe, absent
from hls4attn.overlays.building.handoff import STAGE as DRAWING
from hls4attn.overlays.building.handoff import check_drawn
from hls4attn.overlays.building.phases import phase_of
from hls4attn.overlays.building.process import modified, run_tool
from hls4attn.overlays.building.reports import Timing, parse_timing
from hls4attn.overlays.building.state import State, script_keys
from hls4attn.overlays.building.tools import Tools
from hls4attn.overlays.scripts import Script

RUN_LOGS = "vivado/*.runs/*/runme.log"
TIMING = "reports/timing.rpt"
JOBS = "HLS4ATTN_JOBS"  # read by the scripts that launch runs


class Display(Protocol):
    """Who is told how a build goes on."""

    def begin(self, script: Script, number: int, count: int) -> None:
        """A script starts; it is the given one of so many."""

    def phase(self, text: str) -> None:
        """What the tool is doing now."""

    def end(self, script: Script, seconds: float) -> None:
        """It is done."""

    def kept(self, script: Script) -> None:
        """It was done before."""


@dataclass(frozen=True)
class Outcome:
    """What ran.

    Attributes:
        ran: names of the scripts that ran now.
        kept: names of those that were done before.
        waiting: those whose tool is not there.
    """

    ran: tuple[str, ...]
    kept: tuple[str, ...]
    waiting: tuple[Script, ...]


def run_scripts(recipe: Recipe, folder: Path, tools: Tools, display: Display, *, lock: int, jobs: int) -> Outcome:
    """Run what is not done yet, up to the first script whose tool is missing.

    Args:
        recipe: of the folder.
        folder: written by `write_folder`.
        tools: found on PATH.
        display: told about the progress.
        lock: descriptor of the folder's lock.
        jobs: runs of Vivado at a time.

    Raises:
        StageError: for the first script that fails.
        KeyboardInterrupt: if interrupted; the tool has been stopped, and what was done stays done.
    """
    keys = script_keys(recipe.scripts, folder, tools)
    runnable = recipe.scripts[: len(keys)]
    state = State.read(folder)
    ran: list[str] = []
    kept: list[str] = []
    stage_of_first = None  # later stages stand on the result of one that ran again
    with interruptible():
        for number, script in enumerate(runnable, 1):
            outdated = stage_of_first is not None and script.stage != stage_of_first
            if not outdated and state.is_done(script, keys[script.name]):
                display.kept(script)
                kept.append(script.name)
                continue
            stage_of_first = stage_of_first or script.stage
            display.begin(script, number, len(runnable))
            state.forget(script)
            seconds = _run(script, recipe, folder, tools, display, lock, jobs)
            state.record(script, keys[script.name], seconds)
            display.end(script, seconds)
            ran.append(script.name)
    return Outcome(tuple(ran), tuple(kept), recipe.scripts[len(keys) :])


def _run(script: Script, recipe: Recipe, folder: Path, tools: Tools, display: Display, lock: int, jobs: int) -> float:
    """Run one script and check what it left."""
    if lost := absent(folder, script.reads):
        raise StageError(
            script.stage,
            "missing input",
            f"{', '.join(lost)} not there, which {script.name} reads",
            f"remove {folder / 'state.json'} and build again",
        )
    _remove_old(script, recipe, folder)
    log = folder / "logs" / f"{script.name}.log"
    start, clock = time.time(), time.monotonic()
    last = ""

    def on_line(line: str) -> None:
        nonlocal last
        text = phase_of(line)
        if text and text != last:
            last = text
            display.phase(text)

    def run_logs() -> list[Path]:
        return sorted(folder.glob(RUN_LOGS)) if script.tool == "vivado" else []

    command = tools[script.tool].command(script)
    environment = {JOBS: str(jobs)}
    status = run_tool(command, folder, log, on_line, environment=environment, keep_open=[lock], further=run_logs)
    fresh = [path for path in run_logs() if modified(path) >= start - 1]  # others tell of earlier runs
    left_out = absent(folder, script.writes)
    if status:
        raise explain(script.stage, status, log, fresh, folder)
    if TIMING in script.writes and TIMING not in left_out:
        check_timing(script.stage, folder / TIMING)
    if left_out:
        error = explain(script.stage, status, log, fresh, folder)
        if error.cause == "error":
            message = f"{tools[script.tool].launcher} reported success but left no {', '.join(left_out)}"
            error = StageError(script.stage, "missing output", message, "see the log", log, error.excerpt)
        raise error
    if script.stage == DRAWING:
        check_drawn(recipe.design, folder)
    return time.monotonic() - clock


def check_timing(stage: str, report: Path) -> Timing:
    """Refuse a design that misses its clock.

    Raises:
        StageError: with the worst slacks and the number of endpoints that fail.
        BuildError: if the report is not complete.
    """
    text = report.read_text(errors="replace")
    timing = parse_timing(text, str(report))
    if timing.met:
        return timing
    failing = sum(n or 0 for n in (timing.setup_failing, timing.hold_failing, timing.pulse_failing))
    raise StageError(
        stage,
        "timing",
        f"constraints are not met: worst slack {timing.wns_ns} ns (setup), {timing.whs_ns} ns (hold), {failing} "
        "failing endpoints; a bitstream of it would compute wrong results",
        "lower --clock, or choose a larger --reuse",
        report,
        [line for line in text.splitlines() if "VIOLATED" in line][:5],
    )


def _remove_old(script: Script, recipe: Recipe, folder: Path) -> None:
    """Old results of a script must not pass for new ones; files that it only goes on writing stay."""
    before = recipe.scripts[: recipe.scripts.index(script)]
    shared = {*script.reads, *(path for other in before for path in other.writes)}
    for path in script.writes:
        if path not in shared and (folder / path).is_file():
            try:
                (folder / path).unlink()
            except OSError as error:
                raise BuildError(f"Cannot remove {folder / path}, an old result: {error.strerror}") from error
