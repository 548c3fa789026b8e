# SPDX-License-Identifier: Apache-2.0
"""Datapath drawings as SVG: blocks, tables, operators and wires with their widths.

Lines and letters have the colour of the page's text, so that a drawing is readable on a light and on a dark page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]

_STYLE = (
    'xmlns="http://www.w3.org/2000/svg" role="img" fill="none" stroke="currentColor" stroke-width="1.4" '
    'font-family="system-ui, sans-serif" font-size="13"'
)
_ROM_FILL, _BUFFER_FILL = "#3f7fd6", "#2fa36b"
#: Radius of an operator, length of an arrow's head.
_RADIUS, _HEAD = 14.0, 7.0


@dataclass(frozen=True)
class Box:
    """A block that has been drawn: where wires may end.

    Attributes:
        x: of its middle.
        y: of its middle.
        w: width.
        h: height.
    """

    x: float
    y: float
    w: float
    h: float

    @property
    def left(self) -> Point:
        """Middle of the left edge."""
        return self.x - self.w / 2, self.y

    @property
    def right(self) -> Point:
        """Middle of the right edge."""
        return self.x + self.w / 2, self.y

    @property
    def top(self) -> Point:
        """Middle of the upper edge."""
        return self.x, self.y - self.h / 2

    @property
    def bottom(self) -> Point:
        """Middle of the lower edge."""
        return self.x, self.y + self.h / 2


@dataclass
class Drawing:
    """An SVG that grows; y points down.

    Args:
        width: of the canvas.
        height: of the canvas.
        title: what a screen reader says.
    """

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        anchor: str = "middle",
        size: float = 13,
        weight: int = 400,
        dim: bool = False,
    ) -> None:
        """A line of text; y is its middle."""
        shade = ' opacity="0.75"' if dim else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y + size * 0.35:g}" text-anchor="{anchor}" font-size="{size:g}" '
            f'font-weight="{weight}" fill="currentColor" stroke="none"{shade}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, *lines: str, w: float = 96, h: float | None = None, kind: str = "") -> Box:
        """A block with lines of text; kind "rom" is a table, "buffer" a memory that is written."""
        h = h or 18 * len(lines) + 16
        fill = {"rom": _ROM_FILL, "buffer": _BUFFER_FILL}.get(kind, "currentColor")
        shade = 0.2 if kind else 0.05
        corner = 2 if kind else 6
        self.parts.append(
            f'<rect x="{x - w / 2:g}" y="{y - h / 2:g}" width="{w:g}" height="{h:g}" rx="{corner}" fill="{fill}" '
            f'fill-opacity="{shade}"/>'
        )
        if kind:  # a memory shows its words
            for offset in (4.0, 8.0):
                self.parts.append(f'<path d="M{x - w / 2 + offset:g} {y - h / 2:g}v{h:g}" stroke-width="0.8"/>')
        for number, line in enumerate(lines):
            self.text(x + (4 if kind else 0), y + 18 * (number - (len(lines) - 1) / 2), line)
        return Box(x, y, w, h)

    def op(self, x: float, y: float, sign: str) -> Box:
        """An arithmetic operator."""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{_RADIUS:g}" fill="currentColor" fill-opacity="0.05"/>')
        self.text(x, y, sign, size=16)
        return Box(x, y, 2 * _RADIUS, 2 * _RADIUS)

    def wire(
        self,
        *points: Point,
        bits: str = "",
        name: str = "",
        at: int = 0,
        along: float = 0.5,
        head: bool = True,
        side: int = -1,
    ) -> None:
        """A wire through points; `bits` is written at a stroke across its part number `at`, `name` beside that.

        Args:
            points: corners, begin and end.
            bits: its width.
            name: of what it carries.
            at: part of the wire that is labelled.
            along: where on that part, from 0 to 1.
            head: whether it ends in an arrow.
            side: of labels: -1 above or left, 1 below or right.
        """
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path d="{path}"/>')
        if head:
            (ax, ay), (bx, by) = points[-2:]
            length = max(abs(bx - ax), abs(by - ay)) or 1.0
            ux, uy = (bx - ax) / length, (by - ay) / length
            corners = [(bx, by)] + [(bx - _HEAD * ux + s * 4 * uy, by - _HEAD * uy + s * 4 * ux) for s in (1, -1)]
            shown = " ".join(f"{x:g},{y:g}" for x, y in corners)
            self.parts.append(f'<polygon points="{shown}" fill="currentColor" stroke="none"/>')
        (ax, ay), (bx, by) = points[at], points[at + 1]
        mx, my = ax + (bx - ax) * along, ay + (by - ay) * along
        flat = abs(bx - ax) >= abs(by - ay)
        if bits:
            mx -= (_HEAD / 2 if head and at == len(points) - 2 else 0) * (1 if bx > ax else -1) if flat else 0
            self.parts.append(f'<path d="M{mx - 4:g} {my + 6:g}l8 -12" stroke-width="1"/>')
            self.text(
                mx + (1 if flat else 9 * side),
                my + (13 * side if flat else 0),
                bits,
                "middle" if flat else _anchor(side),
                11.5,
            )
        if name:
            if flat:
                self.text(mx, my - 13 * side, name, size=11.5, dim=True)
            else:
                self.text(mx - 9 * side, my, name, _anchor(-side), 11.5, dim=True)

    def dot(self, x: float, y: float) -> None:
        """A branch of a wire."""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="3" fill="currentColor" stroke="none"/>')

    def frame(self, x: float, y: float, w: float, h: float, words: str) -> None:
        """A dashed frame around what belongs together."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="8" stroke-dasharray="5 4" stroke-width="1" '
            'opacity="0.55"/>'
        )
        self.text(x + 10, y + 13, words, "start", 12, 600)

    def svg(self) -> str:
        """The file."""
        head = f'<svg {_STYLE} viewBox="0 0 {self.width} {self.height}" style="max-width:{self.width}px;width:100%">'
        return "\n".join((head, f"<title>{escape(self.title)}</title>", *self.parts, "</svg>")) + "\n"


def _anchor(side: int) -> str:
    return "start" if side > 0 else "end"


def bits(largest: int, signed: bool = False) -> str:
    """Bits of an integer up to `largest`."""
    return str(int(largest).bit_length() + signed)
