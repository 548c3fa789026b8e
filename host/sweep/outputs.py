# SPDX-License-Identifier: Apache-2.0
"""What a sweep writes and prints besides its results: the front as table, JSON and chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hls4attn.host.estimate import check_chart
from hls4attn.host.paths import check_output
from hls4attn.host.sweep.chart import draw
from hls4attn.host.sweep.pareto import Objective, parse_objectives
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.show import as_dict, counts, print_front
from hls4attn.host.sweep.store import SweepFile, read_results
from hls4attn.models.files import atomic_write, write_json


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


def check_outputs(outputs: Outputs, inputs: Sequence[Path]) -> None:
    """Refuse what could not be written.

    Raises:
        InputError: saying which file, and why.
    """
    check_output(outputs.json, inputs=inputs)
    check_chart(outputs.chart, inputs=[*inputs, outputs.json])


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
    finish(out, held.meta, held.results, objectives, only_fitting, outputs)


def sought(held: SweepFile, instead: Sequence[str] = ()) -> tuple[tuple[Objective, ...], bool]:
    """Objectives of a file of results, and whether only designs that fit count.

    Args:
        held: the file.
        instead: other objectives than the file's.
    """
    texts = list(instead) or held.meta.get("objectives") or []
    return parse_objectives(texts), bool(held.meta.get("only_fitting", True))


def finish(
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
