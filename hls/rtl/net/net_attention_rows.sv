// SPDX-License-Identifier: Apache-2.0
// Words of PARALLEL heads x WIDTH elements become rows with their heads side by side.
//
//     word, part 0 --> ring of 2^PLACE_W --+
//     ...                                  +--> register --> m_tdata
//     word, part n --> ring ---------------+
//
// A row is promised a place before the writer starts on it, so that a word never waits: `reserve`, if there is `room`.
// A row is at the output two clocks after its last word.
`default_nettype none

module net_attention_rows #(
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int ELEMENT_W = 8,
    parameter int WORD_W = 1,  // bits of a word's number
    parameter int PLACE_W = 4
) (
    input wire clk,
    input wire rst_n,
    input wire reserve,
    output wire room,
    input wire [PARALLEL*WIDTH*ELEMENT_W-1:0] word,
    input wire [WORD_W-1:0] part,
    input wire word_valid,
    input wire row_ends,  // with the last word
    input wire last,
    output reg [HEADS*DIM*ELEMENT_W-1:0] m_tdata,
    output reg m_tvalid,
    output reg m_tlast,
    input wire m_tready
);

localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = HEADS / PARALLEL * CHUNKS;
localparam int ELEMENTS = PARALLEL * WIDTH;

logic [PLACE_W-1:0] write, read;
logic [PLACE_W:0] promised;
logic lasts [0:(1<<PLACE_W)-1];
wire [ROW_WORDS*ELEMENTS*ELEMENT_W-1:0] words;
wire [HEADS*DIM*ELEMENT_W-1:0] row;
wire complete = word_valid && row_ends;
wire advance = !m_tvalid || m_tready;
wire given = m_tvalid && m_tready;
genvar w, c;

assign room = !promised[PLACE_W];

generate
    for (w = 0; w < ROW_WORDS; w = w + 1) begin : gen_word
        logic [ELEMENTS*ELEMENT_W-1:0] ring [0:(1<<PLACE_W)-1];
        always_ff @(posedge clk) if (word_valid && part == WORD_W'(w)) ring[write] <= word;
        assign words[w*ELEMENTS*ELEMENT_W +: ELEMENTS*ELEMENT_W] = ring[read];
    end
    for (c = 0; c < HEADS * DIM; c = c + 1) begin : gen_channel
        localparam int HEAD = c / DIM;
        localparam int N = c % DIM;
        localparam int AT = (HEAD / PARALLEL * CHUNKS + N / WIDTH) * ELEMENTS + HEAD % PARALLEL * WIDTH + N % WIDTH;
        assign row[c*ELEMENT_W +: ELEMENT_W] = words[AT*ELEMENT_W +: ELEMENT_W];
    end
    if (HEADS * DIM < ROW_WORDS * ELEMENTS) begin : gen_beyond
        wire unused = ^words;
    end
endgenerate

always_ff @(posedge clk) begin
    if (complete) lasts[write] <= last;
    if (advance) begin
        m_tdata <= row;
        m_tlast <= lasts[read];
    end
    if (!rst_n) begin
        write <= '0;
        read <= '0;
        promised <= '0;
        m_tvalid <= 1'b0;
    end else begin
        if (reserve != given) promised <= reserve ? promised + 1'b1 : promised - 1'b1;
        if (complete) write <= write + 1'b1;
        if (advance) begin
            m_tvalid <= read != write;
            if (read != write) read <= read + 1'b1;
        end
    end
end

endmodule

`default_nettype wire
