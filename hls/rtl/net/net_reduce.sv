// SPDX-License-Identifier: Apache-2.0
// Sum over the rows of a sequence; with a scale in the tail it is mean pooling.  LANES channels a clock.
//
//   row --> part --( + )--[ ]--+--> ... --> sums of the row's parts --+
//                    ^         |                                      |
//                    |         +--> tails --> part --> row            |
//                    +------------------------------------------------+      behind the sequence's last row
//
// Formula:  y[c] = tail( sum_r x[r][c] )
// Cycles:   a row every ceil(CHANNELS / LANES); the result 4 clocks after the last row's last part, 5 with a scale.
`default_nettype none

module net_reduce #(
    parameter int CHANNELS = 4,
    parameter int LANES = 2,
    parameter int ROWS = 1,       // of the result: 1
    parameter int STEP_W = 1,
    parameter int IN_W = 8,
    parameter int IN_SIGNED = 1,
    parameter int CORE_W = 12,
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
    input wire [CHANNELS*IN_W-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    output wire [CHANNELS*OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int PARTS = (CHANNELS + LANES - 1) / LANES;

wire run;
wire [PARTS*LANES*IN_W-1:0] row;
wire [LANES*IN_W-1:0] part;
wire [STEP_W-1:0] step;
wire valid, first, last, done, end_row;
wire [LANES*CORE_W-1:0] cores;
wire unused = &{1'b0, step, first, last, 1'b0};
reg first_row;
reg core_valid, core_done;
genvar n;

generate
    if (PARTS * LANES > CHANNELS) begin : filled
        assign row = {{((PARTS * LANES - CHANNELS) * IN_W){1'b0}}, s0_tdata};
    end else begin : full
        assign row = s0_tdata;
    end
    for (n = 0; n < LANES; n = n + 1) begin : lane
        wire signed [CORE_W-1:0] x;
        reg signed [CORE_W-1:0] sums [0:PARTS-1];  // 0: the latest
        if (IN_SIGNED != 0) begin : integers
            wire signed [IN_W-1:0] code = part[n*IN_W +: IN_W];
            assign x = CORE_W'(code);
        end else begin : naturals
            assign x = CORE_W'(part[n*IN_W +: IN_W]);
        end
        wire signed [CORE_W-1:0] base = first_row ? '0 : sums[PARTS-1];
        always_ff @(posedge clk)
            if (run && valid) begin
                sums[0] <= base + x;
                for (int k = 1; k < PARTS; k = k + 1) sums[k] <= sums[k-1];
            end
        assign cores[n*CORE_W +: CORE_W] = sums[0];
    end
endgenerate

net_front #(.PARTS(PARTS), .REPEATS(1), .PART_W(LANES * IN_W), .STEP_W(STEP_W)) front (
    .clk(clk), .rst_n(rst_n), .run(run), .s_data(row), .s_valid(s0_tvalid), .s_last(s0_tlast), .s_ready(s0_tready),
    .step(step), .part(part), .valid(valid), .first(first), .last(last), .done(done), .end_row(end_row)
);

always_ff @(posedge clk) begin
    if (run) core_done <= done;
    if (!rst_n) begin
        first_row <= 1'b1;
        core_valid <= 1'b0;
    end else if (run) begin
        core_valid <= valid && end_row;
        if (valid && done) first_row <= end_row;
    end
end

wire [LANES*OUT_W-1:0] codes;
wire codes_valid, codes_last;
net_tails #(
    .LANES(LANES), .PARTS(PARTS), .ROWS(ROWS), .CORE_W(CORE_W), .SCALE_BY(SCALE_BY), .SCALE_W(SCALE_W),
    .SCALED_W(SCALED_W), .OFFSET_BY(OFFSET_BY), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED),
    .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP), .SCALES(SCALES),
    .OFFSETS(OFFSETS)
) tails (
    .clk(clk), .rst_n(rst_n), .en(run), .cores(cores), .valid(core_valid), .done(core_done), .last(1'b1),
    .codes(codes), .codes_valid(codes_valid), .codes_last(codes_last)
);

net_back #(.PARTS(PARTS), .PART_W(LANES * OUT_W), .ROW_W(CHANNELS * OUT_W), .INTERVAL(PARTS)) back (
    .clk(clk), .rst_n(rst_n), .part(codes), .valid(codes_valid), .end_row(codes_last), .run(run), .m_data(m_tdata),
    .m_valid(m_tvalid), .m_last(m_tlast), .m_ready(m_tready)
);

endmodule

`default_nettype wire
