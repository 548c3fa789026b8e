// SPDX-License-Identifier: Apache-2.0
// End of a pipeline that stops as a whole: one more word of storage makes `run`, and with it s_tready, a register.
//
//   last stage (d, v) --+----------------> mux --> m_data, m_valid
//                       +--> spare word --/
//
// All stages load when `run` is 1. At a stall the word at the end moves into the spare word while the stages load
// once more; then they stand until the spare word is taken.
`default_nettype none

module op_hold #(
    parameter int WIDTH = 8
) (
    input wire clk,
    input wire rst_n,
    input wire [WIDTH-1:0] d,
    input wire v,
    output wire run,
    output wire [WIDTH-1:0] m_data,
    output wire m_valid,
    input wire m_ready
);

logic [WIDTH-1:0] spare;
logic free;  // the spare word is empty

assign run = free;
assign m_data = free ? d : spare;
assign m_valid = v || !free;

always_ff @(posedge clk) begin
    if (free) spare <= d;
    if (!rst_n) free <= 1'b1;
    else free <= m_ready || (free && !v);
end

endmodule

`default_nettype wire
