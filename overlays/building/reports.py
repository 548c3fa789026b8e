# SPDX-License-Identifier: Apache-2.0
"""Vivado's text reports as numbers: utilisation, timing and power.

The forms are those of `report_utilization`, `report_timing_summary` and `report_power` (UG835, UG906, UG907) from
2017.4 to 2025.2.  Names of rows differ by family (`Slice LUTs`, `CLB LUTs`), some carry a `*` for a footnote, and newer
releases have one column more (`Prohibited`): columns are found by their heading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hls4attn.models.errors import BuildError

MET = "All user specified timing constraints are met."
_SITES = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "ff": ("Slice Registers", "CLB Registers"),
    "bram36": ("Block RAM Tile",),
    "dsp": ("DSPs",),
    "uram": ("URAM",),
}
_POWER = {
    "total_w": "Total On-Chip Power (W)",
    "dynamic_w": "Dynamic (W)",
    "static_w": "Device Static (W)",
    "junction_c": "Junction Temperature (C)",
}
_SUMMARY = {
    "wns_ns": "WNS(ns)",
    "tns_ns": "TNS(ns)",
    "setup_failing": "TNS Failing Endpoints",
    "setup_endpoints": "TNS Total Endpoints",
    "whs_ns": "WHS(ns)",
    "ths_ns": "THS(ns)",
    "hold_failing": "THS Failing Endpoints",
    "hold_endpoints": "THS Total Endpoints",
    "wpws_ns": "WPWS(ns)",
    "tpws_ns": "TPWS(ns)",
    "pulse_failing": "TPWS Failing Endpoints",
    "pulse_endpoints": "TPWS Total Endpoints",
}


@dataclass(frozen=True)
class Timing:
    """The design timing summary; None where the report says NA or infinity (nothing of the kind to check).

    Attributes:
        met: whether Vivado says that all constraints are met, and no slack is negative.
        wns_ns: worst slack of setup in nanoseconds; `whs_ns` of hold, `wpws_ns` of pulse widths.
        setup_failing: endpoints that violate it; likewise `hold_failing`, `pulse_failing`.
        setup_endpoints: endpoints in all; likewise `hold_endpoints`, `pulse_endpoints`.
        tns_ns: sum of the negative slacks; likewise `ths_ns`, `tpws_ns`.
    """

    met: bool
    wns_ns: float | None
    tns_ns: float | None
    setup_failing: int | None
    setup_endpoints: int | None
    whs_ns: float | None
    ths_ns: float | None
    hold_failing: int | None
    hold_endpoints: int | None
    wpws_ns: float | None
    tpws_ns: float | None
    pulse_failing: int | None
    pulse_endpoints: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def parse_timing(text: str, where: str) -> Timing:
    """The summary of a timing report.

    Raises:
        BuildError: if the report has none.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        headings = re.split(r"\s{2,}", line.strip())
        if headings[:2] != ["WNS(ns)", "TNS(ns)"]:
            continue
        values = lines[number + 2].split() if number + 2 < len(lines) else []
        if len(values) != len(headings):
            break
        row = dict(zip(headings, map(_number, values), strict=True))
        found = {field: row.get(heading) for field, heading in _SUMMARY.items()}
        slacks = [found[name] for name in ("wns_ns", "whs_ns", "wpws_ns")]
        if slacks[0] is None:  # a synchronous design without a setup path has no clock
            raise BuildError(f"{where} has no setup slack: the design has no clock constraint, so nothing was checked")
        met = MET in text and all(slack is None or slack >= 0 for slack in slacks)
        counts = {f: int(v) for f, v in found.items() if v is not None and not f.endswith("_ns")}
        return Timing(met=met, **{**found, **counts})  # type: ignore[arg-type]
    raise BuildError(f"{where} is not a complete timing report: no design timing summary (truncated?)")


def parse_utilization(text: str, where: str) -> dict[str, dict[str, float]]:
    """Used and available sites by kind: lut, ff, bram36, dsp, and uram where the device has them.

    Raises:
        BuildError: if the report lacks one of the first four.
    """
    found: dict[str, dict[str, float]] = {}
    for row in _rows(text):
        name = row.get("Site Type", "").rstrip("*")
        for kind, names in _SITES.items():
            used, available = _number(row.get("Used", "")), _number(row.get("Available", ""))
            if name in names and kind not in found and used is not None and available is not None:
                found[kind] = {"used": used, "available": available, "percent": _percent(used, available)}
    absent = [" or ".join(_SITES[kind]) for kind in ("lut", "ff", "bram36", "dsp") if kind not in found]
    if absent:
        raise BuildError(f"{where} is not a complete utilisation report: no row {', '.join(absent)} (truncated?)")
    return found


def parse_power(text: str, where: str) -> dict[str, Any]:
    """Vivado's estimate of the power in watts; None for what it does not say.

    Raises:
        BuildError: if the report has no total.
    """
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if "|" in line]
    pairs = {row[0]: row[1] for row in cells if len(row) == 2}
    found: dict[str, Any] = {key: _number(_first(pairs.get(name, ""))) for key, name in _POWER.items()}
    if found["total_w"] is None:
        raise BuildError(f"{where} is not a complete power report: no row {_POWER['total_w']} (truncated?)")
    found["confidence"] = pairs.get("Confidence Level")
    return found


def _rows(text: str) -> Iterator[Mapping[str, str]]:
    """Rows of all tables, by the headings above them."""
    headings: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            if not line.startswith("+"):
                headings = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not headings:
            headings = cells
        elif len(cells) == len(headings):
            yield dict(zip(headings, cells, strict=True))


def _number(text: str) -> float | None:
    """A finite number; None for NA, infinity and anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _first(text: str) -> str:
    """A number without the remark behind it, such as (Junction temp exceeded!)."""
    return next(iter(text.split()), "").rstrip("*")


def _percent(used: float, available: float) -> float:
    return round(100 * used / available, 2) if available else 0.0
