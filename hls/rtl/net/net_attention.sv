// SPDX-License-Identifier: Apache-2.0
// Self-attention of rows: Q K^T, a score function, P V.
//
//     s1: k rows --> bank --+                                         bank <-- s2: v rows
//                           v                                          v
//     s0: q rows -----> scores --FIFO--> score function, a unit --> context --> m: rows
//                                        for each of PARALLEL heads
//
// Formula:  s_ij = Q_s( tail( q_i k_j ) ),  p_ij = score function of row i,  y_i = Q_y( tail( sum_j Q_p( p_ij ) v_j ) )
//           over the keys of the sequence, and j <= i if CAUSAL.
// Clocks a row: GROUPS * keys * CHUNKS, GROUPS = HEADS / PARALLEL, CHUNKS = ceil(DIM / WIDTH); rows and sequences overlap.
// The banks hold two sequences, so that the next one's keys and values come in while the last rows are still made.
// Source: scaled dot-product attention, arXiv 1706.03762, equation 1, one query row after the other.
`default_nettype none

module net_attention #(
    parameter int ROWS = 16,
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,  // heads that go together; divides HEADS
    parameter int WIDTH = 8,  // elements of a head a clock
    parameter int CAUSAL = 0,
    parameter int DSP = 1,  // whether products are DSP blocks, else look-up tables
    parameter int Q_W = 8,
    parameter int Q_SIGNED = 1,
    parameter int K_W = 8,
    parameter int K_SIGNED = 1,
    parameter int SCORE_CORE_W = 19,  // see net_attention_scores.sv
    parameter int SCORE_SCALE = 0,
    parameter int SCORE_SCALE_W = 2,
    parameter int SCORE_SCALED_W = 19,
    parameter int SCORE_OFFSET = 0,
    parameter int SCORE_OFFSET_W = 2,
    parameter int SCORE_SHIFT = 0,
    parameter int SCORE_SUM_W = 19,
    parameter int SCORE_DROPPED = 8,
    parameter int SCORE_EVEN = 0,
    parameter int SCORE_RELU = 0,
    parameter int SCORE_LIMIT = 0,
    parameter int SCORE_W = 8,
    parameter int SCORE_SCALES = 1,
    parameter int SCORE_OFFSETS = 1,
    parameter int V_W = 8,
    parameter int V_SIGNED = 1,
    parameter int E_FORM = 0,
    parameter int E_FRAC = 15,
    parameter int E_CODE_W = 4,
    parameter int E_KS_W = 3,
    parameter int E_SUM_W = 30,
    parameter int E_MANTISSAS = 2,
    parameter int E_MANTISSA_W = 10,
    parameter int E_SHIFT = 15,
    parameter int E_LIMIT = 0,
    parameter int P_ROUND = 0,  // see net_attention_context.sv
    parameter int P_OFFSET = 0,
    parameter int P_OFFSET_W = 2,
    parameter int P_SUM_W = 9,
    parameter int P_DROPPED = 0,
    parameter int P_EVEN = 0,
    parameter int P_LIMIT = 0,
    parameter int P_W = 8,
    parameter int P_SIGNED = 0,
    parameter int CORE_W = 23,
    parameter int SCALE = 0,
    parameter int SCALE_W = 2,
    parameter int SCALED_W = 23,
    parameter int OFFSET = 0,
    parameter int OFFSET_W = 2,
    parameter int SHIFT = 0,
    parameter int SUM_W = 23,
    parameter int DROPPED = 9,
    parameter int EVEN = 0,
    parameter int RELU = 0,
    parameter int LIMIT = 0,
    parameter int OUT_W = 8,
    parameter int OUT_SIGNED = 1,
    parameter int SCALES = 1,
    parameter int OFFSETS = 1,
    parameter int FUNCTION = 0,  // see net_attention_function.sv
    parameter int F_OUT_W = 8,
    parameter int F_NIBBLES = 2,
    parameter int F_MANT_W = 8,
    parameter int F_EXP_W = 6,
    parameter int F_REST_W = 10,
    parameter int F_DROP = 6,
    parameter int F_CODE_W = 8,
    parameter int F_GRID_W = 1,
    parameter int F_N_MAX = 16,
    parameter int F_SLICE = 0,
    parameter int F_SUM_FRAC = 15,
    parameter int F_FOLDED = 0,
    parameter int F_FACTOR_W = 5,
    parameter int F_PLACES_W = 4,
    parameter int F_FACTOR = 23,
    parameter int F_PLACES = 8,
    parameter int F_PER_HEAD = 0,
    parameter int F_MUX_BITS = 1,
    parameter int F_EXP_FRAC = 15,
    parameter int F_OUT_FRAC = 8,
    parameter int F_GUARD = 3,
    parameter SCORE_SCALE_TABLE = "net_attention_score_scale_table.mem",
    parameter SCORE_OFFSET_TABLE = "net_attention_score_offset_table.mem",
    parameter E_TABLE = "net_attention_e_table.mem",
    parameter P_OFFSET_TABLE = "net_attention_p_offset_table.mem",
    parameter SCALE_TABLE = "net_attention_scale_table.mem",
    parameter OFFSET_TABLE = "net_attention_offset_table.mem",
    parameter F_TABLE = "net_attention_f_table.mem",
    parameter F_TABLE1 = "net_attention_f_table1.mem",
    parameter F_TABLE2 = "net_attention_f_table2.mem",
    parameter F_TABLE3 = "net_attention_f_table3.mem",
    parameter F_GRID = "net_attention_f_grid.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [HEADS*DIM*Q_W-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    input wire [HEADS*DIM*K_W-1:0] s1_tdata,
    input wire s1_tvalid,
    input wire s1_tlast,
    output wire s1_tready,
    input wire [HEADS*DIM*V_W-1:0] s2_tdata,
    input wire s2_tvalid,
    input wire s2_tlast,
    output wire s2_tready,
    output wire [HEADS*DIM*OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int GROUPS = HEADS / PARALLEL;
localparam int GROUP_W = GROUPS > 1 ? $clog2(GROUPS) : 1;

wire [PARALLEL*SCORE_W-1:0] scores;
wire [GROUP_W-1:0] group;
wire score_last, score_valid, score_ready;
wire [PARALLEL*F_OUT_W-1:0] p;
wire p_last, p_valid, p_ready;

net_attention_scores #(
    .ROWS(ROWS), .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .CAUSAL(CAUSAL), .DSP(DSP), .Q_W(Q_W),
    .Q_SIGNED(Q_SIGNED), .K_W(K_W), .K_SIGNED(K_SIGNED), .GROUP_W(GROUP_W), .SCORE_CORE_W(SCORE_CORE_W),
    .SCORE_SCALE(SCORE_SCALE), .SCORE_SCALE_W(SCORE_SCALE_W), .SCORE_SCALED_W(SCORE_SCALED_W),
    .SCORE_OFFSET(SCORE_OFFSET), .SCORE_OFFSET_W(SCORE_OFFSET_W), .SCORE_SHIFT(SCORE_SHIFT),
    .SCORE_SUM_W(SCORE_SUM_W), .SCORE_DROPPED(SCORE_DROPPED), .SCORE_EVEN(SCORE_EVEN), .SCORE_RELU(SCORE_RELU),
    .SCORE_LIMIT(SCORE_LIMIT), .SCORE_W(SCORE_W), .SCORE_SCALES(SCORE_SCALES), .SCORE_OFFSETS(SCORE_OFFSETS),
    .SCORE_SCALE_TABLE(SCORE_SCALE_TABLE), .SCORE_OFFSET_TABLE(SCORE_OFFSET_TABLE)
) query_by_keys (
    .clk(clk), .rst_n(rst_n), .q_tdata(s0_tdata), .q_tvalid(s0_tvalid), .q_tlast(s0_tlast), .q_tready(s0_tready),
    .k_tdata(s1_tdata), .k_tvalid(s1_tvalid), .k_tlast(s1_tlast), .k_tready(s1_tready), .m_scores(scores),
    .m_group(group), .m_last(score_last), .m_valid(score_valid), .m_ready(score_ready)
);

net_attention_function #(
    .FUNCTION(FUNCTION), .PARALLEL(PARALLEL), .GROUPS(GROUPS), .GROUP_W(GROUP_W), .IN_W(SCORE_W), .OUT_W(F_OUT_W),
    .NIBBLES(F_NIBBLES), .MANT_W(F_MANT_W), .EXP_W(F_EXP_W), .REST_W(F_REST_W), .DROP(F_DROP), .CODE_W(F_CODE_W),
    .GRID_W(F_GRID_W), .N_MAX(F_N_MAX), .SLICE(F_SLICE), .SUM_FRAC(F_SUM_FRAC), .FOLDED(F_FOLDED),
    .FACTOR_W(F_FACTOR_W), .PLACES_W(F_PLACES_W), .FACTOR(F_FACTOR), .PLACES(F_PLACES), .PER_HEAD(F_PER_HEAD),
    .MUX_BITS(F_MUX_BITS), .EXP_FRAC(F_EXP_FRAC), .OUT_FRAC(F_OUT_FRAC), .GUARD(F_GUARD), .TABLE(F_TABLE),
    .TABLE1(F_TABLE1), .TABLE2(F_TABLE2), .TABLE3(F_TABLE3), .GRID(F_GRID)
) score_function (
    .clk(clk), .rst_n(rst_n), .s_scores(scores), .s_group(group), .s_last(score_last), .s_valid(score_valid),
    .s_ready(score_ready), .m_data(p), .m_last(p_last), .m_valid(p_valid), .m_ready(p_ready)
);

net_attention_context #(
    .ROWS(ROWS), .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .DSP(DSP), .V_W(V_W),
    .V_SIGNED(V_SIGNED), .P_IN_W(F_OUT_W), .E_FORM(E_FORM), .E_FRAC(E_FRAC), .E_CODE_W(E_CODE_W), .E_KS_W(E_KS_W),
    .E_SUM_W(E_SUM_W), .E_MANTISSAS(E_MANTISSAS), .E_MANTISSA_W(E_MANTISSA_W), .E_SHIFT(E_SHIFT), .E_LIMIT(E_LIMIT),
    .P_ROUND(P_ROUND), .P_OFFSET(P_OFFSET), .P_OFFSET_W(P_OFFSET_W), .P_SUM_W(P_SUM_W), .P_DROPPED(P_DROPPED),
    .P_EVEN(P_EVEN), .P_LIMIT(P_LIMIT), .P_W(P_W), .P_SIGNED(P_SIGNED), .CORE_W(CORE_W), .SCALE(SCALE),
    .SCALE_W(SCALE_W), .SCALED_W(SCALED_W), .OFFSET(OFFSET), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W),
    .DROPPED(DROPPED), .EVEN(EVEN), .RELU(RELU), .LIMIT(LIMIT), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED),
    .SCALES(SCALES), .OFFSETS(OFFSETS), .E_TABLE(E_TABLE), .P_OFFSET_TABLE(P_OFFSET_TABLE),
    .SCALE_TABLE(SCALE_TABLE), .OFFSET_TABLE(OFFSET_TABLE)
) by_values (
    .clk(clk), .rst_n(rst_n), .v_tdata(s2_tdata), .v_tvalid(s2_tvalid), .v_tlast(s2_tlast), .v_tready(s2_tready),
    .p_data(p), .p_last(p_last), .p_valid(p_valid), .p_ready(p_ready), .m_tdata(m_tdata), .m_tvalid(m_tvalid),
    .m_tlast(m_tlast), .m_tready(m_tready)
);

endmodule

`default_nettype wire
