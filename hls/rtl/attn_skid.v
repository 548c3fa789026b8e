// SPDX-License-Identifier: Apache-2.0
// A register slice: no path through it is combinational, a word a clock passes, and one clock late.
`default_nettype none

module attn_skid #(
    parameter WIDTH = 32
) (
    input wire clk,
    input wire reset,
    input wire [WIDTH-1:0] in_data,
    input wire in_valid,
    output wire in_ready,
    output reg [WIDTH-1:0] out_data,
    output reg out_valid,
    input wire out_ready
);

reg [WIDTH-1:0] spare;  // the word that came while the output stood still
reg spared;

assign in_ready = !spared;

always @(posedge clk) begin
    if (!out_valid || out_ready) begin
        out_data <= spared ? spare : in_data;
        out_valid <= spared || in_valid;
        spared <= 1'b0;
    end else if (in_valid && !spared) begin
        spare <= in_data;
        spared <= 1'b1;
    end
    if (reset) begin
        out_valid <= 1'b0;
        spared <= 1'b0;
    end
end

endmodule

`default_nettype wire
