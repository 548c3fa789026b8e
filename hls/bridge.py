# SPDX-License-Identifier: Apache-2.0
"""The C entry points of a simulation: integer codes in, integer codes out, the loop over samples in C++."""

from __future__ import annotations

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
