// SPDX-License-Identifier: Apache-2.0
// One stream, several readers: every row goes to all of them at once, as soon as all have room for it.
//
//     s_tdata --+--> FIFO --> reader        combinational, between registers: those in front of it, and those of the
//               +----------> reader        FIFOs and readers behind it, whose ready answers nothing within a clock
`default_nettype none

module net_fork #(
    parameter int WIDTH = 8,
    parameter int COPIES = 2
) (
    input wire clk,
    input wire rst_n,
    input wire [WIDTH-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    output wire [WIDTH-1:0] m_tdata,
    output wire [COPIES-1:0] m_tvalid,
    output wire m_tlast,
    input wire [COPIES-1:0] m_tready
);

assign s0_tready = &m_tready;
assign m_tdata = s0_tdata;
assign m_tlast = s0_tlast;
assign m_tvalid = {COPIES{s0_tvalid && s0_tready}};

wire unused = &{1'b0, clk, rst_n};

endmodule

`default_nettype wire
