# SPDX-License-Identifier: Apache-2.0
"""`hls4attn estimate --rtl`: the clocks of a model's RTL, and which of its products are DSP blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.fit import Capacity
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.rtl.net.budget import AROUND, AROUND_BRAM18, FILLED, Budget, Fastest, budget, fastest, fits
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.hls.stream.network import to_stream
from hls4attn.host.connect import chosen_board
from hls4attn.host.estimate import CLOCK_MHZ, capacity
from hls4attn.host.paths import check_output
from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.files import write_json
from hls4attn.overlays.boards import load_boards

#: Samples that the interval is taken from.
_SAMPLES = 6
_NOTES = (
    "latency, interval: the clocks of the RTL, counted by its cycle model, which equals the simulated RTL; the source "
    "and the receiver never wait.",
    "DSP: blocks of the modules as they are written; two products with one operand in common share a block where they "
    "fit.  LUT, BRAM18 (halves of block RAMs): estimates, nothing was synthesised; LUTs as memory are among the LUTs.",
    f"fits: with {AROUND:,} LUT and {AROUND_BRAM18} BRAM18 for DMA, interconnects and shell, which are assumed, and "
    f"{FILLED:.0%} of all LUTs in use.",
)


def print_rtl(out: Console, path: Path, board: str | None, choices: dict[str, Any], json: Path | None) -> None:
    """Print the table; write JSON if asked for.

    Args:
        out: where to print.
        path: model file.
        board: its name, or None for the usual one.
        choices: of `HlsConfig`; if there is no `reuse_factor`, the fastest configuration that fits is taken.
        json: file for the figures.

    Raises:
        InputError: for a design that does not stream.
        UnsupportedError: for a node without RTL, or if nothing fits.
    """
    check_output(json, inputs=[path])
    if choices.get("io_type") != "io_stream":
        raise InputError("RTL is made of io_stream designs only; leave --io away, or give --io io_stream")
    graph = read_graph(load_model(path))
    target = capacity(load_boards()[chosen_board(board)])
    found, chosen = _found(graph, choices, target)
    fit = "fits" if fits(found.budget, target) else "does not fit"
    heads = found.config.parallel_heads
    title = f"{path.name}: RTL, {heads} heads at a time{chosen}; by these figures it {fit} {target.name}"
    out.print(title, soft_wrap=True, markup=False, highlight=False)
    out.print(_table(found.budget, found.design))
    clocks = found.clocks
    out.print(
        f"latency {clocks.latency:,} cycles, interval {clocks.interval:,.0f} cycles; at an assumed clock of "
        f"{CLOCK_MHZ} MHz {clocks.latency / CLOCK_MHZ:,.2f} us and {clocks.interval / CLOCK_MHZ:,.2f} us",
        soft_wrap=True, markup=False, highlight=False,
    )  # fmt: skip
    for note in _NOTES:
        out.print(note, soft_wrap=True, markup=False, highlight=False, style="dim")
    if json:
        write_json(json, as_dict(found, target))


def _found(graph: Graph, choices: dict[str, Any], target: Capacity) -> tuple[Fastest, str]:
    """A configuration, and how it was chosen."""
    plain = lower_graph(graph)

    def make(config: HlsConfig) -> Design:
        return to_stream(plain, config)

    if "reuse_factor" in choices:
        config = HlsConfig(**choices | {"lanes": choices.get("lanes") or 1})
        design = make(config)
        chosen = budget(design, graph, target.dsp or 0)
        return Fastest(config, design, chosen, network_cycles(design, graph, _SAMPLES, dsp=chosen.chosen)), ""
    best = fastest(make, graph, HlsConfig(**choices), target)
    clocks = network_cycles(best.design, graph, _SAMPLES, dsp=best.budget.chosen)
    rows = sorted(set(best.config.layer_reuse_factor.values()))
    pace = (
        f", {' to '.join(dict.fromkeys(str(n) for n in (rows[0], rows[-1])))} clocks a row in dense layers"
        if rows
        else ""
    )
    return Fastest(best.config, best.design, best.budget, clocks), f"{pace}, chosen: the fastest that fits"


def as_dict(found: Fastest, target: Capacity) -> dict[str, Any]:
    """All figures as plain values."""
    return {
        "model": found.design.name,
        "board": target.name,
        "fits": fits(found.budget, target),
        "config": found.config.to_dict(),
        "latency_cycles": found.clocks.latency,
        "interval_cycles": found.clocks.interval,
        "assumed_clock_mhz": CLOCK_MHZ,
        "latency_us": found.clocks.latency / CLOCK_MHZ,
        "dsp": found.budget.dsp,
        "lut_estimate": found.budget.lut,
        "bram18_estimate": found.budget.bram18,
        "lut_around": AROUND,
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
