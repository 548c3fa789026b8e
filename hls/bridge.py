# SPDX-License-Identifier: Apache-2.0
"""The C entry points of a simulation: integer codes in, integer codes out, the loop over samples in C++."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hls4attn.hls.design import Design

#: Entry points; both take int32 codes and a number of samples.
RUN, TRACE = "hls4attn_run", "hls4attn_trace"

#: The one visible symbol; hidden ones of two libraries in one process cannot meet.
EXPORT = 'extern "C" __attribute__((visibility("default")))'

_TEXT = """// SPDX-License-Identifier: Apache-2.0
// Simulation only: integer codes in and out, no conversion to float.  Threads may call it at the same time: the
// design keeps no state between samples.
#include "{source}"
#include <cstdint>

{export} void {run}(const int32_t *codes, int32_t *results, long samples) {{
    for (long s = 0; s < samples; s++) {{
        {input_t} x[{n_in}];
        {output_t} y[{n_out}];
        for (int i = 0; i < {n_in}; i++) {{
            x[i] = hls4attn::from_raw<{input_t}>(codes[s * {n_in} + i]);
        }}
        {function}(x, y);
        for (int i = 0; i < {n_out}; i++) {{
            results[s * {n_out} + i] = int32_t(hls4attn::raw(y[i]));
        }}
    }}
}}

#ifdef HLS4ATTN_TRACE
{export} void {trace}(const int32_t *codes, int32_t *results, int32_t *taps, const int32_t *sizes, long samples) {{
    for (long s = 0; s < samples; s++) {{
        for (int t = 0; t < HLS4ATTN_TRACE; t++) {{
            hls4attn::record_target(t) = taps;
            taps += sizes[t];
        }}
        {run}(codes + s * {n_in}, results + s * {n_out}, 1);
    }}
}}
#endif
"""


_STREAM_TEXT = """// SPDX-License-Identifier: Apache-2.0
// Simulation only: integer codes in and out, row by row.  Threads may call it at the same time: the design keeps no
// state between samples.  A stream that runs dry, or keeps words, ends the simulation with a message.
#include "{source}"
#include <cstdint>
#include <cstdio>

static bool simulate(const int32_t *codes, int32_t *results, int length, char *message, long size) {{
    (void)length;
    std::string wrong;
    try {{
        hls::stream<{input_t}> in("{input}");
        hls::stream<{output_t}> out("{output}");
        for (int r = 0; r < {rows_in}; r++) {{
            {input_t} word;
            for (int c = 0; c < {channels_in}; c++) {{
                word[c] = hls4attn::from_raw<{input_t}::value_type>(codes[r * {channels_in} + c]);
            }}
            in.write(word);
        }}
        {call};
        for (int r = 0; r < {rows_out}; r++) {{
            const {output_t} word = out.read();
            for (int c = 0; c < {channels_out}; c++) {{
                results[r * {channels_out} + c] = int32_t(hls4attn::raw(word[c]));
            }}
        }}
    }} catch (const std::exception &failure) {{
        wrong = failure.what();
    }}
    const std::string left = hls4attn::sim::take_note();
    if (wrong.empty() && left.empty()) {{
        return true;
    }}
    std::snprintf(message, size, "%s", (wrong.empty() ? left : wrong).c_str());
    return false;
}}

{export} long {run}(const int32_t *codes, int32_t *results, const int32_t *lengths, long samples, char *message,
                    long size) {{
    for (long s = 0; s < samples; s++) {{
        if (!simulate(codes + s * {n_in}, results + s * {n_out}, lengths ? lengths[s] : {tokens}, message, size)) {{
            return s;
        }}
    }}
    return samples;
}}

#ifdef HLS4ATTN_TRACE
{export} long {trace}(const int32_t *codes, int32_t *results, int32_t *taps, const int32_t *sizes,
                      const int32_t *lengths, long samples, char *message, long size) {{
    for (long s = 0; s < samples; s++) {{
        for (int t = 0; t < HLS4ATTN_TRACE; t++) {{
            hls4attn::record_target(t) = taps;
            taps += sizes[t];
        }}
        if ({run}(codes + s * {n_in}, results + s * {n_out}, lengths ? lengths + s : lengths, 1, message, size) != 1) {{
            return s;
        }}
    }}
    return samples;
}}
#endif
"""


def bridge_cpp(source: str, function: str, input_t: str, output_t: str, n_in: int, n_out: int) -> str:
    """The bridge around a top function.

    Args:
        source: file that defines it, as the compiler finds it.
        function: its name.
        input_t: C++ type of its input array's elements.
        output_t: of its output array's.
        n_in: elements of the input.
        n_out: elements of the output.
    """
    return _TEXT.format(
        source=source,
        function=function,
        input_t=input_t,
        output_t=output_t,
        n_in=n_in,
        n_out=n_out,
        export=EXPORT,
        run=RUN,
        trace=TRACE,
    )


def stream_bridge_cpp(
    source: str, function: str, input_t: str, output_t: str, design: Design, run_time_length: bool = False
) -> str:
    """The bridge around a streaming top function.

    Args:
        source: file that defines it, as the compiler finds it.
        function: its name.
        input_t: C++ type of its input stream's words.
        output_t: of its output stream's.
        design: what it computes.
        run_time_length: whether its last argument is the number of tokens.
    """
    ports = design.input_stream, design.output_stream
    rows = ["length" if s.tokens and run_time_length else str(s.rows) for s in ports]
    return _STREAM_TEXT.format(
        source=source,
        call=f"{function}(in, out, length)" if run_time_length else f"{function}(in, out)",
        input_t=input_t,
        output_t=output_t,
        input=c_text(design.input.name),
        output=c_text(design.output),
        rows_in=rows[0],
        rows_out=rows[1],
        channels_in=ports[0].channels,
        channels_out=ports[1].channels,
        n_in=ports[0].rows * ports[0].channels,
        n_out=ports[1].rows * ports[1].channels,
        tokens=design.seq_len,
        export=EXPORT,
        run=RUN,
        trace=TRACE,
    )


def c_text(name: str) -> str:
    """A name inside a C string: what is no plain character is left out."""
    return re.sub(r"[^\w.:/ -]", "_", name, flags=re.ASCII)
