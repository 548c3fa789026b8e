// SPDX-License-Identifier: Apache-2.0
// Elements to words of an AXI4-Stream: codes of BITS bits, the first lowest, signed ones with their sign.
//
//     s_tdata --> collected codes --> m_tdata     a sample of COUNT elements begins a word and ends one
//     end --> m_tlast: the last word of a sample ends the packet if that sample's input did
//
// s_tready answers m_tready within the clock: a FIFO stands behind it.
`default_nettype none

module op_words_out #(
    parameter int BITS = 8,
    parameter int WIDTH = 8,
    parameter int IS_SIGNED = 0,
    parameter int COUNT = 128
) (
    input wire clk,
    input wire rst_n,
    input wire [WIDTH-1:0] s_tdata,
    input wire s_tvalid,
    output wire s_tready,
    input wire end_tdata,
    input wire end_tvalid,
    output wire end_tready,
    output wire [31:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int LANES = 32 / BITS;
localparam int LANE_W = LANES > 1 ? $clog2(LANES) : 1;
localparam int PLACE_W = COUNT > 1 ? $clog2(COUNT) : 1;

logic [LANE_W-1:0] lane;
logic [PLACE_W-1:0] place;
logic [31:0] word;  // codes so far
wire sample_ends = place == PLACE_W'(COUNT - 1);
wire word_ends = sample_ends || lane == LANE_W'(LANES - 1);
wire moves = s_tvalid && s_tready;

wire [BITS-1:0] code;
generate
    if (WIDTH < BITS) begin : gen_narrow
        assign code = {{(BITS - WIDTH){IS_SIGNED != 0 && s_tdata[WIDTH-1]}}, s_tdata};
    end else begin : gen_full
        assign code = s_tdata;
    end
endgenerate

assign m_tdata = word | 32'(code) << (32'(lane) * BITS);
assign m_tlast = sample_ends && end_tdata;
assign m_tvalid = s_tvalid && word_ends && (!sample_ends || end_tvalid);
assign s_tready = !word_ends || m_tready && (!sample_ends || end_tvalid);
assign end_tready = moves && sample_ends;

always_ff @(posedge clk) begin
    if (moves) begin
        word <= word_ends ? '0 : m_tdata;
        lane <= word_ends ? '0 : lane + 1'b1;
        place <= sample_ends ? '0 : place + 1'b1;
    end
    if (!rst_n) begin
        word <= '0;
        lane <= '0;
        place <= '0;
    end
end

endmodule

`default_nettype wire
