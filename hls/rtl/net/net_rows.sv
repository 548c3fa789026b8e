// SPDX-License-Identifier: Apache-2.0
// What is around a unit that works on one element a clock: rows to elements, results to rows, with their tail.
//
//   row --> net_front --> e (to the unit)         r (from the unit) --> tail --> net_back --> row
//            +------------- TLAST of each row, in a FIFO ----------------^
//
// The unit gives rows of CHANNELS results in the order in which they came; fewer than 8 rows are in it.
`default_nettype none

module net_rows #(
    parameter int CHANNELS = 4,
    parameter int ROWS = 1,
    parameter int IN_W = 8,
    parameter int CORE_W = 8,     // bits of a result of the unit, signed
    parameter int SCALE_BY = 0,   // from here on the tail's
    parameter int SCALE_W = 2,
    parameter int SCALED_W = 20,
    parameter int OFFSET_BY = 0,
    parameter int OFFSET_W = 2,
    parameter int SHIFT = 0,
    parameter int SUM_W = 20,
    parameter int DROPPED = 0,
    parameter int EVEN = 0,
    parameter int RELU = 0,
    parameter int OUT_W = 8,
    parameter int OUT_SIGNED = 1,
    parameter int LIMIT = 0,
    parameter int DSP = 1,
    parameter SCALES = "scales.mem",
    parameter OFFSETS = "offsets.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [CHANNELS*IN_W-1:0] s_data,
    input wire s_valid,
    input wire s_last,
    output wire s_ready,
    output wire [IN_W-1:0] e_data,
    output wire e_valid,
    output wire e_last,
    input wire e_ready,
    input wire [CORE_W-1:0] r_data,
    input wire r_valid,
    input wire r_last,
    output wire r_ready,
    output wire [CHANNELS*OUT_W-1:0] m_data,
    output wire m_valid,
    output wire m_last,
    input wire m_ready
);

localparam int STEP_W = CHANNELS > 1 ? $clog2(CHANNELS) : 1;

wire [STEP_W-1:0] step;
wire first, last, end_row;
wire front_ready;
wire front_run = e_ready || !e_valid;
wire unused = &{1'b0, step, first, last, end_row, 1'b0};

// TLAST of the rows that are in the unit.
reg [7:0] flags;  // flag k - 1 of k rows is the oldest's
reg [3:0] count;
wire room = !count[3];
wire take = s_valid && s_ready;
wire give = r_valid && r_ready && r_last;
wire oldest = flags[3'(count - 4'd1)];
always_ff @(posedge clk) begin
    if (take) flags <= {flags[6:0], s_last};
    if (!rst_n) count <= '0;
    else if (take != give) count <= take ? count + 4'd1 : count - 4'd1;
end

assign s_ready = front_ready && room;
net_front #(.PARTS(CHANNELS), .REPEATS(1), .PART_W(IN_W), .STEP_W(STEP_W)) front (
    .clk(clk), .rst_n(rst_n), .run(front_run), .s_data(s_data), .s_valid(s_valid && room), .s_last(s_last),
    .s_ready(front_ready), .step(step), .part(e_data), .valid(e_valid), .first(first), .last(last), .done(e_last),
    .end_row(end_row)
);

wire run;
wire [OUT_W-1:0] code;
wire code_valid, code_last;
assign r_ready = run;
net_tails #(
    .LANES(1), .PARTS(CHANNELS), .ROWS(ROWS), .CORE_W(CORE_W), .SCALE_BY(SCALE_BY), .SCALE_W(SCALE_W),
    .SCALED_W(SCALED_W), .OFFSET_BY(OFFSET_BY), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED),
    .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP), .SCALES(SCALES),
    .OFFSETS(OFFSETS)
) tails (
    .clk(clk), .rst_n(rst_n), .en(run), .cores(r_data), .valid(r_valid), .done(r_last), .last(oldest),
    .codes(code), .codes_valid(code_valid), .codes_last(code_last)
);

net_back #(.PARTS(CHANNELS), .PART_W(OUT_W), .ROW_W(CHANNELS * OUT_W), .INTERVAL(CHANNELS)) back (
    .clk(clk), .rst_n(rst_n), .part(code), .valid(code_valid), .end_row(code_last), .run(run), .m_data(m_data),
    .m_valid(m_valid), .m_last(m_last), .m_ready(m_ready)
);

endmodule

`default_nettype wire
