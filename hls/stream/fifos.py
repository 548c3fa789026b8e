# SPDX-License-Identifier: Apache-2.0
"""Depths of the FIFOs between kernels: deep enough that the network can never deadlock, nor wait for a branch.

    x --> fork --> Q dense --------------------> FIFO --+
            | +--> K dense --> [all rows] --+           v
            | +--> V dense --> [all rows] --+--> attention --> dense --> FIFO --> add --> ...
            +---------------------------------------------------> FIFO -----------^
                                       rows that wait for the attention's first one

Why a depth is enough: kernels that block on reading and on writing are a Kahn process network even with bounded FIFOs
(a free word is a token that travels back), and whether such a network comes to its end does not depend on who runs
when.  So one way of running it that never needs more words than a FIFO has proves that there is no deadlock at all, in
any timing.  That way is played through here, row by row:

    every process takes one row a slot, one sequence enters each T slots (T: most rows of any stream), as early as its
    rows are there.  A kernel of cycles c a row and latency l keeps ceil(l / c) rows in its pipeline: a row leaves when
    that many more have come in, or the sequence has ended.
    attention:     keys and values are loaded row by row into banks of two sequences; then one row of q, one result
    permute:       all rows are loaded into such a bank, then dealt out
    reduce:        all rows come in, then one leaves
    gain cells:    later rows take longer: at its pace of a row a slot on average, early ones share slots
    norms:         three pipelines, one behind the other

A shorter sequence follows the same timetable with rows left out, so the depths hold for it, too.

The most words that ever wait in a FIFO are its depth: at a join, the rows by which one path lags behind the other,
barriers and pipelines included.  Since every process kept its pace of a row a slot, it never waits for a FIFO either.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.stream.cycles import (
    ceil_div,
    is_attention,
    is_gain_cell,
    is_norm,
    latencies,
    processes,
    row_interval,
    token_cycles,
)

#: What a FIFO holds at least: one word that is written while another is read.
DEFAULT_DEPTH = 2

Slots = NDArray[np.int64]


def with_depths(design: Design) -> Design:
    """The design with the depth of each stream set.

    Args:
        design: a scheduled io_stream design; depths that it has already are not looked at.
    """
    depths = fifo_depths(design)
    return replace(design, streams={name: replace(s, depth=depths[name]) for name, s in design.streams.items()})


def fifo_depths(design: Design) -> dict[str, int]:
    """Words that each stream's FIFO needs."""
    pace = max(s.rows for s in design.streams.values())
    play = _Play(design)
    done = play.sequence(0)
    # As many sequences as are ever in the network at once, and one more: then nothing changes any more.
    for number in range(1, ceil_div(done + 1, pace) + 2):
        play.sequence(number * pace)
    return {name: max(DEFAULT_DEPTH, _most(traffic)) for name, traffic in play.traffic.items()}


@dataclass
class _Traffic:
    """When the words of a stream came and went."""

    written: list[Slots] = field(default_factory=list)
    read: list[Slots] = field(default_factory=list)


def _most(traffic: _Traffic) -> int:
    """Most words at a time; a word that comes in the slot in which another goes needs a place of its own."""
    if not traffic.read:
        return 0
    came, went = np.concatenate(traffic.written), np.concatenate(traffic.read)
    slots = np.unique(came)
    return int(np.max(np.searchsorted(came, slots, side="right") - np.searchsorted(went, slots, side="left")))


class _Play:
    """The network, run row by row as early as possible.

    Args:
        design: what to run.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.traffic: dict[str, _Traffic] = {name: _Traffic() for name in design.streams}
        self.free: dict[tuple[str, str], int] = {}  # slot from which on a process takes its next row
        self.drained: dict[tuple[str, str], list[int]] = {}  # of a bank: when each sequence had left it

    def sequence(self, start: int) -> int:
        """Send one sequence in from slot `start` on; the slot of its last result."""
        port = self.design.input.name
        self.traffic[port].written.append(start + np.arange(self.design.streams[port].rows))
        for node in self.design.nodes:
            self._node(node)
        return int(self.traffic[self.design.result].written[-1][-1])

    def _node(self, node: HwNode) -> None:
        ready = [self.traffic[name].written[-1] for name in node.inputs]
        if node.op == "AttnPermute":
            reads = [self._fill(node, "load", ready[0])]
            bank = int(reads[0][-1]) + 1
            rows = np.full(self.design.streams[node.output].rows, bank)
            results = self._steps(node, "emit", rows)
            self._drain(node, "load", results)
        elif is_attention(node):
            keys, values = self._fill(node, "keys", ready[1]), self._fill(node, "values", ready[2])
            bank = max(int(keys[-1]), int(values[-1])) + 1
            queries = self._steps(node, "queries", np.maximum(ready[0], bank))
            reads, results = [queries, keys, values], queries
            self._drain(node, "keys", queries)
            self._drain(node, "values", queries)
        elif is_gain_cell(node):
            results = self._paced(node, np.maximum.reduce(ready))
            reads = [results] * len(ready)
        else:
            rows = self._steps(node, "rows", np.maximum.reduce(ready))
            reads, results = [rows] * len(ready), rows
            if node.op == "AttnReduceSum":
                results = results[-1:] + 1
        written = _through_pipeline(results, in_flight(node)) + 1
        for name, slots in zip(node.inputs, reads, strict=True):
            self.traffic[name].read.append(slots)
        for name in node.outputs:
            self.traffic[name].written.append(written)

    def _steps(self, node: HwNode, process: str, ready: Slots) -> Slots:
        """One row a slot, in order, none before it is ready: t[i] = max(ready[i], t[i-1] + 1)."""
        key = (node.name, process)
        place = np.arange(len(ready))
        slots = np.maximum.accumulate(np.maximum(ready, self.free.get(key, 0)) - place) + place
        self.free[key] = int(slots[-1]) + 1
        return np.asarray(slots, dtype=np.int64)

    def _paced(self, node: HwNode, ready: Slots) -> Slots:
        """Rows of different length without a pause: each when those before it are done, none before it is ready."""
        cycles = token_cycles(node.ints, len(ready))
        busy = np.concatenate([[0], np.cumsum(cycles)])
        slots = busy[:-1] * len(ready) // busy[-1]
        begin = max(int((ready - slots).max()), self.free.get((node.name, "rows"), 0))
        self.free[node.name, "rows"] = begin + len(ready)
        return np.asarray(begin + slots, dtype=np.int64)

    def _fill(self, node: HwNode, bank: str, ready: Slots) -> Slots:
        """Rows into a bank of two halves: the sequence before the last one must have left."""
        left = self.drained.get((node.name, bank), [])
        return self._steps(node, bank, np.maximum(ready, left[-2] + 1) if len(left) > 1 else ready)

    def _drain(self, node: HwNode, bank: str, slots: Slots) -> None:
        self.drained.setdefault((node.name, bank), []).append(int(slots[-1]))


def _through_pipeline(slots: Slots, rows: int) -> Slots:
    """When rows leave a pipeline that holds so many: with the row that pushes them out, the last ones at the end."""
    place = np.minimum(np.arange(len(slots)) + rows, len(slots) - 1)
    pushed = slots[place]
    late = np.arange(len(slots)) + rows - (len(slots) - 1)  # nothing pushes them: they move on by themselves
    return np.asarray(pushed + np.maximum(late, 0), dtype=np.int64)


def in_flight(node: HwNode) -> int:
    """Rows inside a kernel's pipelines that have been read and are not written yet."""
    latency = node.ints.get("latency", latencies(node)["latency"])
    if is_attention(node):
        return len(processes(node)) - 2  # a row in each process between the loaders and the result
    return ceil_div(latency, row_interval(node)) * (3 if is_norm(node) else 1)
