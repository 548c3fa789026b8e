# SPDX-License-Identifier: Apache-2.0
"""`hls4attn sweep`: run the points of a plan, keep what comes of them, show the best."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from hls4attn.host.estimate import check_chart
from hls4attn.host.paths import check_output
from hls4attn.host.sweep.display import SweepDisplay, versions
from hls4attn.host.sweep.pareto import Objective, parse_objectives
from hls4attn.host.sweep.plan import SweepPlan, read_plan
from hls4attn.host.sweep.point import Point, Result
from hls4attn.host.sweep.show import as_dict, counts, draw, print_front, settings_table, varying
from hls4attn.host.sweep.store import Store, SweepFile, check_file, journal_path, read_results
from hls4attn.models.errors import InputError
from hls4attn.models.files import atomic_write, write_json

#: Points that `--dry-run` lists and that tell which settings vary.
LISTED = 1000
RETRIES = 2


@dataclass(frozen=True)
class Outputs:
    """What is written besides the results.

    Attributes:
        json: file for front and counts.
        chart: .png or .svg.
        objectives: instead of the plan's.
    """

    json: Path | None = None
    chart: Path | None = None
    objectives: Sequence[str] = ()


@dataclass(frozen=True)
class Running:
    """How points are run.

    Attributes:
        scheduler: address of an existing Dask scheduler; None: workers on this machine.
        workers: of a cluster on this machine; None: one a processor.
        resources: Dask resources, and how much of each there is.
        timeout_s: seconds a point instead of the plan's.
        limit: at most so many points in this run.
        retry_failed: run failed, hanging and lost points again.
        work: what evaluates a point, ``module:function``, with an EVALUATOR beside it.
    """

    scheduler: str | None = None
    workers: int | None = None
    resources: Mapping[str, float] | None = None
    timeout_s: float | None = None
    limit: int | None = None
    retry_failed: bool = False
    work: str = "hls4attn.host.sweep.evaluate:evaluate"


def list_points(out: Console, path: Path, limit: int | None) -> None:
    """`--dry-run`: the points of a plan, none of which is run."""
    plan = read_plan(path)
    shown = min(limit or LISTED, LISTED)
    out.print(settings_table(list(islice(plan.settings(), shown))))
    if shown < len(plan):
        out.print(f"and {len(plan) - shown:,} more", markup=False, highlight=False)
    out.print(f"{len(plan):,} points, {plan.search} search; nothing was run", markup=False, highlight=False)


def show(out: Console, file: Path, outputs: Outputs) -> None:
    """`--show`: the front of a file of results."""
    check_outputs(outputs, [file])
    held = read_results(file)
    objectives, only_fitting = sought(held, outputs.objectives)
    total = held.meta.get("points")
    ends = ", ".join(f"{n} {status}" for status, n in counts(held.results).items() if n)
    out.print(f"{file}: {len(held.results)} of {total} points are there: {ends or 'none'}", markup=False)
    if held.others:
        out.print(f"{len(held.others)} results of earlier plans are in the file, not in the table", markup=False)
    _finish(out, held.meta, held.results, objectives, only_fitting, outputs)


def sought(held: SweepFile, instead: Sequence[str] = ()) -> tuple[tuple[Objective, ...], bool]:
    """Objectives of a file of results, and whether only designs that fit count.

    Args:
        held: the file.
        instead: other objectives than the file's.
    """
    texts = list(instead) or held.meta.get("objectives") or []
    return parse_objectives(texts), bool(held.meta.get("only_fitting", True))


def sweep(out: Console, err: Console, path: Path, file: Path, running: Running, outputs: Outputs) -> int:
    """Run what is left of a plan.

    Args:
        out: where results are printed.
        err: where progress is.
        path: the plan.
        file: of results; what it holds is not run again.
        running: how.
        outputs: what else is written.

    Returns:
        Exit code: 0, or 1 if there are results and none is an evaluated point.

    Raises:
        InputError: for a plan or a file that cannot be used, before anything runs.
        KeyboardInterrupt: after an interruption; what is finished is kept.
    """
    from hls4attn.host.sweep.runner import run_points
    from hls4attn.host.sweep.work import find_work

    plan = read_plan(path)
    objectives = parse_objectives(outputs.objectives, "--objectives") if outputs.objectives else plan.objectives
    check_file(file)
    check_outputs(outputs, [path, file, journal_path(file)])
    find_work(running.work)
    evaluator = str(_attribute(running.work.partition(":")[0], "EVALUATOR"))
    keys = {p.key for p in plan.points(evaluator)}
    store = Store.open(file, _meta(plan, evaluator), keys)
    finished = False
    try:
        done = store.done(running.retry_failed) & keys
        left = (p for p in plan.points(evaluator) if p.key not in done)
        count = min(len(keys) - len(done), running.limit or len(keys))
        names = varying(list(islice(plan.settings(), LISTED)))
        _tell_taken_over(err, store, done, running.retry_failed)
        with SweepDisplay(err, count, len(done), _workers(running), names) as display:
            try:
                with interruptible(), closing(_results(run_points, left, count, plan, running, display)) as results:
                    for result in results:
                        store.add(result)
                        display.arrived(result)
            except KeyboardInterrupt:
                err.print(
                    f"{display.taken_over + display.finished.total()} of {len(keys)} points are finished and kept in "
                    f"{file}; the same command goes on with the others",
                    soft_wrap=True,
                    markup=False,
                )
                raise
        finished = len(store.done() & keys) == len(keys)
        rows = store.results()
    finally:
        store.close(finished)
    _finish(out, _meta(plan, evaluator), rows, objectives, plan.only_fitting, outputs)
    out.print(display.summary(), soft_wrap=True, markup=False, highlight=False)
    if len(rows) < len(keys):
        out.print(f"{len(keys) - len(rows)} points are left; the same command goes on", markup=False, highlight=False)
    out.print(f"written: {file}", soft_wrap=True, markup=False)
    return 1 if rows and not any(r.status == "ok" for r in rows) else 0


def _results(
    run_points: Callable[..., Iterator[Result]],
    left: Iterator[Point],
    count: int,
    plan: SweepPlan,
    running: Running,
    display: SweepDisplay,
) -> Generator[Result, None, None]:
    """The results of this run; no cluster is made for none."""
    if count == 0:
        return
    resources = dict(running.resources or {})
    if running.scheduler is None and plan.common["synthesise"] == "vivado":
        resources.setdefault("vivado", 1.0)  # one licence, where nobody says how many there are
    yield from run_points(
        islice(left, count),
        work=running.work,
        scheduler=running.scheduler,
        workers=running.workers,
        resources=resources,
        timeout_s=running.timeout_s or plan.timeout_s,
        retries=RETRIES,
        tell=display.say,
    )


def _finish(
    out: Console,
    meta: Mapping[str, Any],
    results: Sequence[Result],
    objectives: Sequence[Objective],
    only_fitting: bool,
    outputs: Outputs,
) -> None:
    """Print and write what the results say."""
    print_front(out, results, objectives, only_fitting)
    if outputs.json:
        write_json(outputs.json, as_dict(meta, results, objectives, only_fitting))
    if outputs.chart:
        atomic_write(outputs.chart, draw(results, objectives, outputs.chart.suffix[1:].lower(), only_fitting))


def _tell_taken_over(err: Console, store: Store, done: set[str], retry_failed: bool) -> None:
    if not done:
        return
    line = f"{len(done)} points are finished already and taken over"
    bad = sum(r.status != "ok" for r in store.results())
    if bad and not retry_failed:
        line += f", {bad} of them failed, too slow or lost: --retry-failed runs these again"
    err.print(line, soft_wrap=True, markup=False, highlight=False)


def _meta(plan: SweepPlan, evaluator: str) -> dict[str, Any]:
    return {
        "plan": plan.source,
        "plan_file": plan.path.name,
        "points": len(plan),
        "objectives": [str(o) for o in plan.objectives],
        "only_fitting": plan.only_fitting,
        "versions": versions(evaluator),
    }


def _workers(running: Running) -> int | None:
    """How many points run at a time; None where only the scheduler knows."""
    if running.scheduler is not None:
        return None
    return running.workers or len(os.sched_getaffinity(0))


def _attribute(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise InputError(f"{module} has no {name}, which says when old results count no more") from error


def check_outputs(outputs: Outputs, inputs: Sequence[Path]) -> None:
    """Refuse what could not be written.

    Raises:
        InputError: saying which file, and why.
    """
    check_output(outputs.json, inputs=inputs)
    check_chart(outputs.chart, inputs=[*inputs, outputs.json])


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM, by which a cluster's queue ends a job, stops a sweep as Ctrl-C does."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not in the main thread: signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
