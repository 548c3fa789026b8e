# SPDX-License-Identifier: Apache-2.0
"""Which points of a sweep are worth having: those that no other point beats in every objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.sweep.point import METRICS, Result
from hls4attn.models.errors import InputError

DIRECTIONS = ("min", "max")
DEFAULT_OBJECTIVES = ("accuracy:max", "interval_cycles:min", "dsp:min")


@dataclass(frozen=True)
class Objective:
    """A metric to make small or large.

    Attributes:
        metric: one of `METRICS`.
        direction: "min" or "max".
    """

    metric: str
    direction: str

    def __str__(self) -> str:
        return f"{self.metric}:{self.direction}"

    @property
    def title(self) -> str:
        """The metric as a person reads it, with its unit where it has one."""
        unit = METRICS[self.metric]
        words = self.metric.replace("_", " ")
        return f"{words} ({unit})" if unit and unit not in words else words

    def value(self, result: Result) -> float | None:
        """The metric of a result; None where it is not there."""
        value = result.metrics.get(self.metric)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return value


def parse_objectives(texts: Iterable[str], where: str = "objectives") -> tuple[Objective, ...]:
    """Objectives from texts such as ``accuracy:max``.

    Args:
        texts: one an objective.
        where: what to call their place in errors.

    Raises:
        InputError: for an unknown metric or direction, a metric named twice, or none at all.
    """
    found: list[Objective] = []
    for text in texts:
        metric, _, direction = str(text).partition(":")
        if metric not in METRICS:
            raise InputError(f"{where}: unknown metric {metric!r}; known: {', '.join(METRICS)}")
        if direction not in DIRECTIONS:
            raise InputError(f"{where}: write {metric}:min or {metric}:max. Received: {text!r}")
        if metric in {o.metric for o in found}:
            raise InputError(f"{where}: {metric} is named twice; keep one of them")
        found.append(Objective(metric, direction))
    if not found:
        raise InputError(f"{where}: at least one is needed, such as {DEFAULT_OBJECTIVES[0]!r}")
    return tuple(found)


def candidates(results: Iterable[Result], only_fitting: bool = True) -> list[Result]:
    """Results that could be built: evaluated, without a mismatch and, if asked for, known to fit their board."""
    return [
        r
        for r in results
        if r.status == "ok" and r.metrics.get("mismatches") == 0 and (r.metrics.get("fits") is True or not only_fitting)
    ]


def incomplete(results: Iterable[Result], objectives: Sequence[Objective]) -> list[tuple[Result, list[str]]]:
    """Results that cannot be compared, each with the names of the metrics that it lacks."""
    found = [(r, [o.metric for o in objectives if o.value(r) is None]) for r in results]
    return [(result, names) for result, names in found if names]


def front(results: Iterable[Result], objectives: Sequence[Objective], only_fitting: bool = True) -> list[Result]:
    """The Pareto front: results that no other result beats or equals everywhere and beats somewhere.

    A result that lacks the value of an objective is neither on the front nor does it keep others from it.  Results
    with the same values are on it together.

    Args:
        results: of a sweep; only `candidates` are looked at.
        objectives: what is better.
        only_fitting: whether a design that does not fit its board is left out.

    Returns:
        The front, best first in the order of the objectives.
    """
    rows = []
    for result in candidates(results, only_fitting):
        values = [o.value(result) for o in objectives]
        known = [v for v in values if v is not None]
        if len(known) == len(values):
            rows.append((result, known))
    if not rows:
        return []
    signs = np.array([1.0 if o.direction == "min" else -1.0 for o in objectives])
    costs = np.array([values for _, values in rows], dtype=float) * signs
    order = np.lexsort(costs.T[::-1])
    return [rows[i][0] for i in order[_undominated(costs[order])]]


def _undominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows no other row dominates.

    Args:
        costs: one row a point, smaller is better, sorted by the first column, ties by the next one: a row can then be
            dominated by earlier ones only.
    """
    new = np.ones(len(costs), bool)
    new[1:] = (costs[1:] != costs[:-1]).any(axis=1)  # equal rows stand together, and share their fate
    columns = np.ascontiguousarray(costs[new].T)
    kept = np.ones(columns.shape[1], bool)
    for i in range(len(kept)):
        if kept[i]:  # what dominates a row that is out dominates all that this row would put out
            beaten = np.ones(len(kept) - i - 1, bool)
            for column in columns[1:]:
                beaten &= column[i + 1 :] >= column[i]
            kept[i + 1 :] &= ~beaten
    return kept[np.cumsum(new) - 1]
