# SPDX-License-Identifier: Apache-2.0
"""Dataflow simulation of a streaming design: all processes at once, FIFOs of their real depth, random stalls, cycles.

Plain C simulation runs the kernels one after the other on endless queues; it cannot deadlock and has no time.  Here
every process is a coroutine with a clock (hls/sim/attn_dataflow.h).  A deadlock is an error that lists who waits for
what; so are starvation and words left over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.csim import checked_codes, checked_lengths
from hls4attn.hls.design import Design, Stream
from hls4attn.hls.emit import design_cpp
from hls4attn.hls.stream.simulated import END, ENTRY, Simulated
from hls4attn.models.errors import InputError
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes

_BENCH = (
    """// SPDX-License-Identifier: Apache-2.0
// Simulation only: a source and a sink that stall at random, and the design between them.
#define HLS4ATTN_DATAFLOW
#include "top.cpp"
#include "attn_report.h"

{export} int {entry}(const int32_t *codes, int32_t *results, const int32_t *lengths, long long *times, long sequences,
                     uint64_t seed, int interrupts, int in_stalls, int out_stalls, char *report, long size) {{
    using namespace hls4attn;
    sim::network net(int(sequences), seed, interrupts);
    const sim::run_time_length length(lengths, {tokens});
    try {{
        net.run([&]() {{
            hls::stream<port_in_row> in("{input}");
            hls::stream<port_out_row> out("{output}");
            sim::spawn("source", true, [&]() {{
                const int rows = {in_rows}, s = sim::self().sequence;
                for (int r = 0; r < rows; r++) {{
                    while (net.chance(in_stalls)) {{
                        sim::wait(1);
                    }}
                    port_in_row word;
                    for (int c = 0; c < {in_channels}; c++) {{
                        word[c] = from_raw<port_in_t>(codes[(long(s) * {max_in_rows} + r) * {in_channels} + c]);
                    }}
                    in.write(word);
                    sim::stamp(times + 4 * s, r, rows);
                    sim::spend(1);
                }}
            }});
            sim::spawn("sink", true, [&]() {{
                const int rows = {out_rows}, s = sim::self().sequence;
                for (int r = 0; r < rows; r++) {{
                    while (net.chance(out_stalls)) {{
                        sim::wait(1);
                    }}
                    const port_out_row word = out.read();
                    for (int c = 0; c < {out_channels}; c++) {{
                        results[(long(s) * {max_out_rows} + r) * {out_channels} + c] = int32_t(raw(word[c]));
                    }}
                    sim::stamp(times + 4 * s + 2, r, rows);
                    sim::spend(1);
                }}
            }});
            HLS4ATTN_REGION(top(in, out, length))
            HLS4ATTN_JOIN
        }});
"""
    + END
)


@dataclass(frozen=True, eq=False)
class DataflowRun:
    """What a dataflow simulation gave.

    Attributes:
        codes: output codes, ``(batch, *output.shape)``; rows beyond a sequence's length are zero.
        first_in: cycle in which each sequence's first row entered.
        last_in: its last row.
        first_out: cycle in which its first result row left.
        last_out: its last one.
        busy: cycles that each process worked, over all sequences, by name (kernel, configuration number, process).
        fifos: for each FIFO its depth, the most words it ever held, and how many passed.
    """

    codes: Codes
    first_in: Codes
    last_in: Codes
    first_out: Codes
    last_out: Codes
    busy: Mapping[str, int]
    fifos: Mapping[str, Mapping[str, int]]

    @property
    def latency(self) -> int:
        """Cycles from the first sequence's first row in to its last row out."""
        return int(self.last_out[0] - self.first_in[0])

    @property
    def interval(self) -> int:
        """Cycles between the last two sequences' ends.

        Raises:
            InputError: if there was only one sequence.
        """
        if len(self.last_out) < 2:
            raise InputError("An interval needs two sequences or more. Received: 1")
        return int(self.last_out[-1] - self.last_out[-2])


class DataflowSim:
    """A streaming design, compiled for dataflow simulation.

    Args:
        design: of io_type "io_stream".

    Raises:
        InputError: for a design that does not stream.
        ToolError: if there is no compiler, or the design does not compile.
    """

    def __init__(self, design: Design) -> None:
        if design.io_type != "io_stream":
            raise InputError(f"{design.name}: a dataflow simulation takes an io_stream design. Got: {design.io_type}")
        self.design = design
        self._in, self._out = design.input_stream, design.output_stream
        top = design_cpp(design, "top")
        folder = cache_dir() / "bench" / hashlib.sha256(top.encode()).hexdigest()[:32]
        atomic_write(folder / "top.cpp", top.encode())
        self._simulated = Simulated(design.name, folder / "dataflow.cpp", self._bench(), arrays=4)

    def _bench(self) -> str:
        def rows(stream: Stream) -> str:
            return "int(length)" if stream.tokens else str(stream.rows)

        return _BENCH.format(
            export=EXPORT,
            entry=ENTRY,
            tokens=self.design.seq_len,
            input=self.design.input.name,
            output=self.design.output,
            in_rows=rows(self._in),
            max_in_rows=self._in.rows,
            in_channels=self._in.channels,
            out_rows=rows(self._out),
            max_out_rows=self._out.rows,
            out_channels=self._out.channels,
        )

    def run(
        self,
        codes: ArrayLike,
        lengths: ArrayLike | None = None,
        seed: int = 0,
        stalls: tuple[int, int] = (0, 0),
        interrupts: int = 0,
    ) -> DataflowRun:
        """Run sequences back to back.

        Args:
            codes: input codes, ``(batch, *input.shape)``.
            lengths: tokens of each sequence; all of them if not given.
            seed: of the stalls and of the order in which processes run.
            stalls: percentage of cycles in which the input gives nothing, and in which the output takes nothing.
            interrupts: percentage of FIFO accesses after which another process gets its turn.

        Raises:
            InputError: for wrong shapes, dtypes or ranges.
            SimulationError: on deadlock, starvation, or words left over, naming processes and FIFOs.
        """
        design = self.design
        x = checked_codes(design.input, codes)
        n = checked_lengths(lengths, len(x), design.seq_len)
        y = np.zeros((len(x), prod(design.output_tensor.shape)), dtype=np.int32)
        times = np.zeros((len(x), 4), dtype=np.int64)
        found = self._simulated.run((x, y, n, times), len(x), seed, stalls, interrupts)
        result = y.reshape(len(x), *design.output_tensor.shape).astype(np.int64)
        first_in, last_in, first_out, last_out = times.T
        return DataflowRun(result, first_in, last_in, first_out, last_out, found["busy"], found["fifos"])
