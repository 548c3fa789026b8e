// SPDX-License-Identifier: Apache-2.0
// A row with its heads side by side as words of PARALLEL heads x WIDTH elements; wires only.
//
// Element e of word w is element w % CHUNKS * WIDTH + e % WIDTH of head w / CHUNKS * PARALLEL + e / WIDTH, or 0.
`default_nettype none

module net_attention_words #(
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int ELEMENT_W = 8
) (
    input wire [HEADS*DIM*ELEMENT_W-1:0] row,
    output wire [HEADS/PARALLEL*((DIM+WIDTH-1)/WIDTH)*PARALLEL*WIDTH*ELEMENT_W-1:0] words
);

localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = HEADS / PARALLEL * CHUNKS;
localparam int ELEMENTS = PARALLEL * WIDTH;
genvar w, e;

generate
    for (w = 0; w < ROW_WORDS; w = w + 1) begin : word
        for (e = 0; e < ELEMENTS; e = e + 1) begin : element
            localparam int N = w % CHUNKS * WIDTH + e % WIDTH;
            localparam int AT = (w / CHUNKS * PARALLEL + e / WIDTH) * DIM + N;
            if (N < DIM) begin : there
                assign words[(w*ELEMENTS+e)*ELEMENT_W +: ELEMENT_W] = row[AT*ELEMENT_W +: ELEMENT_W];
            end else begin : beyond
                assign words[(w*ELEMENTS+e)*ELEMENT_W +: ELEMENT_W] = {ELEMENT_W{1'b0}};
            end
        end
    end
endgenerate

endmodule

`default_nettype wire
