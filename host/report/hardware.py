# SPDX-License-Identifier: Apache-2.0
"""What a report says of the hardware: the estimate, and apart from it what tools have synthesised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hls4attn.host.report.arithmetic import svg
from hls4attn.host.report.content import Block, Column, Facts, Note, Section, Table, Tile
from hls4attn.models.errors import Hls4attnError
from hls4attn.models.export.graph import Graph

if TYPE_CHECKING:
    from hls4attn.hls.estimate import Estimate
    from hls4attn.hls.fit import Fit
    from hls4attn.host.flow import Flow

_MEMORIES: tuple[tuple[Literal["rom", "ram", "fifo"], str], ...] = (("rom", "ROM"), ("ram", "banks"), ("fifo", "FIFOs"))
#: Units of the committed bench that stand for an operator of a model.
_UNITS = {
    "ConSmax": "consmax",
    "ConSmaxSplit": "consmax-split",
    "E2Softmax": "e2softmax",
    "IntegerSoftmax": "softmax",
    "AILayerNorm": "ailayernorm",
    "IntegerLayerNorm": "layernorm",
    "GainCell": "gaincell",
}


def _columns(texts: Sequence[str], numbers: Sequence[str]) -> tuple[Column, ...]:
    return (*(Column(t) for t in texts), *(Column(n, True) for n in numbers))


def estimate_section(flow: Flow, chosen: str) -> tuple[Section, list[Tile]]:
    """The estimate of the design before any synthesis, and the figures of it that readers look for.

    Args:
        flow: the model with its choices.
        chosen: who chose the reuse factor, in words; empty if it was given.
    """
    from hls4attn.hls.estimate import estimate
    from hls4attn.hls.fit import fit, suggest
    from hls4attn.hls.lowering import lower_graph
    from hls4attn.hls.stream.network import to_stream
    from hls4attn.host.estimate import CLOCK_MHZ, capacity
    from hls4attn.overlays.boards import load_boards

    config = flow.settings
    plain = lower_graph(flow.graph)
    boards = {name: capacity(b) for name, b in load_boards().items()}
    target = boards[flow.board]
    make: Any = lambda c: plain if c.io_type == "io_parallel" else to_stream(plain, c)  # noqa: E731
    found = estimate(make(config), config)
    fits = [fit(found.resources, b) for b in boards.values()]
    here = next(f for f in fits if f.board == target.name)
    advice = suggest(make, config, target)
    clock = f"at an assumed clock of {CLOCK_MHZ} MHz"
    used, pace = found.resources, f"{found.interval / CLOCK_MHZ:,.2f} us"
    facts = Facts((
        ("Design", f"{config.backend}, {config.io_type}, reuse factor {config.reuse_factor}{chosen}"),
        ("Latency", f"{found.latency:,} cycles; {clock} {found.latency / CLOCK_MHZ:,.2f} us"),
        ("Interval", f"{found.interval:,} cycles, set by {found.bottleneck}; {clock} {pace}"),
        ("Multipliers", f"{used.multiplier_count:,}, of them {used.narrow_count:,} with an operand of 8 bits or fewer"),
        ("Memory bits", ", ".join(f"{used.bits(kind):,} of {name}" for kind, name in _MEMORIES)),
        ("Suggestion", advice.reason),
    ))  # fmt: skip
    words = "Estimated from the design alone. The longest interval sets the pace of a streaming design."
    chart = svg("estimate", "What each kernel takes", figure_kernels(found, target.family), words)
    limits = [Note(f"The vendor's tools would refuse this: {limit}", "bad") for limit in found.limits]
    blocks: tuple[Block, ...] = (
        Note("Figures of a model of the design: nothing here was synthesised, and no time was measured."),
        facts, *limits, _boards(fits, target.name), chart, _kernels(found, target.family),
    )  # fmt: skip
    percent = ", ".join(f"{here.percent[k]:.0f} % {k.upper()}" for k in ("dsp", "lut") if k in here.percent)
    tiles = [
        Tile("Interval, estimated", f"{found.interval:,}", "cycles a sample"),
        _fits_tile(target.name, here.fits, f"estimated: {percent}"),
    ]  # fmt: skip
    return Section("estimate", "Estimate", blocks), tiles


def figure_kernels(found: Estimate, family: str) -> str:
    """Interval, DSP slices and block memories of every kernel, side by side; what no kernel takes is left out."""
    from hls4attn.host.report.inline import PALETTE, canvas, inline_svg

    panels: dict[str, list[float]] = {
        "interval in cycles": [k.interval for k in found.kernels],
        "DSP slices": [k.resources.dsp(family) for k in found.kernels],
        "BRAM36": [k.resources.bram36 for k in found.kernels],
    }
    panels = {title: values for title, values in panels.items() if any(values)}
    with canvas(9.2, 0.9 + 0.19 * len(found.kernels)) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        rows = range(len(found.kernels))
        for axis, (title, values), colour in zip(axes, panels.items(), PALETTE, strict=False):
            axis.barh(rows, values, color=colour, height=0.7)
            axis.set_title(title, fontsize=9)
            axis.grid(axis="x", alpha=0.25, linewidth=0.6)
            axis.tick_params(labelsize=7)
        axes[0].set_yticks(rows, [k.name for k in found.kernels], fontsize=7, family="monospace")
        axes[0].invert_yaxis()
    return inline_svg(figure, "Estimate of every kernel")


def _kernels(found: Estimate, family: str) -> Table:
    numbers = ("rows", "cycles", "interval", "multipliers", "DSP", "BRAM36", "LUT ~", "FF ~")
    lines = [((k.name, k.kernel), f"{k.rows:,}", f"{k.cycles:,}", k.interval, k.resources) for k in found.kernels]
    lines.append((("total", ""), "", "", found.interval, found.resources))
    rows = tuple(
        (*names, *texts, f"{interval:,}", f"{used.multiplier_count:,}", f"{used.dsp(family):,}", f"{used.bram36:,.1f}",
         f"{used.lut:,}", f"{used.ff:,}")
        for names, *texts, interval, used in lines
    )  # fmt: skip
    note = "LUT and FF are sums over the operations, to see orders of magnitude."
    return Table("Kernels", _columns(("node", "kernel"), numbers), rows, total=True, sortable=True, note=note)


def _boards(fits: Sequence[Fit], target: str) -> Table:
    kinds = ("dsp", "bram36", "lut", "ff")
    rows = tuple(
        (f.board, *(f"{f.percent[k]:,.1f}" if k in f.percent else "?" for k in kinds), "yes" if f.fits else "no")
        for f in fits
    )
    tones = tuple("good" if f.fits and f.board == target else "" for f in fits)
    columns = (*_columns(("board",), ("DSP %", "BRAM36 %", "LUT % ~", "FF % ~")), Column("fits"))
    return Table("Boards", columns, rows, tones, note=f"Of the whole FPGA; this report is for {target}.")


def rtl_section(flow: Flow) -> tuple[Section, list[Tile]]:
    """The same for a build whose kernels are Verilog: clocks of its cycle model, which equals the simulated RTL."""
    from hls4attn.hls.rtl.net.cycles import network_cycles
    from hls4attn.host.estimate import capacity
    from hls4attn.host.rtl_estimate import SAMPLES, as_dict
    from hls4attn.overlays.boards import board

    choice = flow.rtl_choice
    clocks = network_cycles(choice.design, flow.graph, SAMPLES, dsp=choice.budget.chosen)
    found = as_dict(choice, clocks, capacity(board(flow.board)))
    facts = Facts((
        ("Design", f"Verilog, io_stream, {choice.words}"),
        ("Latency", f"{clocks.latency:,} cycles"),
        ("Interval", f"{clocks.interval:,.0f} cycles"),
        ("Resources", f"{found['dsp']} DSP, roughly {found['lut_estimate']:,} LUT, {found['bram18_estimate']} BRAM18"),
    ))  # fmt: skip
    rows = tuple(
        (
            n["name"],
            n["in"],
            f"{n['products']:,}",
            f"{n['dsp']:,}",
            f"{n['lut_estimate']:,}",
            f"{n['bram18_estimate']:,}",
        )
        for n in found["nodes"]
    )
    columns = _columns(("node", "products in"), ("products", "DSP", "LUT ~", "BRAM18 ~"))
    lead = Note(
        "Clocks by the cycle model of the Verilog, which equals its simulation; sizes counted, not synthesised."
    )
    tiles = [
        Tile("Interval, by the cycle model", f"{clocks.interval:,.0f}", "cycles a sample"),
        _fits_tile(flow.board, found["fits"], "estimated, with DMA and shell"),
    ]
    blocks = (lead, facts, Table("Modules", columns, rows, sortable=True))
    return Section("estimate", "Estimate", blocks), tiles


def _fits_tile(board: str, fits: bool, note: str) -> Tile:
    return Tile(f"Fits {board}", "yes" if fits else "no", note, "good" if fits else "bad")


def no_estimate(error: Hls4attnError) -> tuple[Section, list[Tile]]:
    """Where there is none."""
    return Section("estimate", "Estimate", (Note(f"No estimate: {error}", "why"),)), []


def synthesis_section(record: Mapping[str, Any] | None, waiting: str, graph: Graph | None) -> Section:
    """What tools have synthesised: the build's reports, and the committed sizes of the model's operators.

    Args:
        record: content of ``build.json``; None without a finished build.
        waiting: why there is none.
        graph: the model, if there is one.
    """
    built = [Note(waiting, "why")] if record is None else _built(record)
    return Section("synthesis", "Synthesis", (*built, *(_units(graph) if graph else ())))


def _built(record: Mapping[str, Any]) -> list[Any]:
    """Tables of a build's reports, each with its tool."""
    clock, reports = record["clock_mhz"], record["reports"]
    tools = ", ".join(t["banner"] for t in record["tools"].values()) or "no tool"
    facts = [("Tools", tools), ("Part", record["part"])]
    facts.append(("Clock", f"{clock['made']:g} MHz, for which it was built (asked for: {clock['requested']:g} MHz)"))
    if timing := reports.get("timing"):
        met = "met" if timing["met"] else "not met"
        facts.append(("Timing", f"{met}; worst slack {timing['wns_ns']} ns (setup), {timing['whs_ns']} ns (hold)"))
    if power := reports.get("power"):
        facts.append(("Power", f"{power['total_w']} W by the tool's estimate, not measured"))
    found: list[Any] = [
        Note("Figures of the vendor's tools; nothing here was measured on a board."),
        Facts(tuple(facts)),
    ]
    if used := reports.get("utilization"):
        rows = tuple((k, f"{r['used']:g}", f"{r['available']:g}", f"{r['percent']:.1f}") for k, r in used.items())
        found.append(
            Table("Utilisation of the whole overlay", _columns(("resource",), ("used", "available", "%")), rows)
        )
    if kernels := reports.get("hls"):
        cycles = tuple((n, _known(k["latency_max"]), _known(k["interval_max"])) for n, k in kernels.items())
        columns = _columns(("kernel",), ("latency, cycles", "interval, cycles"))
        found.append(Table("Kernels by high-level synthesis", columns, cycles))
    return found


def _known(cycles: int | None) -> str:
    return "not known" if cycles is None else f"{cycles:,}"


def _units(graph: Graph) -> list[Any]:
    """Sizes of the streaming units of this model's operators, from the committed bench."""
    from hls4attn.host import bench

    specs = [n.spec or n.norm or n.cells for n in graph.nodes]
    names = dict.fromkeys(_UNITS[s.op_type] for s in specs if s is not None and s.op_type in _UNITS)
    if not names:
        return []
    bench_file = Path(bench.__file__).parent / "hardware.json"
    content = json.loads(bench_file.read_text(encoding="utf-8"))
    rows = tuple(
        (u["title"], u["size"]["tool"], *(f"{u['size'][k]:,}" for k in ("lut", "lutram", "ff", "dsp", "bram18")))
        for u in content["units"] if u["name"] in names and u["size"]
    )  # fmt: skip
    columns = _columns(("streaming unit, rows of 1,024", "tool"), ("LUT", "LUT as memory", "FF", "DSP", "BRAM18"))
    note = (
        "Units of the kind that this model uses, not its own: from the committed run of hls4attn bench hardware "
        f"for {content['part']}, synthesised without a clock constraint."
    )
    return [Table("Its operators alone, synthesised", columns, rows, note=note)]
