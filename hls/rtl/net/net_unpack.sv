// SPDX-License-Identifier: Apache-2.0
// Words of an AXI4-Stream to rows: codes of BITS bits, the low ones of WIDTH, low ones first.
//
//     s_tdata --> held codes --> m_tdata     a sample begins with a word; what its last word has too many is dropped
//     s_tlast --> end: one for each sample, whether its last word ended the packet
//
// With ANY_LENGTH a packet's end ends the sample, however many whole rows there are by then.
// A word or a row a clock, whichever are more; from the last word of a row to the row 1 clock.
// s_tready answers m_tready within the clock: a FIFO stands behind it, whose ready is a register.
`default_nettype none

module net_unpack #(
    parameter int ROWS = 4,
    parameter int CHANNELS = 4,
    parameter int BITS = 8,
    parameter int WIDTH = 8,
    parameter int ANY_LENGTH = 0
) (
    input wire clk,
    input wire rst_n,
    input wire [31:0] s_tdata,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [CHANNELS*WIDTH-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready,
    output wire end_tdata,
    output wire end_tvalid,
    input wire end_tready
);

localparam int LANES = 32 / BITS;
localparam int HELD = CHANNELS + LANES - 1;
localparam int HAVE_W = $clog2(HELD + 1);
localparam int WORDS = (ROWS * CHANNELS + LANES - 1) / LANES;
localparam int WORD_W = WORDS > 1 ? $clog2(WORDS) : 1;
localparam int ROW_W = ROWS > 1 ? $clog2(ROWS) : 1;
localparam bit ALIGNED = CHANNELS % LANES == 0 || LANES % CHANNELS == 0;
localparam logic [HAVE_W-1:0] A_ROW = HAVE_W'(CHANNELS);
localparam logic [HAVE_W-1:0] A_WORD = HAVE_W'(LANES);

logic [HELD*WIDTH-1:0] held;  // codes that wait for the rest of their row
logic [HAVE_W-1:0] have;
logic [WORD_W-1:0] word;
logic ends;  // the sample's last word is here
logic last_row;
wire given = m_tvalid && m_tready;
wire [HAVE_W-1:0] rest = !given ? have : last_row ? '0 : have - A_ROW;
wire taken = s_tvalid && s_tready;
wire ending = word == WORD_W'(WORDS - 1) || (ANY_LENGTH != 0 && s_tlast);

assign s_tready = end_tready && (given && last_row || !ends && rest < A_ROW);
assign m_tvalid = have >= A_ROW || (ANY_LENGTH != 0 && ends);
assign m_tlast = last_row;
assign m_tdata = held[CHANNELS*WIDTH-1:0];
assign end_tdata = s_tlast;
assign end_tvalid = taken && ending;

generate
    if (CHANNELS >= LANES) begin : gen_wide
        always_comb last_row = ends;
    end else begin : gen_narrow
        logic [ROW_W-1:0] row;
        always_comb last_row = ends && (row == ROW_W'(ROWS - 1) || have - A_ROW < A_ROW);
        always_ff @(posedge clk)
            if (!rst_n) row <= '0;
            else if (given) row <= last_row ? '0 : row + 1'b1;
    end
endgenerate

always_ff @(posedge clk) begin
    for (int c = 0; c < HELD; c++) begin
        if (taken && c >= int'(rest) && c < int'(rest) + LANES)
            held[c*WIDTH +: WIDTH] <= s_tdata[((ALIGNED ? c : c - int'(rest)) & (LANES - 1))*BITS +: WIDTH];
        else if (given && c + CHANNELS < HELD)
            held[c*WIDTH +: WIDTH] <= held[(c+CHANNELS < HELD ? c+CHANNELS : c)*WIDTH +: WIDTH];
    end
    have <= taken ? rest + A_WORD : rest;
    ends <= taken ? ending : ends && !(given && last_row);
    if (taken) word <= ending ? '0 : word + 1'b1;
    if (!rst_n) begin
        have <= '0;
        ends <= 1'b0;
        word <= '0;
    end
end

wire unused = &{1'b0, s_tdata};  // codes are narrower than their places

endmodule

`default_nettype wire
