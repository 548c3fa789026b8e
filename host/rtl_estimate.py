# SPDX-License-Identifier: Apache-2.0
"""`hls4attn estimate --rtl`: the clocks of a model's RTL, and which of its products are DSP blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.hls.design import Design
from hls4attn.hls.fit import AROUND_BRAM18, AROUND_LUT, ROOM, Capacity
from hls4attn.hls.rtl.net.budget import Budget, fits
from hls4attn.hls.rtl.net.cycles import NetworkCycles, network_cycles
from hls4attn.host.connect import chosen_board
from hls4attn.host.estimate import CLOCK_MHZ, capacity
from hls4attn.host.flow import Flow
from hls4attn.host.paths import check_output
from hls4attn.host.rtl_choice import RtlChoice
from hls4attn.host.verbs.common import hls_settings
from hls4attn.models.errors import InputError
from hls4attn.models.files import write_json
from hls4attn.overlays.boards import board as find_board

#: Samples that the interval is taken from.
SAMPLES = 6
_NOTES = (
    "latency, interval: the clocks of the RTL, counted by its cycle model, which equals the simulated RTL; the source "
    "and the receiver never wait.",
    "DSP: blocks of the modules as they are written; two products with one operand in common share a block where they "
    "fit.  LUT, BRAM18 (halves of block RAMs): estimates, nothing was synthesised; LUTs as memory are among the LUTs.",
    ROOM,
)


def print_rtl(out: Console, path: Path, board: str | None, choices: dict[str, Any], json: Path | None) -> None:
    """Print the table; write JSON if asked for.

    Args:
        out: where to print.
        path: model file.
        board: its name, or None for the usual one.
        choices: of `HlsConfig`; what is left open is chosen as for all other uses of the RTL.
        json: file for the figures.

    Raises:
        InputError: for a design that does not stream.
        UnsupportedError: for a node without RTL, or if nothing fits.
    """
    check_output(json, inputs=[path])
    if choices.get("io_type") != "io_stream":
        raise InputError("RTL is made of io_stream designs only; leave --io away, or give --io io_stream")
    board = chosen_board(board)
    settings, fitted = hls_settings(board, choices=choices, rtl=True)
    flow = Flow.open(path, board=board, config=settings, fitted=fitted).for_rtl(choices)
    found, target = flow.rtl_choice, capacity(find_board(board))
    clocks = network_cycles(found.design, flow.graph, SAMPLES, dsp=found.budget.chosen)
    fit = "fits" if fits(found.budget, target) else "does not fit"
    title = f"{path.name}: RTL, {found.words}; by these figures it {fit} {target.name}"
    out.print(title, soft_wrap=True, markup=False, highlight=False)
    out.print(_table(found.budget, found.design))
    out.print(
        f"latency {clocks.latency:,} cycles, interval {clocks.interval:,.0f} cycles; at an assumed clock of "
        f"{CLOCK_MHZ} MHz {clocks.latency / CLOCK_MHZ:,.2f} us and {clocks.interval / CLOCK_MHZ:,.2f} us",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    for note in _NOTES:
        out.print(note, soft_wrap=True, markup=False, highlight=False, style="dim")
    if json:
        write_json(json, as_dict(found, clocks, target))


def as_dict(found: RtlChoice, clocks: NetworkCycles, target: Capacity) -> dict[str, Any]:
    """All figures as plain values."""
    return {
        "model": found.design.name,
        "board": target.name,
        "fits": fits(found.budget, target),
        "config": found.config.to_dict(),
        "latency_cycles": clocks.latency,
        "interval_cycles": clocks.interval,
        "assumed_clock_mhz": CLOCK_MHZ,
        "latency_us": clocks.latency / CLOCK_MHZ,
        "dsp": found.budget.dsp,
        "lut_estimate": found.budget.lut,
        "bram18_estimate": found.budget.bram18,
        "lut_around": AROUND_LUT,
        "bram18_around": AROUND_BRAM18,
        "synthesised": False,
        "nodes": [
            {
                "name": n.name,
                "products": n.products,
                "in": _place(n.dsp, n.name in found.budget.chosen),
                "dsp": n.fixed + (n.dsp if n.name in found.budget.chosen else 0),
                "lut_estimate": n.lut + (0 if n.name in found.budget.chosen else n.lut_products),
                "bram18_estimate": n.bram18,
            }
            for n in found.budget.nodes
        ],
    }


def _place(dsp: int, chosen: bool) -> str:
    return "" if not dsp else "DSP" if chosen else "LUT"


def _table(found: Budget, design: Design) -> Table:
    table = Table(box=None, pad_edge=False, title="estimate of the RTL; nothing was synthesised")
    table.add_column("node", overflow="fold")
    table.add_column("kernel", overflow="fold")
    for name in ("products", "in", "DSP", "LUT ~", "BRAM18 ~"):
        table.add_column(name, justify="right", no_wrap=True)
    for size, node in zip(found.nodes, design.nodes, strict=True):
        chosen = size.name in found.chosen
        lut = size.lut + (0 if chosen else size.lut_products)
        place = _place(size.dsp, chosen)
        table.add_row(
            size.name,
            node.kernel.function,
            f"{size.products:,}",
            place,
            f"{size.fixed + chosen * size.dsp:,}",
            f"{lut:,}",
            f"{size.bram18:,}",
        )
    table.add_row("FIFOs", "", "", "", "", f"{found.fifo_lut:,}", f"{found.fifo_bram18:,}")
    table.add_row(
        "total",
        "",
        f"{sum(n.products for n in found.nodes):,}",
        "",
        f"{found.dsp:,}",
        f"{found.lut:,}",
        f"{found.bram18:,}",
    )
    return table
