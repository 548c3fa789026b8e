# SPDX-License-Identifier: Apache-2.0
"""A sweep's points as a picture: by the first two objectives, with the Pareto front of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hls4attn.host.estimate import figure, render
from hls4attn.host.sweep.pareto import Objective, candidates, front
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.show import counts, label, varying

#: Axes that a chart is coloured by: the first of them that varies.
_COLOURS = ("score", "board", "io_type", "norm", "model", "activation_bits", "weight_bits", "backend")
_MAX_COLOURS = 10
#: Points of the front that are named, and of all points from which on those beside it are pixels.
NAMED, CROWD = 24, 1500
#: A long scale of numbers is logarithmic.
_SPAN = 50


def draw(results: Sequence[Result], objectives: Sequence[Objective], kind: str, only_fitting: bool = True) -> bytes:
    """The points as the bytes of a file.

    Args:
        results: of a sweep.
        objectives: the first is drawn upwards, the second to the right; of more, the front is that of all.
        kind: png or svg.
        only_fitting: as `front`.
    """
    drawn = figure(8, 5)
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):  # a file's name may have dollars
        axis, best = drawn.subplots(), front(results, objectives, only_fitting)
        scatter(axis, results, objectives, best)
        axis.legend(fontsize=8)
        drawn.suptitle(_caption(results, objectives, best), fontsize=9)
        return render(drawn, kind)


def title(objectives: Sequence[Objective]) -> str:
    """What the picture shows, in words."""
    return f"{objectives[0].title} over {_right(objectives).title}"


def _right(objectives: Sequence[Objective]) -> Objective:
    """The objective that is drawn to the right; of a single one, itself."""
    return objectives[:2][-1]


def drawable(results: Sequence[Result], objectives: Sequence[Objective]) -> list[Result]:
    """The results that have a place in the picture: evaluated, without a mismatch, with the first two objectives."""
    return [r for r in candidates(results, False) if all(o.value(r) is not None for o in objectives[:2])]


def scatter(
    axis: Any,
    results: Sequence[Result],
    objectives: Sequence[Objective],
    best: Sequence[Result],
    name: Callable[[Result], str] | None = None,
) -> None:
    """Draw the points into axes of matplotlib, in the colours of the style that holds.

    Args:
        axis: the axes.
        results: as `draw`.
        objectives: as `draw`.
        best: the front of all objectives.
        name: what is written beside a point of the front.
    """
    from matplotlib import rcParams

    ink = rcParams["axes.edgecolor"]
    up, right = objectives[0], _right(objectives)
    shown = drawable(results, objectives)
    places = {r.key: (right.value(r) or 0.0, up.value(r) or 0.0) for r in shown}
    line = sorted(best, key=lambda r: places[r.key])
    axis.plot(*_columns(line, places), color="grey", linewidth=0.8, label="Pareto front", zorder=1)
    for place, (group, those) in enumerate(_groups(shown).items()):
        colour = f"C{place}"
        for some, style in _kinds(those, {r.key for r in best}, ink, len(shown) > CROWD):
            axis.scatter(*_columns(some, places), color=colour, **style)
        axis.scatter([], [], s=40, color=colour, label=group)
    if any(r.metrics.get("fits") is not True for r in shown):
        axis.scatter([], [], s=30, marker="x", color=ink, label="does not fit its board")
    if name:
        for number, result in enumerate(line[:NAMED]):
            offset = 5, -13 if number % 2 else 7  # neighbours above and below
            axis.annotate(name(result), places[result.key], offset, textcoords="offset points", fontsize=7.5)
    axis.set_xlabel(f"{right.title}, {_better(right)}")
    axis.set_ylabel(f"{up.title}, {_better(up)}")
    _scale(axis, [x for x, _ in places.values()])
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.margins(0.08)


def _kinds(
    those: Sequence[Result], ringed: set[str], ink: str, crowd: bool
) -> Iterator[tuple[list[Result], dict[str, Any]]]:
    """Points that look alike, and how; beside the front, many points are pixels, so that a file stays small."""
    beside = [r for r in those if r.key not in ringed]
    fitting = [r.metrics.get("fits") is True for r in beside]
    yield [r for r in those if r.key in ringed], {"s": 70, "edgecolors": ink, "zorder": 3}
    small = {"s": 8 if crowd else 24, "alpha": 0.5, "linewidths": 0, "rasterized": crowd}
    yield [r for r, fits in zip(beside, fitting, strict=True) if fits], small
    crossed = {"s": 10 if crowd else 30, "marker": "x", "linewidths": 0.5 if crowd else 1.5, "rasterized": crowd}
    yield [r for r, fits in zip(beside, fitting, strict=True) if not fits], crossed


def _columns(results: Sequence[Result], places: Mapping[str, tuple[float, float]]) -> tuple[list[float], list[float]]:
    found = [places[r.key] for r in results]
    return [x for x, _ in found], [y for _, y in found]


def _scale(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic scale where values lie far apart, with plain numbers: powers of ten are markup, not text."""
    if not values or min(values) <= 0 or max(values) <= _SPAN * min(values):
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.xaxis.set_minor_formatter(lambda value, _: "")


def _caption(results: Sequence[Result], objectives: Sequence[Objective], best: Sequence[Result]) -> str:
    bad = ", ".join(f"{count} {status}" for status, count in counts(results).items() if count and status != "ok")
    missing = sum(r.status == "ok" for r in results) - len(drawable(results, objectives))
    wanted = ", ".join(map(str, objectives))
    return (
        f"{len(results)} points: {len(best)} on the Pareto front of {wanted} (large, ringed)\n"
        f"not drawn: {bad or 'no failure'}, {missing} with mismatches or without a value"
    )


def _better(objective: Objective) -> str:
    return "less is better" if objective.direction == "min" else "more is better"


def _groups(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The points by their colour, each with its words, in the order of these."""
    colour = _colour(results)
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(_group(result, colour), []).append(result)
    return dict(sorted(found.items()))


def _colour(results: Sequence[Result]) -> str | None:
    """The setting that points are coloured by."""
    varied = varying([r.settings for r in results])
    for name in (*_COLOURS, *varied):
        if name in varied and len({_group(r, name) for r in results}) <= _MAX_COLOURS:
            return name
    return None


def _group(result: Result, colour: str | None) -> str:
    """What a colour stands for; a model that is quantised already has no such setting, and stands for itself."""
    if not colour:
        return "points"
    name = colour if result.settings.get(colour) is not None else "model"
    return f"{name.replace('_', ' ')}: {label(name, result.settings.get(name))}"
