// SPDX-License-Identifier: Apache-2.0
// ConSmax by split tables: exp of a code is a product of short floating-point numbers, one for each nibble.
//
//   s_tdata --+- nibble 0 --> table: mantissa, shift --\
//             +- ...                                    >-- product --> DROP low bits --> >> shift --> round half up
//             +- nibble n --> table: mantissa, shift --/    sum of shifts ----------------^        --> saturate
//                                                                                                  --> head's shift
//   p = min(2^CODE_W - 1, round(m0 m1 ... 2^-(e0 + e1 + ...))) << head_shift
//
// The tables hold a shift without the part that always saturates: one below 0 stands for all of that, one that is
// SHIFT_MAX or more leaves 0. Products are whole; there is one rounding.
// One element a clock, no state between elements. Latency 4 clocks (5 for four nibbles): a row of N is out N + 4
// (N + 5) clocks after its first word was offered.
// Source: ConSmax (ICCAD 2024), figure 4a and section IV-B; C is folded into the top table, so that one multiplier
// of its two is left.
`default_nettype none

module op_consmax_split #(
    parameter int NIBBLES = 2,  // 2 or 4
    parameter int MANT_W = 8,
    parameter int EXP_W = 6,  // a table's shift, signed
    parameter int SHIFT_MAX = 10,
    parameter int DROP = 6,
    parameter int CODE_W = 8,
    parameter int OUT_W = 8,
    parameter int GRID_W = 1,  // head's shift; 0 to OUT_W - CODE_W
    parameter int USER_W = 2,
    parameter int HEADS = 1,
    parameter TABLES = "op_consmax_split_tables.mem",  // {head, nibble, code}: {shift, mantissa}
    parameter GRID = "op_consmax_split_grid.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [4*NIBBLES-1:0] s_tdata,
    input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int HEAD_W = USER_W - 1;
localparam int PRODUCT_W = NIBBLES * MANT_W;
localparam int SUM_W = EXP_W + 2;
localparam int REST_W = PRODUCT_W - DROP;
localparam int BITS = $clog2(SHIFT_MAX + 1);
localparam int DEPTH = 3 + NIBBLES / 2;  // registers from the port to `code`

wire run;
assign s_tready = run;

// Valid, last, keep and the head's shift travel along.
logic [DEPTH-1:0] valid, last, keep;
always_ff @(posedge clk) begin
    if (run) begin
        last <= {last[DEPTH-2:0], s_tlast};
        keep <= {keep[DEPTH-2:0], s_tuser[USER_W-1]};
    end
    if (!rst_n) valid <= '0;
    else if (run) valid <= {valid[DEPTH-2:0], s_tvalid};
end

// --- tables: a nibble each, so that all are read at once -----------------------------------------------------
wire [USER_W+3:0] place [0:NIBBLES-1];
logic [MANT_W-1:0] mantissa [0:NIBBLES-1];
logic signed [EXP_W-1:0] shift [0:NIBBLES-1];

endmodule

`default_nettype wire
