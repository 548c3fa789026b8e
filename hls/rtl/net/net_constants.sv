// SPDX-License-Identifier: Apache-2.0
// Constants of the parts of rows, a word a part, in the order in which the parts pass.
//
//   BY = 1   one word for all;  2   the same PARTS words for each row;  3   words of their own for each row
//
// The word of the first part stands there first; it is the next one's an enabled clock after `next`.
`default_nettype none

module net_constants #(
    parameter int BY = 2,
    parameter int PARTS = 4,   // of a row
    parameter int ROWS = 1,    // of a sequence
    parameter int WIDTH = 8,
    parameter WORDS = "constants.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire en,
    input wire next,
    input wire restart,  // with next: the sequence ends with this part
    output wire [WIDTH-1:0] word
);

localparam int COUNT = BY == 1 ? 1 : BY == 2 ? PARTS : PARTS * ROWS;

generate
    if (COUNT == 1) begin : one
        reg [WIDTH-1:0] rom [0:0];
        initial $readmemh(WORDS, rom);
        wire unused = &{1'b0, clk, rst_n, en, next, restart, 1'b0};
        assign word = rom[0];
    end else begin : many
        localparam int AT_W = $clog2(COUNT);
        reg [WIDTH-1:0] rom [0:COUNT-1];
        initial $readmemh(WORDS, rom);
        reg [AT_W-1:0] at;
        reg [WIDTH-1:0] read;
        wire rewind = at == AT_W'(COUNT - 1) || (BY == 3 && restart);
        wire [AT_W-1:0] then_at = !rst_n || (next && rewind) ? '0 : next ? at + 1'b1 : at;
        assign word = read;
        always_ff @(posedge clk)
            if (en || !rst_n) begin
                at <= then_at;
                read <= rom[then_at];
            end
        if (BY != 3) begin : by_row
            wire unused = restart;
        end
    end
endgenerate

endmodule

`default_nettype wire
