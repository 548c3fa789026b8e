# SPDX-License-Identifier: Apache-2.0
"""Figures of the report as inline SVG: error of each layer, attention maps, row sums, a sweep's points.

Each is one `<svg>` element without header, with ids of its own, with text as text and in the colour of the page's
text, on no background; the same values give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hls4attn.host.report.attention import AttentionMap, attention_maps
from hls4attn.host.report.inline import INK, PALETTE, SMALLEST, canvas, inline_svg, short
from hls4attn.host.report.layers import LayerError, layer_errors
from hls4attn.host.sweep.chart import drawable, scatter, title
from hls4attn.host.sweep.pareto import Objective
from hls4attn.host.sweep.point import Result
from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Reals

__all__ = [
    "LayerError",
    "figure_attention",
    "figure_layer_errors",
    "figure_row_sums",
    "figure_sweep",
    "layer_errors",
]

#: Heads beside each other, and pixels of a heat map's side; longer rows are averaged.
HEADS_A_ROW, MAP_SIDE = 6, 128
OWN, GROWN, LIMITED = PALETTE[0], PALETTE[1], PALETTE[2]


def figure_layer_errors(errors: Sequence[LayerError]) -> str:
    """Error of every layer, on its own and grown, and how many results are at a limit.

    An unsigned quantiser that follows a product is at its lower limit wherever the product is negative.

    Args:
        errors: from `layer_errors`.

    Raises:
        InputError: if there is nothing to draw.
    """
    if not errors:
        raise InputError("This model has no layer that rounds, so no errors to draw")
    with canvas(9.2, 0.9 + 0.18 * len(errors)) as figure:
        steps, ratio, limited = figure.subplots(1, 3, sharey=True, width_ratios=(3, 3, 1.2))
        rows = np.arange(len(errors))
        # Own errors are drawn last and smaller, for where nothing has grown yet both are at one place.
        for name, colour, marker, size in (("grown", GROWN, "D", 6), ("own", OWN, "o", 3.5)):
            found = [getattr(e, name) for e in errors]
            label = {"own": "of the layer itself", "grown": "grown up to here"}[name]
            kept = [(r, f.rms) for r, f in zip(rows, found, strict=True) if f.rms]
            steps.plot([v for _, v in kept], [r for r, _ in kept], marker, color=colour, markersize=size, label=label)
            kept = [(r, f.sqnr_db) for r, f in zip(rows, found, strict=True) if f.sqnr_db is not None]
            ratio.plot([v for _, v in kept], [r for r, _ in kept], marker, color=colour, markersize=size)
        limited.barh(rows, [100 * e.limited / e.elements for e in errors], color=LIMITED, height=0.7)
        steps.set_yticks(rows, [short(e.tensor) for e in errors], fontsize=SMALLEST, family="monospace")
        if any(e.own.rms or e.grown.rms for e in errors):
            steps.set_xscale("log")
            steps.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            steps.xaxis.set_minor_formatter(lambda value, _: "")
        titles = ("rms error in output steps", "SQNR in dB", "at a limit, %")
        for axis, title in zip((steps, ratio, limited), titles, strict=True):
            axis.set_title(title, fontsize=9)
            axis.grid(axis="both", alpha=0.25, linewidth=0.6)
            axis.tick_params(labelsize=SMALLEST)
        steps.set_ylim(len(errors) - 0.4, -0.6)
        figure.legend(
            *steps.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False
        )
    return inline_svg(figure, "Error of every layer against the real function")


def figure_attention(graph: Graph, trace: Mapping[str, Codes], sample: int = 0) -> str:
    """Heat maps of one sample, query by key, of each head of every block.

    Args:
        graph: the model.
        trace: codes of its activations, from `Reference.trace`.
        sample: which sample of the trace.

    Raises:
        InputError: if the model has no attention, or the trace not so many samples.
    """
    if not any(n.spec or n.context or n.cells for n in graph.nodes):
        raise InputError(f"{graph.name} has no score function, so no attention to draw")
    samples = len(trace[graph.output.name])
    if not 0 <= sample < samples:
        raise InputError(f"sample must be 0 to {samples - 1}. Received: {sample}")
    maps = attention_maps(graph, {name: codes[sample : sample + 1] for name, codes in trace.items()})
    lines = [
        (found, list(range(start, min(start + HEADS_A_ROW, found.weights.shape[1]))))
        for found in maps
        for start in range(0, found.weights.shape[1], HEADS_A_ROW)
    ]
    columns = max(len(heads) for _, heads in lines)
    with canvas(max(1.3 * columns + 0.9, 3.4), 1.65 * len(lines)) as figure:
        axes = figure.subplots(len(lines), columns, squeeze=False)
        for line, (found, heads) in zip(axes, lines, strict=True):
            _draw_heads(figure, line, found, heads)
    return inline_svg(figure, f"Attention of {graph.name}, sample {sample}")


def _draw_heads(figure: Any, axes: Any, found: AttentionMap, heads: list[int]) -> None:
    """One line of heat maps of a single sample, with a common scale."""
    top = float(found.weights[0].max()) or 1.0
    for axis in axes[len(heads) :]:
        axis.set_axis_off()
    for axis, head in zip(axes, heads, strict=False):
        seen = np.where(found.visible, found.weights[0, head], np.nan)
        rows, cols = seen.shape
        shown = axis.imshow(
            shrunk(seen), cmap="viridis", vmin=0, vmax=top, interpolation="none", extent=(0, cols, rows, 0)
        )
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_xlabel("key", fontsize=SMALLEST, labelpad=2)
        axis.set_ylabel("query", fontsize=SMALLEST, labelpad=2)
        mean = float(found.row_sums[0, head].mean())
        axis.set_title(f"head {head}, row sum {mean:.2f}", fontsize=SMALLEST)
    axes[0].annotate(short(found.node), (0, 1.25), xycoords="axes fraction", fontsize=8, family="monospace")
    bar = figure.colorbar(shown, ax=list(axes), fraction=0.03, pad=0.01)
    bar.ax.tick_params(labelsize=SMALLEST)
    bar.set_label(found.what, fontsize=SMALLEST)


def shrunk(values: Reals, side: int = MAP_SIDE) -> Reals:
    """A matrix averaged over blocks until no side is longer than `side`; what is unseen stays unseen.

    Args:
        values: the matrix, NaN where nothing is seen.
        side: the limit.
    """
    block = -(-max(values.shape) // side)
    if block == 1:
        return values
    padded = np.pad(values, [(0, -n % block) for n in values.shape], constant_values=np.nan)
    blocks = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block)
    seen = np.isfinite(blocks).sum(axis=(1, 3))
    return np.where(seen > 0, np.nansum(blocks, axis=(1, 3)) / np.maximum(seen, 1), np.nan)


def bin_edges(values: Reals, most: int = 40) -> Reals:
    """Edges of bins that all hold equally many of the places that values on a grid can have.

    Bins that are no whole number of steps wide show a comb that is not in the values.

    Args:
        values: at least one.
        most: how many bins.
    """
    places = np.unique(np.round(values, 9))
    step = float(np.diff(places).min(initial=np.inf))
    if not np.isfinite(step):
        return places[0] + np.array([-0.5, 0.5])
    count = round((places[-1] - places[0]) / step) + 1
    width = -(-count // most)
    return places[0] + step * (width * np.arange(-(-count // width) + 1) - 0.5)


def figure_row_sums(graph: Graph, trace: Mapping[str, Codes]) -> str:
    """How the sums of the rows are distributed, a panel a block, with their mean and what is exact.

    Args:
        graph: the model.
        trace: codes of its activations, from `Reference.trace`.

    Raises:
        InputError: if the model has no attention.
    """
    maps = attention_maps(graph, trace)
    if not maps:
        raise InputError(f"{graph.name} has no score function, so no row sums to draw")
    columns = min(len(maps), 3)
    lines = -(-len(maps) // columns)
    with canvas(3.1 * columns + 0.4, 2.3 * lines) as figure:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes[len(maps) :]:
            axis.set_axis_off()
        for axis, found in zip(axes, maps, strict=False):
            sums = found.row_sums.ravel()
            mean = float(sums.mean())
            axis.hist(sums, bins=list(bin_edges(sums)), color=OWN)
            axis.axvline(mean, color=GROWN, linewidth=1.4, label=f"mean {mean:.3f}")
            if found.exact_sum is not None:
                axis.axvline(found.exact_sum, linestyle="--", linewidth=1.2, color=INK, label="exact 1")
            gain = "" if found.gain is None else f"\ngain {found.gain:.4f}"
            axis.set_title(f"{short(found.node)}{gain}", fontsize=8)
            axis.set_xlabel("row sum", fontsize=8)
            axis.set_ylabel("rows", fontsize=8)
            axis.tick_params(labelsize=SMALLEST)
            axis.set_ylim(top=1.3 * axis.get_ylim()[1])  # room for the legend above the bars
            axis.legend(fontsize=SMALLEST, frameon=False, loc="upper right")
    return inline_svg(figure, f"Row sums of {graph.name}")


def figure_sweep(
    results: Sequence[Result],
    objectives: Sequence[Objective],
    best: Sequence[Result],
    name: Callable[[Result], str] | None = None,
) -> str:
    """The points of a sweep, those on the front joined and named.

    Args:
        results: of the sweep.
        objectives: the first is drawn upwards, the second to the right; of more, the front is that of all.
        best: the front.
        name: short name of a point.

    Raises:
        InputError: if no point has both of the first two objectives.
    """
    if not drawable(results, objectives):
        raise InputError("No point was evaluated without a mismatch and has the first two objectives: nothing to draw")
    with canvas(7.6, 4.6) as figure:
        axis = figure.subplots()
        scatter(axis, results, objectives, best, name)
        figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return inline_svg(figure, title(objectives))
