# SPDX-License-Identifier: Apache-2.0
"""A sweep's results for people and programs: table and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.host.sweep.pareto import Objective, candidates, front, incomplete
from hls4attn.host.sweep.point import METRICS, OPERATORS, STATUSES, Result

#: Settings that say nothing a reader could choose by.
_SILENT = ("model_sha256", "calibration_sha256", "board_sha256", "boards", OPERATORS)
#: Metrics that a table has besides the objectives.
FURTHER = ("accuracy", "latency_cycles", "interval_cycles", "dsp", "bram36", "lut", "synth_dsp", "synth_lut")
_SHORT = {
    "weight_bits": "w bits",
    "activation_bits": "a bits",
    "bias_bits": "bias bits",
    "residual_bits": "res. bits",
    "reuse_factor": "reuse",
    "parallel_heads": "heads",
    "io_type": "io",
    "clock_period_ns": "clock ns",
}


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many points ended in which way."""
    found = Counter(r.status for r in results)
    return {status: found[status] for status in STATUSES}


def varying(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of settings that are not the same for all points that have them, in their order."""
    names = dict.fromkeys(name for settings in results for name in settings if name not in _SILENT)
    return [n for n in names if len({json.dumps(s[n]) for s in results if s.get(n) is not None}) > 1]


def label(name: str, value: Any) -> str:
    """A setting as a table has it."""
    if value is None:
        return "-"
    return Path(value).name if name == "model" or str(value).endswith(".npy") else str(value)


def number(value: Any, metric: str = "") -> str:
    """A metric as a table has it."""
    if value is None:
        return "?"
    if metric == "accuracy":
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def settings_table(points: Sequence[Mapping[str, Any]]) -> Table:
    """One line a point, with what differs between points."""
    names = varying(points)
    table = Table(box=None, pad_edge=False)
    table.add_column("#", justify="right")
    for name in names:
        table.add_column(_SHORT.get(name, name.replace("_", " ")))
    for place, settings in enumerate(points, 1):
        table.add_row(str(place), *(label(n, settings.get(n)) for n in names))
    return table


def front_table(results: Sequence[Result], best: Sequence[Result], objectives: Sequence[Objective]) -> Table:
    """The Pareto front, best first: the settings that vary in the sweep, the objectives, and what else tells."""
    names = varying([r.settings for r in results])
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(_SHORT.get(name, name.replace("_", " ")), no_wrap=True)
    metrics = [o.metric for o in objectives]
    metrics += [m for m in FURTHER if m not in metrics and any(r.metrics.get(m) is not None for r in best)]
    for metric in metrics:
        words = metric.replace("_cycles", "").replace("_percent", " %").replace("_", " ")
        estimated = METRICS[metric].endswith("estimated")
        table.add_column(f"{words} ~" if estimated else words, justify="right", no_wrap=True)
    if any("reuse_factor" in r.metrics for r in best):
        table.add_column("reuse used", justify="right")
        metrics.append("reuse_factor")
    for result in best:
        chosen = (label(n, result.settings.get(n)) for n in names)
        table.add_row(*chosen, *(number(result.metrics.get(m), m) for m in metrics))
    return table


def print_front(
    out: Console, results: Sequence[Result], objectives: Sequence[Objective], only_fitting: bool = True
) -> None:
    """Print the front, and which results are not compared, and why."""
    best = front(results, objectives, only_fitting)
    if best:
        wanted = ", ".join(map(str, objectives))
        out.print(f"Pareto front of {len(results)} points: {wanted}", soft_wrap=True, markup=False, highlight=False)
        out.print(front_table(results, best, objectives))
    for line in remarks(results, objectives, only_fitting, bool(best)):
        out.print(line, soft_wrap=True, markup=False, highlight=False)


def remarks(
    results: Sequence[Result], objectives: Sequence[Objective], only_fitting: bool, any_best: bool
) -> list[str]:
    """Sentences on what is not on the front for another reason than being worse."""
    lines = [] if any_best else ["no point is on the Pareto front:"]
    fine = [r for r in results if r.status == "ok"]
    if wrong := sum(r.metrics.get("mismatches") != 0 for r in fine):
        lines.append(f"{wrong} with mismatches, or not verified: not on the front")
    if only_fitting and (large := len(candidates(fine, False)) - len(candidates(fine, True))):
        lines.append(f"{large} that do not fit their board: not on the front (only_fitting = false compares them, too)")
    lacking = incomplete(candidates(results, only_fitting), objectives)
    for metric in dict.fromkeys(name for _, names in lacking for name in names):
        those = [r for r, names in lacking if metric in names]
        lines.append(f"{len(those)} without {metric}: not on the front ({_reason(those[0], metric)})")
    failures = Counter((r.status, r.error) for r in results if r.status != "ok")
    for (status, error), times in failures.most_common(8):
        lines.append(f"{times} {status}: {error}")
    if len(failures) > 8:
        lines.append(f"and {len(failures) - 8} other reasons; the file has them all, with logs")
    return lines


def _reason(result: Result, metric: str) -> str:
    why = result.metrics.get("why")
    reason = why.get(metric) if isinstance(why, Mapping) else why
    return str(reason or "no reason given")


def as_dict(
    meta: Mapping[str, Any], results: Sequence[Result], objectives: Sequence[Objective], only_fitting: bool
) -> dict[str, Any]:
    """Front and counts as plain values."""
    best = front(results, objectives, only_fitting)
    lacking = incomplete(candidates(results, only_fitting), objectives)
    return {
        "plan_file": meta.get("plan_file"),
        "versions": meta.get("versions"),
        "earlier_versions": meta.get("earlier_versions", []),
        "points": meta.get("points"),
        "finished": counts(results),
        "objectives": [str(o) for o in objectives],
        "only_fitting": only_fitting,
        "front": [{"key": r.key, "settings": dict(r.settings), "metrics": dict(r.metrics)} for r in best],
        "not_compared": [{"key": r.key, "without": names} for r, names in lacking],
        "failures": [
            {"key": r.key, "settings": dict(r.settings), "status": r.status, "error": r.error}
            for r in results
            if r.status != "ok"
        ],
    }
