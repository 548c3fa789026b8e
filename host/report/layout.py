# SPDX-License-Identifier: Apache-2.0
"""Places for the boxes of a drawing: rows from top to bottom, in columns beside each other.

A row holds what is equally far from the input.  A tensor that passes a row has a slot of its own in it, so that no
line crosses a box; between rows there are lines only.  A long drawing is cut into columns where a single tensor goes
from one row to the next ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: Distances, in units of the drawing: between slots of a row, between rows, between columns.
SLOT_GAP, ROW_GAP, COLUMN_GAP = 16.0, 34.0, 44.0
#: Width of the slot of a passing tensor, and the wanted ratio of width to height.
PASSING, ASPECT = 10.0, 1.3
_SWEEPS = 12
Point = tuple[float, float]


@dataclass(frozen=True)
class Edge:
    """From one item to another; edges with the same tensor share their way."""

    source: int
    target: int
    tensor: str


@dataclass
class Layout:
    """The result.

    Attributes:
        places: of each item, the centre of its top side.
        routes: of each edge, the points it goes through, from the lower end of its source to the top of its target.
            It runs straight where x is the same; other pieces lie between rows.
        size: width and height.
    """

    places: list[Point]
    routes: list[list[Point]]
    size: Point


@dataclass
class _Slot:
    """What stands in a row: a box, or a tensor that passes."""

    width: float
    item: int | None = None
    above: list[tuple[_Slot, float]] = field(default_factory=list)
    below: list[tuple[_Slot, float]] = field(default_factory=list)
    x: float = 0.0
    order: int = 0


class _Column:
    """Some consecutive rows: slots, their order and their places."""

    def __init__(self, rows: int) -> None:
        self.rows: list[list[_Slot]] = [[] for _ in range(rows)]
        self.tops: list[float] = []
        self.heights = [0.0] * rows
        self.left = self.width = 0.0

    def add(self, row: int, slot: _Slot) -> _Slot:
        self.rows[row].append(slot)
        return slot

    def arrange(self) -> None:
        self._order()
        self._place()

    def _order(self) -> None:
        """Few crossings: each slot to the mean of its neighbours, from above and from below in turn."""
        self._number()
        best, kept = self._crossings(), [list(r) for r in self.rows]
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                centre = {
                    id(s): _mean([(n.order, 1.0) for n, _ in (s.above if down else s.below)], s.order) for s in row
                }
                row.sort(key=lambda s: centre[id(s)])
                self._number()
            count = self._crossings()
            if count < best:
                best, kept = count, [list(r) for r in self.rows]
        self.rows = kept
        self._number()

    def _number(self) -> None:
        for row in self.rows:
            for k, slot in enumerate(row):
                slot.order = k

    def _crossings(self) -> int:
        total = 0
        for row in self.rows:
            ends = [(s.order, n.order) for s in row for n, _ in s.below]
            total += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k])
        return total

    def _place(self) -> None:
        """Short and straight lines: each row as near to its neighbours as its order and widths allow."""
        for row in self.rows:
            _spread(row, [0.0] * len(row), [1.0] * len(row))
        for sweep in range(4 * _SWEEPS):
            ways = (("above",), ("below",), ("above", "below"))[sweep % 3 if sweep < 3 * _SWEEPS else 2]
            for row in self.rows if sweep % 2 == 0 else reversed(self.rows):
                near = [[n for way in ways for n in getattr(s, way)] for s in row]
                wanted = [_mean([(n.x, w) for n, w in ns], s.x) for s, ns in zip(row, near, strict=True)]
                _spread(row, wanted, [sum(w for _, w in ns) or 0.01 for ns in near])
        slots = [s for row in self.rows for s in row]
        self.left = min(s.x - s.width / 2 for s in slots)
        self.width = max(s.x + s.width / 2 for s in slots) - self.left


def _mean(values: list[tuple[float, float]], default: float) -> float:
    total = sum(w for _, w in values)
    return sum(v * w for v, w in values) / total if total else default


def _spread(row: list[_Slot], wanted: list[float], weights: list[float]) -> None:
    """Places nearest to the wanted ones, by weighted squares, at which the slots of a row do not overlap.

    With the distances taken off, it is a monotone regression: neighbours that want to pass each other are pooled.
    """
    offsets = [0.0]
    for a, b in pairwise(row):
        offsets.append(offsets[-1] + (a.width + b.width) / 2 + SLOT_GAP)
    pools: list[tuple[float, float, int]] = []
    for want, offset, weight in zip(wanted, offsets, weights, strict=False):
        value, total, count = want - offset, weight, 1
        while pools and pools[-1][0] >= value:
            v, w, c = pools.pop()
            value, total, count = (value * total + v * w) / (total + w), total + w, count + c
        pools.append((value, total, count))
    places = [value for value, _, count in pools for _ in range(count)]
    for slot, place, offset in zip(row, places, offsets, strict=False):
        slot.x = place + offset


def layers_of(count: int, edges: Sequence[Edge]) -> list[int]:
    """Row of each item: one below the lowest of those it reads; items are in execution order."""
    row = [0] * count
    for edge in sorted(edges, key=lambda e: e.target):
        row[edge.target] = max(row[edge.target], row[edge.source] + 1)
    return row


def cuts_of(rows: Sequence[int], edges: Sequence[Edge]) -> list[int]:
    """Rows behind which a single tensor goes on."""
    crossing: dict[int, set[str]] = defaultdict(set)
    for e in edges:
        for row in range(rows[e.source], rows[e.target]):
            crossing[row].add(e.tensor)
    return [row for row in range(max(rows)) if len(crossing[row]) == 1]


def columns_of(heights: Sequence[float], width: float, cuts: Sequence[int]) -> list[int]:
    """First row of each column, for columns of equal height and a drawing of the wanted aspect.

    Args:
        heights: of the rows, gaps included.
        width: of a column, roughly.
        cuts: rows behind which a column may end.
    """
    total = sum(heights)
    best: tuple[float, list[int]] = (math.inf, [0])
    for count in range(1, len(cuts) + 2):
        starts, reached = [0], 0.0
        for row, height in enumerate(heights):
            reached += height
            left = count - len(starts)
            if left and row in cuts and reached + heights[min(row + 1, len(heights) - 1)] > total * len(starts) / count:
                starts.append(row + 1)
        tallest = max(sum(heights[a:b]) for a, b in pairwise([*starts, len(heights)]))
        miss = abs(math.log(len(starts) * width / tallest / ASPECT))
        if miss < best[0] - 1e-9:
            best = (miss, starts)
    return best[1]


def place(sizes: Sequence[Point], edges: Sequence[Edge]) -> Layout:
    """Places and routes.

    Args:
        sizes: width and height of each item, in execution order.
        edges: between them, each from a lower to a higher number.
    """
    rows = layers_of(len(sizes), edges)
    heights = [0.0] * (max(rows) + 1)
    widths = [0.0] * len(heights)
    for row, (width, height) in zip(rows, sizes, strict=True):
        heights[row] = max(heights[row], height)
        widths[row] += width + SLOT_GAP
    starts = columns_of([h + ROW_GAP for h in heights], max(widths) + COLUMN_GAP, cuts_of(rows, edges))
    return _Router(sizes, edges, rows, heights, starts).layout()


class _Router:
    """Fills the columns with slots, and follows each edge through them."""

    def __init__(
        self, sizes: Sequence[Point], edges: Sequence[Edge], rows: list[int], heights: list[float], starts: list[int]
    ) -> None:
        self.sizes, self.edges, self.rows, self.heights, self.starts = sizes, edges, rows, heights, starts
        self.column_of = [max(k for k, s in enumerate(starts) if s <= row) for row in range(len(heights))]
        # A row at each end of a column for the tensor that comes from, or goes to, the next one.
        self.columns = [_Column(b - a + 2) for a, b in pairwise([*starts, len(heights)])]
        self.slots = [self._at(rows[n]).add(self._local(rows[n]), _Slot(sizes[n][0], n)) for n in range(len(sizes))]
        self.ways: dict[str, dict[tuple[int, int], _Slot]] = {}
        for tensor in dict.fromkeys(e.tensor for e in edges):
            self.ways[tensor] = self._way(tensor)

    def _at(self, row: int) -> _Column:
        return self.columns[self.column_of[row]]

    def _local(self, row: int) -> int:
        return row - self.starts[self.column_of[row]] + 1

    def _way(self, tensor: str) -> dict[tuple[int, int], _Slot]:
        """Slots of a tensor on its way down, by column and row in it."""
        users = [e for e in self.edges if e.tensor == tensor]
        source = users[0].source
        first, last = self.column_of[self.rows[source]], max(self.column_of[self.rows[e.target]] for e in users)
        way: dict[tuple[int, int], _Slot] = {}
        for number in range(first, last + 1):
            column = self.columns[number]
            here = [self._local(self.rows[e.target]) for e in users if self.column_of[self.rows[e.target]] == number]
            start = self._local(self.rows[source]) + 1 if number == first else 0
            end = len(column.rows) if number < last else max(here)
            above = self.slots[source] if number == first else None
            for row in range(start, end):
                slot = column.add(row, _Slot(PASSING))
                if above is not None:
                    _join(above, slot, 1.0 if above.item is not None else 8.0)
                way[number, row] = above = slot
        for e in users:
            row = self._local(self.rows[e.target])
            number = self.column_of[self.rows[e.target]]
            _join(way.get((number, row - 1), self.slots[source]), self.slots[e.target], 1.0)
        return way

    def layout(self) -> Layout:
        """Arrange the columns, put them beside each other and draw the routes."""
        x = 0.0
        for number, column in enumerate(self.columns):
            column.arrange()
            start = self.starts[number]
            y = 0.0
            own = [0.0, *self.heights[start : start + len(column.rows) - 2], 0.0]
            entered, left = number > 0, number + 1 < len(self.columns)
            for k, height in enumerate(own):
                column.tops.append(y)
                used = entered if k == 0 else left if k == len(own) - 1 else True
                y += height + (ROW_GAP if used else 0.0)
            column.heights = own
            shift = x - column.left
            for row in column.rows:
                for slot in row:
                    slot.x += shift
            column.left = x
            x += column.width + COLUMN_GAP
        places = [(self.slots[n].x, self._at(r).tops[self._local(r)]) for n, r in enumerate(self.rows)]
        height = max(p[1] + s[1] for p, s in zip(places, self.sizes, strict=True))
        routes = self._routes(places)
        bottom = max(height, *(y for route in routes for _, y in route))
        return Layout(places, routes, (x - COLUMN_GAP, bottom))

    def _routes(self, places: list[Point]) -> list[list[Point]]:
        ports = self._ports(places)
        return [self._route(e, places, ports[k]) for k, e in enumerate(self.edges)]

    def _last(self, edge: Edge) -> float:
        """Where an edge comes from, seen from its target."""
        row = self.rows[edge.target]
        slot = self.ways[edge.tensor].get((self.column_of[row], self._local(row) - 1), self.slots[edge.source])
        return slot.x

    def _ports(self, places: list[Point]) -> list[float]:
        """x at which each edge enters its target: side by side, in the order they come from."""
        found = [0.0] * len(self.edges)
        into: dict[int, list[int]] = defaultdict(list)
        for k, e in enumerate(self.edges):
            into[e.target].append(k)
        for target, incoming in into.items():
            pitch = min(30.0, self.sizes[target][0] / (len(incoming) + 1))
            for n, k in enumerate(sorted(incoming, key=lambda k: self._last(self.edges[k]))):
                found[k] = places[target][0] + (n - (len(incoming) - 1) / 2) * pitch
        return found

    def _route(self, edge: Edge, places: list[Point], port: float) -> list[Point]:
        row = self.rows[edge.source]
        number, column = self.column_of[row], self._at(row)
        x, y = places[edge.source]
        points = [(x, y + self.sizes[edge.source][1]), (x, y + column.heights[self._local(row)])]
        end = self.rows[edge.target]
        for (at, local), slot in sorted(self.ways[edge.tensor].items()):
            if (at, local) >= (self.column_of[end], self._local(end)):
                break
            if at != number:
                points += self._gutter(points[-1], slot.x, number)
                number = at
            top = self.columns[at].tops[local]
            points += [(slot.x, top), (slot.x, top + self.columns[at].heights[local])]
        points.append((port, places[edge.target][1]))
        return [p for k, p in enumerate(points) if k == 0 or p != points[k - 1]]

    def _gutter(self, start: Point, x: float, number: int) -> list[Point]:
        """From the lower end of a column up to the head of the next one."""
        column = self.columns[number]
        turn = column.left + column.width + COLUMN_GAP / 2
        return [(start[0], start[1] + 12), (turn, start[1] + 12), (turn, -12.0), (x, -12.0)]


def _join(above: _Slot, below: _Slot, weight: float) -> None:
    above.below.append((below, weight))
    below.above.append((above, weight))
