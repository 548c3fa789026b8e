# SPDX-License-Identifier: Apache-2.0
"""One streaming attention as a network of processes: sources, its region and a sink, timed."""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import dataclass

import numpy as np

from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import cache_dir, compile_library
from hls4attn.hls.emit import stream_call_cpp
from hls4attn.hls.stream.attention_sim import AttentionSim
from hls4attn.models.errors import SimulationError
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes

_BENCH = """
#include "attn_report.h"
template <class T> static void put(hls::stream<hls4attn::row<T, {channels}> > &rows, const int *codes, int count,
                                   hls4attn::sim::network &net, int stalls) {{
    for (int r = 0; r < count; r++) {{
        while (net.chance(stalls)) {{
            hls4attn::sim::wait(1);
        }}
        hls4attn::row<T, {channels}> word;
        for (int c = 0; c < {channels}; c++) {{
            word[c] = hls4attn::from_raw<T>(codes[r * {channels} + c]);
        }}
        rows.write(word);
        hls4attn::sim::spend(1);
    }}
}}
template <class length_T>
static void top(hls::stream<q_row> &q, hls::stream<k_row> &k, hls::stream<v_row> &v, hls::stream<y_row> &y,
                const length_T length) {{
    {call};
}}
{export} int run(const int *qs, const int *ks, const int *vs, int *results, const int *lengths, long sequences,
                 int seed, int stalls, int interrupts, long long *ends, char *report, long size) {{
    using namespace hls4attn;
    sim::network net(int(sequences), seed, interrupts);
    const sim::run_time_length length(lengths, {rows});
    try {{
        net.run([&]() {{
            hls::stream<q_row> q("q");
            hls::stream<k_row> k("k");
            hls::stream<v_row> v("v");
            hls::stream<y_row> y("y");
            q.set_depth({rows});
            const long sample = {rows} * {channels};
            sim::spawn("q source", true, [&]() {{
                put<q_t>(q, qs + sim::self().sequence * sample, int(length), net, stalls);
            }});
            sim::spawn("k source", true, [&]() {{
                put<k_t>(k, ks + sim::self().sequence * sample, int(length), net, stalls);
            }});
            sim::spawn("v source", true, [&]() {{
                put<v_t>(v, vs + sim::self().sequence * sample, int(length), net, stalls);
            }});
            sim::spawn("sink", true, [&]() {{
                const int rows = length, s = sim::self().sequence;
                for (int r = 0; r < rows; r++) {{
                    while (net.chance(stalls)) {{
                        sim::wait(1);
                    }}
                    const y_row word = y.read();
                    for (int c = 0; c < {channels}; c++) {{
                        results[s * sample + r * {channels} + c] = int(raw(word[c]));
                    }}
                    ends[s] = sim::self().time;
                    sim::spend(1);
                }}
            }});
            HLS4ATTN_REGION(top(q, k, v, y, length))
            HLS4ATTN_JOIN
        }});
        const std::string left = sim::take_note();
        if (!left.empty()) {{
            throw sim::failure(left);
        }}
    }} catch (const std::exception &error) {{
        sim::put(report, size, error.what());
        return 1;
    }}
    sim::put(report, size, sim::describe(net));
    return 0;
}}
"""


@dataclass(frozen=True)
class Timed:
    """Result codes, the cycle in which each sequence's last row left, cycles of each process, FIFOs."""

    codes: Codes
    ends: Codes
    busy: dict[str, int]
    fifos: dict[str, dict[str, int]]


class AttentionDataflow:
    """The dataflow simulation of what an `AttentionSim` simulates."""

    def __init__(self, sim: AttentionSim) -> None:
        self.sim = sim
        plain = sim.source()
        head = "#define HLS4ATTN_DATAFLOW\n" + plain[: plain.index("template <class T> static void put")]
        call = stream_call_cpp(sim.node, 1, [(f"{n}_row", n) for n in "qkv"], [("y_row", "y")], "length")
        text = head + _BENCH.format(channels=sim.channels, rows=sim.rows, call=call, export=EXPORT)
        main = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
        atomic_write(main, text.encode())
        self._run = ctypes.CDLL(str(compile_library(main, sim.includes))).run

    def run(self, codes: tuple[Codes, ...], lengths: Codes, seed: int = 0, stalls: int = 0, switches: int = 0) -> Timed:
        given = [np.ascontiguousarray(a, dtype=np.int32) for a in (*codes, lengths)]
        result = np.zeros(given[0].shape, dtype=np.int32)
        ends = np.zeros(len(result), dtype=np.int64)
        report = ctypes.create_string_buffer(1 << 16)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*given[:3], result, given[3])]
        failed = self._run(
            *pointers,
            ctypes.c_long(len(result)),
            *(ctypes.c_int(n) for n in (seed, stalls, switches)),
            ctypes.c_void_p(ends.ctypes.data),
            report,
            ctypes.c_long(1 << 16),
        )
        text = report.value.decode()
        if failed:
            raise SimulationError(text)
        found = json.loads(text)
        return Timed(result.astype(np.int64), ends, found["busy"], found["fifos"])
