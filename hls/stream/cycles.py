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

from hls4attn.hls.stream.clocks import NodeClocks, starts
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


def row_times(node: HwNode, inputs: list[Times], length: int | None = None) -> Times:
    """When each output row of a streaming kernel can be read, for the times of its input rows."""
    return NodeClocks(node, length).rows(inputs)


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
