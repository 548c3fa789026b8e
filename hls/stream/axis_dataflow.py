# SPDX-License-Identifier: Apache-2.0
"""Dataflow simulation of a streaming design with its AXI4-Stream adaptors: words, flags and cycles of packets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hls4attn.hls.axis_cpp import Core, kernel_cpp
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.design import Design
from hls4attn.hls.emit import design_cpp
from hls4attn.hls.stream.packets import flag_depth
from hls4attn.hls.stream.ports import port_rows, split_packets
from hls4attn.hls.stream.simulated import END, ENTRY, Simulated
from hls4attn.models.errors import InputError
from hls4attn.models.files import atomic_write

_BENCH = (
    """// SPDX-License-Identifier: Apache-2.0
// Simulation only: a source and a sink of words that stall at random, and the kernel between them.
#define HLS4ATTN_DATAFLOW
#include "kernel.cpp"
#include "attn_report.h"

typedef hls4attn::axis<0>::word word_t;

{export} int {entry}(const uint32_t *words, const uint8_t *last, uint32_t *data, uint8_t *ends, long long *times,
                     long samples, uint64_t seed, int interrupts, int in_stalls, int out_stalls, char *report,
                     long size) {{
    using namespace hls4attn;
    sim::network net(int(samples), seed, interrupts);
    try {{
        net.run([&]() {{
            hls::stream<word_t> in_r("in_r");
            hls::stream<word_t> out_r("out_r");
            sim::spawn("source", true, [&]() {{
                const long s = sim::self().sequence;
                for (int w = 0; w < {in_words}; w++) {{
                    while (net.chance(in_stalls)) {{
                        sim::wait(1);
                    }}
                    word_t word;
                    word.data = words[s * {in_words} + w];
                    word.keep = -1;
                    word.strb = -1;
                    word.last = w == {in_words} - 1 ? last[s] : 0;
                    in_r.write(word);
                    sim::stamp(times + 4 * s, w, {in_words});
                    sim::spend(1);
                }}
            }});
            sim::spawn("sink", true, [&]() {{
                const long s = sim::self().sequence;
                for (int w = 0; w < {out_words}; w++) {{
                    while (net.chance(out_stalls)) {{
                        sim::wait(1);
                    }}
                    const word_t word = out_r.read();
                    data[s * {out_words} + w] = word.data.to_uint();
                    ends[s * {out_words} + w] = word.last.to_uint();
                    sim::stamp(times + 4 * s + 2, w, {out_words});
                    sim::spend(1);
                }}
            }});
            HLS4ATTN_REGION(kernel(in_r, out_r))
            HLS4ATTN_JOIN
        }});
"""
    + END
)


@dataclass(frozen=True, eq=False)
class AxisRun:
    """What a dataflow simulation of packets gave.

    Attributes:
        packets: words that came out, by TLAST; words behind the last one are one more.
        cycles: from the first word of the first packet to the last word of each sample's answer, both included.
        fifos: for each FIFO its depth, the most words it ever held, and how many passed.
    """

    packets: list[bytes]
    cycles: list[int]
    fifos: Mapping[str, Mapping[str, int]]


class AxisDataflow:
    """A streaming design between AXI4-Streams, compiled for dataflow simulation.

    Args:
        design: of io_type "io_stream".
        flags: words of the FIFO of flags; `flag_depth` if not given.

    Raises:
        InputError: for a design that does not stream.
        ToolError: if there is no compiler, or the design does not compile.
    """

    def __init__(self, design: Design, flags: int | None = None) -> None:
        if design.io_type != "io_stream":
            raise InputError(f"{design.name}: a dataflow simulation takes an io_stream design. Got: {design.io_type}")
        self.design = design
        self._ports = port_rows(design)
        depths = design.input_stream.depth, design.output_stream.depth
        core = Core("top", "port_in_row", "port_out_row", depths=depths, arguments=f", {design.seq_len}")
        kernel = kernel_cpp("kernel", core, self._ports, flags or flag_depth(design))
        text = design_cpp(design, "top") + '#include "attn_axis.h"\n' + kernel
        folder = cache_dir() / "bench" / hashlib.sha256(text.encode()).hexdigest()[:32]
        atomic_write(folder / "kernel.cpp", text.encode())
        words = {"in_words": self._ports[0].words, "out_words": self._ports[1].words}
        bench = _BENCH.format(export=EXPORT, entry=ENTRY, **words)
        self._simulated = Simulated(design.name, folder / "packets.cpp", bench, arrays=5)

    def run(
        self, packets: Sequence[bytes], seed: int = 0, stalls: tuple[int, int] = (0, 0), interrupts: int = 0
    ) -> AxisRun:
        """Run packets back to back.

        Args:
            packets: whole samples each.
            seed: of the stalls and of the order in which processes run.
            stalls: percentage of cycles in which the input gives nothing, and in which the output takes nothing.
            interrupts: percentage of FIFO accesses after which another process gets its turn.

        Raises:
            InputError: for a packet that is empty or no whole samples.
            SimulationError: on deadlock, starvation, or words left over, naming processes and FIFOs.
        """
        source, answer = self._ports
        sizes = [len(p) / (4 * source.words) for p in packets]
        if not sizes or any(not n or n != int(n) for n in sizes):
            raise InputError(
                f"A packet has whole samples of {4 * source.words} bytes. Received: {list(map(len, packets))}"
            )
        samples = int(sum(sizes))
        words = np.frombuffer(b"".join(packets), dtype="<u4")
        last = np.zeros(samples, dtype=np.uint8)
        last[np.cumsum(sizes).astype(int) - 1] = 1
        data = np.zeros(samples * answer.words, dtype="<u4")
        ends = np.zeros(len(data), dtype=np.uint8)
        times = np.zeros((samples, 4), dtype=np.int64)
        found = self._simulated.run((words, last, data, ends, times), samples, seed, stalls, interrupts)
        cycles = (times[:, 3] - times[0, 0] + 1).tolist()
        return AxisRun(split_packets(data, ends), cycles, found["fifos"])
