// SPDX-License-Identifier: Apache-2.0
// A signed product, one enabled clock later: p = a * b.
//
//   DSP = 1   a `*`, which synthesis puts into a DSP block (25 x 18 bits at most)
//   DSP = 0   look-up tables: radix 4, a row of them for two bits of b;  give b the shorter operand
//
//             digit i of b:  d = b[2i-1] + b[2i] - 2 b[2i+1],  -2 <= d <= 2
//             rest --> >> 2 --( + )--> rest      low two bits of each row are the product's
//                  d a --------^
// Source: A. D. Booth 1951; radix 4 by O. L. MacSorley 1961.
`default_nettype none

module net_product #(
    parameter int A_W = 8,
    parameter int B_W = 8,
    parameter int DSP = 1
) (
    input wire clk,
    input wire en,
    input wire signed [A_W-1:0] a,
    input wire signed [B_W-1:0] b,
    output reg signed [A_W+B_W-1:0] p
);

generate
    if (DSP != 0) begin : block
        always_ff @(posedge clk) if (en) p <= a * b;
    end else begin : tables
        localparam int ROWS = (B_W + 1) / 2;
        localparam int REST_W = A_W + 2;
        wire [2*ROWS:0] digits;
        wire signed [REST_W-1:0] rests [0:ROWS];
        wire [REST_W+2*ROWS-1:0] product;
        genvar i;
        if (B_W % 2 != 0) begin : odd
            assign digits = {b[B_W-1], b, 1'b0};
        end else begin : even
            assign digits = {b, 1'b0};
        end
        assign rests[0] = '0;
        for (i = 0; i < ROWS; i = i + 1) begin : row
            wire two = digits[2*i] == digits[2*i+1];
            wire minus = digits[2*i+2];
            wire none = (digits[2*i] == minus) && two;
            wire [REST_W-1:0] once = {{2{a[A_W-1]}}, a};
            wire [REST_W-1:0] twice = {a[A_W-1], a, 1'b0};
            wire [REST_W-1:0] multiple = (none ? '0 : two ? twice : once) ^ {REST_W{minus}};
            // The carry in makes the complement a negation; one adder with a bit below its lowest.
            wire signed [REST_W:0] sum = $signed({rests[i][REST_W-1], rests[i][REST_W-1], rests[i][REST_W-1:2], 1'b1})
                + $signed({multiple, minus});
            assign rests[i+1] = sum[REST_W:1];
            assign product[2*i +: 2] = sum[2:1];
            wire unused_below = sum[0];
        end
        assign product[REST_W+2*ROWS-1:2*ROWS] = {{2{rests[ROWS][REST_W-1]}}, rests[ROWS][REST_W-1:2]};
        if (REST_W + 2 * ROWS > A_W + B_W) begin : spare
            wire unused = ^product[REST_W+2*ROWS-1:A_W+B_W];
        end
        always_ff @(posedge clk) if (en) p <= product[A_W+B_W-1:0];
    end
endgenerate

endmodule

`default_nettype wire
