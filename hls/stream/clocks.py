# SPDX-License-Identifier: Apache-2.0
"""A kernel's clocks: when its rows come out, sequence after sequence.

As the dataflow simulation counts (hls/sim/attn_dataflow.h): an iteration that starts at t reads at t or when its words
are there, its writes can be read from t + latency + 1 on, the next one starts an initiation interval later.  A half
of a bank can be read latency + 1 after its filler's last interval, and be filled again a cycle after its reader's last.
FIFOs never fill up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hls4attn.hls.stream.iterations import (
    Times,
    chunks,
    groups,
    is_attention,
    is_gain_cell,
    is_norm,
    row_interval,
    rows_of,
    score_function,
    slices,
    token_cycles,
)
from hls4attn.hls.stream.pipelines import latencies

if TYPE_CHECKING:
    from hls4attn.hls.design import HwNode


def starts(ready: Times, cycles: int | Times) -> Times:
    """When the iterations of a process start: t[k] = max(t[k-1] + cycles[k-1], ready[k])."""
    costs = np.broadcast_to(np.asarray(cycles, dtype=np.int64), ready.shape)
    offset = np.concatenate([[0], np.cumsum(costs)[:-1]]).astype(np.int64)
    return np.asarray(np.maximum.accumulate(ready - offset) + offset, dtype=np.int64)


class Clock:
    """A process that repeats itself for each sequence.

    Attributes:
        time: when it has done what it was given.
    """

    def __init__(self) -> None:
        self.time = 0

    def run(self, ready: Times, cycles: int | Times) -> Times:
        """When its next iterations start, each of which has its words at `ready` and takes `cycles`."""
        begin = starts(np.maximum(ready, self.time), cycles)
        self.time = int(begin[-1]) + int(cycles if isinstance(cycles, int) else cycles[-1])
        return begin


class Bank:
    """Two halves that take turns."""

    def __init__(self) -> None:
        self.drained = [0, 0]  # since when the half may be filled; the next one first

    def fill(self, clock: Clock, ready: Times, cycles: int, latency: int) -> int:
        """Fill a half, an iteration a row; returns when it can be read."""
        clock.time = max(clock.time, self.drained[0])
        clock.run(ready, cycles)
        return clock.time + latency + 1

    def drain(self, clock: Clock) -> None:
        """The half that was filled has been read by a process."""
        self.drained = [self.drained[1], clock.time + 1]


class NodeClocks:
    """The processes of one streaming kernel.

    Args:
        node: the kernel.
        length: rows of every sequence; as many as the kernel takes if not given.
    """

    def __init__(self, node: HwNode, length: int | None = None) -> None:
        self.node = node
        self._length = length
        self._latency = node.ints.get("latency", latencies(node)["latency"])
        self._clocks: dict[str, Clock] = {}
        self._banks: dict[str, Bank] = {}

    def state(self) -> Iterator[int]:
        """Every time that the next sequence depends on."""
        yield from (clock.time for clock in self._clocks.values())
        yield from (time for bank in self._banks.values() for time in bank.drained)

    def rows(self, inputs: list[Times]) -> Times:
        """When each row of the next sequence can be read, for the times of its input rows."""
        node, latency = self.node, self._latency
        count = rows_of(node, self._length)
        if is_attention(node):
            return self._attention(*(t[:count] for t in inputs))
        if node.op == "AttnPermute":
            return self._permute(inputs[0], count)
        cycles: int | Times = token_cycles(node.ints, count) if is_gain_cell(node) else row_interval(node)
        ready = np.maximum.reduce([t[:count] for t in inputs])
        clock = self._clock("rows")
        begin = clock.run(ready, cycles)
        if is_norm(node):
            prepared = self._clock("prepare").run(begin + cycles + latency, cycles) + latency + 1
            begin = self._clock("affine").run(prepared, cycles)
        if node.op == "AttnReduceSum":  # the tail is one row more
            begin = clock.run(begin[-1:], cycles)
        return np.asarray(begin + cycles + latency, dtype=np.int64)

    def _clock(self, name: str) -> Clock:
        return self._clocks.setdefault(name, Clock())

    def _bank(self, name: str) -> Bank:
        return self._banks.setdefault(name, Bank())

    def _permute(self, rows: Times, count: int) -> Times:
        bank, emit = self._bank("values"), self._clock("emit")
        filled = bank.fill(self._clock("load"), rows, 1, self._latency)
        begin = emit.run(np.full(count, filled, dtype=np.int64), 1)
        bank.drain(emit)
        return begin + self._latency + 1

    def _attention(self, q: Times, k: Times, v: Times) -> Times:
        """Bank of keys, scores slice by slice, score function, bank of values, weighted sum row by row."""
        node, latency = self.node, self._latency
        step = chunks(node)
        load = groups(node) * step
        banks = self._bank("keys"), self._bank("values")
        filled = [
            bank.fill(self._clock(f"load_{name}"), t, load, latency)
            for bank, name, t in zip(banks, ("keys", "values"), (k, v), strict=True)
        ]
        units = np.repeat(slices(node, len(q)), groups(node))  # words of each row of scores
        words = groups(node) * slices(node, len(q))  # of each query
        row = np.repeat(np.arange(len(words)), words)
        place = np.arange(len(row)) - np.repeat(np.cumsum(words) - words, words)
        score, weigh = self._clock("score_slices"), self._clock("weigh_slices")
        scores = score.run(np.maximum(q, filled[0]), words * step)[row] + (place + 1) * step + latency
        begin = weigh.run(np.maximum(self._function(scores, units), filled[1]), step)
        for bank, clock in zip(banks, (score, weigh), strict=True):
            bank.drain(clock)
        return np.asarray(begin[np.cumsum(words) - 1] + step + latency, dtype=np.int64)

    def _function(self, scores: Times, units: Times) -> Times:
        """When the words behind the score function can be read, for the times of its scores.

        Args:
            scores: one time a word.
            units: words of each row of scores.
        """

        def process(name: str, ready: Times) -> Times:
            return self._clock(name).run(ready, 1) + self._latency + 1

        words = process("first", scores)
        name = score_function(self.node)
        if name.startswith("ConSmax"):
            return words
        last = np.cumsum(units) - 1  # of each row, and of the row that a word is in
        of_word = np.repeat(last, units)
        whole = of_word
        slice_words = self.node.ints.get("slice_length", 0) // self.node.ints.get("lanes", 1)
        if slice_words:  # a maximum comes every slice_words words
            first = of_word + 1 - np.repeat(units, units)
            place = np.arange(len(words)) - first
            whole = np.minimum(first + (place // slice_words + 1) * slice_words - 1, of_word)
        words = process("exponents", np.maximum(words, words[whole]))
        sums = words[last]
        if name == "Softmax":
            sums = process("division", sums)
        return process("last", np.maximum(words, np.repeat(sums, units)))
