// SPDX-License-Identifier: Apache-2.0
//
// First stage of AILayerNorm: the quantiser and the two sums of a row.
//
//   x --> * mult --> + k[alpha] --> >> (shift + alpha) --> 0..255 --> code (stored)
//                                                                      |
//        total <-- ( + ) <-- << alpha <-------- x = code - zp <--------+
//                                                 |
//        power <-- ( + ) <-- << 2 alpha + 4 s <-- squares[y] <-- y, s of |x|
//
// Formula:  k[alpha] = 2^(shift + alpha - 1) + zp * 2^(shift + alpha): rounding half up and zp in one addition.
//           y = min(15, ((|x| >> 3) + 1) >> 1), s = 1 for |x| > 63; else y = min(15, ((|x| >> 1) + 1) >> 1), s = 0.
//           squares: 0 y^2 in units of 2^(4 + 4 s); 1 a mean for (s, y) in units of 2^4; 2 |x|^2 * 4^alpha.
// Clocks:   one element a clock; code 3 clocks, total 5, power 7 behind x.  alpha comes one clock behind x.
// Source:   SOLE, arXiv 2510.17189, equations 6, 15 and 16, figure 5 (Ex and Ex2 units).

`default_nettype none

module op_ailn_stats #(
    parameter int IN_W        = 16,
    parameter int IN_SIGNED   = 1,
    parameter int ZERO_POINT  = 128,
    parameter int MULTIPLIER  = 1,
    parameter int QUANT_SHIFT = 0,
    parameter int MAX_ALPHA   = 3,
    parameter int ALPHA_W     = 2,
    parameter int SQUARES     = 0,
    parameter int SUM_W       = 19,
    parameter int POWER_W     = 25,
    parameter SQUARE_ROM      = "squares.mem"
) (
    input  wire                    clk,
    input  wire                    rst_n,
    input  wire [IN_W-1:0]         x,
    input  wire [ALPHA_W-1:0]      alpha,
    input  wire                    valid,
    input  wire                    first,
    input  wire                    last,
    output wire [7:0]              code,
    output wire                    code_valid,
    output wire signed [SUM_W-1:0] total,
    output wire [POWER_W-1:0]      power,
    output wire                    total_valid  // total is that of a whole row; power is two clocks later
);
    localparam int FACTOR_W = $clog2(MULTIPLIER + 1) + 1;
    localparam int PRODUCT_W = IN_W + 1 + FACTOR_W;
    localparam int OFFSET_W = QUANT_SHIFT + MAX_ALPHA + 10;
    localparam int W = (PRODUCT_W > OFFSET_W ? PRODUCT_W : OFFSET_W) + 1;
    localparam int LIFT_W = 9 + MAX_ALPHA;
    localparam int ENTRIES = SQUARES == 2 ? 256 << ALPHA_W : SQUARES == 1 ? 32 : 16;
    localparam int SQUARE_W = SQUARES == 2 ? 16 + 2 * MAX_ALPHA : SQUARES == 1 ? 12 : 8;
    localparam int SHIFT_W = SQUARES == 0 ? 4 : 0;   // left shift of squares with s = 1
    localparam logic [W-1:0] ONE = {{(W-1){1'b0}}, 1'b1};
    localparam logic [W-1:0] ZP = {{(W-8){1'b0}}, ZERO_POINT[7:0]};

    logic [7:1] v, f, l;   // valid, first and last element of a row, by clock
    always_ff @(posedge clk) begin
        if (!rst_n) v <= '0;
        else v <= {v[6:1], valid};
        f <= {f[6:1], first};
        l <= {l[6:1], last};
    end

    // -------------------------------------------------------------------------------------------------------- quantise
    logic [IN_W-1:0]    x1;
    logic [ALPHA_W-1:0] a2, a3, a4, a5;
    logic signed [W-1:0] sum2;
    logic [W-1:0]        offset, shifted;
    wire signed [IN_W:0]       wide = {IN_SIGNED != 0 && x1[IN_W-1], x1};
    wire signed [FACTOR_W-1:0] factor = MULTIPLIER[FACTOR_W-1:0];
    wire signed [PRODUCT_W-1:0] product = wide * factor;
    wire signed [W-1:0] widened = {{(W-PRODUCT_W){product[PRODUCT_W-1]}}, product};

    always_comb begin
        offset = ((ONE << QUANT_SHIFT) >> 1) + (ZP << QUANT_SHIFT);
        shifted = sum2 >>> QUANT_SHIFT;
        for (int i = 1; i <= MAX_ALPHA; i++) begin
            if (alpha == ALPHA_W'(i)) offset = (ONE << (QUANT_SHIFT + i - 1)) + (ZP << (QUANT_SHIFT + i));
            if (a2 == ALPHA_W'(i)) shifted = sum2 >>> (QUANT_SHIFT + i);
        end
    end

    logic [7:0] q3;
    always_ff @(posedge clk) begin
        x1 <= x;
        sum2 <= widened + offset;
        q3 <= shifted[7:0];
        if (|shifted[W-2:8]) q3 <= 8'hff;
        if (shifted[W-1]) q3 <= 8'h00;
        a2 <= alpha;
        a3 <= a2;
        a4 <= a3;
        a5 <= a4;
    end
    assign code = q3;
    assign code_valid = v[3];

    // ------------------------------------------------------------------------------------------------------ sum of x_c
    wire [8:0] centred = {1'b0, q3} - {1'b0, ZERO_POINT[7:0]};
    wire [7:0] magnitude = centred[8] ? 8'd0 - centred[7:0] : centred[7:0];
    logic [7:0]        m4;
    logic [LIFT_W-1:0] lift, lift4;
    logic [SUM_W-1:0]  total5;
    wire [LIFT_W-1:0] wide3 = {{MAX_ALPHA{centred[8]}}, centred};
    always_comb begin
        lift = wide3;
        for (int i = 1; i <= MAX_ALPHA; i++) if (a3 == ALPHA_W'(i)) lift = wide3 << i;
    end
    always_ff @(posedge clk) begin
        m4 <= magnitude;
        lift4 <= lift;
        if (v[4]) total5 <= {{(SUM_W-LIFT_W){lift4[LIFT_W-1]}}, lift4} + (total5 & {SUM_W{!f[4]}});
    end
    assign total = total5;
    assign total_valid = v[5] && l[5];

    // -------------------------------------------------------------------------------------------------- sum of squares
    logic [SQUARE_W-1:0] squares [0:ENTRIES-1];
    initial $readmemh(SQUARE_ROM, squares);
    wire coarse = |m4[7:6];
    wire [4:0] tap = coarse ? m4[7:3] : m4[5:1];
    wire [3:0] y = &tap ? 4'd15 : tap[4:1] + {3'd0, tap[0]};
    wire [$clog2(ENTRIES)-1:0] index;
    generate
        if (SQUARES == 2) begin : exact
            assign index = {a4, m4};   // a table that is large enough for block RAM shifts as well
        end else if (SQUARES == 1) begin : means
            assign index = {coarse, y};
        end else begin : codes
            assign index = y;
        end
    endgenerate

    logic [SQUARE_W-1:0] square5;
    logic [POWER_W-1:0]  power6, power7, lifted;
    logic                coarse5;
    wire [SQUARE_W+SHIFT_W-1:0] scaled = coarse5 ? {{SHIFT_W{1'b0}}, square5} << SHIFT_W : {{SHIFT_W{1'b0}}, square5};
    wire [POWER_W-1:0] padded = {{(POWER_W-SQUARE_W-SHIFT_W){1'b0}}, scaled};
    always_comb begin
        lifted = padded;
        for (int i = 1; i <= MAX_ALPHA; i++) if (SQUARES != 2 && a5 == ALPHA_W'(i)) lifted = padded << (2 * i);
    end
    always_ff @(posedge clk) begin
        square5 <= squares[index];
        coarse5 <= coarse;
        power6 <= lifted;
        if (v[6]) power7 <= power6 + (power7 & {POWER_W{!f[6]}});
    end
    assign power = power7;
    wire unused = &{1'b0, v[7], f[7], l[7], f[5], m4, y, a5, coarse5};
endmodule

`default_nettype wire
