# SPDX-License-Identifier: Apache-2.0
"""`hls4attn estimate`: a design's cycles, resources and boards as tables, JSON and chart, before any synthesis."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.estimate import Estimate, estimate, to_dict
from hls4attn.hls.fit import ROOM, Capacity, Fit, Suggestion, fit, most_reuse, paced_by_cells, smallest_reuse, suggest
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.stream.cycles import chunks, is_attention
from hls4attn.hls.stream.resources import NARROW
from hls4attn.host.connect import chosen_board
from hls4attn.host.paths import check_output
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.files import atomic_write, write_json
from hls4attn.overlays.boards import Board, load_boards

CLOCK_MHZ = 100
CHARTS = (".png", ".svg")

_NOTES = {
    "io_stream": (
        "cycles: iterations a sequence of all processes of a kernel; interval: those of its busiest process,",
        "or (filling + reading + latency + 2) / 2 of a bank of two halves, if that is more (a mean of two sequences).",
        "dense: rows * ceil(n_in / in_block) * ceil(n_out / out_block);  add, norms: rows * ceil(channels / lanes);",
        "attention: sum over rows of heads / P * ceil(keys / L) * R, R = ceil(head_dim / width) parts of a head,",
        "width = ceil(head_dim / reuse factor);  P * L * width multipliers for Q K^T and as many for P V (in the",
        "shift form P * width, for its division);  and P * L and P * width for constant factors behind the products.",
        "latency: from the first input row to the last result, with modelled pipeline depths; nothing was synthesised.",
    ),
    "io_parallel": (
        "kernels run one after the other: cycles = rows * reuse factor, and loading a product's right operand.",
        "dense, product: n_in * n_out / reuse factor multipliers;  pipelines' depths are not counted.",
    ),
}
_COMMON = (
    "DSP: every multiplier in slices of 25 x 18 bits (Zynq-7000) or 27 x 18 (UltraScale+).",
    "BRAM36: each memory alone, 18 Kb blocks; memories below 1024 bits or 64 words are LUTs.  "
    "LUT, FF: sums over the operations, to see orders of magnitude.",
    ROOM,
)


def capacity(board: Board) -> Capacity:
    """What a board has."""
    return Capacity(board.name, board.family, board.dsp, board.bram36, board.lut, board.ff)


def designs(path: Path) -> Callable[[HlsConfig], Design]:
    """Reads a model file; what is returned makes its design for a configuration.

    Raises:
        ModelFileError: if it is no valid ONNX file.
        UnsupportedError: if it has no exact hardware.
    """
    return designs_of(read_graph(load_model(path)))


def designs_of(graph: Graph) -> Callable[[HlsConfig], Design]:
    """Makes the design of a graph for a configuration.

    Raises:
        UnsupportedError: if it has no exact hardware.
    """
    plain = lower_graph(graph)

    def make(config: HlsConfig) -> Design:
        if config.io_type == "io_parallel":
            return plain
        from hls4attn.hls.stream.network import to_stream

        return to_stream(plain, config)

    return make


def print_estimate(
    out: Console,
    path: Path,
    board: str | None,
    choices: dict[str, Any],
    json: Path | None,
    chart: Path | None,
) -> None:
    """Print the tables; write JSON and chart if asked for.

    Args:
        out: where to print.
        path: model file.
        board: its name, or None for the usual one.
        choices: of `HlsConfig`; if there is no `reuse_factor`, it is chosen here.
        json: file for the figures.
        chart: file for the chart, .png or .svg.
    """
    check_output(json, inputs=[path])
    check_chart(chart, inputs=[path, json])
    boards = {name: capacity(b) for name, b in load_boards().items()}
    target = chosen_board(board)
    make = designs(path)
    config, chosen = fitting_config(make, choices, boards[target])
    design = make(config)
    found = estimate(design, config)
    fits = [fit(found.resources, b) for b in boards.values()]
    advice = suggest(make, config, boards[target])
    title = f"{path.name}: {found.io_type}, reuse factor {config.reuse_factor}{chosen}{reuse_text(design)}"
    out.print(title, soft_wrap=True, markup=False, highlight=False)
    out.print(kernel_table(found, boards[target].family))
    _print_totals(out, found)
    out.print(board_table(fits, target))
    for limit in found.limits:
        out.print(f"limit: {limit}", soft_wrap=True, markup=False, highlight=False)
    out.print(f"suggestion: {advice.reason}", soft_wrap=True, markup=False, highlight=False)
    for note in (*_NOTES[found.io_type], *_COMMON):
        out.print(note, soft_wrap=True, markup=False, highlight=False, style="dim")
    if json:
        write_json(json, as_dict(found, config, fits, target, advice))
    if chart:
        atomic_write(chart, draw(found, boards[target].family, chart.suffix[1:].lower()))


def fitting_config(make: Any, choices: dict[str, Any], target: Capacity) -> tuple[HlsConfig, str]:
    """The configuration, and why its reuse factor was chosen, if it was."""
    if "reuse_factor" in choices:
        return HlsConfig(**choices), ""
    config = HlsConfig(**choices)
    if config.io_type == "io_parallel":
        return config, ""
    reuse = smallest_reuse(make, config, target)
    if reuse is None:
        return most_reuse(make, config)[0], f", the most there is: none fits {target.name}"
    return replace(config, reuse_factor=reuse), f", chosen: the smallest that fits {target.name}"


def reuse_text(design: Design) -> str:
    """What a reuse factor comes to in an io_stream design; nothing to be said of others."""
    if design.io_type != "io_stream":
        return ""
    if paced_by_cells(design):
        return " (which changes nothing about gain cells: one slot a cycle)"
    parts = sorted({f"{chunks(n)} of {n.ints['width']}" for n in design.nodes if is_attention(n)})
    return f" (parts of a head: {', '.join(parts)})" if parts else ""


def as_dict(found: Estimate, config: HlsConfig, fits: list[Fit], target: str, advice: Suggestion) -> dict[str, Any]:
    """All figures as plain values."""
    return to_dict(found) | {
        "reuse_factor": config.reuse_factor,
        "assumed_clock_mhz": CLOCK_MHZ,
        "latency_us": found.latency / CLOCK_MHZ,
        "interval_us": found.interval / CLOCK_MHZ,
        "board": target,
        "boards": [{"board": f.board, "used": dict(f.used), "percent": dict(f.percent), "fits": f.fits} for f in fits],
        "suggestion": {"options": advice.options, "reason": advice.reason},
        "synthesised": False,
    }


def kernel_table(found: Estimate, family: str) -> Table:
    """One line a kernel, and the sum."""
    table = Table(box=None, pad_edge=False, title="estimate of the design; nothing was synthesised")
    for name in ("node", "kernel"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "cycles", "interval", "mult.", f"<={NARROW} bit", "DSP", "BRAM36", "LUT ~", "FF ~"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in kernel_rows(found, family):
        table.add_row(*row)
    return table


def kernel_rows(found: Estimate, family: str) -> list[tuple[str, ...]]:
    """A row for each kernel, and the sum.

    They are node, kernel, rows, cycles, interval, multipliers, narrow multipliers, DSP, BRAM36, LUT and FF.
    """
    lines = [(k.name, k.kernel, f"{k.rows:,}", f"{k.cycles:,}", k.interval, k.resources) for k in found.kernels]
    lines.append(("total", "", "", "", found.interval, found.resources))
    rows = []
    for *texts, interval, used in lines:
        counts = (used.multiplier_count, used.narrow_count, used.dsp(family))
        numbers = (f"{interval:,}", *(f"{n:,}" for n in counts), f"{used.bram36:,.1f}", f"{used.lut:,}", f"{used.ff:,}")
        rows.append((*texts, *numbers))
    return rows


def _print_totals(out: Console, found: Estimate) -> None:
    used = found.resources
    lines = [
        f"latency {found.latency:,} cycles, interval {found.interval:,} cycles (set by {found.bottleneck}); "
        f"at an assumed clock of {CLOCK_MHZ} MHz {found.latency / CLOCK_MHZ:,.2f} us and "
        f"{found.interval / CLOCK_MHZ:,.2f} us",
        f"memory bits: ROM {used.bits('rom'):,}, banks {used.bits('ram'):,}, FIFOs {used.bits('fifo'):,}",
        f"{used.narrow_count:,} of {used.multiplier_count:,} multipliers have an operand of {NARROW} bits or fewer; "
        f"in LUTs these would take about {used.narrow_lut:,}",
    ]
    for line in lines:
        out.print(line, soft_wrap=True, markup=False, highlight=False)


def board_table(fits: list[Fit], target: str) -> Table:
    """Utilisation of every board."""
    table = Table(box=None, pad_edge=False)
    table.add_column("board")
    for name in ("DSP %", "BRAM36 %", "LUT % ~", "FF % ~"):
        table.add_column(name, justify="right")
    table.add_column("fits")
    for board, *figures in board_rows(fits):
        table.add_row(f"{board}*" if board == target else board, *figures)
    return table


def board_rows(fits: Iterable[Fit]) -> list[tuple[str, ...]]:
    """A row for each board: its name, per cent of DSP, BRAM36, LUT and FF, and whether the design fits."""
    kinds = ("dsp", "bram36", "lut", "ff")
    return [
        (f.board, *(f"{f.percent[k]:,.1f}" if k in f.percent else "?" for k in kinds), "yes" if f.fits else "no")
        for f in fits
    ]


def check_chart(chart: Path | None, inputs: Iterable[Path | None]) -> None:
    """Refuse a chart that could not be written; None is no chart.

    Raises:
        InputError: saying which file, and why.
    """
    if chart is not None and chart.suffix.lower() not in CHARTS:
        raise InputError(f"{chart}: a chart must end in {' or '.join(CHARTS)}")
    check_output(chart, inputs=inputs)


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure.

    Raises:
        ToolError: if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ToolError('matplotlib is not installed: pip install "hls4attn[keras]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def render(drawn: Any, kind: str) -> bytes:
    """A figure as the bytes of a .png or .svg file."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()


def kernel_panels(found: Estimate, family: str) -> Mapping[str, list[float]]:
    """What a chart of the kernels shows, by the title of its panel: one number a kernel."""
    return {
        "interval in cycles": [k.interval for k in found.kernels],
        "DSP slices": [k.resources.dsp(family) for k in found.kernels],
        "BRAM36": [k.resources.bram36 for k in found.kernels],
    }


def draw(found: Estimate, family: str, kind: str) -> bytes:
    """Interval, DSP slices and block memories of every kernel, side by side."""
    names = [k.name for k in found.kernels]
    drawn = figure(11, 1.2 + 0.24 * len(names))
    panels = kernel_panels(found, family)
    axes = drawn.subplots(1, len(panels), sharey=True)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        axis.barh(names, values, color="tab:blue")
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0].invert_yaxis()
    drawn.suptitle(f"{found.name}, {found.io_type}: estimate, not synthesised", fontsize=10)
    return render(drawn, kind)
