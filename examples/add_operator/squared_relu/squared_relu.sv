// SPDX-License-Identifier: Apache-2.0
// Squared ReLU: p = min(2^OUT_W - 1, (max(0, x)^2 * m_h + 2^(s_h-1)) >> s_h).
//
//   s_tdata --> max(.,0) --> x^2 --> register --> * m_h, + half --> register --> >> s_h, limit --> register --> m_tdata
//               IN_W-1       SQ_W                 PROD_W                         OUT_W
//
// One element a clock, no state between elements. Latency 3 clocks: a row of N is out N + 3 clocks after its first word
// was offered.
`default_nettype none

module squared_relu #(
    parameter int IN_W = 8,
    parameter int OUT_W = 8,
    parameter int USER_W = 2,
    parameter int HEADS = 1,
    parameter int FACTOR_W = 8,
    parameter int PLACES_W = 6,
    parameter FACTOR = "squared_relu_factor.mem",
    parameter PLACES = "squared_relu_places.mem"
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

localparam int SQ_W = 2 * (IN_W - 1);
localparam int PROD_W = (SQ_W + FACTOR_W > 40 ? SQ_W + FACTOR_W : 40) + 1;

logic [FACTOR_W-1:0] factors [0:HEADS-1];
logic [PLACES_W-1:0] shifts [0:HEADS-1];
initial $readmemh(FACTOR, factors);
initial $readmemh(PLACES, shifts);

wire run;
assign s_tready = run;
wire keep = s_tuser[USER_W-1];
wire [USER_W-2:0] head = s_tuser[USER_W-2:0];
wire [IN_W-2:0] rectified = s_tdata[IN_W-1] || !keep ? '0 : s_tdata[IN_W-2:0];

logic [SQ_W-1:0] square;
logic [FACTOR_W-1:0] factor;
logic [PLACES_W-1:0] places, shift;
logic [PROD_W-1:0] product;
logic [OUT_W-1:0] p;
logic [2:0] last, valid;
wire [PROD_W-1:0] one = 1;
wire [PROD_W-1:0] shifted = product >> shift;

always_ff @(posedge clk) begin
    if (run) begin
        square <= SQ_W'(rectified) * SQ_W'(rectified);
        factor <= factors[head];
        places <= shifts[head];
        product <= PROD_W'(square) * PROD_W'(factor) + (one << (places - 1'b1));
        shift <= places;
        p <= |shifted[PROD_W-1:OUT_W] ? {OUT_W{1'b1}} : shifted[OUT_W-1:0];
        last <= {last[1:0], s_tlast};
    end
    if (!rst_n) valid <= '0;
    else if (run) valid <= {valid[1:0], s_tvalid};
end

op_hold #(.WIDTH(OUT_W + 1)) hold (
    .clk(clk), .rst_n(rst_n), .d({last[2], p}), .v(valid[2]), .run(run),
    .m_data({m_tlast, m_tdata}), .m_valid(m_tvalid), .m_ready(m_tready)
);

endmodule

`default_nettype wire
