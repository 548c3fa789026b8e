// SPDX-License-Identifier: Apache-2.0
//
// A constant multiple of a signed number by additions: one for every one bit of the factor behind its first.
`default_nettype none

module op_multiple #(
    parameter int FACTOR = 1,
    parameter int IN_W = 8,
    parameter int OUT_W = 8
) (
    input wire signed [IN_W-1:0] x,
    output reg signed [OUT_W-1:0] y
);

wire signed [OUT_W-1:0] wide = OUT_W'(x);

always @* begin
    y = '0;
    for (int i = 0; i < OUT_W; i = i + 1)
        if (((FACTOR >> i) & 1) != 0)
            y = y + (wide <<< i);
end

endmodule

`default_nettype wire
