# SPDX-License-Identifier: Apache-2.0
"""Rows of slots: their order, with few crossings, and their places, with straight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from hls4attn.host.report.coordinates import solve

#: Distance between slots of a row, and the width of the slot of a tensor that passes.
SLOT_GAP, PASSING = 18.0, 8.0
#: Between the ends of lines that enter a box, at most; and from the middle one to one from the side.
PORT_PITCH, SIDE_PITCH = 32.0, 40.0
_SWEEPS = 12


@dataclass(eq=False)
class Slot:
    """What stands in a row: a box, or a tensor that passes it.

    Attributes:
        width: of the slot.
        inner: of the box, where lines can enter.
        item: number of the box; None for a tensor that passes.
        above: number of each line that enters, and the slot that it comes from.
        below: slots that its lines go to.
        ports: where each line enters, from the centre.
        x: centre.
        order: place in the row.
        turns: whether a tensor comes from or goes to another column here, so that its line bends anyway.
    """

    width: float
    inner: float = 0.0
    item: int | None = None
    above: list[tuple[int, Slot]] = field(default_factory=list)
    below: list[Slot] = field(default_factory=list)
    ports: dict[int, float] = field(default_factory=dict)
    x: float = 0.0
    order: int = 0
    turns: bool = False

    def enter(self, line: int, source: Slot) -> None:
        """A line from a slot of the row above."""
        self.above.append((line, source))
        source.below.append(self)

    def set_ports(self) -> None:
        """Where lines enter: in the order that they come in, a single one from a box in the middle."""
        incoming = sorted(self.above, key=lambda a: a[1].order)
        pitch = min(PORT_PITCH, self.inner / (len(incoming) + 1))
        middle = (len(incoming) - 1) / 2
        from_boxes = [k for k, (_, source) in enumerate(incoming) if source.item is not None]
        if len(incoming) == 2 and len(from_boxes) == 1:
            pitch, middle = min(SIDE_PITCH, self.inner / 2 - 10.0), float(from_boxes[0])
        self.ports = {line: round((k - middle) * pitch) for k, (line, _) in enumerate(incoming)}


class Column:
    """Consecutive rows of slots."""

    def __init__(self, rows: int) -> None:
        self.rows: list[list[Slot]] = [[] for _ in range(rows)]
        self.tops: list[float] = []
        self.heights: list[float] = []
        self.left = self.width = 0.0

    def add(self, row: int, slot: Slot) -> Slot:
        """Put a slot at the end of a row."""
        self.rows[row].append(slot)
        return slot

    def arrange(self) -> None:
        """Find the order and the places of all slots."""
        self._order()
        for slot in self._slots():
            slot.set_ports()
        self._place()

    def _slots(self) -> list[Slot]:
        return [s for row in self.rows for s in row]

    def _order(self) -> None:
        """Each slot to the mean of its neighbours, above and below in turn; the order with the fewest crossings."""
        self._number()
        best, kept = self.crossings(), [list(r) for r in self.rows]
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            for row in self.rows if down else reversed(self.rows):
                row.sort(key=_mean_above if down else _mean_below)
                self._number()
            count = self.crossings()
            if count < best:
                best, kept = count, [list(r) for r in self.rows]
        self.rows = kept
        self._number()

    def _number(self) -> None:
        for row in self.rows:
            for k, slot in enumerate(row):
                slot.order = k

    def crossings(self) -> int:
        """Pairs of lines that cross."""
        total = 0
        for row in self.rows:
            ends = [(s.order, n.order) for s in row for n in s.below]
            total += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k])
        return total

    def _place(self) -> None:
        slots = self._slots()
        number = {id(s): k for k, s in enumerate(slots)}
        pulls = [
            (number[id(slot)], number[id(source)], round(slot.ports[line]), _stiffness(source, slot))
            for slot in slots
            for line, source in slot.above
        ]
        gaps = [
            (number[id(a)], number[id(b)], math.ceil((a.width + b.width) / 2 + SLOT_GAP))
            for row in self.rows
            for a, b in pairwise(row)
        ]
        for slot, x in zip(slots, solve(len(slots), pulls, gaps), strict=True):
            slot.x = x
        self.left = min(s.x - s.width / 2 for s in slots)
        self.width = max(s.x + s.width / 2 for s in slots) - self.left

    def move(self, x: float) -> None:
        """Put the left side at x."""
        for slot in self._slots():
            slot.x += x - self.left
        self.left = x


def _mean(orders: list[int], own: int) -> float:
    return sum(orders) / len(orders) if orders else own


def _mean_above(slot: Slot) -> float:
    return _mean([s.order for _, s in slot.above], slot.order)


def _mean_below(slot: Slot) -> float:
    return _mean([s.order for s in slot.below], slot.order)


def _stiffness(source: Slot, target: Slot) -> int:
    """How much a line wants to be straight: most of all one that passes rows, least one that joins from the side."""
    passing = sum(s.item is None and not s.turns for s in (source, target))
    if passing == 0 and len(target.above) <= 2 and len(source.below) == 1:
        return 6
    return (2, 1, 8)[passing]
