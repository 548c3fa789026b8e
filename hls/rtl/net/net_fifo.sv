// SPDX-License-Identifier: Apache-2.0
// Words that wait between two kernels: DEPTH of them or a few more, the next one always on show.
//
//     s_tdata --> memory[ ] --> m_tdata                     up to 64 words in LUTs: from s_tdata to m_tdata 1 clock
//     s_tdata --> memory[ ] --> register --> m_tdata        more of them in block RAMs: 2 clocks
//
// A word a clock.  No path through it is combinational.
`default_nettype none

module net_fifo #(
    parameter int WIDTH = 9,
    parameter int DEPTH = 2
) (
    input wire clk,
    input wire rst_n,
    input wire [WIDTH-1:0] s_tdata,
    input wire s_tvalid,
    output wire s_tready,
    output logic [WIDTH-1:0] m_tdata,
    output wire m_tvalid,
    input wire m_tready
);

localparam int PLACE_W = DEPTH > 1 ? $clog2(DEPTH) : 1;
localparam int SIZE = 1 << PLACE_W;

logic [PLACE_W-1:0] in_at, out_at;
logic [PLACE_W:0] used;
logic full, some;
wire put = s_tvalid && !full;
wire get;
wire [PLACE_W:0] after = used + (PLACE_W+1)'(put) - (PLACE_W+1)'(get);

assign s_tready = !full;

always_ff @(posedge clk) begin
    if (put) in_at <= in_at + 1'b1;
    if (get) out_at <= out_at + 1'b1;
    used <= after;
    full <= after[PLACE_W];
    some <= after != '0;
    if (!rst_n) begin
        in_at <= '0;
        out_at <= '0;
        used <= '0;
        full <= 1'b0;
        some <= 1'b0;
    end
end

generate
    if (SIZE <= 64) begin : gen_luts
        logic [WIDTH-1:0] memory [0:SIZE-1];
        assign get = some && m_tready;
        assign m_tvalid = some;
        always_comb m_tdata = memory[out_at];
        always_ff @(posedge clk) if (put) memory[in_at] <= s_tdata;
    end else begin : gen_blocks
        (* ram_style = "block" *) logic [WIDTH-1:0] memory [0:SIZE-1];
        logic shown;
        assign get = some && (!shown || m_tready);
        assign m_tvalid = shown;
        always_ff @(posedge clk) begin
            if (put) memory[in_at] <= s_tdata;
            if (get) m_tdata <= memory[out_at];
            if (!rst_n) shown <= 1'b0;
            else shown <= get || (shown && !m_tready);
        end
    end
endgenerate

endmodule

`default_nettype wire
