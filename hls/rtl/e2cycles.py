# SPDX-License-Identifier: Apache-2.0
"""The clocks of E2Softmax: two row buffers with a pipeline between them, word by word."""

from __future__ import annotations

from collections import deque

import numpy as np

from hls4attn.models.formats import Codes

#: Rows, or slices of them, that a row buffer (op_rowbuf.sv) has words for.
QUEUE = 16
#: Clocks from reading a buffer to its output; from there to the second buffer, and to the word that is taken.
_READ, _EXPONENT = 2, 4


class _Stage:
    """The pipeline between the buffers, which stops as a whole while the second buffer is full.

    Its own time runs without these stops; a stop comes behind a word that filled the second buffer.
    """

    def __init__(self) -> None:
        self._stops: deque[tuple[int, int]] = deque()  # own time, clocks
        self._stopped = 0  # clocks, of the stops before the last word read
        self.all_stops = 0

    def stop(self, behind: int, clocks: int) -> None:
        """The pipeline stops behind its own time `behind`."""
        if clocks > 0:
            self._stops.append((behind, clocks))
            self.all_stops += clocks

    def read(self, earliest: int, ready: int) -> int:
        """Own time in which the next word is read: not before `earliest`, nor before the clock `ready`."""
        own = earliest
        while True:
            while self._stops and self._stops[0][0] < own:
                self._stopped += self._stops.popleft()[1]
            if own + self._stopped >= ready:
                return own
            own = ready - self._stopped
            if self._stops:
                own = min(own, self._stops[0][0] + 1)

    def clock(self, own: int) -> int:
        """The clock of a time that is not before the last word read."""
        return own + self._stopped + sum(clocks for behind, clocks in self._stops if behind < own)


def e2softmax_cycles(lengths: Codes, longest: int, slice_length: int) -> tuple[Codes, Codes]:
    """When rows go in, and when they have come out; see op_e2softmax.sv.

    Args:
        lengths: of the rows.
        longest: row of the unit, which its buffers are made for.
        slice_length: elements that wait for their own maximum; 0: the row.
    """
    places = 1 << ((longest + 2 if longest < 1023 else longest) - 1).bit_length()
    waiting = 1 << (slice_length + 1).bit_length() if slice_length else places
    out_depth = 4 + (3 if slice_length else 0)
    stage = _Stage()
    total = int(lengths.sum())
    taken, left = np.zeros(total, dtype=np.int64), np.zeros(total, dtype=np.int64)
    first_read, second_read = [0] * total, [0] * total
    slice_free: list[int] = []  # since when the place of a slice, or of a row, is there again
    row_free: list[int] = []
    clock = own = second = -1
    w = 0
    for n in (int(v) for v in lengths):
        done = 0
        while done < n:
            part = min(slice_length or n, n - done)
            came = []
            for i in range(w, w + part):
                clock = max(
                    clock + 1,
                    first_read[i - waiting] + 1 if i >= waiting else 0,
                    slice_free[-QUEUE] if len(slice_free) >= QUEUE else 0,
                )
                came.append(clock)
            taken[w : w + part] = came
            for i in range(w, w + part):
                own = stage.read(own + 1, clock + 1)
                first_read[i] = stage.clock(own)
                written = own + _READ + _EXPONENT
                there = written + stage.all_stops
                stop = 0
                if done + part == n and i == w + part - 1:  # the row is complete
                    for j in range(w - done, w + part):
                        second = max(second + 1, there + 1)
                        second_read[j] = second
                    row_free.append(second + _READ + 1)
                    if len(row_free) >= QUEUE:
                        stop = row_free[-QUEUE] - 1 - there
                if i + 1 >= places:
                    stop = max(stop, second_read[i + 1 - places] - there)
                stage.stop(written, stop)
            slice_free.append(stage.clock(own + _READ) + 1)
            w, done = w + part, done + part
        left[w - n : w] = second_read[w - n : w]
    ends = np.cumsum(lengths)
    return taken[ends - lengths], left[ends - 1] + out_depth + 1
