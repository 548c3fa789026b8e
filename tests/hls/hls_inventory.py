# SPDX-License-Identifier: Apache-2.0
"""What the regions of streaming kernels declare, from the compiled headers: FIFOs, banks, and how constants are spread.

The processes are left out: the marks of attn_stream.h write down what is declared between them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hls4attn.hls import include_dir
from hls4attn.hls.compiler import ap_types_dir, find_compiler
from hls4attn.hls.design import HwNode
from hls4attn.hls.emit import config_cpp, cpp_type, stream_call_cpp

_STREAM = """#pragma once
namespace hls {
template <class T, int DEPTH = 0> struct stream {
    stream() {}
    explicit stream(const char *) {}
    T read() { return T(); }
    void write(const T &) {}
};
}
"""
_MARKS = """#pragma once
#include <cstdio>
#include <type_traits>
namespace inventory {
template <class T> struct leaf { static constexpr int bits = 0; };
template <int W> struct leaf<ap_int<W> > { static constexpr int bits = W; };
// Every field of a word: one more in the header, and this does not compile.
template <class T> int bits(const T &x) {
    if constexpr (std::is_array<T>::value) {
        return int(std::extent<T>::value) * bits(x[0]);
    } else if constexpr (leaf<T>::bits) {
        return leaf<T>::bits;
    } else if constexpr (requires { x.ks; }) {
        const auto &[top, ks, mantissa] = x;
        return bits(top) + bits(ks) + bits(mantissa);
    } else if constexpr (requires { x.e; }) {
        const auto &[center, factor, e] = x;
        return bits(center) + bits(factor) + bits(e);
    } else if constexpr (requires { x.power; } || requires { x.unit; }) {
        const auto &[a, b] = x;
        return bits(a) + bits(b);
    } else {
        const auto &[only] = x;
        return bits(only);
    }
}
template <class T> void fifo(const hls::stream<T> &, const char *name, int depth) {
    std::printf("%s fifo 1 %d %d\\n", name, depth, bits(T()));
}
template <class T> void bank(const T &x, const char *name) {
    const int halves = 2 * int(std::extent<T>::value), words = int(std::extent<T, 1>::value);
    std::printf("%s ram %d %d %d\\n", name, halves, words, bits(x[0][0]));
}
}
#define HLS4ATTN_PROCESS(...)
#define HLS4ATTN_REGION(...) __VA_ARGS__;
#define HLS4ATTN_JOIN
#define HLS4ATTN_DEPTH(stream, words) inventory::fifo(stream, #stream, words);
#define HLS4ATTN_LATENCY(cycles)
#define HLS4ATTN_CYCLES(cycles)
#define HLS4ATTN_BANK(type, name) static type name; inventory::bank(name, #name);
#define HLS4ATTN_FILL(bank) bank
#define HLS4ATTN_DRAIN(bank) bank
"""


def compiled(body: str, top: str, headers: Sequence[str], folder: Path) -> list[list[str]]:
    """The lines, in words, that a main function prints.

    Args:
        body: of the main function.
        top: what stands before it.
        headers: of ours, to include.
        folder: for its files.
    """
    (folder / "hls_stream.h").write_text(_STREAM)
    (folder / "attn_dataflow.h").write_text(_MARKS)
    includes = "".join(f'#include "{h}"\n' for h in headers)
    (folder / "main.cpp").write_text(f"{includes}{top}\nint main() {{\n{body}}}\n")
    include = [f"-I{folder}", f"-I{include_dir()}", "-isystem", str(ap_types_dir())]
    defines = ["-DHLS4ATTN_DATAFLOW", "-DHLS4ATTN_EXACT_WIDTHS"]
    program = folder / "inventory"
    subprocess.run(
        [*find_compiler(), "-std=c++20", "-O0", "-w", *include, *defines, folder / "main.cpp", "-o", program],
        check=True,
    )
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    return [line.split() for line in done.stdout.splitlines()]


def inventory(nodes: Sequence[HwNode], folder: Path) -> list[dict[str, tuple[str, int, int, int]]]:
    """FIFOs and banks of each kernel by name: kind, count, words, bits of a word."""
    top, body = "", ""
    for k, node in enumerate(nodes):
        channels = node.ints["channels"] if "channels" in node.ints else node.ints["heads"] * node.ints["head_dim"]
        ports = []
        for n, fmt in enumerate((*node.in_formats, node.format)):
            top += f"typedef hls4attn::row<{cpp_type(fmt)}, {channels}> row{k}_{n};\n"
            body += f"    hls::stream<row{k}_{n}> s{k}_{n};\n"
            ports.append((f"row{k}_{n}", f"s{k}_{n}"))
        top += config_cpp(node, k)
        body += f'    std::printf("node\\n");\n    {stream_call_cpp(node, k, ports[:-1], ports[-1:], "1")};\n'
    found: list[dict[str, tuple[str, int, int, int]]] = []
    for name, *values in compiled(body, top, sorted({n.kernel.stream_header for n in nodes}), folder):
        if name == "node":
            found.append({})
        else:
            kind, *numbers = values
            count, words, bits = map(int, numbers)
            found[-1][name] = (kind, count, words, bits)
    return found
