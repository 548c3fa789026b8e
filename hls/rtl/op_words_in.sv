// SPDX-License-Identifier: Apache-2.0
// Words of an AXI4-Stream to elements of rows, as a unit takes them: codes of BITS bits, the low ones of WIDTH.
//
//     s_tdata --> one code a clock --> m_tdata, m_tuser = {keep, head}, m_tlast at the end of a row
//     s_tlast --> end: one for each sample, whether its last word ended the packet
//
// A sample has HEADS x ROWS rows of COLUMNS elements and begins with a word; what its last word has too many is
// dropped.  CAUSAL: row r keeps its elements 0 to r.
// s_tready answers m_tready within the clock: a FIFO stands before it.
`default_nettype none

module op_words_in #(
    parameter int BITS = 8,
    parameter int WIDTH = 8,
    parameter int COLUMNS = 8,
    parameter int ROWS = 8,
    parameter int HEADS = 2,
    parameter int USER_W = 2,
    parameter int HEADED = 1,  // whether the head is told
    parameter int CAUSAL = 0
) (
    input wire clk,
    input wire rst_n,
    input wire [31:0] s_tdata,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [WIDTH-1:0] m_tdata,
    output wire [USER_W-1:0] m_tuser,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready,
    output wire end_tdata,
    output wire end_tvalid,
    input wire end_tready
);

localparam int LANES = 32 / BITS;
localparam int LANE_W = LANES > 1 ? $clog2(LANES) : 1;
localparam int COLUMN_W = COLUMNS > 1 ? $clog2(COLUMNS) : 1;
localparam int ROW_W = ROWS > 1 ? $clog2(ROWS) : 1;
localparam int HEAD_W = HEADS > 1 ? $clog2(HEADS) : 1;

logic [LANE_W-1:0] lane;
logic [COLUMN_W-1:0] column;
logic [ROW_W-1:0] row;
logic [HEAD_W-1:0] head;
wire column_ends = column == COLUMN_W'(COLUMNS - 1);
wire row_ends = column_ends && row == ROW_W'(ROWS - 1);
wire sample_ends = row_ends && head == HEAD_W'(HEADS - 1);
wire word_ends = sample_ends || lane == LANE_W'(LANES - 1);
wire moves = m_tvalid && m_tready;

wire [31:0] code = s_tdata >> (32'(lane) * BITS);
generate
    if (WIDTH < 32) begin : gen_narrow
        wire unused = &{1'b0, code[31:WIDTH]};
    end
    if (USER_W > 1) begin : gen_user
        assign m_tuser = {CAUSAL == 0 || 32'(column) <= 32'(row), (USER_W-1)'(HEADED != 0 ? head : '0)};
    end else begin : gen_no_user
        assign m_tuser = 1'b1;
    end
endgenerate

assign m_tdata = code[WIDTH-1:0];
assign m_tlast = column_ends;
assign m_tvalid = s_tvalid && (!sample_ends || end_tready);
assign s_tready = moves && word_ends;
assign end_tdata = s_tlast;
assign end_tvalid = moves && sample_ends;

always_ff @(posedge clk) begin
    if (moves) begin
        lane <= word_ends ? '0 : lane + 1'b1;
        column <= column_ends ? '0 : column + 1'b1;
        if (column_ends) row <= row_ends ? '0 : row + 1'b1;
        if (row_ends) head <= sample_ends ? '0 : head + 1'b1;
    end
    if (!rst_n) begin
        lane <= '0;
        column <= '0;
        row <= '0;
        head <= '0;
    end
end

endmodule

`default_nettype wire
