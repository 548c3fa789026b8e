# SPDX-License-Identifier: Apache-2.0
"""C simulation of a kernel between AXI4-Streams, on the words of its packets."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hls4attn.hls import sim_dir
from hls4attn.hls.axis import KernelSource
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.stream.ports import split_packets
from hls4attn.models.errors import InputError, SimulationError
from hls4attn.models.files import atomic_write

_ENTRY = "hls4attn_axis"
_MESSAGE_BYTES = 1 << 12
_WORD_BYTES = 4

_TEXT = """// SPDX-License-Identifier: Apache-2.0
// Simulation only: words in, words out; the kernel is called once a sample, as a dataflow region repeats itself.
{includes}
#include <cstdint>
#include <cstdio>

namespace {{
typedef hls4attn::axis<{user_bits}>::word in_word;
typedef hls4attn::axis<0>::word out_word;

struct streams {{
    hls::stream<in_word> in;
    hls::stream<out_word> out;
    streams() : in("in_r"), out("out_r") {{}}
}};

// Words that came out; a word without a full TKEEP ends the simulation.
long take(hls::stream<out_word> &out, uint32_t *data, uint8_t *last, long room) {{
    long words = 0;
    for (; !out.empty(); words++) {{
        const out_word word = out.read();
        if (words == room || word.keep != 15 || word.strb != 15) {{
            throw hls4attn::sim::failure(words == room ? "out_r: more words than an answer has" : "out_r: TKEEP");
        }}
        data[words] = word.data.to_uint();
        last[words] = word.last.to_uint();
    }}
    return words;
}}
}} // namespace

{export} long {entry}(const uint32_t *words, const uint8_t *user, const uint8_t *last, long count, long calls,
                      uint32_t *data, uint8_t *ends, long room, char *message, long size) {{
    long found = -1;
    std::string wrong;
    (void)user;
    try {{
        streams port;
        for (long w = 0; w < count; w++) {{
            in_word word;
            word.data = words[w];
            word.keep = -1;
            word.strb = -1;
            word.last = last[w];
            {set_user}
            port.in.write(word);
        }}
        for (long c = 0; c < calls; c++) {{
            {top}(port.in, port.out);
        }}
        found = take(port.out, data, ends, room);
    }} catch (const std::exception &failure) {{
        wrong = failure.what();
    }}
    const std::string left = hls4attn::sim::take_note();
    if (!wrong.empty() || !left.empty()) {{
        std::snprintf(message, size, "%s", (wrong.empty() ? left : wrong).c_str());
        return -1;
    }}
    return found;
}}
"""


@dataclass(frozen=True)
class Packet:
    """Words of one packet; the last one has TLAST.

    Attributes:
        data: whole words, as bytes.
        user: TUSER of all its words.
    """

    data: bytes
    user: int = 0


class AxisSim:
    """The kernel of a source, compiled with the simulation's own headers of streams.

    Args:
        source: the kernel.

    Raises:
        ToolError: if there is no compiler, or the kernel does not compile.
    """

    def __init__(self, source: KernelSource) -> None:
        self.source = source
        text = _TEXT.format(
            includes="\n".join(f'#include "{source.folder / name}"' for name in source.files),
            user_bits=source.user_bits,
            set_user="word.user = user[w];" if source.user_bits else "",
            export=EXPORT,
            entry=_ENTRY,
            top=source.top,
        )
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        main = cache_dir() / "bench" / f"axis_{digest}.cpp"
        atomic_write(main, text.encode())
        folders = (sim_dir(), *(source.folder / name for name in source.includes), ap_types_dir())
        self._entry = getattr(ctypes.CDLL(str(compile_library(main, folders))), _ENTRY)
        pointer, number = ctypes.c_void_p, ctypes.c_long
        self._entry.argtypes = [pointer] * 3 + [number] * 2 + [pointer] * 2 + [number, pointer, number]
        self._entry.restype = number

    def run(self, packets: Sequence[Packet | bytes], calls: int, room: int) -> list[bytes]:
        """Send packets, one after the other.

        Args:
            packets: whole words each.
            calls: how often the kernel's processes run: samples of all packets.
            room: most words that may come out.

        Returns:
            The packets that came out; words behind the last TLAST are one more.

        Raises:
            InputError: for a packet that is empty or no whole words.
            SimulationError: naming the stream that ran dry, or kept words.
        """
        given = [p if isinstance(p, Packet) else Packet(p) for p in packets]
        for k, packet in enumerate(given):
            if not packet.data or len(packet.data) % _WORD_BYTES:
                raise InputError(f"A packet has whole words. Received: {len(packet.data)} bytes in packet {k}")
        counts = np.array([len(p.data) // _WORD_BYTES for p in given], dtype=np.int64)
        words = np.frombuffer(b"".join(p.data for p in given), dtype="<u4")
        user = np.repeat(np.array([p.user for p in given], dtype=np.uint8), counts)
        last = np.zeros(len(words), dtype=np.uint8)
        last[np.cumsum(counts) - 1] = 1
        data, ends = np.zeros(max(room, 1), dtype="<u4"), np.zeros(max(room, 1), dtype=np.uint8)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        found = self._entry(
            *(a.ctypes.data for a in (words, user, last)),
            len(words),
            calls,
            data.ctypes.data,
            ends.ctypes.data,
            room,
            ctypes.addressof(message),
            _MESSAGE_BYTES,
        )
        if found < 0:
            raise SimulationError(f"{self.source.name}: {message.value.decode(errors='replace')}")
        return split_packets(data[:found], ends[:found])
