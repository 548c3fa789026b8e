# SPDX-License-Identifier: Apache-2.0
"""Size, cycles, relative speed and activity of streaming units, beside the marks that they were made to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hls4attn.hls.rtl.openxc7 import OpenXc7, Routed, routed
from hls4attn.hls.rtl.pnr import Speed, check_room, ecp5_speed
from hls4attn.hls.rtl.synth import Resources, resources
from hls4attn.hls.rtl.toggles import Activity
from hls4attn.host.bench.hardware_subject import MARKED, Mark, RowCycles, score_rows
from hls4attn.host.bench.hardware_units import SUBJECTS
from hls4attn.host.bench.vivado import Implemented, find_vivado, implement
from hls4attn.models.errors import UnsupportedError

LENGTHS = (16, 64, 256, 1024)
ERROR_ROWS = 200
#: Figures that a unit may lack, as its notes call them.
_NAMES = {"without_dsp": "size without DSP", "toggles": "toggles", "ecp5": "ECP5"}


@dataclass(frozen=True)
class Hardware:
    """Figures of one unit.

    Attributes:
        name: of the unit.
        title: what it is.
        baseline: whether it is there to be compared with.
        row_max: longest row that it is made for; 1 for a network, whose rows are samples.
        fixed: whether it is made for this length only: an attention head, a network.
        size: by Yosys, with DSP blocks.
        without_dsp: by Yosys, without; None where that takes too long.
        cycles: of a row, by its length.
        error: root-mean-square difference from the real softmax in 1/256, by length; empty for other functions.
        ecp5: place and route, None if not asked for or not possible.
        toggles: activity of the netlist, None likewise.
        vivado: implementation by Vivado, None where there is none.
        openxc7: place and route by nextpnr-xilinx, None likewise.
        marks: what was to be reached, and what was.
        notes: why something is missing.
    """

    name: str
    title: str
    baseline: bool
    row_max: int
    fixed: bool
    size: Resources
    without_dsp: Resources | None
    cycles: Mapping[int, RowCycles]
    error: Mapping[int, float]
    ecp5: Speed | None = None
    toggles: Activity | None = None
    vivado: Implemented | None = None
    openxc7: Routed | None = None
    marks: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())


def figures(found: Hardware) -> dict[str, float]:
    """Figures by the names that marks have for them."""
    size = {name: value for name, value in asdict(found.size).items() if name != "tool"}
    cycles = {f"cycles_{n}": c.interval for n, c in found.cycles.items()}
    longest = max(found.cycles)
    more = {"cycles_per_element": found.cycles[longest].interval / longest, "latency": found.cycles[longest].latency}
    more["luts"] = found.size.lut + found.size.lutram
    return size | cycles | more | ({"ecp5_mhz": found.ecp5.median} if found.ecp5 else {})


def check_marks(marks: Sequence[Mark], values: Mapping[str, float]) -> tuple[dict[str, Any], ...]:
    """Each mark whose figure is there: met or not, and why not."""
    rows = []
    for mark in (m for m in marks if m.metric in values):
        value = values[mark.metric]
        met = value >= mark.limit if mark.least else value <= mark.limit
        reason = "" if met else mark.missed or "not known"
        rows.append({"metric": mark.metric, "mark": mark.limit, "found": value, "met": met, "reason": reason})
    return tuple(rows)


def measure(
    name: str,
    lengths: Sequence[int] = LENGTHS,
    ecp5: bool = False,
    toggles: bool = True,
    vivado: bool = True,
    openxc7: OpenXc7 | None = None,
) -> Hardware:
    """All figures of a unit.

    Args:
        name: of `SUBJECTS`.
        lengths: of rows; a unit is made for the longest, if it is not made for one length only.
        ecp5: place and route it, too.
        toggles: count its netlist's activity.
        vivado: implement it where there is a Vivado.
        openxc7: tool for 7-series parts that places and routes it, if there is one.

    Raises:
        ToolError: if a tool is missing or fails.
    """
    subject = SUBJECTS[name]
    row_max, lengths = (subject.rows, [subject.rows]) if subject.rows else (max(lengths), lengths)
    unit = subject.unit(row_max)
    asked = {"toggles": toggles, "ecp5": ecp5}
    notes = {key: why for key, why in subject.missing.items() if asked.get(key, True)}
    size, speed = resources(unit), None
    if ecp5 and "ecp5" not in notes:
        try:
            check_room(size)
            speed = ecp5_speed(unit)
        except UnsupportedError as error:
            notes["ecp5"] = str(error).partition(": ")[2]
    installed = find_vivado() if vivado else None
    error_of = subject.error
    found = Hardware(
        name=name,
        title=subject.title,
        baseline=subject.baseline,
        row_max=row_max,
        fixed=bool(subject.rows),
        size=size,
        without_dsp=resources(subject.without_dsp(row_max), dsp=False) if subject.without_dsp else None,
        cycles={n: subject.clocks(n, row_max) for n in lengths},
        error={n: round(error_of(score_rows(ERROR_ROWS, n, seed=1)), 3) for n in lengths} if error_of else {},
        ecp5=speed,
        toggles=subject.activity() if toggles and subject.activity else None,
        vivado=None if installed is None else implement(unit, installed),
        openxc7=None if openxc7 is None else routed(unit, openxc7),
        notes=tuple(f"no {_NAMES[key]}: {why}" for key, why in notes.items()),
    )
    if row_max != MARKED and not subject.rows:
        return found
    return Hardware(**(vars(found) | {"marks": check_marks(subject.marks, figures(found))}))
