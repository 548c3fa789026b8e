# SPDX-License-Identifier: Apache-2.0
"""AILayerNorm between streams as a machine that only counts: rows dealt out to units, element by element."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from hls4attn.hls.rtl.net.machines import Machine

_STATISTICS = 5  # clocks from a row's last element to its sums
_DONE = 12  # the step of the once-a-row stage in which its constants are there
_AFFINE = 9  # registers of the last stage
_LOADED = 5  # of these, those behind which a row's constants are all in use
_ROWS = 8  # in a unit, with what is in front of it and behind


class _Unit:
    """op_ailayernorm.sv."""

    def __init__(self, channels: int) -> None:
        self._n = channels
        self._write = self._read = self._ahead = self._step = 0
        self._pending = self._active = self._claimed = False
        self._sums: deque[bool] = deque([False] * _STATISTICS)
        self._stage: deque[tuple[bool, bool] | None] = deque([None] * _AFFINE)  # first, last of its row

    @property
    def ready(self) -> bool:
        """Whether it takes an element."""
        ends = self._write == self._n - 1
        return not (self._ahead >= 2 and self._write == self._read) and not (self._pending and ends)

    @property
    def shown(self) -> bool | None:
        """Whether the element on show ends its row; None if there is none."""
        found = self._stage[-1]
        return None if found is None else found[1]

    def step(self, offered: bool, m_ready: bool) -> None:
        """The clock's edge."""
        accept = offered and self.ready
        row_in = accept and self._write == self._n - 1
        start = self._sums.pop()
        self._sums.appendleft(row_in)
        advance = self._stage[-1] is None or m_ready
        reading = advance and (self._active or (self._step == _DONE and not self._claimed))
        first, last = self._read == 0, self._read == self._n - 1
        loaded = self._stage[_LOADED - 1]
        release = advance and loaded is not None and loaded[0]
        if advance:
            self._stage.pop()
            self._stage.appendleft((first, last) if reading else None)
        if reading:
            self._active = not last
            self._read = 0 if last else self._read + 1
        self._claimed = (reading and first) or (self._claimed and not release)
        if accept:
            self._write = 0 if row_in else self._write + 1
        self._ahead += row_in - (reading and last)
        self._pending = row_in or (self._pending and not release)
        if self._step == 0:
            self._step = int(start)
        elif self._step == _DONE:
            self._step = 0 if release else _DONE
        else:
            self._step += 1


class _Worker:
    """net_rows.sv around a unit."""

    def __init__(self, channels: int, tail: int) -> None:
        self._n = channels
        self._unit = _Unit(channels)
        self._count = self._inside = self._index = 0
        self._part = False  # an element in front of the unit
        self._codes: deque[bool] = deque([False] * tail)
        self.valid = False

    def _front_runs(self) -> bool:
        return self._unit.ready or not self._part

    @property
    def ready(self) -> bool:
        """Whether it takes a row."""
        return self._front_runs() and self._count == 0 and self._inside < _ROWS

    def step(self, took: bool, gave: bool) -> None:
        """The clock's edge."""
        complete = self._codes[-1] and self._index == self._n - 1
        run = not (complete and self.valid)
        shown = self._unit.shown
        front = self._front_runs()
        self._unit.step(self._part, run)
        if run:
            code = self._codes.pop()
            self._codes.appendleft(shown is not None)
            if code:
                self._index = 0 if complete else self._index + 1
        if self.valid:
            self.valid = not gave
        else:
            self.valid = complete
        self._inside += took - (run and bool(shown))
        if front:
            goes = self._count > 0 or took
            self._part = goes
            if goes:
                self._count = (self._count + 1) % self._n


class Norm(Machine):
    """net_ailayernorm.sv.

    Args:
        ints: the module's parameters, of more than one channel.
    """

    def __init__(self, ints: Mapping[str, int]) -> None:
        super().__init__()
        tail = 2 if ints.get("SCALE_BY", 0) else 1
        self._workers = [_Worker(ints["CHANNELS"], tail) for _ in range(ints["UNITS"])]
        self._dealt = self._collected = 0

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        workers = self._workers
        for n, worker in enumerate(workers):
            worker.step(took[0] and n == self._dealt, gave and n == self._collected)
        self._dealt = (self._dealt + took[0]) % len(workers)
        self._collected = (self._collected + gave) % len(workers)
        self.ready[0] = workers[self._dealt].ready
        self.valid = workers[self._collected].valid
