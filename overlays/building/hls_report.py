# SPDX-License-Identifier: Apache-2.0
"""What high-level synthesis estimates, from its `csynth.xml`.

The elements are those that hls4ml, FINN and AMD's own examples read, from Vivado HLS 2019 to Vitis HLS 2025: DSP slices
are `DSP48E` until 2020.1 and `DSP` later; a number that is not known is `undef` or `?`.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

from hls4attn.models.errors import BuildError

MAX_BYTES = 64 << 20
_CYCLES = {
    "latency_min": "Best-caseLatency",
    "latency_max": "Worst-caseLatency",
    "interval_min": "Interval-min",
    "interval_max": "Interval-max",
}
_SITES = {
    "bram18": ("BRAM_18K",),
    "dsp": ("DSP", "DSP48E"),
    "ff": ("FF",),
    "lut": ("LUT",),
    "uram": ("URAM",),
}


def parse_csynth(text: str | bytes, where: str) -> dict[str, Any]:
    """Estimates of one kernel.

    Returns:
        Clocks in nanoseconds (`target_ns`, `estimated_ns`), cycles of latency and interval (None where they are not
        known in advance), and `resources`: used and available by kind.

    Raises:
        BuildError: if it is not such a report.
    """
    if len(text) > MAX_BYTES:
        raise BuildError(f"{where} has {len(text)} bytes; a synthesis report has at most {MAX_BYTES}")
    raw = text.encode() if isinstance(text, str) else text
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:  # entities could grow without bound; reports have none
        raise BuildError(f"{where} is no synthesis report: it declares XML entities")
    try:
        root = ET.fromstring(raw)
    except ET.ParseError as error:
        raise BuildError(f"{where} is no complete XML: {error} (truncated?)") from error
    latency, area = root.find("PerformanceEstimates/SummaryOfOverallLatency"), root.find("AreaEstimates/Resources")
    if latency is None or area is None:
        raise BuildError(f"{where} is no synthesis report: no SummaryOfOverallLatency or no AreaEstimates/Resources")
    available = root.find("AreaEstimates/AvailableResources")
    timing = root.find("PerformanceEstimates/SummaryOfTimingAnalysis")
    choices = root.find("UserAssignments")
    used = _sites(area)
    offered = {} if available is None else _sites(available)
    return {
        "top": None if choices is None else choices.findtext("TopModelName"),
        "part": None if choices is None else choices.findtext("Part"),
        "tool": root.findtext("ReportVersion/Version"),
        "target_ns": None if choices is None else _number(choices.findtext("TargetClockPeriod")),
        "estimated_ns": None if timing is None else _number(timing.findtext("EstimatedClockPeriod")),
        **{key: _integer(latency.findtext(name)) for key, name in _CYCLES.items()},
        "resources": {kind: {"used": count, "available": offered.get(kind)} for kind, count in used.items()},
    }


def _sites(node: ET.Element) -> dict[str, int]:
    found = {}
    for kind, names in _SITES.items():
        count = next((n for name in names if (n := _integer(node.findtext(name))) is not None), None)
        if count is not None:
            found[kind] = count
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _integer(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value is not None and math.isfinite(value) else None
