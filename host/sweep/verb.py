# SPDX-License-Identifier: Apache-2.0
"""`hls4attn sweep`: run the points of a plan, keep what comes of them, show the best."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from hls4attn.host.sweep.display import SweepDisplay
from hls4attn.host.sweep.outputs import Outputs, check_outputs, finish
from hls4attn.host.sweep.pareto import parse_objectives
from hls4attn.host.sweep.plan import SweepPlan, read_plan
from hls4attn.host.sweep.point import RESOURCES, Point
from hls4attn.host.sweep.show import settings_table, varying
from hls4attn.host.sweep.store import Store, check_file, journal_path
from hls4attn.host.versions import versions
from hls4attn.models.errors import InputError
from hls4attn.models.interruption import interruptible

#: Points that `--dry-run` lists and that tell which settings vary.
LISTED = 1000
RETRIES = 2


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
    from hls4attn.host.sweep.runner import check_running
    from hls4attn.host.sweep.work import find_work

    plan = read_plan(path)
    objectives = parse_objectives(outputs.objectives, "--objectives") if outputs.objectives else plan.objectives
    options: dict[str, Any] = {
        "work": running.work,
        "scheduler": running.scheduler,
        "workers": running.workers,
        "resources": _resources(plan, running),
        "timeout_s": plan.timeout_s if running.timeout_s is None else running.timeout_s,
    }
    check_running(options["timeout_s"], running.workers, running.scheduler, options["resources"])
    check_file(file)
    check_outputs(outputs, [path, file, journal_path(file)])
    find_work(running.work)
    evaluator = str(_attribute(running.work.partition(":")[0], "EVALUATOR"))
    keys = {p.key for p in plan.points(evaluator)}
    store = Store.open(file, _meta(plan, evaluator), keys)
    finished = False
    try:
        ended = {key: status for key, status in store.ended().items() if key in keys}
        _tell_taken_over(err, ended, running.retry_failed, store.earlier_versions)
        done = sum(status == "ok" or not running.retry_failed for status in ended.values())
        count = min(len(keys) - done, running.limit or len(keys))
        left = islice(_left(plan, evaluator, ended, running.retry_failed), count)
        names = varying(list(islice(plan.settings(), LISTED)))
        with SweepDisplay(err, count, done, _at_a_time(plan, running, options["resources"]), names) as display:
            if count:  # no cluster is made for nothing
                _run(left, options, store, display, len(keys))
        finished = keys <= set(store.ended())
        rows = store.results()
    finally:
        store.close(finished)
    finish(out, _meta(plan, evaluator), rows, objectives, plan.only_fitting, outputs)
    out.print(display.summary(), soft_wrap=True, markup=False, highlight=False)
    if len(rows) < len(keys):
        out.print(f"{len(keys) - len(rows)} points are left; the same command goes on", markup=False, highlight=False)
    out.print(f"written: {file}", soft_wrap=True, markup=False)
    return 1 if rows and not any(r.status == "ok" for r in rows) else 0


def _left(plan: SweepPlan, evaluator: str, ended: Mapping[str, str], retry_failed: bool) -> Iterator[Point]:
    """Points to run: those without a result, then, if they are to run again, failed ones, the longest ago first.

    So a sweep in parts, of `--limit` points or up to an interruption, gets to all of them.
    """
    yield from (p for p in plan.points(evaluator) if p.key not in ended)
    failed = {key for key, status in ended.items() if status != "ok"} if retry_failed else set()
    if failed:
        there = {p.key: p for p in plan.points(evaluator) if p.key in failed}
        yield from (there[key] for key in ended if key in failed)


def _run(points: Iterable[Point], options: Mapping[str, Any], store: Store, display: SweepDisplay, total: int) -> None:
    """Run points, of so many that the plan has, and keep and show what comes of each."""
    from hls4attn.host.sweep.runner import run_points

    results = run_points(points, retries=RETRIES, tell=display.say, **options)
    try:
        with interruptible(), closing(results):
            for result in results:
                store.add(result)
                display.arrived(result)
    except KeyboardInterrupt:
        display.interrupted(store.path, total)
        raise


def _resources(plan: SweepPlan, running: Running) -> dict[str, float]:
    """How much of each resource all points together may take; a misspelt name would bound nothing."""
    given = dict(running.resources or {})
    if unknown := sorted(set(given) - set(RESOURCES)):
        raise InputError(f"--resources {', '.join(unknown)}: points take only {', '.join(RESOURCES)}; remove it")
    for name, amount in plan.resources.items():
        if running.scheduler is None:
            given.setdefault(name, 1.0)  # one licence, where nobody says how many there are
        if given.get(name, amount) < amount:
            raise InputError(f"--resources {name}={given[name]:g}: a point takes {amount:g}; give as much or more")
    return given


def _tell_taken_over(
    err: Console, ended: Mapping[str, str], retry_failed: bool, earlier: Sequence[Mapping[str, str]]
) -> None:
    """Say what is not computed anew, and that other versions computed some of it, which no key can know."""
    bad = 0 if retry_failed else sum(status != "ok" for status in ended.values())
    done = sum(status == "ok" for status in ended.values()) + bad
    if not done:
        return
    lines = [f"{done} points are finished already and taken over"]
    if bad:
        lines[0] += f", {bad} of them failed, too slow or lost: --retry-failed runs these again"
    if earlier:
        now = versions()
        others = ", ".join(f"{name} {value}" for name, value in earlier[-1].items() if now.get(name, value) != value)
        lines.append(f"some results may be of other versions ({others}); another --out computes all of them anew")
    for line in lines:
        err.print(line, soft_wrap=True, markup=False, highlight=False)


def _meta(plan: SweepPlan, evaluator: str) -> dict[str, Any]:
    return {
        "plan": plan.source,
        "plan_file": plan.path.name,
        "points": len(plan),
        "objectives": [str(o) for o in plan.objectives],
        "only_fitting": plan.only_fitting,
        "versions": {**versions(), "evaluator": evaluator},
    }


def _at_a_time(plan: SweepPlan, running: Running, resources: Mapping[str, float]) -> int | None:
    """How many points run at a time; None where only the scheduler knows."""
    if running.scheduler is not None:
        return None
    shares = [int(resources[name] // amount) for name, amount in plan.resources.items()]
    return min([running.workers or len(os.sched_getaffinity(0)), *shares])


def _attribute(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise InputError(f"{module} has no {name}, which says when old results count no more") from error
