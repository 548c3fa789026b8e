# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench sweep`: what a sweep costs beside its points, with points that do nothing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.host.paths import check_output
from hls4attn.host.sweep.point import Point
from hls4attn.host.sweep.runner import run_points
from hls4attn.host.verbs.common import working
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.files import write_json

WORK = f"{__name__}:nothing"
#: When memory is measured first: all that is made once is there by then.
EARLY = 0.2
MAX_POINTS = 1_000_000


@dataclass(frozen=True)
class Overhead:
    """What one run cost.

    Attributes:
        isolated: whether every point had a process of its own, as in a sweep.
        points: how many.
        workers: processes.
        start_s: from the call to the first result.
        seconds: from the first result to the last.
        ms_a_point: of wall time, with all workers busy.
        memory_mb: resident memory of the client with its scheduler, and of all other processes, at `EARLY` and at the
            end.
    """

    isolated: bool
    points: int
    workers: int
    start_s: float
    seconds: float
    ms_a_point: float
    memory_mb: Mapping[str, tuple[float, float]]


def nothing(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A point that has nothing to evaluate."""
    return {"number": settings["number"]}


def print_overhead(out: Console, err: Console, count: int, workers: int, json: Path | None) -> None:
    """Measure both ways, print a table, write JSON if asked for.

    Args:
        out: where the table is printed.
        err: where progress is.
        count: points of each run.
        workers: processes of the cluster on this machine.
        json: file for the figures.

    Raises:
        InputError: for a number out of range.
        ToolError: if Dask is missing.
    """
    check_output(json)
    if not 10 <= count <= MAX_POINTS:
        raise InputError(f"points must be 10 to {MAX_POINTS:,}. Received: {count}")
    found = []
    with working(err, "points") as tell:
        for isolated in (True, False):
            tell(f"{count:,} points, {_where(isolated)}")
            found.append(measure(count, workers, isolated))
    table = Table(box=None, pad_edge=False, title="a sweep of points that do nothing, on this machine")
    table.add_column("points run", overflow="fold")
    for name in ("points", "workers", "start s", "s", "ms a point", "client MB", "others MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in found:
        sizes = [f"{a:,.0f} -> {b:,.0f}" for a, b in run.memory_mb.values()]
        figures = (f"{run.points:,}", f"{run.workers}", f"{run.start_s:.1f}", f"{run.seconds:.1f}")
        table.add_row(_where(run.isolated), *figures, f"{run.ms_a_point:.2f}", *sizes)
    out.print(table)
    out.print(
        f"MB: resident memory after {EARLY:.0%} of the points and after all; client: with Dask's scheduler; others: "
        "workers and the processes that points are forked from",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    if json:
        write_json(json, [asdict(run) for run in found])


def measure(count: int, workers: int, isolated: bool) -> Overhead:
    """One run.

    Args:
        count: points.
        workers: processes.
        isolated: whether every point has a process of its own.

    Raises:
        ToolError: if Dask is missing, or a point fails.
    """
    first, sizes = 0.0, []
    begin = time.perf_counter()
    early = max(1, int(EARLY * count))
    results = run_points(_points(count), work=WORK, workers=workers, isolated=isolated)
    for number, result in enumerate(results, 1):
        if result.status != "ok":
            raise ToolError(f"A point that does nothing failed: {result.error}")
        if number == 1:
            first = time.perf_counter()
        if number in (early, count):
            sizes.append(_memory())
    seconds = time.perf_counter() - first
    memory = {name: (sizes[0][name], sizes[-1][name]) for name in sizes[0]}
    return Overhead(isolated, count, workers, first - begin, seconds, 1000 * seconds / (count - 1), memory)


def _points(count: int) -> Iterator[Point]:
    for number in range(count):
        yield Point({"number": number}, hashlib.sha256(f"{number}".encode()).hexdigest())


def _where(isolated: bool) -> str:
    return "each in a process of its own" if isolated else "in the workers"


def _memory() -> dict[str, float]:
    """Resident memory in MB, of this process and of all that it started."""
    import psutil  # comes with Dask

    me = psutil.Process()
    others = 0
    for process in me.children(recursive=True):
        try:
            others += process.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return {"client": me.memory_info().rss / 1e6, "others": others / 1e6}
