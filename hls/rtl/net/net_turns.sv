// SPDX-License-Identifier: Apache-2.0
// Rows dealt out to COUNT workers in turn, and collected in the same order.
//
//   s --> worker 0, 1, ..., COUNT - 1, 0, ... --> m
`default_nettype none

module net_turns #(
    parameter int COUNT = 1,
    parameter int ROW_W = 8
) (
    input wire clk,
    input wire rst_n,
    input wire s_valid,
    output wire s_ready,
    output wire [COUNT-1:0] to_valid,
    input wire [COUNT-1:0] to_ready,
    input wire [COUNT*(ROW_W+1)-1:0] from_data,  // {last, row}
    input wire [COUNT-1:0] from_valid,
    output wire [COUNT-1:0] from_ready,
    output wire [ROW_W:0] m_data,
    output wire m_valid,
    input wire m_ready
);

generate
    if (COUNT == 1) begin : one
        wire unused = &{1'b0, clk, rst_n, 1'b0};
        assign to_valid = s_valid;
        assign s_ready = to_ready;
        assign m_data = from_data;
        assign m_valid = from_valid;
        assign from_ready = m_ready;
    end else begin : several
        localparam int TURN_W = $clog2(COUNT);
        reg [TURN_W-1:0] dealt, collected;
        genvar n;
        assign s_ready = to_ready[dealt];
        assign m_data = from_data[collected*(ROW_W+1) +: ROW_W+1];
        assign m_valid = from_valid[collected];
        for (n = 0; n < COUNT; n = n + 1) begin : worker
            assign to_valid[n] = s_valid && dealt == TURN_W'(n);
            assign from_ready[n] = m_ready && collected == TURN_W'(n);
        end
        always_ff @(posedge clk)
            if (!rst_n) begin
                dealt <= '0;
                collected <= '0;
            end else begin
                if (s_valid && s_ready) dealt <= dealt == TURN_W'(COUNT - 1) ? '0 : dealt + 1'b1;
                if (m_valid && m_ready) collected <= collected == TURN_W'(COUNT - 1) ? '0 : collected + 1'b1;
            end
    end
endgenerate

endmodule

`default_nettype wire
