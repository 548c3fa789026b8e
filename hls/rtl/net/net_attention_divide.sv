// SPDX-License-Identifier: Apache-2.0
// Division by the sum of an E2Softmax row: a factor and a shift, one rounding.
//
//     sum --( x factor )--[ ]-- >> ks, and what fell out --[ ]-- + half, >> OUT_SHIFT, ties to even, limit --[ ]--> core
//
// Formula:  core = limit( half even( sum * factor * 2^-(ks + OUT_SHIFT) ) )
// What falls out of the first shift is one more bit: it only matters for ties.  Three clocks; factor comes with its sum,
// ks a clock later.
// Source: SOLE, arXiv 2510.17189, equations 10 to 13; hls/nnet/attn_e2context.h.
`default_nettype none

module net_attention_divide #(
    parameter int SUM_W = 27,  // signed
    parameter int FACTOR_W = 10,  // signed
    parameter int KS_W = 3,
    parameter int OUT_SHIFT = 15,
    parameter int CORE_W = 8,
    parameter int LIMIT = 0,  // see net_tail.sv
    parameter int DSP = 1
) (
    input wire clk,
    input wire [SUM_W-1:0] sum,
    input wire [FACTOR_W-1:0] factor,
    input wire [KS_W-1:0] ks,
    output wire [CORE_W-1:0] core
);

localparam int SCALED_W = SUM_W + FACTOR_W;
localparam int MOST = (1 << KS_W) - 1;
localparam int HALF_W = OUT_SHIFT + 2;
localparam int ROUNDED_W = (SCALED_W + 1 > HALF_W ? SCALED_W + 1 : HALF_W) + 1;
localparam logic [HALF_W-1:0] HALF = HALF_W'(1) << OUT_SHIFT;

wire signed [SCALED_W-1:0] scaled;
net_product #(.A_W(SUM_W), .B_W(FACTOR_W), .DSP(DSP)) times (
    .clk(clk), .en(1'b1), .a(sum), .b(factor), .p(scaled)
);

wire [SCALED_W+MOST-1:0] shifted = {scaled, {MOST{1'b0}}} >> ks;
wire signed [SCALED_W-1:0] whole = scaled >>> ks;
logic signed [SCALED_W:0] held;
always_ff @(posedge clk) held <= {whole, |shifted[MOST-1:0]};
wire unused = ^shifted[SCALED_W+MOST-1:MOST];

net_tail #(
    .CORE_W(SCALED_W + 1), .SCALED_W(SCALED_W + 1), .OFFSET(1), .OFFSET_W(HALF_W), .SUM_W(ROUNDED_W),
    .DROPPED(OUT_SHIFT + 1), .EVEN(1), .OUT_W(CORE_W), .OUT_SIGNED(1), .LIMIT(LIMIT)
) rounding (.clk(clk), .en(1'b1), .core(held), .scale(2'd0), .offset(HALF), .code(core));

endmodule

`default_nettype wire
