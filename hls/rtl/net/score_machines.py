# SPDX-License-Identifier: Apache-2.0
"""The units of the score functions as machines that only count, for attention: they wait, and are waited for."""

from __future__ import annotations

from collections import deque

from hls4attn.hls.rtl.e2cycles import QUEUE


class Held:
    """A pipeline with op_hold at its end: ConSmax; stands while its spare word is in use.

    Args:
        depth: registers.
    """

    def __init__(self, depth: int) -> None:
        self._words: deque[bool | None] = deque([None] * depth)  # whether a word ends its row; none
        self._spare: bool | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes a word."""
        return self._spare is None

    @property
    def valid(self) -> bool:
        """Whether a word is on show."""
        return self.last is not None

    @property
    def last(self) -> bool | None:
        """Whether that word ends its row."""
        return self._words[-1] if self._spare is None else self._spare

    def step(self, word: bool | None, taken: bool) -> None:
        """The clock's edge: the word that comes in, as whether it ends its row, and whether the one on show leaves."""
        if self._spare is not None:
            self._spare = None if taken else self._spare
            return
        if not taken:
            self._spare = self._words[-1]
        self._words.pop()
        self._words.appendleft(word)


class Softmax:
    """op_softmax.sv: three passes over two halves of two buffers, and a divider.

    Args:
        steps: bits of the quotient.
    """

    _DEPTH = 5  # from the first buffer to the sum

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._written = self._read = self._divided = self._issued = self._freed = 0
        self._place = self._at = self._out_at = self._step = 0
        self._lengths, self._sums = [0, 0], [0, 0]
        self._pacing = False
        self._sum: deque[bool] = deque([False] * self._DEPTH)  # a row's last element on its way to the sum
        self._out: deque[bool | None] = deque([None] * 6)
        self._shown: bool | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes a word."""
        return self._written - self._read < 2

    @property
    def valid(self) -> bool:
        """Whether a word is on show."""
        return self._shown is not None

    @property
    def last(self) -> bool | None:
        """Whether that word ends its row."""
        return self._shown

    def step(self, word: bool | None, taken: bool) -> None:
        """The clock's edge; see `Held.step`."""
        advance = self._shown is None or taken
        out_go = self._divided != self._issued
        go, at_end = self._second(out_go and advance)
        divide = self._sum[-1]
        pace_over = self._step == self._steps - self._DEPTH if self._steps > self._DEPTH else divide
        if advance:
            self._third(out_go)
        self._divide(divide)
        if go:
            if at_end:
                self._sums[self._read % 2] = self._at
                self._read += 1
            self._at = 0 if at_end else self._at + 1
        self._sum.pop()
        self._sum.appendleft(go and at_end)
        self._pacing = (go and at_end) or (self._pacing and not pace_over)
        if word is not None:
            if word:
                self._lengths[self._written % 2] = self._place
                self._written += 1
            self._place = 0 if word else self._place + 1

    def _second(self, moving: bool) -> tuple[bool, bool]:
        """Whether the second pass goes on, and whether with a row's last element."""
        at_end = self._at == self._lengths[self._read % 2]
        ended = self._read - self._freed < 2 and not self._pacing
        free = ended if at_end else self._read - self._issued < 2 or moving
        return self._written != self._read and free, at_end

    def _divide(self, divide: bool) -> None:
        finished = self._step == self._steps + 1
        self._divided += finished
        self._step = 1 if divide else 0 if finished or not self._step else self._step + 1

    def _third(self, out_go: bool) -> None:
        self._shown = self._out[-1]
        freed = bool(self._out[2])
        self._out.pop()
        self._out.appendleft(None)
        if out_go:
            out_end = self._out_at == self._sums[self._issued % 2]
            self._out[0] = out_end
            self._out_at = 0 if out_end else self._out_at + 1
            self._issued += out_end
        self._freed += freed


class _RowBuffer:
    """op_rowbuf.sv: elements come out once their row is complete."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._write = self._read = self._complete = 0
        self._rows_in = self._rows_out = 0
        self._lasts: deque[tuple[bool, bool]] = deque()
        self._fetched: tuple[bool, bool] | None = None
        self.held: tuple[bool, bool] | None = None  # ends what is complete; ends the row

    @property
    def ready(self) -> bool:
        """Whether it takes a word."""
        return self._write - self._read < self._places and self._rows_in - self._rows_out < QUEUE

    def step(self, word: tuple[bool, bool] | None, enable: bool) -> None:
        """The clock's edge, with the word that comes in and whether the reader moves."""
        fetch = enable and self._read != self._complete
        if enable:
            if self.held is not None and self.held[0]:
                self._rows_out += 1
            self.held = self._fetched
            self._fetched = self._lasts.popleft() if fetch else None
        self._read += fetch
        if word is not None:
            self._lasts.append(word)
            self._write += 1
            if word[0]:
                self._complete = self._write
                self._rows_in += 1


class E2Softmax:
    """op_e2softmax.sv: two row buffers with a pipeline between them.

    Args:
        longest: row of the unit.
        slice_length: elements that wait for their own maximum; 0: the row.
    """

    def __init__(self, longest: int, slice_length: int) -> None:
        places = 1 << ((longest + 2 if longest < 1023 else longest) - 1).bit_length()
        self._slice = slice_length
        self._waiting = _RowBuffer(1 << (slice_length + 1).bit_length() if slice_length else places)
        self._numbered = _RowBuffer(places)
        self._place = 0
        self._middle: deque[bool | None] = deque([None] * 4)
        self._out: deque[bool | None] = deque([None] * (4 if slice_length else 1))
        self._shown: bool | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes a word."""
        return self._waiting.ready

    @property
    def valid(self) -> bool:
        """Whether a word is on show."""
        return self._shown is not None

    @property
    def last(self) -> bool | None:
        """Whether that word ends its row."""
        return self._shown

    def step(self, word: bool | None, taken: bool) -> None:
        """The clock's edge; see `Held.step`."""
        y_on = self._shown is None or taken
        x_on = self._numbered.ready
        written = self._middle[-1] if x_on else None
        if x_on:
            self._middle.pop()
            self._middle.appendleft(None if self._waiting.held is None else self._waiting.held[1])
        if y_on:
            self._shown = self._out.pop()
            self._out.appendleft(None if self._numbered.held is None else self._numbered.held[1])
        self._numbered.step(None if written is None else (written, written), y_on)
        ends = False
        if word is not None:
            ends = word or (self._slice > 0 and self._place == self._slice - 1)
            self._place = 0 if ends else self._place + 1
        self._waiting.step(None if word is None else (ends, word), x_on)
