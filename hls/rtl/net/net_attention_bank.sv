// SPDX-License-Identifier: Apache-2.0
// K or V of a sequence in a memory, for every query row to read, while the next sequence comes in.
//
//     s row --> word 0 --------------------------------> half 0 | half 1 --> one clock --> word
//          \--> words 1 .. ROW_WORDS - 1, one a clock --^     ^-- address
//
// A word has PARALLEL heads x WIDTH elements: word g * CHUNKS + c of a row has the elements c * WIDTH .. of the heads
// g * PARALLEL .., and zeros beyond a head's end.  A row takes ROW_WORDS clocks.  `full` says that the half at `base`
// has a whole sequence of `last` + 1 rows; `release_half` gives it back.
`default_nettype none

module net_attention_bank #(
    parameter int ROWS = 16,  // of the longest sequence
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int ELEMENT_W = 8,
    parameter int ROW_W = 4,  // bits of a row's number
    parameter int PLACE_W = 5  // bits of an address of both halves
) (
    input wire clk,
    input wire rst_n,
    input wire [HEADS*DIM*ELEMENT_W-1:0] s_tdata,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire full,
    output wire [PLACE_W-1:0] base,
    output wire [ROW_W-1:0] last,
    input wire release_half,
    input wire [PLACE_W-1:0] address,
    output reg [PARALLEL*WIDTH*ELEMENT_W-1:0] word
);

localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = HEADS / PARALLEL * CHUNKS;
localparam int WORD_W = PARALLEL * WIDTH * ELEMENT_W;
localparam int HALF = ROWS * ROW_WORDS;
localparam int LUT_WORDS = 16;  // more of them lie in block RAM
localparam logic [PLACE_W-1:0] OTHER = PLACE_W'(HALF);

// ---- the row as words
wire [ROW_WORDS*WORD_W-1:0] words;
net_attention_words #(
    .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .ELEMENT_W(ELEMENT_W)
) in_words (.row(s_tdata), .words(words));

// ---- writing
logic [1:0] filled, freed;  // halves, modulo 4
logic [PLACE_W-1:0] place;
logic [ROW_W-1:0] row;
logic [ROW_W-1:0] lasts [0:1];
wire open = filled != {!freed[1], freed[0]};
wire write, row_done, sequence_done;
wire [WORD_W-1:0] written;

generate
    if (ROW_WORDS == 1) begin : gen_at_once
        assign s_tready = open;
        assign write = s_tvalid && open;
        assign row_done = write;
        assign sequence_done = write && s_tlast;
        assign written = words;
    end else begin : gen_in_turn
        localparam int TURN_W = $clog2(ROW_WORDS);
        logic [(ROW_WORDS-1)*WORD_W-1:0] held;
        logic [TURN_W-1:0] turn;  // of the next word
        logic held_last;
        wire idle = turn == '0;
        wire take = s_tvalid && s_tready;
        assign s_tready = open && idle;
        assign write = take || !idle;
        assign row_done = turn == TURN_W'(ROW_WORDS - 1);
        assign sequence_done = row_done && held_last;
        assign written = idle ? words[WORD_W-1:0] : held[WORD_W-1:0];
        always_ff @(posedge clk) begin
            if (take) begin
                held <= words[ROW_WORDS*WORD_W-1:WORD_W];
                held_last <= s_tlast;
            end else begin
                held <= held >> WORD_W;
            end
            if (!rst_n) turn <= '0;
            else if (write) turn <= row_done ? '0 : turn + 1'b1;
        end
    end
endgenerate

always_ff @(posedge clk) begin
    if (sequence_done) lasts[filled[0]] <= row;
    if (!rst_n) begin
        filled <= 2'd0;
        freed <= 2'd0;
        place <= '0;
        row <= '0;
    end else begin
        if (write) place <= !sequence_done ? place + 1'b1 : filled[0] ? '0 : OTHER;
        if (row_done) row <= sequence_done ? '0 : row + 1'b1;
        if (sequence_done) filled <= filled + 2'd1;
        if (release_half) freed <= freed + 2'd1;
    end
end

// ---- the memory
generate
    if (2 * HALF > LUT_WORDS) begin : gen_blocks
        (* ram_style = "block" *) logic [WORD_W-1:0] memory [0:2*HALF-1];
        always_ff @(posedge clk) begin
            if (write) memory[place] <= written;
            word <= memory[address];
        end
    end else begin : gen_luts
        logic [WORD_W-1:0] memory [0:2*HALF-1];
        always_ff @(posedge clk) begin
            if (write) memory[place] <= written;
            word <= memory[address];
        end
    end
endgenerate

assign full = filled != freed;
assign base = freed[0] ? OTHER : '0;
assign last = lasts[freed[0]];

endmodule

`default_nettype wire
