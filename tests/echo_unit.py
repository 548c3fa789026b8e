# SPDX-License-Identifier: Apache-2.0
"""A small unit with words of 32 bits, for tests of what is around units."""

import numpy as np

from hls4attn.hls.rtl.unit import Rom, RtlUnit

ECHO = """// SPDX-License-Identifier: Apache-2.0
`default_nettype none
module echo #(
    parameter int ADD = 0,
    parameter TABLE = "none.mem"
) (
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
wire unused = &{s_tuser, 1'b0};
logic [31:0] rom [0:15];
initial $readmemh(TABLE, rom);
logic [31:0] word;
logic last, valid;
assign s_tready = !valid;
assign m_tvalid = valid;
assign m_tdata = word;
assign m_tlast = last;
always_ff @(posedge clk) begin
    if (s_tvalid && s_tready) begin
        word <= (s_tdata ^ rom[s_tdata[3:0]]) + ADD;
        last <= s_tlast;
    end
    if (!rst_n) valid <= 1'b0;
    else if (valid) valid <= !m_tready;
    else valid <= s_tvalid;
end
endmodule
`default_nettype wire
"""
TABLE = np.random.default_rng(0).integers(0, 1 << 32, 16)
ADD = 12345


def echo() -> RtlUnit:
    """Each word, changed by a table's entry and by a constant."""
    roms = {"TABLE": Rom(TABLE, 32)}
    return RtlUnit("echo", (), {"ADD": ADD}, roms, 32, 32, 1, False, texts={"echo.sv": ECHO})


def answer(words: np.ndarray) -> np.ndarray:
    """What `echo` makes of words."""
    return ((words ^ TABLE[words & 15]) + ADD) & 0xFFFFFFFF
