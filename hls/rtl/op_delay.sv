// SPDX-License-Identifier: Apache-2.0
// A word, LENGTH enabled clocks later; without reset, so that it fits shift registers.
`default_nettype none

module op_delay #(
    parameter int WIDTH = 8,
    parameter int LENGTH = 1
) (
    input wire clk,
    input wire enable,
    input wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);

reg [WIDTH*LENGTH-1:0] chain;

assign out = chain[WIDTH*LENGTH-1 -: WIDTH];

generate
    if (LENGTH == 1) begin : gen_one
        always_ff @(posedge clk) if (enable) chain <= in;
    end else begin : gen_more
        always_ff @(posedge clk) if (enable) chain <= {chain[WIDTH*(LENGTH-1)-1:0], in};
    end
endgenerate

endmodule

`default_nettype wire
