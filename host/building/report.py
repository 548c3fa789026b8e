# SPDX-License-Identifier: Apache-2.0
"""What the verb `build` prints about files, tools and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.host.building.plans import Plan
from hls4attn.overlays.scripts import HLS_FOLDER, RTL_FOLDER


def tell_written(out: Console, plan: Plan, folder: Path, files: Sequence[str], checked: Mapping[str, Any]) -> None:
    """What is going to be built, and the files that it will be built from."""
    design = plan.design
    clock = f"{design.clock.mhz:g} MHz PL clock"
    out.print(f"{design.name} for {design.board.name} ({design.board.part}), {clock}", soft_wrap=True, markup=False)
    for note in plan.notes:
        out.print(f"  {note}", soft_wrap=True, markup=False)
    out.print(f"  written: {folder}", soft_wrap=True, markup=False)
    for line in _listing(files):
        out.print(f"    {line}", soft_wrap=True, markup=False, highlight=False)
    out.print(f"  {checked['summary']}", soft_wrap=True, markup=False, highlight=False)


def _listing(files: Sequence[str]) -> list[str]:
    """Files, but of each kernel's sources only the folder and how many there are."""
    places = (f"{HLS_FOLDER}/", f"{RTL_FOLDER}/")
    kernels = Counter("/".join(name.split("/")[:2]) for name in files if name.startswith(places))
    folders = [f"{folder}/ ({count} files)" for folder, count in kernels.items()]
    return sorted([*folders, *(name for name in files if not name.startswith(places))])


def tell_waiting(out: Console, names: Sequence[str], folder: Path, missing: Sequence[str]) -> None:
    """What was not run, and what it would take."""
    for absent in missing:
        out.print(f"  not found on PATH: {absent}", soft_wrap=True, markup=False)
    out.print(f"  not run, in {folder}:", soft_wrap=True, markup=False)
    for name in names:
        out.print(f"    scripts/{name}.tcl", soft_wrap=True, markup=False, highlight=False)


def print_reports(out: Console, record: Mapping[str, Any]) -> None:
    """What the vendor's tools say, from the content of ``build.json``; nothing of this was measured on a board."""
    reports = record["reports"]
    used = Table("resource", "used", "available", "%", box=None, pad_edge=False)
    for row in utilisation_rows(reports.get("utilization", {})):
        used.add_row(*row)
    out.print(used)
    timing, power = reports.get("timing"), reports.get("power")
    if timing:
        out.print(f"  timing met: {slacks(timing)}", markup=False, highlight=False)
    if power:
        out.print(f"  power: {power['total_w']} W by Vivado's estimate, not measured", markup=False, highlight=False)
    for name, kernel in reports["hls"].items():
        cycles = (
            f"latency {known_cycles(kernel['latency_max'])}, interval {known_cycles(kernel['interval_max'])} cycles"
        )
        out.print(f"  {name}: {cycles} by high-level synthesis", soft_wrap=True, markup=False, highlight=False)
    for name in (name for name, kind in record["kernels"].items() if kind == "rtl"):
        out.print(f"  {name}: Verilog, not made by high-level synthesis", soft_wrap=True, markup=False, highlight=False)


def known_cycles(cycles: int | None) -> str:
    """Cycles that a report may not say."""
    return "not known" if cycles is None else f"{cycles:,}"


def slacks(timing: Mapping[str, Any]) -> str:
    """The worst slacks of a timing report, in words."""
    return f"worst slack {timing['wns_ns']} ns (setup), {timing['whs_ns']} ns (hold)"


def utilisation_rows(used: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """A row for each resource: its name, how many are used and there, and the share in per cent."""
    return [(k, f"{r['used']:g}", f"{r['available']:g}", f"{r['percent']:.1f}") for k, r in used.items()]
