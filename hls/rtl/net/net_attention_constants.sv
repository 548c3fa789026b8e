// SPDX-License-Identifier: Apache-2.0
// A word of a table a clock after its index; a single word is there always.
`default_nettype none

module net_attention_constants #(
    parameter int WORDS = 1,
    parameter int WIDTH = 8,
    parameter int INDEX_W = 1,
    parameter TABLE = "net_attention_constants.mem"
) (
    input wire clk,
    input wire [INDEX_W-1:0] index,
    output wire [WIDTH-1:0] word
);

logic [WIDTH-1:0] rom [0:WORDS-1];
initial $readmemh(TABLE, rom);

generate
    if (WORDS == 1) begin : gen_one
        wire unused = ^{clk, index};
        assign word = rom[0];
    end else begin : gen_more
        logic [WIDTH-1:0] found;
        always_ff @(posedge clk) found <= rom[index];
        assign word = found;
    end
endgenerate

endmodule

`default_nettype wire
