// SPDX-License-Identifier: Apache-2.0
//
// hls4ml's softmax ("stable": the maximum subtracted, two tables) on rows that arrive one element a clock.
//
//     s --> max --> [ x | max ] --> max - x --> exp table --> e --> [ e | 1/S ] --> e * 1/S --> round, limit --> m
//                    a row                               + --> S --> 1/S table
//
// Formula:  d = (max - x) mod 2^NORM_W,  e = E[d],  S = min(sum e, 2^SUM_W - 1),  r = V[S >> DROP],
//           p = min(2^OUT_W - 1, (e r + half) >> DOWN)
// hls4ml unrolls a row of fixed length; this is the same arithmetic, element by element.  It has no mask.
//
// Cycles:   N a row of N elements when rows follow each other; a row waits until it is complete, twice.
// Row:      1 to N_MAX elements; a longer one is never taken to its end.
// Source:   hls4ml 1.3.0, nnet_activation.h, softmax_stable.
`default_nettype none

module op_softmax_table #(
    parameter int IN_W = 8,  // signed scores
    parameter int NORM_W = 7,  // bits of a distance from the maximum; what does not fit wraps
    parameter int OUT_W = 8,
    parameter int USER_W = 2,  // ignored
    parameter int N_MAX = 1024,
    parameter int ENTRY_W = 11,  // bits of E and of V
    parameter int SUM_W = 17,
    parameter int INDEX_W = 9,  // bits of a sum that choose its reciprocal
    parameter int DOWN = 12,
    parameter EXP_FILE = "op_softmax_table_exp_file.mem",
    parameter INV_FILE = "op_softmax_table_inv_file.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [IN_W-1:0] s_tdata,
    input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output reg [OUT_W-1:0] m_tdata,
    output reg m_tvalid,
    output reg m_tlast,
    input wire m_tready
);

// Two places more than a row save a clock a row; not where a block RAM would be spent on them.
localparam int ADDR_W = $clog2(N_MAX < 1023 ? N_MAX + 2 : N_MAX);
localparam int PRODUCT_W = 2 * ENTRY_W;
localparam logic [PRODUCT_W-1:0] HALF = {{(PRODUCT_W - 1) {1'b0}}, 1'b1} << (DOWN - 1);

wire unused_user = ^s_tuser;

// ---------------------------------------------------------------- stage 1: the maximum
wire [IN_W-1:0] score = {!s_tdata[IN_W-1], s_tdata[IN_W-2:0]};  // above the lowest one, so that it has no sign
reg [IN_W-1:0] top;
wire [IN_W-1:0] risen = score > top ? score : top;

always_ff @(posedge clk) begin
    if (!rst_n) top <= '0;
    else if (s_tvalid && s_tready) top <= s_tlast ? '0 : risen;
end

// ---------------------------------------------------------------- stage 2: exponentials and their sum
wire x_on, x_valid, x_last;
wire [IN_W-1:0] x, x_top;
wire [IN_W-1:0] distance = x_top - x;

op_rowbuf #(.DATA_W(IN_W), .ROW_W(IN_W), .ADDR_W(ADDR_W)) waiting (
    .clk(clk), .rst_n(rst_n), .w_valid(s_tvalid), .w_ready(s_tready), .w_data(score), .w_last(s_tlast), .w_row(risen),
    .r_enable(x_on), .r_valid(x_valid), .r_data(x), .r_last(x_last), .r_row(x_top)
);

reg [ENTRY_W-1:0] exponentials[0:(1<<NORM_W)-1];
reg [ENTRY_W-1:0] inverses[0:(1<<INDEX_W)-1];
initial $readmemh(EXP_FILE, exponentials);
initial $readmemh(INV_FILE, inverses);

reg [NORM_W-1:0] d;
reg [ENTRY_W-1:0] e_2, e_3, e_4, inverse;
reg [SUM_W-1:0] sum;
reg [4:1] valid, last;
reg starts;  // the next element summed begins a row
wire [SUM_W:0] wide = {1'b0, starts ? '0 : sum} + {{(SUM_W + 1 - ENTRY_W) {1'b0}}, e_2};

always_ff @(posedge clk) begin
    if (x_on) begin
        d <= distance[NORM_W-1:0];
        e_2 <= exponentials[d];
        if (valid[2]) sum <= wide[SUM_W] ? '1 : wide[SUM_W-1:0];
        e_3 <= e_2;
        inverse <= inverses[sum[SUM_W-1-:INDEX_W]];
        e_4 <= e_3;
        last <= {last[3:1], x_last};
    end
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        valid <= '0;
        starts <= 1'b1;
    end else if (x_on) begin
        valid <= {valid[3:1], x_valid};
        if (valid[2]) starts <= last[2];
    end
end

// ---------------------------------------------------------------- stage 3: products
wire y_on = !m_tvalid || m_tready;
wire y_valid, y_last;
wire [ENTRY_W-1:0] y_e, y_inverse;

op_rowbuf #(.DATA_W(ENTRY_W), .ROW_W(ENTRY_W), .ADDR_W(ADDR_W)) summed (
    .clk(clk), .rst_n(rst_n), .w_valid(valid[4]), .w_ready(x_on), .w_data(e_4), .w_last(last[4]), .w_row(inverse),
    .r_enable(y_on), .r_valid(y_valid), .r_data(y_e), .r_last(y_last), .r_row(y_inverse)
);

reg [PRODUCT_W-1:0] product, rounded;
reg [2:1] out_valid, out_last;
wire [OUT_W+PRODUCT_W-DOWN-1:0] whole = {{OUT_W{1'b0}}, rounded[PRODUCT_W-1:DOWN]};
wire unused_rest = ^rounded[DOWN-1:0];

always_ff @(posedge clk) begin
    if (y_on) begin
        product <= y_e * y_inverse;
        rounded <= product + HALF;
        m_tdata <= |whole[OUT_W+PRODUCT_W-DOWN-1:OUT_W] ? '1 : whole[OUT_W-1:0];
        out_last <= {out_last[1], y_last};
        m_tlast <= out_last[2];
    end
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        out_valid <= '0;
        m_tvalid <= 1'b0;
    end else if (y_on) begin
        out_valid <= {out_valid[1], y_valid};
        m_tvalid <= out_valid[2];
    end
end

generate
    if (NORM_W < IN_W) begin : gen_wraps
        wire unused_distance = ^distance[IN_W-1:NORM_W];
    end
    if (INDEX_W < SUM_W) begin : gen_coarse
        wire unused_sum = ^sum[SUM_W-INDEX_W-1:0];
    end
endgenerate

endmodule

`default_nettype wire
