# SPDX-License-Identifier: Apache-2.0
"""The modules of a network as machines that only count: what the RTL does with valid and ready, without its data.

A machine has the state of the module's control registers.  `ready` and `valid` are what it shows in a clock; `step`
is the clock's edge, told which words were taken and whether its own word was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hls4attn.hls.stream.iterations import ceil_div
from hls4attn.hls.stream.ports import PortRows

#: FIFOs of more words lie in block RAMs, with a register behind them.
_LUT_WORDS = 64


class Machine:
    """Anything between streams.

    Attributes:
        ready: of each input.
        valid: of the output.
    """

    def __init__(self, inputs: int = 1) -> None:
        self.ready = [True] * inputs
        self.valid = False

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """The clock's edge.

        Args:
            took: whether a word went in, for each input.
            gave: whether the output's word was taken.
        """
        raise NotImplementedError


class Fifo(Machine):
    """net_fifo.sv: words that wait."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.size = 1 << max(1, (depth - 1).bit_length())
        self._used = 0
        self._blocks = self.size > _LUT_WORDS
        self._shown = False

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        get = self._used > 0 and (not self._shown or gave) if self._blocks else gave
        self._used += took[0] - get
        self._shown = get or (self._shown and not gave)
        self.valid = self._shown if self._blocks else self._used > 0
        self.ready[0] = self._used < self.size


class Unpack(Machine):
    """net_unpack.sv: words to rows; `ends` is told of each sample's last word."""

    def __init__(self, port: PortRows, ends: Fifo) -> None:
        super().__init__()
        self._port, self._ends = port, ends
        self._have = self._word = self._row = 0
        self._last = False  # the sample's last word is here

    def _last_row(self) -> bool:
        if self._port.channels >= self._port.lanes:
            return self._last
        rest = self._have - self._port.channels
        return self._last and (self._row == self._port.rows - 1 or 0 <= rest < self._port.channels)

    def rest(self, gave: bool) -> int:
        """Codes that are left when this clock's row is gone."""
        return self._have if not gave else 0 if self._last_row() else self._have - self._port.channels

    def takes(self, gave: bool) -> bool:
        """Whether a word is taken, which the receiver's ready decides within the clock."""
        free = (gave and self._last_row()) or (not self._last and self.rest(gave) < self._port.channels)
        return self._ends.ready[0] and free

    def ends_sample(self) -> bool:
        """Whether the next word is a sample's last."""
        return self._word == self._port.words - 1

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        last_row, ending = self._last_row(), self.ends_sample()
        self._have = self.rest(gave) + (self._port.lanes if took[0] else 0)
        if gave:
            self._row = 0 if last_row else self._row + 1
        self._last = ending if took[0] else self._last and not (gave and last_row)
        if took[0]:
            self._word = 0 if ending else self._word + 1
        self.valid = self._have >= self._port.channels


class Pack(Machine):
    """net_pack.sv: rows to words; the receiver takes every word."""

    def __init__(self, port: PortRows, ends: Fifo) -> None:
        super().__init__()
        self._port, self._ends = port, ends
        self._have = self._row = 0
        self._last = False  # the sample's last row is here

    def last_word(self) -> bool:
        """Whether the sample's last word is on show, if any is."""
        return self._last and self._have <= self._port.lanes

    def gives(self) -> bool:
        """Whether a word leaves."""
        return self._ends.valid if self.last_word() else self._have >= self._port.lanes

    def _rest(self) -> int:
        return self._have if not self.gives() else 0 if self.last_word() else self._have - self._port.lanes

    def takes(self) -> bool:
        """Whether a row may come in."""
        return (self.gives() and self.last_word()) or (not self._last and self._rest() < self._port.lanes)

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        rest, last_word = self._rest(), self.last_word()
        self._have = rest + (self._port.channels if took[0] else 0)
        ends = self._row == self._port.rows - 1
        self._last = ends if took[0] else self._last and not (gave and last_word)
        if took[0]:
            self._row = 0 if ends else self._row + 1


class Permute(Machine):
    """net_permute.sv: two halves; a result row leaves when the last of its elements is here."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self._rows = sizes["IN_ROWS"], sizes["OUT_ROWS"]
        n = [sizes.get(f"N{k}", 1) for k in range(4)]
        s = [sizes.get(f"S{k}", 0) for k in range(4)]
        channels = sizes["OUT_CHANNELS"]

        def source(at: int) -> int:
            places = at // (n[1] * n[2] * n[3]), at // (n[2] * n[3]) % n[1], at // n[3] % n[2], at % n[3]
            return sum(p * q for p, q in zip(places, s, strict=True))

        self._needs = [
            1 + max(source(r * channels + c) // sizes["IN_CHANNELS"] for c in range(channels))
            for r in range(self._rows[1])
        ]  # rows of the input that a row of the result is made of
        self._in = self._out = 0
        self._half_in = self._half_out = 0
        self._full = [False, False]

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        if gave:
            self._out += 1
            if self._out == self._rows[1]:
                self._out, self._full[self._half_out] = 0, False
                self._half_out ^= 1
        if took[0]:
            self._in += 1
            if self._in == self._rows[0]:
                self._in, self._full[self._half_in] = 0, True
                self._half_in ^= 1
        self.ready[0] = not self._full[self._half_in]
        loading = self._half_in == self._half_out and self._in >= self._needs[self._out]
        self.valid = self._full[self._half_out] or loading


class Pipeline(Machine):
    """net_front, arithmetic, net_back: a row every `steps` clocks, which all stop while a finished row cannot leave.

    Args:
        steps: clocks a row.
        depth: registers between the row's last part at the front and its last part at the back.
        inputs: rows that come in together.
        count: rows that make one; 1 but of a sum over rows.
    """

    def __init__(self, steps: int, depth: int, inputs: int = 1, count: int = 1) -> None:
        super().__init__(inputs)
        self._steps, self._depth, self._count = steps, depth, count
        self._own = 0  # clocks without those in which it stood
        self._fresh = 0  # when the next row may come, in own clocks
        self._rows = 0
        self._done: deque[int] = deque()  # when rows are finished
        self._held = False  # the output's register

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        finished = bool(self._done) and self._done[0] == self._own
        if took[0]:
            self._rows += 1
            self._fresh = self._own + self._steps
            if self._rows % self._count == 0:
                self._done.append(self._fresh + self._depth)
        if self._steps > 1:
            if not (finished and self._held):
                self._own += 1
                if finished:
                    self._done.popleft()
                    self._held = True
            if gave:
                self._held = False
        elif self._held:  # op_hold: what is finished is on show, a spare register keeps it
            self._held = not gave
        else:
            self._own += 1
            if finished:
                self._done.popleft()
                self._held = not gave
        self._show()

    def _show(self) -> None:
        finished = bool(self._done) and self._done[0] == self._own
        if self._steps > 1:
            run = not (finished and self._held)
            self.valid = self._held
        else:
            run = not self._held
            self.valid = finished or self._held
        self.ready = [run and self._own >= self._fresh] * len(self.ready)


def tree_depth(count: int) -> int:
    """Registers of net_tree: one for two rows of adders."""
    return ceil_div((count - 1).bit_length(), 2)
