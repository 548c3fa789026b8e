# SPDX-License-Identifier: Apache-2.0
"""Kernels that only move codes between their ports, and packets of random sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.axis import KernelSource, closure, write_source
from hls4attn.hls.axis_cpp import Core, kernel_cpp
from hls4attn.hls.emit import cpp_type
from hls4attn.hls.stream.ports import PortRows, code_bits
from hls4attn.models.formats import Codes, Fixed
from hls4attn.overlays.packing import pack
from hls4attn.overlays.ports import StreamPort

#: Rows and channels in, rows and channels out, format in, format out: rows narrower than a word, wider, and neither a
#: multiple of the other; signs; codes of 8, 16 and 32 bits.
SHAPES = {
    "one code": ((1, 1), (1, 1), Fixed(8, 4), Fixed(8, 4)),
    "rows of a code": ((7, 1), (1, 7), Fixed(5, 2, signed=False), Fixed(6, 2)),
    "three of four": ((5, 3), (3, 5), Fixed(8, 4), Fixed(12, 4)),
    "words of rows": ((6, 2), (4, 3), Fixed(7, 4), Fixed(8, 4)),
    "whole words": ((4, 8), (2, 16), Fixed(8, 4, signed=False), Fixed(9, 8)),
    "ten": ((3, 10), (10, 3), Fixed(16, 4), Fixed(16, 4)),
    "long codes": ((2, 3), (3, 2), Fixed(32, 8), Fixed(32, 8)),
    "unsigned long codes": ((3, 2), (6, 1), Fixed(32, 8, signed=False), Fixed(32, 8, signed=False)),
}

_MOVE = """#include "attn_axis.h"
typedef {in_t} in_t;
typedef {out_t} out_t;
typedef hls4attn::row<in_t, {in_channels}> in_row;
typedef hls4attn::row<out_t, {out_channels}> out_row;
void move(hls::stream<in_row> &rows, hls::stream<out_row> &results) {{
    long long codes[{size}];
    for (int r = 0; r < {in_rows}; r++) {{
        const in_row row = rows.read();
        for (int c = 0; c < {in_channels}; c++) {{
            codes[r * {in_channels} + c] = hls4attn::raw(row[c]);
        }}
    }}
    for (int r = 0; r < {out_rows}; r++) {{
        out_row row;
        for (int c = 0; c < {out_channels}; c++) {{
            row[c] = hls4attn::from_raw<out_t>(codes[r * {out_channels} + c]);
        }}
        results.write(row);
    }}
}}
"""


def mover(name: str, folder: Path) -> tuple[KernelSource, StreamPort, StreamPort]:
    """A kernel that deals out the codes of a sample in other rows, and its ports."""
    (in_rows, in_channels), (out_rows, out_channels), source, answer = SHAPES[name]
    size = in_rows * in_channels
    text = _MOVE.format(
        in_t=cpp_type(source),
        out_t=cpp_type(answer),
        in_rows=in_rows,
        in_channels=in_channels,
        out_rows=out_rows,
        out_channels=out_channels,
        size=size,
    )
    ports = (
        PortRows(in_rows, in_channels, code_bits(source, "in")),
        PortRows(out_rows, out_channels, code_bits(answer, "out")),
    )
    text += kernel_cpp("top", Core("move", "in_row", "out_row"), ports, 16)
    headers = closure("attn_axis.h")
    kernel = write_source(folder, "top", {"top.cpp": text.encode()}, ("top.cpp",), "xc7", 10.0, "Vitis", headers)
    return kernel, StreamPort((size,), source), StreamPort((size,), answer)


def packets_of(codes: Codes, port: StreamPort, seed: int) -> list[bytes]:
    """Samples in packets of random sizes."""
    rng = np.random.default_rng(seed)
    edges = np.unique([0, *rng.integers(1, len(codes), len(codes) // 3), len(codes)])
    return [pack(codes[a:b], port).tobytes() for a, b in pairwise(edges)]


def random_samples(port: StreamPort, samples: int, seed: int, also: Fixed | None = None) -> NDArray[np.int64]:
    """Codes of a port's format, ends included; those that another format holds, too, if it is given."""
    fmt = port.format
    low, high = (fmt.min, fmt.max) if also is None else (max(fmt.min, also.min), min(fmt.max, also.max))
    codes = np.random.default_rng(seed).integers(low, high, (samples, *port.shape), endpoint=True)
    codes[0], codes[-1] = low, high
    return codes
