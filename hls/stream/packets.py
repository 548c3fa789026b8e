# SPDX-License-Identifier: Apache-2.0
"""Packets: how long a kernel between AXI4-Streams takes for one, its adaptors included.

    in_r --> axis_unpack --> rows --> design --> results --> axis_pack --> out_r            hls/nnet/attn_axis.h

Cycles as the dataflow simulation counts them, with a source that always has a word and a sink that always takes one:
from the clock in which the first word is accepted to the one in which the last word of the answer is, both included.
What is not counted: `hls.axis_tcl` has every loop's pipeline run empty between two samples, a few cycles of its depth.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design
from hls4attn.hls.stream.clocks import Clock, NodeClocks
from hls4attn.hls.stream.cycles import schedule
from hls4attn.hls.stream.iterations import Times, ceil_div, parallel_cycles
from hls4attn.hls.stream.ports import port_rows
from hls4attn.models.errors import InputError

if TYPE_CHECKING:
    from hls4attn.hls.project import Project

#: `latency` of both adaptors.
LATENCY = 2
#: Words of the shortest FIFO of flags: as many as one look-up table holds.
FLAGS = 16


def flag_depth(design: Design, config: HlsConfig | None = None) -> int:
    """Words of the FIFO of flags: one for each sample that can be between its first word and its last one.

    Those are latency / interval + 1 in a design that keeps its pace; twice as many are held, since the latency of a
    pipeline is a model until it is synthesised.  Fewer would cost cycles, never a result (hls/nnet/attn_axis.h).
    """
    packets = PacketCycles(design, config, flags=1 << 30)
    return max(FLAGS, 2 * (ceil_div(packets(1), packets.interval) + 1))


class PacketCycles:
    """Clock cycles of packets, as a function of their samples.

    Args:
        design: the design.
        config: its choices; needed for the reuse factors of an io_parallel design.
        flags: words of the FIFO of flags; `flag_depth` if not given.

    Attributes:
        interval: cycles between two samples of a long packet, unless two halves of a bank take turns.
    """

    def __init__(self, design: Design, config: HlsConfig | None = None, flags: int | None = None) -> None:
        self._in, self._out = port_rows(design)
        self._flags = flag_depth(design, config) if flags is None else flags
        if design.io_type == "io_stream":
            self._rows: _Network | _Function = _Network(design)
        else:
            self._rows = _Function(design, config or HlsConfig(), self._in.rows, self._out.rows)
        self.interval = max(self._rows.interval, self._in.unpack_steps, self._out.pack_steps)
        self._lock = Lock()
        self._source = 0
        self._unpack, self._pack = Clock(), Clock()
        self._free: deque[int] = deque(maxlen=min(self._flags, 1 << 16))  # when flags were read
        self._ends: list[int] = []
        self._seen: dict[tuple[int, ...], int] = {}
        self._period = 0

    def __call__(self, samples: int) -> int:
        """Cycles of a packet.

        Raises:
            InputError: for no samples.
        """
        if samples < 1:
            raise InputError(f"A packet holds one sample or more. Received: {samples}")
        with self._lock:
            while len(self._ends) < samples and not self._period:
                self._next()
        if samples <= len(self._ends):
            return self._ends[samples - 1] + 1
        last, period = len(self._ends) - 1, self._period
        gain = self._ends[last] - self._ends[last - period]
        turns, rest = divmod(samples - 1 - last + period, period)
        return self._ends[last - period + rest] + turns * gain + 1

    def _next(self) -> None:
        """One more sample; the same state as before, but for the time, means that all that follows repeats itself."""
        rows, flag = self._unpacked()
        self._ends.append(self._packed(self._rows(rows), flag))
        end = self._ends[-1]
        times = [self._source, self._unpack.time, self._pack.time, *self._free, *self._rows.state()]
        state = tuple(t - end for t in times)
        self._period = len(self._ends) - self._seen.get(state, len(self._ends))
        self._seen[state] = len(self._ends)

    def _unpacked(self) -> tuple[Times, int]:
        """When the rows of the next sample can be read, and its flag."""
        port = self._in
        self._source = max(self._source, self._unpack.time - 1)  # its FIFO holds words while the box is busy
        ready = np.zeros(port.unpack_steps, dtype=np.int64)
        ready[port.word_read()] = self._source + 1 + np.arange(port.words)
        self._source += port.words
        begin = self._unpack.run(ready, 1)
        rows = begin[port.row_written()] + LATENCY + 1
        last = int(begin[-1])
        if len(self._free) == self._flags:
            last = max(last, self._free[0] - LATENCY)
        self._unpack.time = last + 1
        return rows, last + LATENCY + 1

    def _packed(self, rows: Times, flag: int) -> int:
        """When the last word of the next sample can be read."""
        port = self._out
        ready = np.zeros(port.pack_steps, dtype=np.int64)
        ready[port.row_read()] = rows
        ready[-1] = max(int(ready[-1]), flag)
        last = int(self._pack.run(ready, 1)[-1])
        self._free.append(last + 1)
        return last + LATENCY + 1


class _Network:
    """The kernels of an io_stream design."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._kernels = [NodeClocks(node) for node in design.nodes]
        self.interval = schedule(design).interval

    def __call__(self, rows: Times) -> Times:
        """When the rows of the next result can be read."""
        times = {self._design.input.name: rows}
        for kernel in self._kernels:
            out = kernel.rows([times[name] for name in kernel.node.inputs])
            times |= dict.fromkeys(kernel.node.outputs, out)
        return times[self._design.result]

    def state(self) -> Iterator[int]:
        """Every time that the next sample depends on."""
        for kernel in self._kernels:
            yield from kernel.state()


class _Function:
    """An io_parallel design: rows to an array, the kernels one after the other, an array to rows."""

    def __init__(self, design: Design, config: HlsConfig, rows_in: int, rows_out: int) -> None:
        of_nodes = config.layer_reuse_factor
        self._cycles = sum(parallel_cycles(n, of_nodes.get(n.name, config.reuse_factor)) for n in design.nodes)
        self._rows = rows_out
        self._clock = Clock()
        self.interval = rows_in + self._cycles + rows_out

    def __call__(self, rows: Times) -> Times:
        self._clock.run(rows, 1)
        self._clock.time += self._cycles
        return self._clock.run(np.zeros(self._rows, dtype=np.int64), 1) + LATENCY + 1

    def state(self) -> Iterator[int]:
        yield self._clock.time


def packet_cycles(of: Project | Design, samples: int, config: HlsConfig | None = None) -> int:
    """Clock cycles of a packet, from its first word in to the last word of its answer out, both included.

    A model: iterations are exact, the depths of pipelines are assumed (`pipelines.latencies`; of an io_parallel design
    they are left out), and nothing else on the board makes the streams wait.

    Args:
        of: a converted project, or a design.
        samples: of the packet.
        config: choices of an io_parallel design; a project has its own.

    Raises:
        InputError: for no samples.
        ModelFileError: if the project's lowered model cannot be read.
    """
    return cycles_of(of, config)(samples)


def cycles_of(of: Project | Design, config: HlsConfig | None = None) -> PacketCycles:
    """What `packet_cycles` asks; keep it where packets of several sizes are asked for."""
    if isinstance(of, Design):
        return PacketCycles(of, config)
    return _of_project(of.lowered, of.digest, json.dumps(of.config.to_dict()))


@lru_cache(maxsize=8)
def _of_project(lowered: Path, digest: str, config: str) -> PacketCycles:
    from hls4attn.hls.hwfile import read_design  # imports onnx

    del digest  # part of the key
    return PacketCycles(read_design(lowered), HlsConfig.from_dict(json.loads(config)))
