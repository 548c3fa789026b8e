// SPDX-License-Identifier: Apache-2.0
// Pages of words on their way out: a page is reserved before it is made, so that its words always find room.
//
//     reserve --> pages left --> room          in_data --> words[ ] --> register --> m_tdata       PACKET pages a packet
//                     ^-------------------- the page's last word -----------+
//
// A word a clock; from in_data to m_tdata 2 clocks.  No path through it is combinational.
`default_nettype none

module op_gaincell_fifo #(
    parameter int WIDTH = 10,
    parameter int PAGE = 64,
    parameter int PAGES = 4,
    parameter int PACKET = 1
) (
    input wire clk,
    input wire rst_n,
    input wire reserve,  // only with room
    output wire room,
    input wire [WIDTH-1:0] in_data,
    input wire in_valid,
    output logic [WIDTH-1:0] m_tdata,
    output logic m_tvalid,
    output logic m_tlast,
    input wire m_tready
);

localparam int ADDRESS_W = $clog2(PAGES * PAGE) > 0 ? $clog2(PAGES * PAGE) : 1;
localparam int PAGES_W = $clog2(PAGES + 1);
localparam int PLACE_W = PACKET * PAGE > 1 ? $clog2(PACKET * PAGE) : 1;

logic [WIDTH-1:0] words [0:(1<<ADDRESS_W)-1];
logic [ADDRESS_W-1:0] in_at, out_at;
logic [ADDRESS_W:0] count;
logic [PAGES_W-1:0] pages;  // left
logic [PLACE_W-1:0] place, page_place;
wire move = count != '0 && (!m_tvalid || m_tready);
wire page_ends = page_place == PLACE_W'(PAGE - 1);
wire packet_ends = place == PLACE_W'(PACKET * PAGE - 1);

assign room = pages != '0;

always_ff @(posedge clk) begin
    if (in_valid) words[in_at] <= in_data;
    if (move) begin
        m_tdata <= words[out_at];
        m_tlast <= packet_ends;
    end
end

always_ff @(posedge clk) begin
    if (in_valid) in_at <= in_at + 1'b1;
    if (move) begin
        out_at <= out_at + 1'b1;
        page_place <= page_ends ? '0 : page_place + 1'b1;
        place <= packet_ends ? '0 : place + 1'b1;
    end
    if (in_valid && !move) count <= count + 1'b1;
    if (move && !in_valid) count <= count - 1'b1;
    if (reserve && !(move && page_ends)) pages <= pages - 1'b1;
    if (move && page_ends && !reserve) pages <= pages + 1'b1;
    m_tvalid <= move || (m_tvalid && !m_tready);
    if (!rst_n) begin
        in_at <= '0;
        out_at <= '0;
        count <= '0;
        pages <= PAGES_W'(PAGES);
        place <= '0;
        page_place <= '0;
        m_tvalid <= 1'b0;
    end
end

endmodule

`default_nettype wire
