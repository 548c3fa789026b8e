# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench hardware`: streaming units in one table and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.hls.rtl.openxc7 import SEEDS as XC7_SEEDS
from hls4attn.hls.rtl.openxc7 import OpenXc7, find_openxc7
from hls4attn.hls.rtl.pnr import DEVICE, SEEDS, find_nextpnr
from hls4attn.hls.rtl.synth import find_yosys, yosys_version
from hls4attn.host.bench.hardware import ERROR_ROWS, Hardware, measure
from hls4attn.host.bench.hardware_heads import NETWORKS
from hls4attn.host.bench.hardware_subject import MARKED
from hls4attn.host.bench.hardware_units import ACTIVE_LENGTH, SUBJECTS
from hls4attn.host.bench.vivado import PART
from hls4attn.host.paths import check_output
from hls4attn.host.verbs.common import working
from hls4attn.models.errors import InputError
from hls4attn.models.files import write_json

#: Units that are measured at a time; each of them waits for one process of a tool after the other.
_JOBS = 2


def parse_units(text: str | None, networks: bool = False) -> list[str]:
    """Names of units with commas between them; all if there is no text.

    Args:
        text: the names.
        networks: whether all of them are also the whole networks, whose synthesis takes long.

    Raises:
        InputError: for a name that is not known.
    """
    usual = [name for name in SUBJECTS if networks or name not in NETWORKS]
    names = usual if text is None else [*text.split(","), *(NETWORKS if networks else ())]
    for name in names:
        if name not in SUBJECTS:
            raise InputError(f"Unknown unit {name!r}; known: {', '.join(SUBJECTS)}")
    return list(dict.fromkeys(names))


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
    chipdb: Path | None = None,
    json: Path | None = None,
) -> None:
    """The tables, the marks, and the JSON if asked for.

    Raises:
        InputError: for another part, or a file that cannot be written.
        ToolError: if a tool is missing or fails.
    """
    if part != "xc7":
        raise InputError(f"Sizes are for 7-series parts: --part xc7. Received: {part!r}")
    check_output(json)
    yosys_version(find_yosys())
    if ecp5:
        find_nextpnr()
    openxc7 = find_openxc7(chipdb)
    found = _measured(err, names, lengths, ecp5, toggles, vivado, openxc7)
    for table in _tables(found, lengths):
        out.print(table)
    for line in _notes(found):
        out.print(line, soft_wrap=True, markup=False, highlight=False, style="dim")
    for line in _mark_lines(found):
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    if json:
        write_json(json, to_json(found, lengths))


def _measured(
    err: Console,
    names: Sequence[str],
    lengths: Sequence[int],
    ecp5: bool,
    toggles: bool,
    vivado: bool,
    openxc7: OpenXc7 | None,
) -> list[Hardware]:
    """Figures of every unit, in the order of the names."""
    with working(err, "synthesis and simulation") as tell, ThreadPoolExecutor(_JOBS) as pool:
        futures = {pool.submit(measure, name, lengths, ecp5, toggles, vivado, openxc7): name for name in names}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                future.result()
                tell(f"{futures[future]} done, {count} of {len(names)}: synthesis and simulation")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def to_json(found: Sequence[Hardware], lengths: Sequence[int]) -> dict[str, Any]:
    """Plain values, with what each of them is."""
    return {
        "part": "xc7",
        "lengths": list(lengths),
        "sizes": f"{found[0].size.tool}, synth_xilinx -family xc7: estimates, not Vivado's",
        "cycles": "counted in the simulated Verilog; of gain cells a token's, by slots that are filled; of attention "
        "heads the interval of a query's row and the latency of a sequence, of networks those of a sample",
        "error": "rms difference from the real softmax in 1/256, Gaussian scores of standard deviation 1.5",
        "ecp5": f"median of {len(SEEDS)} seeds on {DEVICE}: compares units, says no MHz of another part",
        "toggles": f"changes of nets a row of {ACTIVE_LENGTH}, all in LUTs and flip-flops: a proxy, no energy",
        "units": [asdict(f) for f in found],
    }


def _tables(found: Sequence[Hardware], lengths: Sequence[int]) -> Iterator[Table]:
    units, fixed = [f for f in found if not f.fixed], [f for f in found if f.fixed]
    if units:
        yield _table("unit", units, lengths)
    if fixed:
        yield _table("attention head, N x D; network", fixed, ())


def _table(title: str, found: Sequence[Hardware], lengths: Sequence[int]) -> Table:
    """The table of units for rows of any of these lengths, or of those that are made for one, without lengths."""
    table = Table(box=None, pad_edge=False)
    table.add_column(title)
    clocks = [f"clocks {n}" for n in lengths] or ["clocks"]
    heads = ("LUT", "LUTRAM", "FF", "DSP", "BRAM18", "LUT, 0 DSP", *clocks, "latency", "ECP5 MHz")
    more = [*(("toggles", "error") if lengths else ())]
    if any(f.vivado for f in found):
        more += [f"Vivado {head}" for head in ("LUT", "FF", "DSP", "BRAM18", "MHz")]
    if any(f.openxc7 for f in found):
        more += [f"openXC7 {head}" for head in ("LUT", "FF", "DSP", "BRAM18", "MHz")]
    for head in (*heads, *more):
        table.add_column(head, justify="right")
    for f in found:
        size = (f.size.lut, f.size.lutram, f.size.ff, f.size.dsp, f.size.bram18)
        cells = [f"{n:,}" for n in size]
        cells.append("-" if f.without_dsp is None else f"{f.without_dsp.lut:,}")
        cells += [f"{f.cycles[n].interval:,.6g}" for n in lengths or f.cycles]
        cells.append(f"{f.cycles[max(f.cycles)].latency:,}")
        cells.append("-" if f.ecp5 is None else f"{f.ecp5.median:.0f}")
        if lengths:
            cells.append("-" if f.toggles is None else f"{f.toggles.per_row:,.0f}")
            cells.append(f"{f.error[lengths[-1]]:.3f}" if f.error else "-")
        if any(g.vivado for g in found):
            cells += ["-"] * 5 if f.vivado is None else f.vivado.cells()
        if any(g.openxc7 for g in found):
            cells += ["-"] * 5 if f.openxc7 is None else f.openxc7.cells()
        table.add_row(f"{f.title}{' *' if f.baseline else ''}", *cells)
    return table


def _notes(found: Sequence[Hardware]) -> Iterator[str]:
    longest = max((f.row_max for f in found if not f.fixed), default=0)
    yield f"* to compare with.  Sizes: {found[0].size.tool}, xc7: estimates, not Vivado's."
    if longest:
        yield (
            f"Units: for rows to {longest} (norms: of {longest}).  Clocks: from row to row of N, counted in the "
            f"simulated Verilog; of gain cells a token's, N slots filled.  Latency: of one row of {longest}."
        )
    if any(f.fixed for f in found):
        yield (
            "Heads: sequences to N, queries of D elements, every product of a key in one clock; clocks from query to "
            "query of full sequences, latency of a whole one.  Network: clocks from sample to sample.  Both counted in "
            "the simulated Verilog."
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
    if any(f.openxc7 for f in found):
        yield (
            "openXC7: routed for an xc7z020clg400 between two shift registers, which are counted with it; LUTs of five "
            f"and of six inputs, median of {len(XC7_SEEDS)} seeds."
        )
    notes: dict[str, list[str]] = {}
    for f in found:
        for note in f.notes:
            notes.setdefault(note, []).append(f.title)
    for note, titles in notes.items():
        yield f"{'; '.join(titles)}: {note}."


def _mark_lines(found: Sequence[Hardware]) -> Iterator[str]:
    marks = [(f.title, m) for f in found for m in f.marks]
    if marks:
        yield f"marks met: {sum(m['met'] for _, m in marks)} of {len(marks)}"
    for title, m in marks:
        if not m["met"]:
            yield f"{title}: {m['metric']} {m['found']:.6g}, mark {m['mark']:g}: {m['reason']}"
