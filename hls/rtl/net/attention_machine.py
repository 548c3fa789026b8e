# SPDX-License-Identifier: Apache-2.0
"""Attention as a machine that only counts: banks of keys and values, scores, score function, contexts.

Each class is a module of net_attention.sv; what they do not stop for is a delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from hls4attn.hls.rtl.net.machines import Machine
from hls4attn.hls.rtl.net.score_machines import E2Softmax, Held, Softmax
from hls4attn.hls.stream.iterations import ceil_div

_CONSMAX, _SPLIT, _SOFTMAX = range(3)  # the parameter FUNCTION; E2Softmax and its exponents from there on


class _Bank:
    """net_attention_bank.sv: two halves of a sequence each; a row comes in a word a clock."""

    def __init__(self, rows: int, row_words: int) -> None:
        self._rows, self._row_words = rows, row_words
        self._row = self._turn = self._filled = self._freed = 0

    @property
    def ready(self) -> bool:
        """Whether a row may come."""
        return self._filled - self._freed < 2 and not self._turn

    @property
    def full(self) -> bool:
        """Whether a sequence is there."""
        return self._filled != self._freed

    def step(self, took: bool, release: bool) -> None:
        """The clock's edge."""
        if took or self._turn:
            self._turn += 1
        if self._turn == self._row_words:
            self._turn = 0
            self._row += 1
            if self._row == self._rows:
                self._row = 0
                self._filled += 1
        self._freed += release


class _Walk:
    """The order of products: rows, groups of heads, keys, chunks of a head."""

    def __init__(self, rows: int, groups: int, chunks: int, causal: bool) -> None:
        self._rows, self._groups, self._chunks, self._causal = rows, groups, chunks, causal
        self.row = self.group = self.key = self.chunk = 0

    @property
    def chunk_ends(self) -> bool:
        """Whether this is a key's last chunk."""
        return self.chunk == self._chunks - 1

    @property
    def key_ends(self) -> bool:
        """Whether the key is the row's last."""
        return self.key == (self.row if self._causal else self._rows - 1)

    @property
    def row_ends(self) -> bool:
        """Whether the row ends."""
        return self.chunk_ends and self.key_ends and self.group == self._groups - 1

    @property
    def ends(self) -> bool:
        """Whether the sequence ends."""
        return self.row_ends and self.row == self._rows - 1

    def step(self) -> None:
        """The next product."""
        self.chunk += 1
        if self.chunk == self._chunks:
            self.chunk, self.key = 0, self.key + 1
            if self.key > (self.row if self._causal else self._rows - 1):
                self.key, self.group = 0, self.group + 1
                if self.group == self._groups:
                    self.group, self.row = 0, (self.row + 1) % self._rows


class _Scores:
    """net_attention_scores.sv: a score is started when the FIFO behind has a place for it."""

    def __init__(self, ints: Mapping[str, int], rows: int) -> None:
        chunks, groups = _structure(ints)
        tree = max(1, (ints["WIDTH"] - 1).bit_length())
        depth = 3 + tree + (chunks > 1) + (2 if ints.get("SCORE_SCALE", 0) else 1)
        self.keys = _Bank(rows, groups * chunks)
        self._walk = _Walk(rows, groups, chunks, bool(ints.get("CAUSAL", 0)))
        self._places = 1 << ceil_div(depth + 2, chunks).bit_length()
        self._promised = 0
        self._on_their_way: deque[bool | None] = deque([None] * depth)  # whether a score is its row's last
        self._waiting: deque[bool] = deque()
        self._query = False
        self.shown: bool | None = None

    @property
    def _goes(self) -> bool:
        return self._query and self.keys.full and self._promised < self._places

    @property
    def query_ready(self) -> bool:
        """Whether a query may come."""
        return not self._query or (self._goes and self._walk.row_ends)

    def step(self, took_query: bool, took_key: bool, taken: bool) -> None:
        """The clock's edge."""
        walk, goes, ready = self._walk, self._goes, self.query_ready
        reserve = goes and walk.chunk_ends
        arrived = self._on_their_way.pop()
        self._on_their_way.appendleft(walk.key_ends if reserve else None)
        self._promised += reserve - (taken and self.shown is not None)
        if arrived is not None:
            self._waiting.append(arrived)
        if self.shown is None or taken:
            self.shown = self._waiting.popleft() if self._waiting else None
        release = goes and walk.ends
        if goes:
            walk.step()
        if ready:
            self._query = took_query
        self.keys.step(took_key, release)


class _Context:
    """net_attention_context.sv: a row of results is started when there is a place for it behind."""

    _PLACES = 16  # PLACE_W of net_attention_rows.sv

    def __init__(self, ints: Mapping[str, int], rows: int) -> None:
        chunks, groups = _structure(ints)
        depth = 4 + bool(ints.get("P_ROUND", 0)) + 3 * bool(ints.get("E_FORM", 0)) + (2 if ints.get("SCALE", 0) else 1)
        self.values = _Bank(rows, groups * chunks)
        self._walk = _Walk(rows, groups, chunks, bool(ints.get("CAUSAL", 0)))
        self._promised = self._complete = 0  # rows that were started, that wait to be shown
        self._results: deque[bool] = deque([False] * depth)  # whether a row is complete
        self.valid = False

    def _open(self, last: bool) -> bool:
        starts = last and self._walk.group == 0 and self._walk.chunk == 0
        return self.values.full and not (starts and self._promised >= self._PLACES)

    def takes(self, last: bool | None) -> bool:
        """Whether the probability on show is taken."""
        return last is not None and self._open(last) and self._walk.chunk_ends

    def step(self, last: bool | None, took_value: bool, gave: bool) -> None:
        """The clock's edge, with the probability on show."""
        walk = self._walk
        goes = last is not None and self._open(last)
        starts = goes and bool(last) and walk.group == 0 and walk.chunk == 0
        self._promised += starts - gave
        complete = self._results.pop()
        self._results.appendleft(goes and walk.row_ends)
        if not self.valid or gave:
            self.valid = self._complete > 0
            self._complete -= self.valid
        self._complete += complete
        release = goes and walk.ends
        if goes:
            walk.step()
        self.values.step(took_value, release)


class Attention(Machine):
    """net_attention.sv.

    Args:
        ints: the module's parameters.
        rows: of every sequence.
    """

    def __init__(self, ints: Mapping[str, int], rows: int) -> None:
        super().__init__(3)
        self._scores, self._context = _Scores(ints, rows), _Context(ints, rows)
        self._function = _function(ints)

    def step(self, took: Sequence[bool], gave: bool) -> None:
        """See `Machine.step`."""
        scores, function, context = self._scores, self._function, self._context
        last = function.last if function.valid else None
        word = scores.shown if function.ready else None
        taken = context.takes(last)
        ready = function.ready
        function.step(word, taken)
        scores.step(took[0], took[1], ready)
        context.step(last, took[2], gave)
        self.ready = [scores.query_ready, scores.keys.ready, context.values.ready]
        self.valid = context.valid


def _structure(ints: Mapping[str, int]) -> tuple[int, int]:
    """Chunks of a head, groups of heads."""
    return ceil_div(ints["DIM"], ints["WIDTH"]), ints["HEADS"] // ints["PARALLEL"]


def _function(ints: Mapping[str, int]) -> Held | Softmax | E2Softmax:
    kind = ints.get("FUNCTION", 0)
    if kind == _CONSMAX:
        return Held(1)
    if kind == _SPLIT:
        return Held(3 + ints["F_NIBBLES"] // 2)
    if kind == _SOFTMAX:
        return Softmax(ints["F_OUT_FRAC"] + ints["F_GUARD"] + 2)
    return E2Softmax(ints["F_N_MAX"], ints.get("F_SLICE", 0))
