# SPDX-License-Identifier: Apache-2.0
"""A unit of elements between words of 32 bits, as a kernel of an overlay has them: the codes of whole samples.

s_tdata --> FIFO --> op_words_in --> unit --> op_words_out --> FIFO --> m_tdata
                          |                        ^
                          +---- end of a packet ---+
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.hls.stream.ports import WORD_BITS, code_bits
from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed

_FILES = ("net/net_fifo.sv", "op_words_in.sv", "op_words_out.sv")
#: Words that wait at either end, which makes the handshakes registers; and samples of which the end is to come.
_WAITING, _SAMPLES = 2, 4


def packed_unit(
    name: str, unit: RtlUnit, shape: tuple[int, ...], formats: tuple[Fixed, Fixed], causal: bool = False
) -> RtlUnit:
    """A unit whose elements come and go in words.

    Args:
        name: of the new top module.
        unit: one element in, one out.
        shape: of a sample: ``(rows, columns)``, or ``(heads, rows, columns)``.
        formats: of codes in and out.
        causal: whether row r keeps its elements 0 to r.

    Returns:
        A unit with words of 32 bits; TLAST of its output ends a packet where that of its input did.

    Raises:
        SpecError: for formats that are not the unit's, a row that is too long, or heads that it does not have.
        UnsupportedError: for codes of more than 32 bits.
    """
    heads, rows, columns = (1, *shape)[-3:]
    widths = tuple(fmt.width for fmt in formats)
    if widths != (unit.in_width, unit.out_width) or columns > unit.row_max or unit.heads not in (1, heads):
        raise SpecError(
            f"{name}: {unit.module} has elements of {unit.in_width} and {unit.out_width} bits, {unit.heads} head(s), "
            f"rows of up to {unit.row_max}. Received: {widths}, shape {shape}"
        )
    bits = [code_bits(fmt, f"{name}, {side}") for fmt, side in zip(formats, ("input", "output"), strict=True)]
    into = {"BITS": bits[0], "WIDTH": widths[0], "COLUMNS": columns, "ROWS": rows, "HEADS": heads}
    into |= {"USER_W": unit.user_width, "HEADED": int(unit.heads > 1), "CAUSAL": int(causal)}
    out = {"BITS": bits[1], "WIDTH": widths[1], "IS_SIGNED": int(formats[1].signed), "COUNT": prod(shape)}
    text = _text(name, unit, into, out)
    return replace(
        unit,
        module=name,
        files=(*unit.files, *(file for file in _FILES if file not in unit.files)),
        parameters={},
        in_width=WORD_BITS,
        out_width=WORD_BITS,
        user_width=1,
        in_signed=False,
        out_signed=False,
        heads=1,
        row_max=prod(shape),
        texts={**unit.texts, f"{name}.sv": text},
    )


def _text(name: str, unit: RtlUnit, into: Mapping[str, int], out: Mapping[str, int]) -> str:
    tables = ",\n    ".join(f'parameter {key} = "{file}"' for key, file in unit.rom_files().items())
    head = f"module {name} #(\n    {tables}\n) (" if tables else f"module {name} ("
    given = [f".{key}({value})" for key, value in unit.parameters.items()] + [f".{key}({key})" for key in unit.roms]
    return _SOURCE.format(
        name=name,
        unit=unit.module,
        head=head,
        user=unit.user_width - 1,
        element=into["WIDTH"] - 1,
        result=out["WIDTH"] - 1,
        into=", ".join(f".{key}({value})" for key, value in into.items()),
        out=", ".join(f".{key}({value})" for key, value in out.items()),
        given=", ".join(given),
        waiting=_WAITING,
        samples=_SAMPLES,
    )


_SOURCE = """// SPDX-License-Identifier: Apache-2.0
// {name}: {unit} between words of 32 bits.  Generated; do not edit.
`default_nettype none

{head}
    input wire clk,
    input wire rst_n,
    input wire [31:0] s_tdata,
    input wire [0:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [31:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

wire [31:0] word, answer;
wire word_last, word_valid, word_ready, answer_last, answer_valid, answer_ready;
wire [{element}:0] element;
wire [{user}:0] element_user;
wire element_last, element_valid, element_ready;
wire [{result}:0] result;
wire result_last, result_valid, result_ready;
wire end_i_data, end_i_valid, end_i_ready, end_o_data, end_o_valid, end_o_ready;
wire unused = &{{1'b0, s_tuser, result_last}};

net_fifo #(.WIDTH(33), .DEPTH({waiting})) in_fifo (
    .clk(clk), .rst_n(rst_n), .s_tdata({{s_tlast, s_tdata}}), .s_tvalid(s_tvalid), .s_tready(s_tready),
    .m_tdata({{word_last, word}}), .m_tvalid(word_valid), .m_tready(word_ready)
);
op_words_in #({into}) words_in (
    .clk(clk), .rst_n(rst_n), .s_tdata(word), .s_tlast(word_last), .s_tvalid(word_valid), .s_tready(word_ready),
    .m_tdata(element), .m_tuser(element_user), .m_tlast(element_last), .m_tvalid(element_valid),
    .m_tready(element_ready), .end_tdata(end_i_data), .end_tvalid(end_i_valid), .end_tready(end_i_ready)
);
net_fifo #(.WIDTH(1), .DEPTH({samples})) end_fifo (
    .clk(clk), .rst_n(rst_n), .s_tdata(end_i_data), .s_tvalid(end_i_valid), .s_tready(end_i_ready),
    .m_tdata(end_o_data), .m_tvalid(end_o_valid), .m_tready(end_o_ready)
);
{unit} #({given}) unit (
    .clk(clk), .rst_n(rst_n), .s_tdata(element), .s_tuser(element_user), .s_tlast(element_last),
    .s_tvalid(element_valid), .s_tready(element_ready), .m_tdata(result), .m_tlast(result_last),
    .m_tvalid(result_valid), .m_tready(result_ready)
);
op_words_out #({out}) words_out (
    .clk(clk), .rst_n(rst_n), .s_tdata(result), .s_tvalid(result_valid), .s_tready(result_ready),
    .end_tdata(end_o_data), .end_tvalid(end_o_valid), .end_tready(end_o_ready),
    .m_tdata(answer), .m_tlast(answer_last), .m_tvalid(answer_valid), .m_tready(answer_ready)
);
net_fifo #(.WIDTH(33), .DEPTH({waiting})) out_fifo (
    .clk(clk), .rst_n(rst_n), .s_tdata({{answer_last, answer}}), .s_tvalid(answer_valid), .s_tready(answer_ready),
    .m_tdata({{m_tlast, m_tdata}}), .m_tvalid(m_tvalid), .m_tready(m_tready)
);

endmodule

`default_nettype wire
"""
