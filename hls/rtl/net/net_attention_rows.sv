// SPDX-License-Identifier: Apache-2.0
// Words of PARALLEL heads x WIDTH elements become a row with its heads side by side.
//
//     word, part --> words of the row ----> register --> m_tdata
//          \---- the row's last word -----^
//
// The writer has at most two rows on their way: one in the output register, one behind it.
`default_nettype none

module net_attention_rows #(
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int ELEMENT_W = 8,
    parameter int WORD_W = 1  // bits of a word's number
) (
    input wire clk,
    input wire rst_n,
    input wire [PARALLEL*WIDTH*ELEMENT_W-1:0] word,
    input wire [WORD_W-1:0] part,
    input wire word_valid,
    input wire row_ends,
    input wire last,
    output reg [HEADS*DIM*ELEMENT_W-1:0] m_tdata,
    output reg m_tvalid,
    output reg m_tlast,
    input wire m_tready
);

localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = HEADS / PARALLEL * CHUNKS;
localparam int ELEMENTS = PARALLEL * WIDTH;

logic [ROW_WORDS*ELEMENTS*ELEMENT_W-1:0] words;
logic waiting, waiting_last;  // a whole row
wire complete = word_valid && row_ends;
wire advance = !m_tvalid || m_tready;
wire [ROW_WORDS*ELEMENTS*ELEMENT_W-1:0] now;
wire [HEADS*DIM*ELEMENT_W-1:0] row;
genvar w, c;

generate
    for (w = 0; w < ROW_WORDS; w = w + 1) begin : gen_word
        wire here = word_valid && part == WORD_W'(w);
        assign now[w*ELEMENTS*ELEMENT_W +: ELEMENTS*ELEMENT_W] =
            here ? word : words[w*ELEMENTS*ELEMENT_W +: ELEMENTS*ELEMENT_W];
    end
    for (c = 0; c < HEADS * DIM; c = c + 1) begin : gen_channel
        localparam int HEAD = c / DIM;
        localparam int N = c % DIM;
        localparam int AT = (HEAD / PARALLEL * CHUNKS + N / WIDTH) * ELEMENTS + HEAD % PARALLEL * WIDTH + N % WIDTH;
        assign row[c*ELEMENT_W +: ELEMENT_W] = now[AT*ELEMENT_W +: ELEMENT_W];
    end
endgenerate

always_ff @(posedge clk) begin
    words <= now;
    if (complete) waiting_last <= last;
    if (advance) begin
        m_tdata <= row;
        m_tlast <= waiting ? waiting_last : last;
    end
    if (!rst_n) begin
        waiting <= 1'b0;
        m_tvalid <= 1'b0;
    end else begin
        if (advance) begin
            m_tvalid <= waiting || complete;
            waiting <= 1'b0;
        end else if (complete) begin
            waiting <= 1'b1;
        end
    end
end

endmodule

`default_nettype wire
