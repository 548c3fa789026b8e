# SPDX-License-Identifier: Apache-2.0
"""Places for the boxes of a drawing: rows from top to bottom, in columns beside each other.

A row holds what is equally far from the input.  A tensor that passes a row has a slot of its own in it, and between
rows there is nothing but lines: so no line crosses a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hls4attn.host.report.columns import columns_of, cuts_of
from hls4attn.host.report.rows import PASSING, SLOT_GAP, Column, Slot

#: Distances between rows and between columns; and how far from a column's end its line to the next one turns.
ROW_GAP, COLUMN_GAP, TURN = 34.0, 46.0, 14.0
Point = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """What is placed.

    Attributes:
        width: of all that belongs to it.
        height: likewise.
        inner: width of its box, where lines can enter.
    """

    width: float
    height: float
    inner: float


@dataclass(frozen=True)
class Edge:
    """From one item to another; edges with the same tensor share their way."""

    source: int
    target: int
    tensor: str


@dataclass(frozen=True)
class Layout:
    """The result.

    Attributes:
        places: of each item, the centre of its top side.
        routes: of each edge, the points it goes through, from the lower end of its source to the top of its target.
            Where neither x nor y stays, the piece lies between two rows.
        top: smallest y; below 0 where a line goes over a column.
        size: width, and height from y = 0.
    """

    places: list[Point]
    routes: list[list[Point]]
    top: float
    size: Point


def rows_of(count: int, edges: Sequence[Edge]) -> list[int]:
    """Row of each item: one below the lowest of those it reads."""
    row = [0] * count
    for edge in sorted(edges, key=lambda e: e.target):
        row[edge.target] = max(row[edge.target], row[edge.source] + 1)
    return row


def place(items: Sequence[Item], edges: Sequence[Edge]) -> Layout:
    """Places and routes.

    Args:
        items: in execution order.
        edges: between them, each from a lower to a higher number; every item but the first is reached by one.
    """
    rows = rows_of(len(items), edges)
    heights = [0.0] * (max(rows) + 1)
    widths = [0.0] * len(heights)
    for row, item in zip(rows, items, strict=True):
        heights[row] = max(heights[row], item.height)
        widths[row] += item.width + SLOT_GAP
    cuts = cuts_of([(rows[e.source], rows[e.target], e.tensor) for e in edges])
    starts = columns_of([h + ROW_GAP for h in heights], max(widths) + COLUMN_GAP, cuts)
    return _Router(items, edges, rows, heights, starts).layout()


class _Router:
    """Fills the columns with slots, and follows each edge through them.

    Each column has a row more at its head and at its foot, for the tensor that comes from the one before and for the
    one that goes on.
    """

    def __init__(
        self, items: Sequence[Item], edges: Sequence[Edge], rows: list[int], heights: list[float], starts: list[int]
    ) -> None:
        self.items, self.edges, self.heights, self.starts = items, edges, heights, starts
        ends = list(pairwise([*starts, len(heights)]))
        self.columns = [Column(b - a + 2) for a, b in ends]
        self.at = [next((k, row - a + 1) for k, (a, b) in enumerate(ends) if a <= row < b) for row in rows]
        self.slots = [
            self.columns[c].add(row, Slot(item.width, item.inner, n))
            for n, (item, (c, row)) in enumerate(zip(items, self.at, strict=True))
        ]
        self.ways = {tensor: self._way(tensor) for tensor in dict.fromkeys(e.tensor for e in edges)}

    def _way(self, tensor: str) -> dict[tuple[int, int], Slot]:
        """Slots of a tensor on its way down, by column and row."""
        users = [(k, e) for k, e in enumerate(self.edges) if e.tensor == tensor]
        source = users[0][1].source
        (first, row), (last, end) = self.at[source], max(self.at[e.target] for _, e in users)
        way: dict[tuple[int, int], Slot] = {}
        above: Slot | None = self.slots[source]
        row += 1
        for number in range(first, last + 1):
            column = self.columns[number]
            for k in range(row, end if number == last else len(column.rows)):
                slot = column.add(k, Slot(PASSING, turns=k in (0, len(column.rows) - 1)))
                if above is not None:
                    slot.enter(-1, above)
                way[number, k] = above = slot
            above, row = None, 0
        for k, e in users:
            c, row = self.at[e.target]
            self.slots[e.target].enter(k, way.get((c, row - 1), self.slots[source]))
        return way

    def layout(self) -> Layout:
        """Arrange the columns, put them beside each other and draw the routes."""
        x = 0.0
        for number, column in enumerate(self.columns):
            column.arrange()
            column.move(x)
            x += column.width + COLUMN_GAP
            inner = self.heights[self.starts[number] :][: len(column.rows) - 2]
            column.heights = [0.0, *inner, 0.0]
            y = -ROW_GAP
            for k, height in enumerate(column.heights):
                y += ROW_GAP if column.rows[k] else 0.0
                column.tops.append(y)
                y += height
        places = [(s.x, self.columns[c].tops[row]) for s, (c, row) in zip(self.slots, self.at, strict=True)]
        routes = [self._route(k, e, places) for k, e in enumerate(self.edges)]
        ends = [y for route in routes for _, y in route]
        below = max(p[1] + i.height for p, i in zip(places, self.items, strict=True))
        return Layout(places, routes, min(0.0, *ends), (x - COLUMN_GAP, max(below, *ends)))

    def _route(self, number: int, edge: Edge, places: list[Point]) -> list[Point]:
        (at, row), end = self.at[edge.source], self.at[edge.target]
        x, y = places[edge.source]
        column = self.columns[at]
        points = [(x, y + self.items[edge.source].height), (x, column.tops[row] + column.heights[row])]
        for (here, k), slot in sorted(self.ways[edge.tensor].items()):
            if (here, k) >= end:
                break
            if here != at:
                points += self._gutter(points[-1], slot.x, at)
                at = here
            top = self.columns[here].tops[k]
            points += [(slot.x, top), (slot.x, top + self.columns[here].heights[k])]
        target = self.slots[edge.target]
        points.append((target.x + target.ports[number], places[edge.target][1]))
        return [p for k, p in enumerate(points) if k == 0 or p != points[k - 1]]

    def _gutter(self, start: Point, x: float, number: int) -> list[Point]:
        """From the foot of a column up to the head of the next one."""
        column, head = self.columns[number], self.columns[number + 1].tops[0] - TURN
        turn = column.left + column.width + COLUMN_GAP / 2
        foot = start[1] + TURN
        return [(start[0], foot), (turn, foot), (turn, head), (x, head)]
