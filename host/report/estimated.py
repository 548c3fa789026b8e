# SPDX-License-Identifier: Apache-2.0
"""What a report says of hardware before any synthesis: cycles, resources, boards, and what would fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hls4attn.host.report.content import Block, Column, Facts, Note, Picture, Section, Table, Tile, columns_of
from hls4attn.models.errors import Hls4attnError

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig
    from hls4attn.hls.estimate import Estimate
    from hls4attn.hls.fit import Fit, Suggestion
    from hls4attn.host.flow import Flow

_MEMORIES: tuple[tuple[Literal["rom", "ram", "fifo"], str], ...] = (("rom", "ROM"), ("ram", "banks"), ("fifo", "FIFOs"))


def estimate_section(flow: Flow, chosen: str) -> tuple[Section, list[Tile]]:
    """The estimate of the design before any synthesis, and the figures of it that readers look for.

    Args:
        flow: the model with its choices.
        chosen: who chose the reuse factor, in words; empty if it was given.
    """
    from hls4attn.hls.estimate import estimate
    from hls4attn.hls.fit import fit, suggest
    from hls4attn.host.estimate import capacity, designs_of, reuse_text
    from hls4attn.overlays.boards import load_boards

    config = flow.settings
    boards = {name: capacity(b) for name, b in load_boards().items()}
    target = boards[flow.board]
    make = designs_of(flow.graph)
    design = make(config)
    found = estimate(design, config)
    fits = [fit(found.resources, b) for b in boards.values()]
    here = next(f for f in fits if f.board == target.name)
    advice = suggest(make, config, target)
    reuse = f"reuse factor {config.reuse_factor}{chosen}{reuse_text(design)}"
    facts = _facts(found, config, reuse, advice)
    words = "Estimated from the design alone. " + (
        "All kernels run at once, so the longest interval sets the pace."
        if config.io_type == "io_stream"
        else "The kernels run one after the other, so their intervals add up."
    )
    chart = Picture.of_svg("estimate", "What each kernel takes", figure_kernels(found, target.family), words)
    limits = [Note(f"The vendor's tools would refuse this: {limit}", "bad") for limit in found.limits]
    blocks: tuple[Block, ...] = (
        Note("Figures of a model of the design: nothing here was synthesised, and no time was measured."),
        facts, *limits, _boards(fits, target.name), chart, _kernels(found, target.family),
    )  # fmt: skip
    percent = ", ".join(f"{here.percent[k]:,.0f} % {k.upper()}" for k in ("dsp", "lut") if k in here.percent)
    fitting = here.fits and not found.limits
    note = f"estimated, kernels alone: {percent}" + ("" if fitting else f". {_what_fits(advice, fits)}")
    tiles = [_interval_tile("estimated", found.interval, found.latency), _fits_tile(target.name, fitting, note)]
    return Section("estimate", "Estimate", blocks), tiles


def _facts(found: Estimate, config: HlsConfig, reuse: str, advice: Suggestion) -> Facts:
    """What the whole design takes; a time at the clock that it is meant for."""
    mhz, used = 1000 / config.clock_period_ns, found.resources
    clock = f"us at an assumed clock of {mhz:g} MHz"
    return Facts((
        ("Design", f"{config.backend}, {config.io_type}, {reuse}"),
        ("Latency", f"{found.latency:,} cycles; {found.latency / mhz:,.2f} {clock}"),
        ("Interval", f"{found.interval:,} cycles, set by {found.bottleneck}; {found.interval / mhz:,.2f} {clock}"),
        ("Multipliers", f"{used.multiplier_count:,}, of them {used.narrow_count:,} with an operand of 8 bits or fewer"),
        ("Memory bits", ", ".join(f"{used.bits(kind):,} of {name}" for kind, name in _MEMORIES)),
        ("Suggestion", advice.reason),
    ))  # fmt: skip


def figure_kernels(found: Estimate, family: str) -> str:
    """Interval, DSP slices and block memories of every kernel, side by side; what no kernel takes is left out."""
    from hls4attn.host.estimate import kernel_panels
    from hls4attn.host.report.inline import PALETTE, SMALLEST, canvas, inline_svg, short

    panels = {title: values for title, values in kernel_panels(found, family).items() if any(values)}
    with canvas(9.2, 0.9 + 0.19 * len(found.kernels)) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        rows = range(len(found.kernels))
        for axis, (title, values), colour in zip(axes, panels.items(), PALETTE, strict=False):
            axis.barh(rows, values, color=colour, height=0.7)
            axis.set_title(title, fontsize=9)
            axis.grid(axis="x", alpha=0.25, linewidth=0.6)
            axis.tick_params(labelsize=SMALLEST)
        axes[0].set_yticks(rows, [short(k.name) for k in found.kernels], fontsize=SMALLEST, family="monospace")
        axes[0].set_ylim(len(found.kernels) - 0.4, -0.6)
    return inline_svg(figure, "Estimate of every kernel")


def _kernels(found: Estimate, family: str) -> Table:
    numbers = ("rows", "cycles", "interval", "multipliers", "DSP", "BRAM36", "LUT ~", "FF ~")
    from hls4attn.host.estimate import kernel_rows

    rows = tuple((*row[:6], *row[7:]) for row in kernel_rows(found, family))  # without the narrow multipliers
    note = "Cycles a sample. LUT and FF, marked ~, are sums over the operations, to see orders of magnitude."
    return Table("Kernels", columns_of(("node", "kernel"), numbers), rows, total=True, sortable=True, note=note)


def _boards(fits: Sequence[Fit], target: str) -> Table:
    from hls4attn.hls.fit import ROOM
    from hls4attn.host.estimate import board_rows

    tones = tuple("good" if f.fits and f.board == target else "" for f in fits)
    columns = (*columns_of(("board",), ("DSP %", "BRAM36 %", "LUT % ~", "FF % ~")), Column("fits"))
    note = f"Kernels alone, of the whole FPGA; ~: roughly. This report is for {target}. {ROOM[0].upper()}{ROOM[1:]}"
    return Table("Boards", columns, tuple(board_rows(fits)), tones, note=note)


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
    columns = columns_of(("node", "products in"), ("products", "DSP", "LUT ~", "BRAM18 ~"))
    lead = Note(
        "Clocks by the cycle model of the Verilog, which equals its simulation; sizes counted, not synthesised."
    )
    tiles = [
        _interval_tile("by the cycle model", clocks.interval, clocks.latency),
        _fits_tile(flow.board, found["fits"], "estimated, with DMA and shell"),
    ]
    blocks = (lead, facts, Table("Modules", columns, rows, sortable=True))
    return Section("estimate", "Estimate", blocks), tiles


def _what_fits(advice: Suggestion, fits: Sequence[Fit]) -> str:
    """What to do about a design that does not fit: other choices, or else another board."""
    larger = [f.board for f in fits if f.fits]
    if advice.options:
        return f"{advice.options} would fit"
    return (
        f"No choice fits; this fits {', '.join(larger)}" if larger else "No choice fits, and no known board is enough"
    )


def _interval_tile(how: str, cycles: float, latency: int) -> Tile:
    words = f"from one sample to the next; the first takes {latency:,}"
    return Tile(f"Interval, {how}", f"{cycles:,.0f} cycles", words)


def _fits_tile(board: str, fits: bool, note: str) -> Tile:
    return Tile(f"Fits {board}", "yes" if fits else "no", note, "good" if fits else "bad")


def no_estimate(error: Hls4attnError) -> tuple[Section, list[Tile]]:
    """Where there is none."""
    return Section("estimate", "Estimate", (Note(f"No estimate: {error}", "why"),)), []
