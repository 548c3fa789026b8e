# SPDX-License-Identifier: Apache-2.0
"""A model as one SVG: a box for each layer, shape and format on the lines between them.

The drawing has no background and writes in the page's colour of text, so that it reads on light and dark.  Widths are
counted in characters: everything is in a monospaced font.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from hls4attn.host.report.boxes import KINDS, Box, Link, tensor_text, to_boxes
from hls4attn.host.report.inline import clean
from hls4attn.host.report.layout import Edge, Item, Point, place
from hls4attn.models.export.graph import Graph

#: Font sizes of titles and of other text, the width of a character in them, and the height of a line.
TITLE, TEXT, CHARACTER, LINE = 11.0, 10.0, 0.61, 13.0
PADDING, MARGIN, LABEL = 9.0, 16.0, 24.0
LONGEST_TITLE, LONGEST_LINE = 36, 44
COLOURS = {
    "input": "#7a8290",
    "dense": "#3b82c4",
    "product": "#e07b39",
    "score": "#cf4f6b",
    "context": "#b0559f",
    "cells": "#1f9aa8",
    "norm": "#2f9e5b",
    "elementwise": "#a8872a",
    "move": "#8b8f98",
}
_CSS = (
    ".h4a text{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:currentColor;text-anchor:middle;"
    f"font-size:{TEXT}px}}.h4a .h4a-name{{font-size:{TITLE}px;font-weight:600}}"
    ".h4a .h4a-legend,.h4a .h4a-head{text-anchor:start}"
    ".h4a .h4a-edge{fill:none;stroke:currentColor;stroke-width:.9}.h4a .h4a-tip{fill:currentColor}"
    ".h4a rect{stroke-width:1.2;fill-opacity:.16}.h4a .h4a-move{stroke-dasharray:4 2.5}"
)


def model_svg(graph: Graph) -> str:
    """The drawing of a model as one `<svg>` element.

    A box says what a layer does and with which constants; its title is the name of the tensor that leaves it, and the
    text below the box that tensor's shape and format.  Tooltips have the details.  Each line carries its tensor, its
    source and its target as `data-` attributes.

    Args:
        graph: the model.
    """
    boxes, links = to_boxes(graph)
    layout = place([_item(b) for b in boxes], [Edge(k.source, k.target, k.tensor) for k in links])
    legend, below = _legend(boxes, max(layout.size[0], 300.0))
    used = max(layout.size[0], below[0])
    top = MARGIN + 24.0 - layout.top
    width, height = used + 2 * MARGIN, top + layout.size[1] + 26.0 + below[1] + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="h4a" role="img" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}">',
        f"<title>{_text(graph.name)}</title>",
        f"<style>{_CSS}</style>",
        f'<text class="h4a-head h4a-name" x="{_n(MARGIN)}" y="{_n(MARGIN + 6)}">{_text(_cut(graph.name, 60))}</text>',
        f'<g transform="translate({_n(MARGIN + (used - layout.size[0]) / 2)} {_n(top)})">',
        *(_edge(graph, k, boxes, r) for k, r in zip(links, layout.routes, strict=True)),
        *(_drawn(b, n, p) for n, (b, p) in enumerate(zip(boxes, layout.places, strict=True))),
        "</g>",
        f'<g transform="translate({_n(MARGIN)} {_n(top + layout.size[1] + 26.0)})">{legend}</g>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _n(value: float) -> str:
    """A number in as few characters as a drawing needs, the same everywhere."""
    return f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.0f}"


def _text(text: str) -> str:
    """Text between tags, inert wherever it comes from."""
    return escape(clean(text))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Width of a line of text; characters of East Asian scripts take two places."""
    places = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    return places * size * CHARACTER


def _lines(box: Box) -> list[str]:
    return [_cut(line, LONGEST_LINE) for line in box.lines]


def _height(box: Box) -> float:
    """Of the box alone, without the label below it."""
    return 2 * PADDING + TITLE + LINE * len(box.lines) - 1.0


def _width(box: Box) -> float:
    widest = max((text_width(line, TEXT) for line in _lines(box)), default=0.0)
    return max(widest, text_width(_cut(box.title, LONGEST_TITLE), TITLE)) + 2 * PADDING


def _item(box: Box) -> Item:
    """The box with the label below it."""
    if box.tensor is None:
        return Item(_width(box), _height(box), _width(box))
    label = text_width(tensor_text(box.tensor), TEXT) + 6.0
    return Item(max(_width(box), label), _height(box) + LABEL, _width(box))


def _drawn(box: Box, number: int, where: Point) -> str:
    x, y = where
    width, height = _width(box), _height(box)
    lines = [
        f'<text x="{_n(x)}" y="{_n(y + PADDING + TITLE + LINE * k)}">{_text(line)}</text>'
        for k, line in enumerate(_lines(box), start=1)
    ]
    title = f'<text class="h4a-name" x="{_n(x)}" y="{_n(y + PADDING + TITLE - 2.0)}">'
    label = ""
    if box.tensor is not None:
        place_y = y + height + LABEL / 2 + 4.5
        label = f'<text class="h4a-label" x="{_n(x)}" y="{_n(place_y)}">{_text(tensor_text(box.tensor))}</text>'
    colour = COLOURS[box.kind]
    round_corner = 12 if box.kind == "input" else 4
    return (
        f'<g class="h4a-box" data-box="{number}" data-kind="{box.kind}" '
        f"data-nodes={quoteattr(clean(' '.join(n.name for n in box.nodes)))}><title>{_text(box.detail)}</title>"
        f'<rect class="h4a-{box.kind}" x="{_n(x - width / 2)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
        f'rx="{round_corner}" fill="{colour}" stroke="{colour}"/>'
        f"{title}{_text(_cut(box.title, LONGEST_TITLE))}</text>{''.join(lines)}{label}</g>"
    )


def _edge(graph: Graph, link: Link, boxes: Sequence[Box], route: list[Point]) -> str:
    """A line with its tip; the label interrupts it below the box that it leaves."""
    (x, y), (tip_x, tip_y) = route[0], route[-1]
    bottom = y - LABEL
    rest = [(x, y - 4), *route[1:-1], (tip_x, tip_y - 5)]
    path = f"M{_n(x)} {_n(bottom)}V{_n(bottom + 6)}M{_n(x)} {_n(y - 4)}{_path(rest)}"
    tensor = graph.tensors[link.tensor]
    made = boxes[link.source].nodes[-1:]
    before = [tensor_text(graph.tensors[n.inputs[0]]) for n in made if n.op == "Quant"]
    about = f"{tensor.name}: {tensor_text(tensor)}" + "".join(f"\nquantised from {text}" for text in before)
    return (
        f'<g class="h4a-link" data-source="{link.source}" data-target="{link.target}" '
        f"data-tensor={quoteattr(clean(link.tensor))}><title>{_text(about)}</title>"
        f'<path class="h4a-edge" d="{path}"/>'
        f'<path class="h4a-tip" d="M{_n(tip_x)} {_n(tip_y)}l-3.2 -6.4h6.4z"/></g>'
    )


def _path(points: Sequence[Point], corner: float = 7.0) -> str:
    """Straight where x or y stays, an S between rows, round where a vertical piece meets a level one."""
    parts = []
    at = points[0]
    for k, (x, y) in enumerate(points[1:], start=1):
        if x != at[0] and y != at[1]:
            middle = (at[1] + y) / 2
            parts.append(f"C{_n(at[0])} {_n(middle)} {_n(x)} {_n(middle)} {_n(x)} {_n(y)}")
            at = (x, y)
            continue
        after = points[k + 1] if k + 1 < len(points) else None
        turns = after is not None and (x != at[0]) != (after[0] != x) and (after[0] == x or after[1] == y)
        if after is None or not turns:
            parts.append(f"L{_n(x)} {_n(y)}")
            at = (x, y)
            continue
        before, behind = _towards((x, y), at, corner), _towards((x, y), after, corner)
        parts.append(f"L{_n(before[0])} {_n(before[1])}Q{_n(x)} {_n(y)} {_n(behind[0])} {_n(behind[1])}")
        at = behind
    return "".join(parts)


def _towards(start: Point, end: Point, distance: float) -> Point:
    """A point near `start` on the way to `end`, which is level with it or above or below."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = abs(dx) + abs(dy)
    share = min(distance / length, 0.5) if length else 0.0
    return start[0] + dx * share, start[1] + dy * share


def _legend(boxes: Sequence[Box], width: float) -> tuple[str, Point]:
    """The kinds that occur, in lines of at most `width`; and the size of it all."""
    parts, x, y, widest = [], 0.0, 0.0, 0.0
    for kind, meaning in KINDS.items():
        if not any(b.kind == kind for b in boxes):
            continue
        wide = 22.0 + text_width(meaning, TEXT) + 16.0
        if x and x + wide > width:
            x, y = 0.0, y + 17.0
        colour = COLOURS[kind]
        parts.append(
            f'<rect class="h4a-{kind}" x="{_n(x)}" y="{_n(y)}" width="16" height="10" rx="3" fill="{colour}" '
            f'stroke="{colour}"/><text class="h4a-legend" x="{_n(x + 22)}" y="{_n(y + 8.5)}">{meaning}</text>'
        )
        x += wide
        widest = max(widest, x - 16.0)
    return "".join(parts), (widest, y + 12.0)
