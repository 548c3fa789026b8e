# SPDX-License-Identifier: Apache-2.0
"""The cycle model: how long kernels and designs take, as formulas of their configurations.

Iterations and initiation intervals are exact: they are the loops of the kernels.  The depth of a pipeline that has not
been synthesised is a model (`latencies`).  Time is counted as the dataflow simulation counts it: an iteration that
starts at t reads at t or when its words are there, its writes can be read from t + latency + 1 on, the next one starts
an initiation interval later; a bank can be read latency + 1 after its filler's last interval; FIFOs never fill up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hls4attn.hls.stream.iterations import (
    Times,
    ceil_div,
    ceil_log2,
    chunks,
    groups,
    interval,
    is_attention,
    is_gain_cell,
    is_norm,
    parallel_cycles,
    processes,
    row_interval,
    rows_of,
    score_function,
    slices,
    token_cycles,
)
from hls4attn.hls.stream.pipelines import latencies, steady_interval, waiting_rows

if TYPE_CHECKING:
    from hls4attn.hls.design import Design, HwNode

__all__ = [
    "NodeTimes",
    "Schedule",
    "Times",
    "ceil_div",
    "ceil_log2",
    "chunks",
    "groups",
    "interval",
    "is_attention",
    "is_gain_cell",
    "is_norm",
    "latencies",
    "parallel_cycles",
    "processes",
    "row_interval",
    "row_times",
    "rows_of",
    "schedule",
    "score_function",
    "slices",
    "starts",
    "steady_interval",
    "token_cycles",
    "waiting_rows",
]


def starts(ready: Times, cycles: int | Times) -> Times:
    """When the iterations of a process start: t[k] = max(t[k-1] + cycles[k-1], ready[k])."""
    costs = np.broadcast_to(np.asarray(cycles, dtype=np.int64), ready.shape)
    offset = np.concatenate([[0], np.cumsum(costs)[:-1]]).astype(np.int64)
    return np.asarray(np.maximum.accumulate(ready - offset) + offset, dtype=np.int64)


def row_times(node: HwNode, inputs: list[Times], length: int | None = None) -> Times:
    """When each output row of a streaming kernel can be read, for the times of its input rows."""
    latency = node.ints.get("latency", latencies(node)["latency"])
    if is_attention(node):
        return _attention_times(node, inputs, length, latency)
    if node.op == "AttnPermute":
        bank = starts(inputs[0], 1)[-1] + 1 + latency + 1
        return np.asarray(bank + np.arange(rows_of(node, length)) + latency + 1, dtype=np.int64)
    cycles = token_cycles(node.ints, rows_of(node, length)) if is_gain_cell(node) else row_interval(node)
    ready = np.maximum.reduce([t[: rows_of(node, length)] for t in inputs])
    start = starts(ready, cycles)
    if is_norm(node):
        prepared = starts(start + cycles + latency, cycles) + latency + 1
        start = starts(prepared, cycles)
    if node.op == "AttnReduceSum":
        start = start[-1:] + cycles
    return np.asarray(start + cycles + latency, dtype=np.int64)


def _attention_times(node: HwNode, inputs: list[Times], length: int | None, latency: int) -> Times:
    """Bank of keys, scores slice by slice, score function, bank of values, weighted sum row by row."""
    q, k, v = (t[: rows_of(node, length)] for t in inputs)
    step = chunks(node)
    load = groups(node) * step
    keys, values = (int(starts(t, load)[-1]) + load + latency + 1 for t in (k, v))
    units = np.repeat(slices(node, length), groups(node))  # words of each row of scores
    words = groups(node) * slices(node, length)  # of each query
    row = np.repeat(np.arange(len(words)), words)
    place = np.arange(len(row)) - np.repeat(np.cumsum(words) - words, words)
    scores = starts(np.maximum(q, keys), words * step)[row] + (place + 1) * step + latency
    weights = _function_times(node, scores, units, latency)
    begin = starts(np.maximum(weights, values), step)
    return np.asarray(begin[np.cumsum(words) - 1] + step + latency, dtype=np.int64)


def _function_times(node: HwNode, scores: Times, units: Times, latency: int) -> Times:
    """When the words behind the score function can be read, for the times of its scores.

    Args:
        node: the attention.
        scores: one time a word.
        units: words of each row of scores.
        latency: of every process.
    """

    def process(ready: Times) -> Times:
        return starts(ready, 1) + latency + 1

    words = process(scores)
    name = score_function(node)
    if name.startswith("ConSmax"):
        return words
    last = np.cumsum(units) - 1  # of each row, and of the row that a word is in
    of_word = np.repeat(last, units)
    whole = of_word
    slice_words = node.ints.get("slice_length", 0) // node.ints.get("lanes", 1)
    if slice_words:  # a maximum comes every slice_words words
        first = of_word + 1 - np.repeat(units, units)
        place = np.arange(len(words)) - first
        whole = np.minimum(first + (place // slice_words + 1) * slice_words - 1, of_word)
    words = process(np.maximum(words, words[whole]))
    sums = words[last]
    if name == "Softmax":
        sums = process(sums)
    return process(np.maximum(words, np.repeat(sums, units)))


@dataclass(frozen=True)
class NodeTimes:
    """One kernel's part of a schedule, in cycles after the first input row.

    Attributes:
        name: the node.
        first: when its first output row can be read.
        last: when its last one can.
        interval: cycles between two sequences.
    """

    name: str
    first: int
    last: int
    interval: int


@dataclass(frozen=True)
class Schedule:
    """When one sequence passes through an empty io_stream design, in cycles.

    Attributes:
        nodes: every kernel's part.
        latency: from writing the first input row to reading the last output row.
        interval: between two sequences, on average over two: that of the slowest kernel, if no FIFO fills up.
        bottleneck: name of that kernel.
    """

    nodes: tuple[NodeTimes, ...]
    latency: int
    interval: int
    bottleneck: str


def schedule(design: Design, length: int | None = None) -> Schedule:
    """The schedule of an io_stream design: row times passed from kernel to kernel, joins take the later.

    Args:
        design: the design; row r of the input is written in cycle r, by a source without latency.
        length: rows of the sequence (tokens); full if not given.
    """
    streams = design.streams
    port = design.input_stream
    rows = length if length is not None and port.tokens else port.rows
    times: dict[str, Times] = {design.input.name: np.arange(1, rows + 1, dtype=np.int64)}
    parts = []
    for node in design.nodes:
        tokens = length if streams[node.output if node.op == "AttnPermute" else node.inputs[0]].tokens else None
        out = row_times(node, [times[n] for n in node.inputs], tokens)
        times |= dict.fromkeys(node.outputs, out)
        parts.append(NodeTimes(node.name, int(out[0]), int(out[-1]), steady_interval(node, tokens)))
    paced = {n.name for n in design.nodes if is_attention(n)}  # of equals, the one that others keep pace with
    slowest = max(parts, key=lambda p: (p.interval, p.name in paced))
    return Schedule(tuple(parts), int(times[design.result][-1]), slowest.interval, slowest.name)
