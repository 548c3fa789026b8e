# SPDX-License-Identifier: Apache-2.0
"""Which points are given to the cluster next: as many as can run now, so that what waits is held here."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hls4attn.host.sweep.point import Point
from hls4attn.models.errors import InputError

#: Threads and resources of one worker.
Capacity = tuple[int, Mapping[str, float]]


class Window:
    """Points in order, but for those that wait for a resource while others go ahead.

    Args:
        points: all of them; they are taken one by one.
        limits: how much of a resource all points together may take at a time; what is not named is limited by the
            workers alone.
    """

    def __init__(self, points: Iterable[Point], limits: Mapping[str, float]) -> None:
        self._points: Iterator[Point] = iter(points)
        self._limits = dict(limits)
        self._held: dict[frozenset[tuple[str, float]], deque[Point]] = {}
        self._running: Counter[frozenset[tuple[str, float]]] = Counter()
        self._used: Counter[str] = Counter()
        self._ended = False

    @property
    def in_flight(self) -> int:
        """Points that are with the cluster."""
        return sum(self._running.values())

    @property
    def held(self) -> int:
        """Points that wait here for a resource."""
        return sum(map(len, self._held.values()))

    @property
    def missing(self) -> set[str]:
        """Resources that points wait for here."""
        return {name for kind, queue in self._held.items() if queue for name, _ in kind}

    @property
    def finished(self) -> bool:
        """Whether all points were given out and came back."""
        return self._ended and not self.held and not self.in_flight

    def take(self, workers: Sequence[Capacity]) -> Iterator[Point]:
        """Points that `workers` can run now; each is in flight until `done`."""
        for kind, queue in self._held.items():
            while queue and self._room(kind, workers):
                yield self._start(queue.popleft())
        plain: frozenset[tuple[str, float]] = frozenset()
        while not self._ended and self._room(plain, workers):
            point = next(self._points, None)
            if point is None:
                self._ended = True
            elif self._room(kind := _kind(point), workers) and not self._held.get(kind):
                yield self._start(point)
            else:
                self._held.setdefault(kind, deque()).append(point)

    def again(self, point: Point) -> None:
        """Put a point that came back without a result before all others of its kind."""
        self.done(point)
        self._held.setdefault(_kind(point), deque()).appendleft(point)

    def done(self, point: Point) -> None:
        """A point came back."""
        self._running[_kind(point)] -= 1
        for name, amount in point.resources.items():
            self._used[name] -= amount  # type: ignore[assignment]

    def _start(self, point: Point) -> Point:
        self._running[_kind(point)] += 1
        for name, amount in point.resources.items():
            self._used[name] += amount  # type: ignore[assignment]
        return point

    def _room(self, kind: frozenset[tuple[str, float]], workers: Sequence[Capacity]) -> bool:
        """Whether one more point that needs this could start at once."""
        for name, amount in kind:
            if name in self._limits and self._used[name] + amount > self._limits[name]:
                return False
        can = 0
        for threads, offered in workers:
            shares = [offered.get(name, 0) // amount for name, amount in kind]
            can += int(min([threads, *shares]))
        return self._running[kind] < can


def _kind(point: Point) -> frozenset[tuple[str, float]]:
    return frozenset((name, amount) for name, amount in point.resources.items() if amount > 0)


def affordable(points: Iterable[Point], there: Mapping[str, float]) -> Iterator[Point]:
    """The points, as long as each could run.

    Args:
        points: in order.
        there: how much of each resource.

    Raises:
        InputError: at a point that needs more.
    """
    for point in points:
        for name, amount in point.resources.items():
            if amount > there.get(name, 0):
                raise InputError(
                    f"A point needs {amount:g} of the resource {name!r}, and {there.get(name, 0):g} are there; give "
                    f"--resources {name}={amount:g} or more"
                )
        yield point
