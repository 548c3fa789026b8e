// SPDX-License-Identifier: Apache-2.0
// Words that were promised a place: the writer never waits, because it reserved before it started on them.
//
//     in_data --> ring of 2^PLACE_W --> register --> m_data          `room`: another word may be started
//          \------ if it is empty ------^
//
// A word is at the output a clock after it came in.  `reserve` is answered by one in_valid, any time later.
`default_nettype none

module net_attention_fifo #(
    parameter int WIDTH = 8,
    parameter int PLACE_W = 4
) (
    input wire clk,
    input wire rst_n,
    input wire reserve,
    output wire room,
    input wire [WIDTH-1:0] in_data,
    input wire in_valid,
    output reg [WIDTH-1:0] m_data,
    output reg m_valid,
    input wire m_ready
);

logic [WIDTH-1:0] ring [0:(1<<PLACE_W)-1];
logic [PLACE_W-1:0] write, read;
logic [PLACE_W:0] promised;
wire empty = write == read;
wire advance = !m_valid || m_ready;
wire taken = m_valid && m_ready;

assign room = !promised[PLACE_W];

always_ff @(posedge clk) begin
    if (in_valid) ring[write] <= in_data;
    if (advance) m_data <= empty ? in_data : ring[read];
    if (!rst_n) begin
        write <= '0;
        read <= '0;
        promised <= '0;
        m_valid <= 1'b0;
    end else begin
        if (reserve != taken) promised <= reserve ? promised + 1'b1 : promised - 1'b1;
        if (in_valid && !(advance && empty)) write <= write + 1'b1;
        if (advance && !empty) read <= read + 1'b1;
        if (advance) m_valid <= in_valid || !empty;
    end
end

endmodule

`default_nettype wire
