# SPDX-License-Identifier: Apache-2.0
"""The report of a sweep: its plan, the front, all points, and what went wrong."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from hls4attn.host.report.content import (
    Block,
    Column,
    Commands,
    Facts,
    Log,
    Note,
    Page,
    Picture,
    Section,
    Table,
    Tile,
)
from hls4attn.host.report.figures import figure_sweep
from hls4attn.host.report.made import written
from hls4attn.host.report.points import KEY, Shown, points_section, words_of
from hls4attn.host.sweep.chart import drawable, title
from hls4attn.host.sweep.outputs import sought
from hls4attn.host.sweep.pareto import Objective, front
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.show import counts, number, remarks, varying
from hls4attn.host.sweep.store import read_results
from hls4attn.host.versions import versions

#: Failures that are told with their logs; all are in the table of points.
LOGS = 200
#: Characters of the end of a log that are shown.
LOG_END = 4_000


def sweep_page(path: Path) -> Page:
    """All that a file of results says.

    Args:
        path: of the results.

    Raises:
        InputError: if it is no file of results.
    """
    held = read_results(path)
    objectives, fitting = sought(held)
    best = front(held.results, objectives, fitting)
    ends = {status: count for status, count in counts(held.results).items() if count}
    total = held.meta.get("points") or len(held.results)
    wanted = _wanted(objectives)
    failed = sum(n for status, n in ends.items() if status != "ok")
    words = ", ".join(f"{n:,} {s}" for s, n in ends.items() if s != "ok")
    tiles = [
        Tile("Points", f"{len(held.results):,} of {total:,}", "so far" if len(held.results) < total else "finished"),
        Tile("On the Pareto front", f"{len(best):,}", wanted),
        Tile("Failed", f"{failed:,}", words, "bad" if failed else "good"),
        *(_best_tile(o, best) for o in objectives[:1] if best),
    ]  # fmt: skip
    shown = Shown.of(held.results, objectives)
    sections = (
        _plan(held.meta, ends, total),
        _front(shown, held.results, best, objectives, fitting),
        points_section(shown, held.results, best),
        _failures(held.results),
        _reproduce(path, held.meta, len(held.others)),
    )
    lead = (
        f"{len(held.results):,} of {total:,} configurations; each is converted, verified against the integer "
        "reference and estimated."
    )
    return Page(path.name, "Sweep", lead, written(), tuple(tiles), sections)


def _wanted(objectives: Sequence[Objective]) -> str:
    """The objectives in words."""
    ends = {"max": "highest", "min": "lowest"}
    return ", ".join(f"{ends[o.direction]} {words_of(o.metric)}" for o in objectives)


def _best_tile(objective: Objective, best: Sequence[Result]) -> Tile:

    value = number(best[0].metrics.get(objective.metric), objective.metric)
    return Tile(_wanted([objective]).capitalize(), value, "of the points on the front")


def _plan(meta: Mapping[str, Any], ends: Mapping[str, int], total: int) -> Section:
    rows = tuple((status, f"{count:,}") for status, count in ends.items())
    done = sum(ends.values())
    blocks: list[Block] = [Facts((("Plan", str(meta.get("plan_file") or "not recorded")), ("Points", f"{total:,}")))]
    blocks.append(
        Table("How the points ended", (Column("status"), Column("points", True)), rows)
        if rows
        else Note("No point has finished.", "why")
    )
    if done < total:
        blocks.append(
            Note(f"{total - done:,} points have not been run yet: the same command goes on with them.", "why")
        )
    if text := meta.get("plan"):
        blocks.append(Log("The plan's file", str(text)))
    return Section("plan", "Plan", tuple(blocks))


def _front(
    shown: Shown, results: Sequence[Result], best: Sequence[Result], objectives: Sequence[Objective], fitting: bool
) -> Section:

    blocks: list[Block] = []
    if best:
        which = "Points that fit their board and that" if fitting else "Points that"
        lead = (
            f"{which} no other one beats, being as good in everything and better in something: {_wanted(objectives)}."
        )
        blocks.append(Note(lead))
        main = shown.main(objectives)
        blocks.append(Table("Best first", main.columns(), tuple(map(main.cells, best)), sortable=len(best) > 2))
    blocks += [Note(line[:1].upper() + line[1:], "why") for line in remarks(results, objectives, fitting, bool(best))]
    blocks.append(_picture(shown, results, best, objectives))
    return Section("front", "Pareto front", tuple(blocks))


def _picture(shown: Shown, results: Sequence[Result], best: Sequence[Result], objectives: Sequence[Objective]) -> Block:
    drawn = drawable(results, objectives)
    if not drawn:
        return Note("No chart: no point without a mismatch has both of the first two objectives.", "why")
    differing = Shown(varying([r.settings for r in best]) or shown.settings, ())
    picture, heading = figure_sweep(results, objectives, best, differing.name), title(objectives)
    words = f"{len(drawn):,} points without a mismatch, {len(best)} of them on the front of all objectives."
    return Picture.of_svg("pareto", heading[:1].upper() + heading[1:], picture, words)


def _failures(results: Sequence[Result]) -> Section:
    bad = [r for r in results if r.status != "ok"]
    if not bad:
        return Section("failures", "Failures", (Note("No point failed, hung or lost its worker.", "good"),))
    blocks: list[Block] = [Log(f"{r.key[:KEY]} {r.status}: {r.error}", _end(r.log)) for r in bad[:LOGS]]
    if len(bad) > LOGS:
        blocks.append(
            Note(f"{len(bad) - LOGS:,} more are in the table of points; the file of results has their logs.", "why")
        )
    return Section("failures", "Failures", tuple(blocks))


def _end(log: str) -> str:
    """The end of a log, from the beginning of a line."""
    if len(log) <= LOG_END:
        return log or "no output"
    kept = log[-LOG_END:].partition("\n")[2] or log[-LOG_END:]
    return f"({len(log) - len(kept):,} characters before this are in the file of results)\n{kept}"


def _reproduce(path: Path, meta: Mapping[str, Any], others: int) -> Section:
    found, plan, place = meta.get("versions"), str(meta.get("plan_file") or "PLAN.toml"), shlex.quote(path.name)
    then = found.items() if isinstance(found, Mapping) else ()
    facts = [(f"Sweep: {k}", str(v)) for k, v in then]
    facts = facts or [("Versions of the sweep", "not recorded")]
    blocks: list[Block] = [
        Note("In a shell, in the folder of plan and results; points that are there are not run again:"),
        Commands((f"hls4attn sweep {shlex.quote(plan)} --out {place}", f"hls4attn report {place}")),
        Facts((*facts, (f"SHA-256 of {path.name}", sha256(path.read_bytes()).hexdigest())), code=True),
        Facts(tuple((f"This report: {k}", v) for k, v in versions().items()), code=True),
    ]  # fmt: skip
    if others:
        blocks.append(Note(f"{others:,} results of earlier plans are in the file and not in this report.", "aside"))
    return Section("reproduce", "Reproduce", tuple(blocks))
