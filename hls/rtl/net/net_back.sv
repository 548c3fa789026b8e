// SPDX-License-Identifier: Apache-2.0
// Parts come in, a row goes out.
//
//   part --+--> others --+--> row --> m
//          +-------------^              the last part completes it
//
// run is a register, or a function of registers: nothing of m_ready passes to the other side.  With an INTERVAL of 2
// clocks or more between two rows the row's own register is enough: whoever takes a row a clock after it came never
// stops anything.  With 1 there is one more row of storage (op_hold).
`default_nettype none

module net_back #(
    parameter int PARTS = 4,
    parameter int PART_W = 8,
    parameter int ROW_W = 32,    // PARTS * PART_W less what the last part has too much
    parameter int INTERVAL = 4   // clocks between two rows at least
) (
    input wire clk,
    input wire rst_n,
    input wire [PART_W-1:0] part,
    input wire valid,
    input wire end_row,
    output wire run,
    output wire [ROW_W-1:0] m_data,
    output wire m_valid,
    output wire m_last,
    input wire m_ready
);

wire [PARTS*PART_W-1:0] row;
wire complete;
generate
    if (PARTS == 1) begin : one
        assign complete = valid;
        assign row = part;
    end else begin : several
        localparam int INDEX_W = $clog2(PARTS);
        reg [INDEX_W-1:0] index;
        reg [(PARTS-1)*PART_W-1:0] others;
        wire at_last = index == INDEX_W'(PARTS - 1);
        assign complete = valid && at_last;
        assign row = {part, others};
        always_ff @(posedge clk) begin
            if (run && valid)
                for (int k = 0; k < PARTS - 1; k = k + 1)
                    if (index == INDEX_W'(k)) others[k*PART_W +: PART_W] <= part;
            if (!rst_n) index <= '0;
            else if (run && valid) index <= at_last ? '0 : index + 1'b1;
        end
    end
    if (PARTS * PART_W > ROW_W) begin : idle_lanes
        wire unused = ^row[PARTS*PART_W-1:ROW_W];
    end
    if (INTERVAL > 1) begin : slow
        reg [ROW_W:0] held;
        reg full;
        assign run = !(complete && full);
        assign {m_last, m_data} = held;
        assign m_valid = full;
        always_ff @(posedge clk) begin
            if (complete && !full) held <= {end_row, row[ROW_W-1:0]};
            if (!rst_n) full <= 1'b0;
            else full <= full ? !m_ready : complete;
        end
    end else begin : fast
        op_hold #(.WIDTH(ROW_W + 1)) hold (
            .clk(clk), .rst_n(rst_n), .d({end_row, row[ROW_W-1:0]}), .v(complete), .run(run),
            .m_data({m_last, m_data}), .m_valid(m_valid), .m_ready(m_ready)
        );
    end
endgenerate

endmodule

`default_nettype wire
