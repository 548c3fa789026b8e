// SPDX-License-Identifier: Apache-2.0
// The sum of COUNT signed products, each added to those before it where it is made.
//
//   a0 b0 ---------( x )--[ ]--+
//   a1 b1 ---------( x )--[ ]--( + )--[ ]--+
//   a2 b2 --[ ]----( x )--[ ]-----------( + )--[ ]--> p
//
// A DSP block has all that a row shows: registers of operands and product, an adder, and a wire to the next block.
// Latency: LENGTH enabled clocks; with fewer products than that the first places are empty.  LENGTH = 1 is net_product.
`default_nettype none

module net_chain #(
    parameter int COUNT = 3,
    parameter int LENGTH = 3,
    parameter int A_W = 24,
    parameter int B_W = 8,
    parameter int P_W = 34,  // at least A_W + B_W
    parameter int DSP = 1
) (
    input wire clk,
    input wire en,
    input wire [COUNT*A_W-1:0] a,
    input wire [COUNT*B_W-1:0] b,
    output wire signed [P_W-1:0] p
);

localparam int EMPTY = LENGTH - COUNT;
wire signed [P_W-1:0] sums [0:COUNT];
genvar n;

assign sums[0] = '0;
assign p = sums[COUNT];

generate
    for (n = 0; n < COUNT; n = n + 1) begin : place
        localparam int WAITS = EMPTY + n > 1 ? EMPTY + n - 1 : 0;
        wire [A_W-1:0] a_now;
        wire [B_W-1:0] b_now;
        wire signed [A_W+B_W-1:0] product;
        wire signed [P_W-1:0] wide = P_W'(product);
        if (WAITS > 0) begin : delays
            op_delay #(.WIDTH(A_W + B_W), .LENGTH(WAITS)) operands (
                .clk(clk), .enable(en), .in({a[n*A_W +: A_W], b[n*B_W +: B_W]}), .out({a_now, b_now})
            );
        end else begin : at_once
            assign {a_now, b_now} = {a[n*A_W +: A_W], b[n*B_W +: B_W]};
        end
        net_product #(.A_W(A_W), .B_W(B_W), .DSP(DSP)) multiplier (
            .clk(clk), .en(en), .a(a_now), .b(b_now), .p(product)
        );
        if (EMPTY + n == 0) begin : first
            assign sums[n+1] = wide;
            wire unused = ^sums[n];
        end else begin : later
            reg signed [P_W-1:0] sum;
            always_ff @(posedge clk) if (en) sum <= sums[n] + wide;
            assign sums[n+1] = sum;
        end
    end
endgenerate

endmodule

`default_nettype wire
