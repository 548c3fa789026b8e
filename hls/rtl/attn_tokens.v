// SPDX-License-Identifier: Apache-2.0
// Holds a token's words back until it is whole: one that TLAST cuts short never reaches the kernel.
//
// Two tokens fit, so that one comes in while the one before it goes on, a word a clock.
`default_nettype none

module attn_tokens #(
    parameter TOKEN_WORDS = 1
) (
    input wire clk,
    input wire reset,
    input wire [31:0] in_data,
    input wire in_last,
    input wire in_cut,  // with TLAST: the word lacks bytes
    input wire in_valid,
    output wire in_ready,
    input wire in_open,  // words are accepted at all
    output wire whole,  // the last word of a token is accepted
    output wire dropped,  // a TLAST that cuts a token short is accepted
    output reg [31:0] out_data,
    output reg out_last,
    output reg out_valid,
    input wire out_ready
);

localparam INDEX_BITS = $clog2(2 * TOKEN_WORDS);
localparam [31:0] LAST_PLACE = TOKEN_WORDS - 1;
localparam [INDEX_BITS:0] ONE = 1;
localparam [INDEX_BITS:0] SIZE = ONE << INDEX_BITS;

// With a bit more than an index, full and empty differ.
reg [INDEX_BITS:0] next_in;
reg [INDEX_BITS:0] next_token;  // before it, all words are of whole tokens
reg [INDEX_BITS:0] next_out;
reg [31:0] place;  // of the next word in its token
reg [32:0] words [0:(1<<INDEX_BITS)-1];

wire accepted = in_valid && in_ready;
wire ends = place == LAST_PLACE && !in_cut;
wire fetches = next_out != next_token && (!out_valid || out_ready);

assign in_ready = in_open && next_in - next_out != SIZE;
assign whole = accepted && ends;
assign dropped = accepted && in_last && !ends;

// The memory's own process: with anything else in it, synthesis may not find a block RAM.
always @(posedge clk) begin
    if (accepted)
        words[next_in[INDEX_BITS-1:0]] <= {in_last, in_data};
    if (fetches)
        {out_last, out_data} <= words[next_out[INDEX_BITS-1:0]];
end

always @(posedge clk) begin
    if (accepted) begin
        place <= ends || in_last ? 32'd0 : place + 32'd1;
        next_in <= dropped ? next_token : next_in + ONE;
    end
    if (whole)
        next_token <= next_in + ONE;
    if (fetches)
        next_out <= next_out + ONE;
    out_valid <= fetches || (out_valid && !out_ready);
    if (reset) begin
        next_in <= 0;
        next_token <= 0;
        next_out <= 0;
        place <= 32'd0;
        out_valid <= 1'b0;
    end
end

endmodule

`default_nettype wire
