// SPDX-License-Identifier: Apache-2.0
// A score function for PARALLEL heads that go together: one unit each, all in step.
//
//     scores, group, last --> unit of place 0: op_consmax, ... --> p, last
//                         \-> unit of place 1 ...             -/
//
// When a unit takes or gives a word does not depend on scores, so the first one speaks for all.
// The units' tables have the heads in the order of the places, 2^GROUP_W groups for each of them (one if all heads go
// together): the head of a place and a group is {place, group}.
`default_nettype none

module net_attention_function #(
    parameter int FUNCTION = 0,  // 0 ConSmax, 1 ConSmax by split tables, 2 softmax, 3 E2Softmax, 4 its exponents
    parameter int PARALLEL = 1,
    parameter int GROUPS = 1,
    parameter int GROUP_W = 1,
    parameter int IN_W = 8,
    parameter int OUT_W = 8,
    parameter int NIBBLES = 2,
    parameter int MANT_W = 8,
    parameter int EXP_W = 6,
    parameter int REST_W = 10,
    parameter int DROP = 6,
    parameter int CODE_W = 8,
    parameter int GRID_W = 1,
    parameter int N_MAX = 16,
    parameter int SLICE = 0,
    parameter int SUM_FRAC = 15,
    parameter int FOLDED = 0,
    parameter int FACTOR_W = 5,
    parameter int PLACES_W = 4,
    parameter int FACTOR = 23,
    parameter int PLACES = 8,
    parameter int PER_HEAD = 0,
    parameter int MUX_BITS = 1,
    parameter int EXP_FRAC = 15,
    parameter int OUT_FRAC = 8,
    parameter int GUARD = 3,
    parameter TABLE = "net_attention_function_table.mem",
    parameter TABLE1 = "net_attention_function_table1.mem",
    parameter TABLE2 = "net_attention_function_table2.mem",
    parameter TABLE3 = "net_attention_function_table3.mem",
    parameter GRID = "net_attention_function_grid.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [PARALLEL*IN_W-1:0] s_scores,
    input wire [GROUP_W-1:0] s_group,
    input wire s_last,
    input wire s_valid,
    output wire s_ready,
    output wire [PARALLEL*OUT_W-1:0] m_data,
    output wire m_last,
    output wire m_valid,
    input wire m_ready
);

localparam int PLACES_OF = GROUPS > 1 ? 1 << GROUP_W : 1;  // heads of a place, with those that are not there
localparam int HEADS = PARALLEL * PLACES_OF;
localparam int HEAD_W = HEADS > 1 ? $clog2(HEADS) : 1;
localparam int USER_W = HEAD_W + 1;

wire [PARALLEL-1:0] readies, valids, lasts;
wire [HEAD_W-1:0] in_place = GROUPS > 1 ? HEAD_W'(s_group) : '0;
genvar p;

generate
    for (p = 0; p < PARALLEL; p = p + 1) begin : place
        wire [USER_W-1:0] user = {1'b1, HEAD_W'(p * PLACES_OF) | in_place};
        wire [IN_W-1:0] score = s_scores[p*IN_W +: IN_W];
        if (FUNCTION == 0) begin : unit
            op_consmax #(
                .IN_W(IN_W), .OUT_W(OUT_W), .USER_W(USER_W), .HEADS(HEADS), .TABLE(TABLE)
            ) function_unit (
                .clk(clk), .rst_n(rst_n), .s_tdata(score), .s_tuser(user), .s_tvalid(s_valid), .s_tlast(s_last),
                .s_tready(readies[p]), .m_tdata(m_data[p*OUT_W +: OUT_W]), .m_tvalid(valids[p]), .m_tlast(lasts[p]),
                .m_tready(m_ready)
            );
        end else if (FUNCTION == 1) begin : unit
            op_consmax_split #(
                .NIBBLES(NIBBLES), .MANT_W(MANT_W), .EXP_W(EXP_W), .REST_W(REST_W), .DROP(DROP), .CODE_W(CODE_W),
                .OUT_W(OUT_W), .GRID_W(GRID_W), .USER_W(USER_W), .HEADS(HEADS), .TABLE0(TABLE), .TABLE1(TABLE1),
                .TABLE2(TABLE2), .TABLE3(TABLE3), .GRID(GRID)
            ) function_unit (
                .clk(clk), .rst_n(rst_n), .s_tdata(score), .s_tuser(user), .s_tvalid(s_valid), .s_tlast(s_last),
                .s_tready(readies[p]), .m_tdata(m_data[p*OUT_W +: OUT_W]), .m_tvalid(valids[p]), .m_tlast(lasts[p]),
                .m_tready(m_ready)
            );
        end else if (FUNCTION == 2) begin : unit
            op_softmax #(
                .IN_W(IN_W), .OUT_W(OUT_W), .USER_W(USER_W), .HEADS(HEADS), .N_MAX(N_MAX), .EXP_FRAC(EXP_FRAC),
                .OUT_FRAC(OUT_FRAC), .GUARD(GUARD), .ROM_FILE(TABLE)
            ) function_unit (
                .clk(clk), .rst_n(rst_n), .s_tdata(score), .s_tuser(user), .s_tvalid(s_valid), .s_tlast(s_last),
                .s_tready(readies[p]), .m_tdata(m_data[p*OUT_W +: OUT_W]), .m_tvalid(valids[p]), .m_tlast(lasts[p]),
                .m_tready(m_ready)
            );
        end else begin : unit
            op_e2softmax #(
                .IN_W(IN_W), .OUT_W(OUT_W), .USER_W(USER_W), .N_MAX(N_MAX), .SLICE(SLICE), .CODE_W(CODE_W),
                .SUM_FRAC(SUM_FRAC), .FOLDED(FOLDED), .FACTOR_W(FACTOR_W), .PLACES_W(PLACES_W), .FACTOR(FACTOR),
                .PLACES(PLACES), .PER_HEAD(PER_HEAD), .HEADS(HEADS), .MUX_BITS(MUX_BITS),
                .EXPONENTS(FUNCTION == 4 ? 1 : 0), .CODE_FILE(TABLE), .HEAD_FILE(TABLE1)
            ) function_unit (
                .clk(clk), .rst_n(rst_n), .s_tdata(score), .s_tuser(user), .s_tvalid(s_valid), .s_tlast(s_last),
                .s_tready(readies[p]), .m_tdata(m_data[p*OUT_W +: OUT_W]), .m_tvalid(valids[p]), .m_tlast(lasts[p]),
                .m_tready(m_ready)
            );
        end
    end
endgenerate

assign s_ready = readies[0];
assign m_valid = valids[0];
assign m_last = lasts[0];
wire unused = ^{readies, valids, lasts, s_group};

endmodule

`default_nettype wire
