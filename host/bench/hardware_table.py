# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench hardware`: streaming units in one table and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.hls.rtl.pnr import DEVICE, SEEDS, find_nextpnr
from hls4attn.hls.rtl.synth import find_yosys
from hls4attn.host.bench.hardware import ACTIVE_LENGTH, ERROR_ROWS, Hardware, measure
from hls4attn.host.bench.hardware_units import MARKED, SUBJECTS
from hls4attn.host.bench.vivado import PART
from hls4attn.host.paths import check_output
from hls4attn.host.verbs.common import working
from hls4attn.models.errors import InputError
from hls4attn.models.files import write_json


def parse_units(text: str | None) -> list[str]:
    """Names of units with commas between them; all if there is no text.

    Raises:
        InputError: for a name that is not known.
    """
    names = list(SUBJECTS) if text is None else text.split(",")
    for name in names:
        if name not in SUBJECTS:
            raise InputError(f"Unknown unit {name!r}; known: {', '.join(SUBJECTS)}")
    return names


def parse_row_lengths(text: str) -> list[int]:
    """Row lengths with commas between them, in increasing order.

    Raises:
        InputError: for anything else, or lengths that not every unit takes.
    """
    try:
        lengths = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise InputError(f"Lengths are comma-separated numbers such as 16,64. Received: {text!r}") from error
    if not all(2 <= n <= MARKED for n in lengths):
        raise InputError(f"Rows have 2 to {MARKED} elements. Received: {text!r}")
    return lengths


def print_hardware(
    out: Console,
    err: Console,
    names: Sequence[str],
    lengths: Sequence[int],
    part: str = "xc7",
    ecp5: bool = False,
    toggles: bool = True,
    vivado: bool = True,
    json: Path | None = None,
) -> None:
    """The table, the marks, and the JSON if asked for.

    Raises:
        InputError: for another part, or a file that cannot be written.
        ToolError: if a tool is missing or fails.
    """
    if part != "xc7":
        raise InputError(f"Sizes are for 7-series parts: --part xc7. Received: {part!r}")
    check_output(json)
    find_yosys()
    if ecp5:
        find_nextpnr()
    found: list[Hardware] = []
    with working(err, "") as tell:
        for name in names:
            tell(f"{name}: synthesis and simulation")
            found.append(measure(name, lengths, ecp5, toggles, vivado))
    out.print(_table(found, lengths))
    for line in _notes(found):
        out.print(line, soft_wrap=True, markup=False, highlight=False, style="dim")
    for line in _mark_lines(found):
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    if json:
        write_json(json, to_json(found, lengths))


def to_json(found: Sequence[Hardware], lengths: Sequence[int]) -> dict[str, Any]:
    """Plain values, with what each of them is."""
    return {
        "part": "xc7",
        "lengths": list(lengths),
        "sizes": f"{found[0].size.tool}, synth_xilinx -family xc7: estimates, not Vivado's",
        "cycles": "counted in the simulated Verilog; of gain cells a token's, by slots that are filled",
        "error": "rms difference from the real softmax in 1/256, Gaussian scores of standard deviation 1.5",
        "ecp5": f"median of {len(SEEDS)} seeds on {DEVICE}: compares units, says no MHz of another part",
        "toggles": f"changes of nets a row of {ACTIVE_LENGTH}, all in LUTs and flip-flops: a proxy, no energy",
        "units": [asdict(f) for f in found],
    }


def _table(found: Sequence[Hardware], lengths: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("unit")
    heads = ("LUT", "LUTRAM", "FF", "DSP", "BRAM18", "LUT, 0 DSP", *(f"clocks {n}" for n in lengths), "latency")
    for head in (*heads, "ECP5 MHz", "toggles", "error"):
        table.add_column(head, justify="right")
    vivado = any(f.vivado for f in found)
    for head in ("Vivado LUT", "FF", "DSP", "BRAM18", "MHz") if vivado else ():
        table.add_column(head, justify="right")
    for f in found:
        size = (f.size.lut, f.size.lutram, f.size.ff, f.size.dsp, f.size.bram18)
        cells = [f"{n:,}" for n in size]
        cells.append("-" if f.without_dsp is None else f"{f.without_dsp.lut:,}")
        cells += [f"{f.cycles[n].interval:,.6g}" for n in lengths]
        cells.append(f"{f.cycles[lengths[-1]].latency:,}")
        cells.append("-" if f.ecp5 is None else f"{f.ecp5.median:.0f}")
        cells.append("-" if f.toggles is None else f"{f.toggles.per_row:,.0f}")
        cells.append(f"{f.error[lengths[-1]]:.3f}" if f.error else "-")
        if vivado:
            cells += ["-"] * 5 if f.vivado is None else f.vivado.cells()
        table.add_row(f"{f.title}{' *' if f.baseline else ''}", *cells)
    return table


def _notes(found: Sequence[Hardware]) -> Iterator[str]:
    longest = found[0].row_max
    yield (
        f"* to compare with.  Sizes: {found[0].size.tool}, xc7, rows to {longest} (norms: of {longest}): estimates, "
        "not Vivado's.  Clocks: from row to row of N, counted in the simulated Verilog; of gain cells a token's, N "
        f"slots filled.  Latency: of one row of {longest}."
    )
    if any(f.ecp5 for f in found):
        yield f"ECP5: {DEVICE}, median of {len(SEEDS)} seeds; compares units, says nothing in MHz about another part."
    if any(f.toggles for f in found):
        yield (
            f"Toggles: changes of nets a row of {ACTIVE_LENGTH} in a netlist of LUTs and flip-flops, no delays: a "
            "proxy for dynamic energy, no energy."
        )
    if any(f.error for f in found):
        yield (
            f"Error: rms difference from the real softmax in 1/256, {ERROR_ROWS} rows of {longest} Gaussian scores; "
            "ConSmax is another function."
        )
    if any(f.vivado for f in found):
        yield f"Vivado: out of context on {PART}, routed; its own figures."
    for f in found:
        for note in f.notes:
            yield f"{f.title}: {note}."


def _mark_lines(found: Sequence[Hardware]) -> Iterator[str]:
    marks = [(f.title, m) for f in found for m in f.marks]
    if marks:
        yield f"marks met: {sum(m['met'] for _, m in marks)} of {len(marks)}"
    for title, m in marks:
        if not m["met"]:
            yield f"{title}: {m['metric']} {m['found']:.6g}, mark {m['mark']:g}: {m['reason']}"
