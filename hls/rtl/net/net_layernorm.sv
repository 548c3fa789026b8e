// SPDX-License-Identifier: Apache-2.0
// Exact integer LayerNorm of rows: elements through UNITS units of one element a clock, and back to rows.
//
//   row --> in turn --> net_rows <--> op_layernorm --> in turn --> row
//
// Cycles:   a row every ceil(CHANNELS / UNITS), or as the unit says if that is slower.
`default_nettype none

module net_layernorm #(
    parameter int UNITS = 1,
    parameter int CHANNELS = 4,
    parameter int ROWS = 1,
    parameter int IN_W = 8,
    parameter int IN_SIGNED = 1,
    parameter int CORE_W = 8,     // of a result of the unit
    parameter int ROOT_BITS = 16,
    parameter int RSQRT_BITS = 16,
    parameter int GAMMA_W = 8,
    parameter int BIAS_W = 12,
    parameter int BIAS_FRAC = 4,
    parameter int NORM_SHIFT = 16,
    parameter int NORM_SCALED_W = 16,
    parameter ROM_FILE = "layernorm.mem",
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

wire [UNITS-1:0] to_valid, to_ready, from_valid, from_ready;
wire [UNITS*(CHANNELS*OUT_W+1)-1:0] from_data;
genvar n;

net_turns #(.COUNT(UNITS), .ROW_W(CHANNELS * OUT_W)) turns (
    .clk(clk), .rst_n(rst_n), .s_valid(s0_tvalid), .s_ready(s0_tready), .to_valid(to_valid), .to_ready(to_ready),
    .from_data(from_data), .from_valid(from_valid), .from_ready(from_ready), .m_data({m_tlast, m_tdata}),
    .m_valid(m_tvalid), .m_ready(m_tready)
);

generate
    for (n = 0; n < UNITS; n = n + 1) begin : worker
        wire [IN_W-1:0] e_data;
        wire [CORE_W-1:0] r_data;
        wire e_valid, e_last, e_ready, r_valid, r_last, r_ready;
        net_rows #(
            .CHANNELS(CHANNELS), .ROWS(ROWS), .IN_W(IN_W), .CORE_W(CORE_W), .SCALE_BY(SCALE_BY), .SCALE_W(SCALE_W),
            .SCALED_W(SCALED_W), .OFFSET_BY(OFFSET_BY), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W),
            .DROPPED(DROPPED), .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT),
            .DSP(DSP), .SCALES(SCALES), .OFFSETS(OFFSETS)
        ) rows (
            .clk(clk), .rst_n(rst_n), .s_data(s0_tdata), .s_valid(to_valid[n]), .s_last(s0_tlast),
            .s_ready(to_ready[n]), .e_data(e_data), .e_valid(e_valid), .e_last(e_last), .e_ready(e_ready),
            .r_data(r_data), .r_valid(r_valid), .r_last(r_last), .r_ready(r_ready),
            .m_data(from_data[n*(CHANNELS*OUT_W+1) +: CHANNELS*OUT_W]), .m_valid(from_valid[n]),
            .m_last(from_data[n*(CHANNELS*OUT_W+1)+CHANNELS*OUT_W]), .m_ready(from_ready[n])
        );
        op_layernorm #(
            .IN_W(IN_W), .IN_SIGNED(IN_SIGNED), .OUT_W(CORE_W), .USER_W(1), .CHANNELS(CHANNELS), .ROOT_BITS(ROOT_BITS),
            .RSQRT_BITS(RSQRT_BITS), .GAMMA_W(GAMMA_W), .BIAS_W(BIAS_W), .BIAS_FRAC(BIAS_FRAC), .SHIFT(NORM_SHIFT),
            .SCALED_W(NORM_SCALED_W), .ROM_FILE(ROM_FILE)
        ) unit (
            .clk(clk), .rst_n(rst_n), .s_tdata(e_data), .s_tuser(1'b1), .s_tvalid(e_valid), .s_tlast(e_last),
            .s_tready(e_ready), .m_tdata(r_data), .m_tvalid(r_valid), .m_tlast(r_last), .m_tready(r_ready)
        );
    end
endgenerate

endmodule

`default_nettype wire
