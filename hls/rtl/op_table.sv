// SPDX-License-Identifier: Apache-2.0
//
// A constant table with two read ports, a clock each: one block RAM of two ports, or look-up tables if it is small.
`default_nettype none

module op_table #(
    parameter int WORDS = 256,
    parameter int WIDTH = 16,
    parameter int ADDRESS_W = 8,
    parameter ROM_FILE = "table.mem"
) (
    input wire clk,
    input wire a_enable,
    input wire [ADDRESS_W-1:0] a_address,
    output reg [WIDTH-1:0] a_word,
    input wire b_enable,
    input wire [ADDRESS_W-1:0] b_address,
    output reg [WIDTH-1:0] b_word
);

generate
    if (WORDS > 64) begin : g_block
        // Yosys would copy a table of two ports into look-up tables twice.
        (* rom_style = "block" *) reg [WIDTH-1:0] rom [0:WORDS-1];
        initial
            $readmemh(ROM_FILE, rom);
        always @(posedge clk) begin
            if (a_enable)
                a_word <= rom[a_address];
            if (b_enable)
                b_word <= rom[b_address];
        end
    end else begin : g_small
        reg [WIDTH-1:0] rom [0:WORDS-1];
        initial
            $readmemh(ROM_FILE, rom);
        always @(posedge clk) begin
            if (a_enable)
                a_word <= rom[a_address];
            if (b_enable)
                b_word <= rom[b_address];
        end
    end
endgenerate

endmodule

`default_nettype wire
