// SPDX-License-Identifier: Apache-2.0
// ConSmax by one direct table a head: p = table[head][x] = min(2^OUT_W - 1, round(exp(s - beta) / gamma * 2^f)).
//
//   s_tuser.head, s_tdata --> table --> register (0 if not keep) --> spare word --> m_tdata
//
// One element a clock, no state between elements. Latency 1 clock: a row of N is out N + 1 clocks after its first
// word was offered. Table: heads x 2^IN_W words, by the bits of the code; a head's shift onto the common grid is
// in it.
// Source: ConSmax (ICCAD 2024), eq. 2, with the whole table in place of the split one of its figure 4.
`default_nettype none

module op_consmax #(
    parameter int IN_W = 8,
    parameter int OUT_W = 8,
    parameter int USER_W = 2,
    parameter int HEADS = 1,
    parameter TABLE = "op_consmax_table.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [IN_W-1:0] s_tdata,
    input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int ADDR_W = HEADS > 1 ? USER_W - 1 + IN_W : IN_W;

logic [OUT_W-1:0] rom [0:HEADS*(1<<IN_W)-1];
initial $readmemh(TABLE, rom);

wire [ADDR_W-1:0] addr;
generate
    if (HEADS > 1) begin : gen_heads
        assign addr = {s_tuser[USER_W-2:0], s_tdata};
    end else begin : gen_one_head
        wire unused = ^s_tuser;
        assign addr = s_tdata;
    end
endgenerate
wire keep = s_tuser[USER_W-1];

logic [OUT_W-1:0] p;
logic last, valid;
wire run;
assign s_tready = run;

always_ff @(posedge clk) begin
    if (run) begin
        if (!keep) p <= '0;
        else p <= rom[addr];
        last <= s_tlast;
    end
    if (!rst_n) valid <= 1'b0;
    else if (run) valid <= s_tvalid;
end

op_hold #(.WIDTH(OUT_W + 1)) hold (
    .clk(clk), .rst_n(rst_n), .d({last, p}), .v(valid), .run(run),
    .m_data({m_tlast, m_tdata}), .m_valid(m_tvalid), .m_ready(m_tready)
);

endmodule

`default_nettype wire
