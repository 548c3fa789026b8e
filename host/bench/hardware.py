# SPDX-License-Identifier: Apache-2.0
"""Size, cycles, relative speed and activity of streaming units, beside the marks that they were made to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hls4attn.hls.rtl.pnr import Speed, ecp5_speed
from hls4attn.hls.rtl.synth import Resources, resources
from hls4attn.hls.rtl.toggles import Activity, activity
from hls4attn.host.bench.hardware_units import MARKED, SUBJECTS, Mark, RowCycles, score_rows
from hls4attn.host.bench.vivado import Implemented, find_vivado, implement

LENGTHS = (16, 64, 256, 1024)
#: Rows of the activity: short enough for a netlist's simulation.
ACTIVE_ROWS, ACTIVE_LENGTH = 16, 64
ERROR_ROWS = 200
NO_SIZE = "all of its products in LUTs are a longer synthesis than this table is worth"
NO_TOGGLES = "its netlist takes too long to simulate"
NO_SPEED = "it does not fit the ECP5 that the others are placed on"


@dataclass(frozen=True)
class Hardware:
    """Figures of one unit.

    Attributes:
        name: of the unit.
        title: what it is.
        baseline: whether it is there to be compared with.
        row_max: longest row that it is made for.
        size: by Yosys, with DSP blocks.
        without_dsp: by Yosys, without; None where that takes too long.
        cycles: of a row, by its length.
        error: root-mean-square difference from the real softmax in 1/256, by length; empty for other functions.
        ecp5: place and route, None if not asked for or not possible.
        toggles: activity of the netlist, None likewise.
        vivado: implementation by Vivado, None where there is none.
        marks: what was to be reached, and what was.
        notes: why something is missing.
    """

    name: str
    title: str
    baseline: bool
    row_max: int
    size: Resources
    without_dsp: Resources | None
    cycles: Mapping[int, RowCycles]
    error: Mapping[int, float]
    ecp5: Speed | None = None
    toggles: Activity | None = None
    vivado: Implemented | None = None
    marks: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=())


def figures(found: Hardware) -> dict[str, float]:
    """Figures by the names that marks have for them."""
    size = {name: value for name, value in asdict(found.size).items() if name != "tool"}
    cycles = {f"cycles_{n}": c.interval for n, c in found.cycles.items()}
    longest = max(found.cycles)
    more = {"cycles_per_element": found.cycles[longest].interval / longest}
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
    name: str, lengths: Sequence[int] = LENGTHS, ecp5: bool = False, toggles: bool = True, vivado: bool = True
) -> Hardware:
    """All figures of a unit.

    Args:
        name: of `SUBJECTS`.
        lengths: of rows; the unit is made for the longest.
        ecp5: place and route it, too.
        toggles: count its netlist's activity.
        vivado: implement it where there is a Vivado.

    Raises:
        ToolError: if a tool is missing or fails.
    """
    subject, row_max = SUBJECTS[name], max(lengths)
    unit, notes = subject.unit(row_max), []
    speed = active = plain = None
    if subject.tokens is None:
        plain = resources(unit, dsp=False)
    else:
        notes.append(f"no size without DSP: {NO_SIZE}")
    if ecp5 and subject.tokens is None:
        speed = ecp5_speed(unit)
    elif ecp5:
        notes.append(f"no ECP5: {NO_SPEED}")
    if toggles and subject.tokens is None:
        active = activity(subject.unit(ACTIVE_LENGTH), score_rows(ACTIVE_ROWS, ACTIVE_LENGTH))
    elif toggles:
        notes.append(f"no toggles: {NO_TOGGLES}")
    installed = find_vivado() if vivado else None
    error = subject.error
    found = Hardware(
        name=name,
        title=subject.title,
        baseline=subject.baseline,
        row_max=row_max,
        size=resources(unit),
        without_dsp=plain,
        cycles={n: subject.cycles(n, row_max) for n in lengths},
        error={n: round(error(score_rows(ERROR_ROWS, n, seed=1)), 3) for n in lengths} if error else {},
        ecp5=speed,
        toggles=active,
        vivado=None if installed is None else implement(unit, installed),
        notes=tuple(notes),
    )
    if row_max != MARKED:
        return found
    return Hardware(**(vars(found) | {"marks": check_marks(subject.marks, figures(found))}))
