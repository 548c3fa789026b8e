# SPDX-License-Identifier: Apache-2.0
"""The verb `build`: overlays up to their bitstreams, or as far as the tools on this machine allow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hls4attn.host.building.archive import write_archive
from hls4attn.host.building.asked import ALL, check_choices, check_rtl, overlay_names
from hls4attn.host.building.display import BuildDisplay
from hls4attn.host.building.origin import origin_files, write_origin
from hls4attn.host.building.plans import CHOICES, OVERLAYS, Plan, make_plan
from hls4attn.host.building.report import print_reports, tell_waiting, tell_written
from hls4attn.host.connect import chosen_board
from hls4attn.host.paths import check_output
from hls4attn.host.verbs.common import hls_settings, working
from hls4attn.models.errors import BuildError, Hls4attnError, InputError, NotBuiltError, ToolError
from hls4attn.models.files import write_json
from hls4attn.overlays.building.diagnosis import StageError
from hls4attn.overlays.building.finish import finish
from hls4attn.overlays.building.folder import Recipe, claim, locked, write_folder
from hls4attn.overlays.building.results import build_record
from hls4attn.overlays.building.runner import run_scripts
from hls4attn.overlays.building.tools import REMEDY, Tools, find_tools, missing

if TYPE_CHECKING:
    from hls4attn.overlays.scripts import Kernel

MAX_JOBS = 256


@dataclass(frozen=True)
class Job:
    """What the user asked for, checked.

    Attributes:
        dry_run: stop after everything is written and checked.
        jobs: runs of Vivado at a time.
        tools: found on PATH; none are looked for in a dry run.
        rtl: whether kernels are Verilog.
    """

    dry_run: bool
    jobs: int
    tools: Tools
    rtl: bool = False


def build(
    out: Console,
    err: Console,
    model: Path | None,
    overlay: str,
    board: str | None,
    folder: Path | None,
    *,
    dry_run: bool = False,
    jobs: int | None = None,
    json: Path | None = None,
    config: Path | None = None,
    choices: Mapping[str, Any] | None = None,
    rtl: bool = False,
) -> None:
    """Build one overlay, or all: then each, whatever becomes of the others.

    Args:
        out: for results.
        err: for progress and the lines of a log that explain a failure.
        model: ONNX file in place of the one that comes with the package.
        overlay: digits, operators, gaincell or all.
        board: name of the board.
        folder: build folder, of all: the folder that holds one for each; ``build/<overlay>-<board>`` if None.
        dry_run: run no tool.
        jobs: runs of Vivado at a time; half of the processors, at least 1, if None.
        json: file for the results.
        config: file with conversion options.
        choices: conversion options from the command line.
        rtl: kernels in Verilog, in place of C++ for high-level synthesis.

    Raises:
        NotBuiltError: if everything was written and checked but a tool is missing.
        StageError: if a tool failed.
        BuildError: after all overlays, if some failed.
    """
    names = overlay_names(overlay, model)
    choices = choices or {}
    check_choices(overlay, config, choices)
    if rtl:
        check_rtl(overlay, choices)
    if jobs is not None and not 1 <= jobs <= MAX_JOBS:
        raise InputError(f"--jobs must be from 1 to {MAX_JOBS}. Received: {jobs}")
    check_output(json, inputs=[model, config])
    board = chosen_board(board)
    tools = {} if dry_run else find_tools()
    job = Job(dry_run, jobs or max(1, (os.cpu_count() or 1) // 2), tools, rtl)
    defaults = {"io_type": "io_stream"}
    results: list[dict[str, Any]] = []
    failures: list[Hls4attnError] = []
    try:
        for name in names:
            mine = {key: value for key, value in choices.items() if key in CHOICES[name]}
            file = config if name == OVERLAYS[0] else None
            try:
                with working(err, f"{name}: reading"):
                    plan = make_plan(name, model, board, *hls_settings(board, file, mine, defaults), rtl, set(mine))
                target = _folder(folder, f"{plan.design.name}-{board}", overlay)
                results.append(_build_one(out, err, plan, target, job))
            except Hls4attnError as error:
                failure = {"message": str(error), "cause": getattr(error, "cause", None)}
                results.append({"overlay": name, "board": board, "built": False, "error": failure})
                if overlay != ALL:
                    raise
                failures.append(error)
                err.print(f"{name}: {error}", soft_wrap=True, markup=False, highlight=False)
    finally:
        if json and results:
            write_json(json, {"overlays": results})
    _judge(results, failures, job)


def _folder(given: Path | None, here: str, overlay: str) -> Path:
    """The build folder of an overlay."""
    if given is None:
        return (Path("build") / here).absolute()
    return (given / here if overlay == ALL else given).absolute()


def _judge(results: Sequence[Mapping[str, Any]], failures: Sequence[Hls4attnError], job: Job) -> None:
    """End as the worst of several overlays did; that a tool is missing is no failure of the overlay.

    Raises:
        BuildError: if some failed; its exit status is the largest of theirs.
        NotBuiltError: if none failed but some have no bitstream.
    """
    if failures:
        failed = [str(r["overlay"]) for r in results if "error" in r]
        error = BuildError(f"{len(failed)} of {len(results)} overlays failed: {', '.join(failed)}; see above for each")
        error.exit_code = max(failure.exit_code for failure in failures)
        raise error
    unbuilt = [str(r["overlay"]) for r in results if not r["built"]]
    if unbuilt and not job.dry_run:
        absent = dict.fromkeys(tool for r in results if not r["built"] for tool in r["missing"])
        raise NotBuiltError(
            f"No bitstream of {', '.join(unbuilt)}; not found on PATH: {' and '.join(absent)}. All else is "
            f"written and checked. {REMEDY}, here or on another machine that has this folder"
        )


def _build_one(out: Console, err: Console, plan: Plan, folder: Path, job: Job) -> dict[str, Any]:
    """Write, check and, with tools, build one overlay; returns what `--json` says of it."""
    design = plan.design
    with locked(folder) as lock:
        claim(folder, design)
        with working(err, f"{design.name}: writing kernels") as tell:
            recipe = _recipe(plan, folder)
            files = write_folder(recipe, folder)
            write_origin(plan, folder)
            tell(f"{design.name}: dry run")
            checked = _dry_run(err, recipe, folder, job.tools)
        tell_written(out, plan, folder, files, checked)
        result: dict[str, Any] = {"overlay": design.name, "board": design.board.name, "folder": str(folder)}
        result |= {"files": files, "dry_run": checked, "built": False, "not_run": [s.name for s in recipe.scripts]}
        if job.dry_run:
            out.print("  dry run: no tool was run", markup=False)
            return result
        waiting = _run(err, recipe, folder, job, lock)
        result["not_run"] = [script.name for script in waiting]
        if waiting:
            result["missing"] = missing(job.tools, {script.tool for script in recipe.scripts})
            tell_waiting(out, result["not_run"], folder, result["missing"])
            return result | {"record": build_record(recipe, folder, job.tools)}
        return result | {"built": True, **_finish(out, err, plan, recipe, folder, job)}


def _recipe(plan: Plan, folder: Path) -> Recipe:
    """Write the kernels' sources; everything else is text."""
    from hls4attn.overlays.scripts import overlay_scripts
    from hls4attn.overlays.shell import rtl_files

    kernels = plan.sources(folder / plan.place)
    rtl = {f"rtl/{name}": text.encode() for name, text in rtl_files(plan.design).items()}
    return Recipe(plan.design, overlay_scripts(plan.design, kernels), rtl, _paths(kernels, folder))


def _paths(kernels: Sequence[Kernel], folder: Path) -> tuple[str, ...]:
    found = [kernel.folder / name for kernel in kernels for name in (*kernel.files, *kernel.data)]
    return tuple(path.relative_to(folder).as_posix() for path in found)


def _run(err: Console, recipe: Recipe, folder: Path, job: Job, lock: int) -> Sequence[Any]:
    """Run the tools that are there; returns the scripts that were left."""
    if not job.tools:
        return recipe.scripts
    for tool in job.tools.values():
        err.print(f"  {tool.banner}: {tool.path}", soft_wrap=True, markup=False, highlight=False)
    try:
        with BuildDisplay(err) as display:
            return run_scripts(recipe, folder, job.tools, display, lock=lock, jobs=job.jobs).waiting
    except StageError as error:
        for line in error.excerpt:
            err.print(f"  | {line}", soft_wrap=True, markup=False, highlight=False)
        raise
    except KeyboardInterrupt:
        err.print("stopped with its tools; the same command goes on where it was", markup=False)
        raise


def _dry_run(err: Console, recipe: Recipe, folder: Path, tools: Tools) -> dict[str, Any]:
    """Run the scripts against the model of the tools, which takes seconds and finds what Vivado would find in hours.

    Raises:
        BuildError: for what it finds.
        ToolError: if it cannot be done, and no tool is there that could tell instead.
    """
    from hls4attn.overlays.dryrun import DEFAULT_VERSION, dry_run

    version = tools["vivado"].release if "vivado" in tools else DEFAULT_VERSION
    try:
        report = dry_run(recipe.scripts, folder, version, design=recipe.design)
    except ToolError as error:
        if "vivado" not in tools:
            raise
        return {"clean": None, "summary": f"dry run not done: {error}"}
    for problem in (*report.warnings, *report.problems):
        err.print(f"  | {problem}", soft_wrap=True, markup=False, highlight=False)
    if not report.clean:
        raise BuildError(
            f"dry run as Vivado {version}: {len(report.problems)} problems in the scripts in {folder}, the first: "
            f"{report.problems[0]}. Nothing was run; this is a defect of the scripts, not of your model"
        )
    addressed = len(report.addresses)
    summary = f"dry run as Vivado {version}: clean ({report.commands} commands, {len(report.cells)} cells, "
    return {**report.to_dict(), "summary": f"{summary}{addressed} address segments, all as in the handoff)"}


def _finish(out: Console, err: Console, plan: Plan, recipe: Recipe, folder: Path, job: Job) -> dict[str, Any]:
    """Pack what was built and print its reports."""
    with working(err, f"{plan.design.name}: packing"):
        package, record = finish(recipe, folder, job.tools)
        archive = write_archive(package, record, folder, {**plan.extra(), **origin_files(plan)})
    print_reports(out, record)
    out.print(f"  overlay: {package.bit} .hwh .json", soft_wrap=True, markup=False)
    out.print(f"  for a board without network: {archive}", soft_wrap=True, markup=False)
    return {"package": str(package.bit), "archive": str(archive), "record": record}
