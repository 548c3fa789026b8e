// SPDX-License-Identifier: Apache-2.0
// ConSmax by split tables: exp of a code is a product of short floating-point numbers, one for each nibble.
//
//   s_tdata --+- nibble 0 --> table: mantissa, shift --\
//             +- ...                                    >-- product --> DROP low bits --> >> shift --> round half up
//             +- nibble n --> table: mantissa, shift --/    sum of shifts ----------------^        --> saturate
//                                                                                                  --> head's shift
//   p = min(2^CODE_W - 1, round(m0 m1 ... 2^-(e0 + e1 + ...))) << head_shift
//
// A shift is stored without the part that saturates for certain: a sum below 0 stands for all of that, and one of
// REST_W or more leaves 0. Products are whole; there is one rounding.
// One element a clock, no state between elements. Latency 4 clocks (5 for four nibbles): a row of N is out N + 4
// (N + 5) clocks after its first word was offered.
// Source: ConSmax (ICCAD 2024), figure 4a and section IV-B; C is folded into the top table, so that one multiplier
// of its two is left.
`default_nettype none

module op_consmax_split #(
    parameter int NIBBLES = 2,  // 2 or 4
    parameter int MANT_W = 8,
    parameter int EXP_W = 6,  // a table's shift, signed
    parameter int REST_W = 10,  // bits of the product that count
    parameter int DROP = 6,  // bits that do not
    parameter int CODE_W = 8,
    parameter int OUT_W = 8,
    parameter int GRID_W = 1,  // head's shift; 0 to OUT_W - CODE_W
    parameter int USER_W = 2,
    parameter int HEADS = 1,
    parameter TABLE0 = "op_consmax_split_table0.mem",  // {head, nibble}: {shift, mantissa}
    parameter TABLE1 = "op_consmax_split_table1.mem",
    parameter TABLE2 = "op_consmax_split_table2.mem",
    parameter TABLE3 = "op_consmax_split_table3.mem",
    parameter GRID = "op_consmax_split_grid.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [4*NIBBLES-1:0] s_tdata,
    input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int HEAD_W = USER_W - 1;
localparam int ADDR_W = (HEADS > 1 ? HEAD_W : 0) + 4;
localparam int WORD_W = EXP_W + MANT_W;
localparam int PRODUCT_W = NIBBLES * MANT_W;
localparam int SUM_W = EXP_W + 2;
localparam int DEPTH = 2 + NIBBLES / 2;  // registers up to the shifted product

wire run;
assign s_tready = run;

// What travels along: valid, last and keep.
logic [DEPTH:0] valid, last;
logic [DEPTH-1:0] keep;
always_ff @(posedge clk) begin
    if (run) begin
        last <= {last[DEPTH-1:0], s_tlast};
        keep <= {keep[DEPTH-2:0], s_tuser[USER_W-1]};
    end
    if (!rst_n) valid <= '0;
    else if (run) valid <= {valid[DEPTH-1:0], s_tvalid};
end

// --- 1: the tables, all at once ------------------------------------------------------------------------------
wire [NIBBLES*MANT_W-1:0] mantissas;
wire [NIBBLES*SUM_W-1:0] shifts;
genvar n;
generate
    for (n = 0; n < NIBBLES; n++) begin : gen_nibble
        logic [WORD_W-1:0] rom [0:HEADS*16-1];
        if (n == 0) begin : gen_file
            initial $readmemh(TABLE0, rom);
        end else if (n == 1) begin : gen_file
            initial $readmemh(TABLE1, rom);
        end else if (n == 2) begin : gen_file
            initial $readmemh(TABLE2, rom);
        end else begin : gen_file
            initial $readmemh(TABLE3, rom);
        end
        wire [ADDR_W-1:0] place;
        if (HEADS > 1) begin : gen_heads
            assign place = {s_tuser[HEAD_W-1:0], s_tdata[4*n +: 4]};
        end else begin : gen_one_head
            assign place = s_tdata[4*n +: 4];
        end
        logic [WORD_W-1:0] word;
        always_ff @(posedge clk) if (run) word <= rom[place];
        assign mantissas[n*MANT_W +: MANT_W] = word[MANT_W-1:0];
        assign shifts[n*SUM_W +: SUM_W] = {{2{word[WORD_W-1]}}, word[WORD_W-1:MANT_W]};
    end
endgenerate

// --- 2: the product and the sum of shifts; two clocks for four nibbles --------------------------------------
logic [PRODUCT_W-1:0] product;
logic [SUM_W-1:0] sum;
generate
    if (NIBBLES == 2) begin : gen_two
        always_ff @(posedge clk) if (run) begin
            product <= mantissas[0 +: MANT_W] * mantissas[MANT_W +: MANT_W];
            sum <= shifts[0 +: SUM_W] + shifts[SUM_W +: SUM_W];
        end
    end else begin : gen_four
        logic [2*MANT_W-1:0] low, high;
        logic [SUM_W-1:0] sum_low, sum_high;
        always_ff @(posedge clk) if (run) begin
            low <= mantissas[0 +: MANT_W] * mantissas[MANT_W +: MANT_W];
            high <= mantissas[2*MANT_W +: MANT_W] * mantissas[3*MANT_W +: MANT_W];
            sum_low <= shifts[0 +: SUM_W] + shifts[SUM_W +: SUM_W];
            sum_high <= shifts[2*SUM_W +: SUM_W] + shifts[3*SUM_W +: SUM_W];
            product <= low * high;
            sum <= sum_low + sum_high;
        end
    end
endgenerate

// --- 3: shift; a negative one saturates ----------------------------------------------------------------------
logic [REST_W-1:0] rest;
always_ff @(posedge clk) if (run) begin
    if (sum[SUM_W-1]) rest <= '1;
    else rest <= product[PRODUCT_W-1:DROP] >> sum[SUM_W-2:0];
end

// --- 4: round half up, saturate, the head's shift, mask ------------------------------------------------------
wire [REST_W-1:0] rounded = {1'b0, rest[REST_W-1:1]} + {{(REST_W-1){1'b0}}, rest[0]};
wire [CODE_W-1:0] code = |rounded[REST_W-1:CODE_W] ? '1 : rounded[CODE_W-1:0];
wire unused = ^{s_tuser, product[DROP-1:0]};
logic [OUT_W-1:0] p;
generate
    if (OUT_W == CODE_W) begin : gen_one_grid
        always_ff @(posedge clk) if (run) begin
            if (!keep[DEPTH-1]) p <= '0;
            else p <= code;
        end
    end else begin : gen_grids
        logic [GRID_W-1:0] grid [0:HEADS-1];
        initial $readmemh(GRID, grid);
        logic [DEPTH*HEAD_W-1:0] head;  // travels along
        always_ff @(posedge clk) if (run) head <= {head[(DEPTH-1)*HEAD_W-1:0], s_tuser[HEAD_W-1:0]};
        wire [OUT_W-1:0] wide = {{(OUT_W-CODE_W){1'b0}}, code};
        always_ff @(posedge clk) if (run) begin
            if (!keep[DEPTH-1]) p <= '0;
            else p <= wide << grid[head[(DEPTH-1)*HEAD_W +: HEAD_W]];
        end
    end
endgenerate

op_hold #(.WIDTH(OUT_W + 1)) hold (
    .clk(clk), .rst_n(rst_n), .d({last[DEPTH], p}), .v(valid[DEPTH]), .run(run),
    .m_data({m_tlast, m_tdata}), .m_valid(m_tvalid), .m_ready(m_tready)
);

endmodule

`default_nettype wire
