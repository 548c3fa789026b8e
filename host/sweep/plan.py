# SPDX-License-Identifier: Apache-2.0
"""The plan of a sweep: a TOML file that says which points there are, and what is sought among them."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hls4attn.host.flow import ALL_STAGES
from hls4attn.host.sweep.axes import Group, read_group
from hls4attn.host.sweep.pareto import DEFAULT_OBJECTIVES, Objective, parse_objectives
from hls4attn.host.sweep.point import MAX_TIMEOUT_S, OPERATORS, Point, point_key
from hls4attn.host.sweep.sources import operators_digest
from hls4attn.models.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_POINTS = 1_000_000
MAX_BYTES = 1 << 20
SEARCHES = ("grid", "random")
SYNTHESISERS = ("none", "yosys", "vivado")
_KEYS = (
    *("search", "points", "search_seed", "samples", "seed", "stages", "timeout", "objectives", "only_fitting"),
    *("synthesise", "axes", "group"),
)


@dataclass(frozen=True)
class SweepPlan:
    """Which points there are, and what is sought.

    Attributes:
        path: of the TOML file.
        source: its text.
        groups: products of axes.
        search: "grid": all points; "random": some of them.
        count: how many points.
        search_seed: of the random choice.
        objectives: what is better.
        only_fitting: whether only what fits its board is on the front.
        timeout_s: seconds that a point may take.
        common: settings that all points have: samples, seed, stages, synthesise, and installed operators if any.
    """

    path: Path
    source: str
    groups: tuple[Group, ...]
    search: str
    count: int
    search_seed: int
    objectives: tuple[Objective, ...]
    only_fitting: bool
    timeout_s: float
    common: Mapping[str, Any]

    def __len__(self) -> int:
        return self.count

    @property
    def resources(self) -> dict[str, float]:
        """What each point takes of the resources that all share."""
        return {"vivado": 1.0} if self.common["synthesise"] == "vivado" else {}

    def settings(self) -> Iterator[dict[str, Any]]:
        """Settings of all points, in order: a grid's groups one after the other, random ones as they are drawn."""
        starts = [0, *itertools.accumulate(g.size for g in self.groups)]
        for number in self._numbers(starts[-1]):
            place = next(i for i in range(len(self.groups)) if number < starts[i + 1])
            yield self.groups[place].settings(number - starts[place]) | dict(self.common)

    def points(self, evaluator: str) -> Iterator[Point]:
        """All points, in order.

        Args:
            evaluator: version of the evaluation, part of every key.
        """
        for settings in self.settings():
            yield Point(settings, point_key(settings, evaluator), self.resources)

    def _numbers(self, total: int) -> Iterator[int]:
        """Numbers of the points among all combinations, none twice."""
        if self.search == "grid":
            yield from range(total)
            return
        # A shuffle of which only the places that differ are kept; its start does not depend on how far it goes.
        draw, moved = random.Random(self.search_seed), dict[int, int]()
        for i in range(self.count):
            j = draw.randrange(i, total)
            yield moved.get(j, j)
            moved[j] = moved.pop(i, i)


def read_plan(path: Path) -> SweepPlan:
    """A plan from a TOML file; paths in it are relative to its folder.

    Args:
        path: the file.

    Raises:
        InputError: naming the file, the place in it, what was received, and what to do.
    """
    source = _read(path)
    try:
        content = tomllib.loads(source)
    except (ValueError, RecursionError) as error:  # these two also for digits and brackets by the thousand
        raise InputError(f"{path} is not valid TOML: {error}") from error
    table = content.pop("sweep", None)
    if not isinstance(table, dict):
        raise InputError(f"{path}: no [sweep] table; that is where a plan begins")
    if content:
        raise InputError(f"{path}: {', '.join(sorted(content))} beside the [sweep] table; move it into [sweep]")
    return _plan(path, source, table)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"Cannot read the plan {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: a plan has at most {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid TOML: it is no UTF-8 text") from error


def _plan(path: Path, source: str, table: dict[str, Any]) -> SweepPlan:
    where = f"{path}: [sweep]"
    if unknown := sorted(set(table) - set(_KEYS)):
        raise InputError(f"{where}: unknown keys {', '.join(unknown)}; known: {', '.join(_KEYS)}")
    groups = _groups(path, table)
    total = sum(g.size for g in groups)
    search = _one_of(where, "search", table.get("search", "grid"), SEARCHES)
    count = _count(where, table, search, total)
    objectives = table.get("objectives", list(DEFAULT_OBJECTIVES))
    if not isinstance(objectives, list):
        raise InputError(f"{where}: objectives is a list, such as {list(DEFAULT_OBJECTIVES)}. Received: {objectives!r}")
    only_fitting = table.get("only_fitting", True)
    if not isinstance(only_fitting, bool):
        raise InputError(f"{where}: only_fitting is true or false. Received: {only_fitting!r}")
    timeout = table.get("timeout", 600)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT_S:
        raise InputError(f"{where}: timeout is seconds a point, above 0, at most 30 days. Received: {timeout!r}")
    synthesise = _one_of(where, "synthesise", table.get("synthesise", "none"), SYNTHESISERS)
    idle = next((g for g in groups if synthesise != "vivado" and len(g.values["clock_period_ns"]) > 1), None)
    if idle is not None:
        raise InputError(
            f"{idle.where}: several values of clock_period_ns, on which no cycle and no resource depends: only Vivado "
            "looks at the clock. Keep one of them, or add synthesise = 'vivado' to [sweep]"
        )
    return SweepPlan(
        path=path,
        source=source,
        groups=groups,
        search=search,
        count=count,
        search_seed=_whole(where, "search_seed", table.get("search_seed", 0), 0, (1 << 32) - 1),
        objectives=parse_objectives(objectives, f"{where}: objectives"),
        only_fitting=only_fitting,
        timeout_s=float(timeout),
        common={
            "samples": _whole(where, "samples", table.get("samples", 1000), 1, 10_000_000),
            "seed": _whole(where, "seed", table.get("seed", 0), 0, (1 << 32) - 1),
            "stages": _stages(where, table.get("stages")),
            "synthesise": None if synthesise == "none" else synthesise,
            **({OPERATORS: operators} if (operators := operators_digest()) else {}),
        },
    )


def _groups(path: Path, table: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups; without [[sweep.group]] there is one, of [sweep.axes]."""
    axes, tables = table.get("axes", {}), table.get("group", [{}])
    if not isinstance(axes, dict):
        raise InputError(f"{path}: axes must be a table, [sweep.axes]. Received: {axes!r}")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise InputError(f"{path}: groups are tables, each begun with [[sweep.group]]. Received: {tables!r:.80}")
    groups: list[Group] = []
    folder = path.absolute().parent
    for number, own in enumerate(tables, 1):
        where = f"{path}: [[sweep.group]] {number}" if "group" in table else f"{path}: [sweep.axes]"
        group = read_group(where, _inherit(where, axes, own), folder)
        if same := next((g for g in groups if g.shares_with(group)), None):
            raise InputError(f"{where}: shares points with {same.where}; let an axis differ, or merge the two")
        groups.append(group)
    return tuple(groups)


def _inherit(where: str, axes: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A group's axes: the common ones, less those that it does without, and its own in their place."""
    without = own.get("without", [])
    if not isinstance(without, list) or not all(isinstance(name, str) for name in without):
        raise InputError(f"{where}: without is a list of axes. Received: {without!r}")
    if idle := [name for name in without if name not in axes]:
        raise InputError(f"{where}: without {', '.join(idle)}, which [sweep.axes] does not have; remove it")
    mine = {name: value for name, value in own.items() if name != "without"}
    if both := [name for name in without if name in mine]:
        raise InputError(f"{where}: without {', '.join(both)}, and yet with it; keep one of the two")
    return {name: value for name, value in axes.items() if name not in without} | mine


def _count(where: str, table: Mapping[str, Any], search: str, total: int) -> int:
    """How many points the search has."""
    if search == "grid":
        if needless := [key for key in ("points", "search_seed") if key in table]:
            raise InputError(f"{where}: {', '.join(needless)} belongs to search = 'random'; remove it, or search so")
        if total > MAX_POINTS:
            raise InputError(
                f"{where}: {total:,} points; at most {MAX_POINTS:,} can be run. "
                "Take shorter axes, or search = 'random' with points = N"
            )
        return total
    if "points" not in table:
        raise InputError(f"{where}: search = 'random' needs points = N, how many of the {total:,} to draw")
    count = _whole(where, "points", table["points"], 1, MAX_POINTS)
    if count > total:
        raise InputError(f"{where}: points = {count}, but there are only {total}; ask for fewer, or search = 'grid'")
    return count


def _stages(where: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v in ALL_STAGES for v in value):
        raise InputError(f"{where}: stages is a list of: {', '.join(ALL_STAGES)}. Received: {value!r}")
    return [stage for stage in ALL_STAGES if stage in value]


def _one_of(where: str, key: str, value: Any, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{where}: {key} must be one of: {', '.join(known)}. Received: {value!r}")
    return value


def _whole(where: str, key: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{where}: {key} must be a whole number from {low} to {high}. Received: {value!r}")
    return value
