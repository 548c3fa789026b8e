# SPDX-License-Identifier: Apache-2.0
"""Points of a sweep as rows of a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from hls4attn.host.report.content import Column, Note, Section, Table, columns_of
from hls4attn.host.sweep.pareto import Objective
from hls4attn.host.sweep.point import METRICS, Result
from hls4attn.host.sweep.show import FURTHER, label, number, varying

#: Digits of a key that stand for it.
KEY = 10
#: What values of settings and names of metrics mean, where a table has them.
_MEANINGS = {
    "reuse_factor": "Reuse factor fit: the smallest power of two that fits the board.",
    "lanes": "Lanes 0: chosen, at most 4.",
    "float_agreement": "Float agreement, rms, max: against the float model that was quantised.",
}


def words_of(metric: str) -> str:
    """A metric as a table's heading has it; ~ marks rough ones."""
    words = metric.replace("_percent", " %").replace("synth_", "synthesised ").replace("_", " ")
    for name in ("dsp", "bram36", "lut", "ff"):
        words = re.sub(rf"\b{name}\b", name.upper(), words)
    return f"{words} ~" if METRICS.get(metric, "").endswith("estimated") else words


class Shown:
    """Which settings and metrics a table has: those that differ, and those that are known."""

    def __init__(self, settings: Sequence[str], metrics: Sequence[str]) -> None:
        self.settings, self.metrics = settings, metrics

    def main(self, objectives: Sequence[Objective]) -> Shown:
        """Of the metrics only the objectives and what tells most besides."""
        kept = {o.metric for o in objectives} | {*FURTHER}
        return Shown(self.settings, [m for m in self.metrics if m in kept])

    @classmethod
    def of(cls, results: Sequence[Result], objectives: Sequence[Objective]) -> Shown:
        """What differs among the results, their objectives, and all else that any of them has."""
        metrics = [o.metric for o in objectives]
        metrics += [m for m in METRICS if m not in metrics and any(r.metrics.get(m) is not None for r in results)]
        return cls(varying([r.settings for r in results]), metrics)

    def columns(self) -> tuple[Column, ...]:
        """Of a table."""
        return columns_of([n.replace("_", " ") for n in self.settings], [words_of(m) for m in self.metrics])

    def cells(self, result: Result) -> tuple[str, ...]:
        """Of a result; empty where a metric is not there."""
        values = ((m, result.metrics.get(m)) for m in self.metrics)
        chosen = (label(n, result.settings.get(n)) for n in self.settings)
        return (*chosen, *("" if v is None else number(v, m) for m, v in values))

    def name(self, result: Result) -> str:
        """Short name of a point in a picture; what is no name itself stands behind that of its setting."""
        values = ((n, v) for n in self.settings if (v := result.settings.get(n)) is not None)
        chosen = (f"{n.replace('_', ' ')} {v}" if _needs_name(v) else label(n, v) for n, v in values)
        return ", ".join(islice(chosen, 4)) or result.key[:KEY]


def _needs_name(value: object) -> bool:
    return not isinstance(value, str) or value == "fit"


def points_section(shown: Shown, results: Sequence[Result], best: Sequence[Result]) -> Section:
    """The table of all points."""
    if not results:
        return Section("points", "All points", (Note("No point has finished.", "why"),))
    keys = {r.key for r in best}
    rows = tuple(
        (r.key[:KEY], r.status, "yes" if r.key in keys else "no", _mismatches(r), *shown.cells(r), f"{r.seconds:.1f}")
        for r in results
    )
    tones = tuple(
        "bad" if r.status != "ok" or r.metrics.get("mismatches") else "good" if r.key in keys else "" for r in results
    )
    columns = (
        Column("point"),
        Column("status"),
        Column("front"),
        Column("mismatches", True),
        *shown.columns(),
        Column("seconds taken", True),
    )
    note = (
        "Empty: not known, see the reasons above. Cycles are per sample. DSP, BRAM36, LUT and FF are estimated unless "
        "a column says synthesised; ~: roughly. Seconds are of the evaluation on the machine that ran it."
    )
    note = " ".join([note, *(text for name, text in _MEANINGS.items() if name in (*shown.settings, *shown.metrics))])
    return Section("points", "All points", (Table("Every point", columns, rows, tones, sortable=True, note=note),))


def _mismatches(result: Result) -> str:
    found, samples = result.metrics.get("mismatches"), result.metrics.get("samples")
    return "" if found is None else f"{found}/{samples}" if samples is not None else str(found)
