// SPDX-License-Identifier: Apache-2.0
// Rows to words of an AXI4-Stream: codes of BITS bits, their sign extended, low ones first.
//
//     s_tdata --> held codes --> m_tdata     a sample begins with a word; its last one is filled up with zeros
//     end: one for each sample, whether its last word ends the packet --> m_tlast
//
// A word or a row a clock, whichever are more; from a row to its first word 1 clock.
// s_tready answers m_tready within the clock: a FIFO stands in front of it.
`default_nettype none

module net_pack #(
    parameter int CHANNELS = 4,
    parameter int BITS = 8,
    parameter int WIDTH = 8,
    parameter int IS_SIGNED = 1
) (
    input wire clk,
    input wire rst_n,
    input wire [CHANNELS*WIDTH-1:0] s_tdata,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    input wire end_tdata,
    input wire end_tvalid,
    output wire end_tready,
    output logic [31:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int LANES = 32 / BITS;
localparam int HELD = CHANNELS + LANES - 1;
localparam int HAVE_W = $clog2(HELD + 1);
localparam logic [HAVE_W-1:0] A_ROW = HAVE_W'(CHANNELS);
localparam logic [HAVE_W-1:0] A_WORD = HAVE_W'(LANES);

logic [HELD*WIDTH-1:0] held;  // codes that wait for the rest of their word
logic [HAVE_W-1:0] have;
logic ends;  // the sample's last row is here
wire last_word = ends && have <= A_WORD;
wire given = m_tvalid && m_tready;
wire [HAVE_W-1:0] rest = !given ? have : last_word ? '0 : have - A_WORD;
wire taken = s_tvalid && s_tready;

assign s_tready = given && last_word || !ends && rest < A_WORD;
assign m_tvalid = have >= A_WORD && !last_word || last_word && end_tvalid;
assign m_tlast = last_word && end_tdata;
assign end_tready = given && last_word;

always_comb
    for (int l = 0; l < LANES; l++) begin
        m_tdata[l*BITS +: BITS] = {BITS{IS_SIGNED != 0 && held[(l < HELD ? l : 0)*WIDTH + WIDTH-1]}};
        m_tdata[l*BITS +: WIDTH] = held[l*WIDTH +: WIDTH];
        if (HAVE_W'(l) >= have) m_tdata[l*BITS +: BITS] = '0;
    end

always_ff @(posedge clk) begin
    for (int c = 0; c < HELD; c++) begin
        if (given && c + LANES < HELD)
            held[c*WIDTH +: WIDTH] <= held[(c+LANES < HELD ? c+LANES : c)*WIDTH +: WIDTH];
        for (int at = 0; at < LANES; at++) // where a row may begin
            if (c >= at && c < at + CHANNELS && (at == 0 || CHANNELS % LANES != 0)
                && (LANES % CHANNELS != 0 || at % CHANNELS == 0) && taken && rest == HAVE_W'(at))
                held[c*WIDTH +: WIDTH] <= s_tdata[(c >= at && c < at + CHANNELS ? c - at : 0)*WIDTH +: WIDTH];
    end
    have <= taken ? rest + A_ROW : rest;
    ends <= taken ? s_tlast : ends && !(given && last_word);
    if (!rst_n) begin
        have <= '0;
        ends <= 1'b0;
    end
end

endmodule

`default_nettype wire
