// SPDX-License-Identifier: Apache-2.0
// Sum or product of two rows, element by element: LANES channels a clock.
//
//   row a --> part << A_SHIFT --+
//                               +--( + or x )--[ ]--> tails --> part --> row
//   row b --> part << B_SHIFT --+
//
// Formula:  y = tail(a 2^A_SHIFT + b 2^B_SHIFT)  or  y = tail(a b)
// Both rows are taken in the same clock: the one that comes first waits where it is.
// Cycles:   a row every ceil(CHANNELS / LANES); its result 4 clocks after its last part came, 5 with a scale.
`default_nettype none

module net_binary #(
    parameter int PRODUCT = 0,    // whether they are multiplied
    parameter int CHANNELS = 4,
    parameter int LANES = 2,
    parameter int ROWS = 1,
    parameter int STEP_W = 1,
    parameter int A_W = 8,
    parameter int A_SIGNED = 1,
    parameter int A_SHIFT = 0,
    parameter int B_W = 8,
    parameter int B_SIGNED = 1,
    parameter int B_SHIFT = 0,
    parameter int CORE_W = 9,
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
    input wire [CHANNELS*A_W-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    input wire [CHANNELS*B_W-1:0] s1_tdata,
    input wire s1_tvalid,
    input wire s1_tlast,
    output wire s1_tready,
    output wire [CHANNELS*OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int PARTS = (CHANNELS + LANES - 1) / LANES;
localparam int PAIR_W = A_W + B_W;
localparam int AS_W = A_SIGNED != 0 ? A_W : A_W + 1;  // as signed numbers
localparam int BS_W = B_SIGNED != 0 ? B_W : B_W + 1;

wire run;
wire [PARTS*LANES*PAIR_W-1:0] row;  // element by element {b, a}
wire [LANES*PAIR_W-1:0] part;
wire [STEP_W-1:0] step;
wire s_ready, valid, first, last, done, end_row;
wire [LANES*CORE_W-1:0] cores;
wire unused = &{1'b0, step, first, last, s1_tlast, 1'b0};
genvar n;

assign s0_tready = s_ready && s1_tvalid;
assign s1_tready = s_ready && s0_tvalid;

generate
    for (n = 0; n < PARTS * LANES; n = n + 1) begin : element
        if (n < CHANNELS) begin : both
            assign row[n*PAIR_W +: PAIR_W] = {s1_tdata[n*B_W +: B_W], s0_tdata[n*A_W +: A_W]};
        end else begin : nothing
            assign row[n*PAIR_W +: PAIR_W] = '0;
        end
    end
    for (n = 0; n < LANES; n = n + 1) begin : lane
        wire signed [AS_W-1:0] a;
        wire signed [BS_W-1:0] b;
        if (A_SIGNED != 0) begin : a_integer
            assign a = part[n*PAIR_W +: A_W];
        end else begin : a_natural
            assign a = {1'b0, part[n*PAIR_W +: A_W]};
        end
        if (B_SIGNED != 0) begin : b_integer
            assign b = part[n*PAIR_W+A_W +: B_W];
        end else begin : b_natural
            assign b = {1'b0, part[n*PAIR_W+A_W +: B_W]};
        end
        if (PRODUCT != 0) begin : product
            wire signed [AS_W+BS_W-1:0] p;
            net_product #(.A_W(AS_W), .B_W(BS_W), .DSP(DSP)) multiplier (.clk(clk), .en(run), .a(a), .b(b), .p(p));
            assign cores[n*CORE_W +: CORE_W] = CORE_W'(p);
            wire unused_p = ^p;
        end else begin : sum
            wire signed [CORE_W-1:0] a_wide = CORE_W'(a);
            wire signed [CORE_W-1:0] b_wide = CORE_W'(b);
            wire signed [CORE_W-1:0] a_placed = a_wide <<< A_SHIFT;
            wire signed [CORE_W-1:0] b_placed = b_wide <<< B_SHIFT;
            reg signed [CORE_W-1:0] total;
            always_ff @(posedge clk) if (run) total <= a_placed + b_placed;
            assign cores[n*CORE_W +: CORE_W] = total;
        end
    end
endgenerate

net_front #(.PARTS(PARTS), .REPEATS(1), .PART_W(LANES * PAIR_W), .STEP_W(STEP_W)) front (
    .clk(clk), .rst_n(rst_n), .run(run), .s_data(row), .s_valid(s0_tvalid && s1_tvalid), .s_last(s0_tlast),
    .s_ready(s_ready), .step(step), .part(part), .valid(valid), .first(first), .last(last), .done(done),
    .end_row(end_row)
);

reg core_valid, core_done, core_end;
always_ff @(posedge clk) begin
    if (run) begin
        core_done <= done;
        core_end <= end_row;
    end
    if (!rst_n) core_valid <= 1'b0;
    else if (run) core_valid <= valid;
end

wire [LANES*OUT_W-1:0] codes;
wire codes_valid, codes_last;
net_tails #(
    .LANES(LANES), .PARTS(PARTS), .ROWS(ROWS), .CORE_W(CORE_W), .SCALE_BY(SCALE_BY), .SCALE_W(SCALE_W),
    .SCALED_W(SCALED_W), .OFFSET_BY(OFFSET_BY), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED),
    .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP), .SCALES(SCALES),
    .OFFSETS(OFFSETS)
) tails (
    .clk(clk), .rst_n(rst_n), .en(run), .cores(cores), .valid(core_valid), .done(core_done), .last(core_end),
    .codes(codes), .codes_valid(codes_valid), .codes_last(codes_last)
);

net_back #(.PARTS(PARTS), .PART_W(LANES * OUT_W), .ROW_W(CHANNELS * OUT_W), .INTERVAL(PARTS)) back (
    .clk(clk), .rst_n(rst_n), .part(codes), .valid(codes_valid), .end_row(codes_last), .run(run), .m_data(m_tdata),
    .m_valid(m_tvalid), .m_last(m_tlast), .m_ready(m_tready)
);

endmodule

`default_nettype wire
