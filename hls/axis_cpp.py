# SPDX-License-Identifier: Apache-2.0
"""C++ text of a kernel between AXI4-Streams: a design with an adaptor on each side (hls/nnet/attn_axis.h)."""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.hls.emit import fifo_cpp, members_cpp
from hls4attn.hls.stream.packets import LATENCY
from hls4attn.hls.stream.ports import PortRows

#: The streams of every kernel.
IN, OUT = "in_r", "out_r"
_FLAG = "hls4attn::axis_flag"

_TOP = """
struct {name}_in : hls4attn::axis_config {{
{members_in}}};
struct {name}_out : hls4attn::axis_config {{
{members_out}}};
typedef hls4attn::axis<0>::word {name}_word;

void {name}(hls::stream<{name}_word> &{port_in}, hls::stream<{name}_word> &{port_out}) {{
    #pragma HLS INTERFACE axis port={port_in}
    #pragma HLS INTERFACE axis port={port_out}
    #pragma HLS INTERFACE ap_ctrl_none port=return
    #pragma HLS DATAFLOW
{streams}    HLS4ATTN_PROCESS(hls4attn::axis_unpack<{name}_word, {row_in}, {name}_in>({port_in}, rows, ends))
    HLS4ATTN_{mark}({call})
    HLS4ATTN_PROCESS(hls4attn::axis_pack<{row_out}, {name}_word, {name}_out>(results, ends, {port_out}))
    HLS4ATTN_JOIN
}}
"""

_ROWS = """
typedef hls4attn::row<{in_t}, {in_channels}> {name}_in_row;
typedef hls4attn::row<{out_t}, {out_channels}> {name}_out_row;

// Rows to an array, the design, an array to rows.
static void {name}_rows(hls::stream<{name}_in_row> &rows, hls::stream<{name}_out_row> &results) {{
    HLS4ATTN_LATENCY({latency})
    {in_t} x[{in_size}];
{in_pragma}    {out_t} y[{out_size}];
{out_pragma}    for (int r = 0; r < {in_rows}; r++) {{
        #pragma HLS PIPELINE II=1
        const {name}_in_row word = rows.read();
        for (int c = 0; c < {in_channels}; c++) {{
            #pragma HLS UNROLL
            x[r * {in_channels} + c] = word[c];
        }}
        HLS4ATTN_CYCLES(1)
    }}
    {function}(x, y);
    for (int r = 0; r < {out_rows}; r++) {{
        #pragma HLS PIPELINE II=1
        {name}_out_row word;
        HLS4ATTN_PACK(word)
        for (int c = 0; c < {out_channels}; c++) {{
            #pragma HLS UNROLL
            word[c] = y[r * {out_channels} + c];
        }}
        results.write(word);
        HLS4ATTN_CYCLES(1)
    }}
}}
"""


@dataclass(frozen=True)
class Core:
    """The design in the middle.

    Attributes:
        function: its name.
        in_t: C++ type of the input stream's words; of the input array's elements in io_parallel.
        out_t: of the output.
        arrays: directives of the input and the output array (io_parallel), None for streams.
        depths: words of the FIFOs before and behind it.
        arguments: further ones.
    """

    function: str
    in_t: str
    out_t: str
    arrays: tuple[str, str] | None = None
    depths: tuple[int, int] = (2, 2)
    arguments: str = ""


def kernel_cpp(name: str, core: Core, ports: tuple[PortRows, PortRows], flags: int) -> str:
    """The kernel's text, without its includes.

    Args:
        name: of the top function.
        core: the design.
        ports: how samples cross the adaptors.
        flags: words of the FIFO of flags.
    """
    source, answer = ports
    row_in, row_out, text = core.in_t, core.out_t, ""
    call = f"{core.function}(rows, results{core.arguments})"
    if core.arrays is not None:
        row_in, row_out, call = f"{name}_in_row", f"{name}_out_row", f"{name}_rows(rows, results)"
        text = _ROWS.format(
            name=name,
            function=core.function,
            in_t=core.in_t,
            out_t=core.out_t,
            in_rows=source.rows,
            out_rows=answer.rows,
            in_channels=source.channels,
            out_channels=answer.channels,
            in_size=source.rows * source.channels,
            out_size=answer.rows * answer.channels,
            in_pragma=_directive(core.arrays[0], "x"),
            out_pragma=_directive(core.arrays[1], "y"),
            latency=LATENCY,
        )
    streams = (row_in, "rows", core.depths[0]), (row_out, "results", core.depths[1]), (_FLAG, "ends", flags)
    return text + _TOP.format(
        name=name,
        members_in=port_members(source),
        members_out=port_members(answer),
        row_in=row_in,
        row_out=row_out,
        streams="".join(fifo_cpp(*s) for s in streams),
        mark="REGION" if core.arrays is None else "PROCESS",
        call=call,
        port_in=IN,
        port_out=OUT,
    )


def port_members(port: PortRows) -> str:
    """Members of an adaptor's configuration."""
    return members_cpp({"rows": port.rows, "channels": port.channels, "bits": port.bits})


def _directive(text: str, variable: str) -> str:
    """A line with an array's directive, as the design has it; empty if it has none."""
    kind, _, options = text.partition(" ")
    return f"    #pragma HLS {kind} variable={variable} {options}\n" if text else ""
