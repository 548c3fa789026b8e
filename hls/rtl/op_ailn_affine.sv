// SPDX-License-Identifier: Apache-2.0
//
// Last stage of AILayerNorm: reads a row back and applies mean, deviation, gamma and beta.
//
//   code --> - zp --> << (alpha + f) --> ( + ) <-- -mean
//                                          | t
//   gamma --> ( x ), radix 4 --> slope --( x )--> >> (AFFINE_SHIFT + e) --> ( + ) --> >> fb, limited --> m_tdata
//   inverse ----^                                                             ^
//   bias ---------------------------------------------------------------------+
//
// Formula:  m = limit((((gamma * v * t) >> (AFFINE_SHIFT + e)) + bias) >> fb);  bias has the half of the last shift.
//           gamma * v = sum of d_k 4^k gamma with digits d_k = v[2k-1] + v[2k] - 2 v[2k+1] of -2 to 2 (Booth), which
//           takes additions only; t * slope takes one multiplier of 25 x 18 bits.
// Clocks:   one element a clock; 9 from reading to m_tdata.  All registers stop while the output waits; the constants
//           of a row are loaded with its first element, clock by clock, and the row stage is then released.
// Source:   SOLE, arXiv 2510.17189, algorithm 2, lines 13 to 17.

`default_nettype none

module op_ailn_affine #(
    parameter int OUT_W        = 8,
    parameter int SYMMETRIC    = 0,      // 1: the smallest code is given up
    parameter int ZERO_POINT   = 128,
    parameter int MAX_ALPHA    = 3,
    parameter int ALPHA_W      = 2,
    parameter int MEAN_W       = 16,
    parameter int MEAN_FRAC    = 4,
    parameter int RSQRT_BITS   = 9,
    parameter int EXP_W        = 4,
    parameter int GAMMA_BITS   = 8,
    parameter int BIAS_BITS    = 12,
    parameter int BIAS_FRAC    = 4,
    parameter int AFFINE_SHIFT = 12
) (
    input  wire                                    clk,
    input  wire                                    rst_n,
    input  wire                                    row_ready,    // constants of the next row
    input  wire                                    first,        // of the element that is read next
    input  wire                                    last,
    input  wire [7:0]                              code,         // one clock behind reading
    input  wire [BIAS_BITS+GAMMA_BITS+ALPHA_W-1:0] word,
    input  wire signed [MEAN_W-1:0]                negative_mean,
    input  wire [RSQRT_BITS-1:0]                   inverse,
    input  wire [EXP_W-1:0]                        exponent,
    output wire                                    advance,
    output wire                                    reading,
    output wire                                    release_row,
    output wire [OUT_W-1:0]                        m_tdata,
    output wire                                    m_tvalid,
    output wire                                    m_tlast,
    input  wire                                    m_tready
);
    localparam int LIFT_W = 9 + MAX_ALPHA;
    localparam int T_W = MEAN_W + 1;
    localparam int SLOPE_W = GAMMA_BITS + RSQRT_BITS;
    localparam int PRODUCT_W = T_W + SLOPE_W;
    localparam int SHIFTED_W = PRODUCT_W > AFFINE_SHIFT ? PRODUCT_W - AFFINE_SHIFT : 1;
    // what has more bits than KEPT_W is beyond the limits, whatever bias is added
    localparam int KEPT_W = (OUT_W + BIAS_FRAC > BIAS_BITS ? OUT_W + BIAS_FRAC : BIAS_BITS) + 1;
    localparam int WIDE_W = (SHIFTED_W > KEPT_W + 3 ? SHIFTED_W : KEPT_W + 3) + 1;
    localparam int SUM_W = KEPT_W + 1;
    localparam int DIGITS = RSQRT_BITS / 2 + 1;
    localparam int EARLY = (DIGITS + 1) / 2;   // digits of the first clock
    localparam int HIGH_W = GAMMA_BITS + 2;    // what a digit is added to

    // --------------------------------------------------------------------------------------------------------- control
    logic [9:1] valid, ends;
    logic [5:1] starts;
    logic       active, claimed;   // a row is being read; its constants are not all loaded
    assign advance = !valid[9] || m_tready;
    assign reading = advance && (active || (row_ready && !claimed));
    assign release_row = advance && valid[5] && starts[5];
    always_ff @(posedge clk) begin
        if (!rst_n) begin
            valid <= '0;
            active <= 1'b0;
            claimed <= 1'b0;
        end else begin
            if (reading) active <= !last;
            if (reading && first) claimed <= 1'b1;
            else if (release_row) claimed <= 1'b0;
            if (advance) valid <= {valid[8:1], reading};
        end
        if (advance) begin
            ends <= {ends[8:1], last};
            starts <= {starts[4:1], first};
        end
    end
    assign m_tvalid = valid[9];
    assign m_tlast = ends[9];

    // ---------------------------------------------------------------------------- clock 2: behind memories; 3: gamma * v
    logic [7:0]                   code2;
    logic [ALPHA_W-1:0]           alpha2;
    logic signed [GAMMA_BITS-1:0] gamma2, gamma3;
    logic [BIAS_BITS-1:0]         bias2, bias3, bias4, bias5, bias6, bias7;
    logic [RSQRT_BITS-1:0]        v2, v3;
    logic [2*EARLY-1:0]           slope3_low;
    logic [HIGH_W-1:0]            slope3;
    logic [2*DIGITS-1:0]          slope4_low;
    logic [HIGH_W-1:0]            slope4;
    wire [2*DIGITS:0] digits2 = {{(2*DIGITS-RSQRT_BITS){1'b0}}, v2, 1'b0};
    wire [2*DIGITS:0] digits3 = {{(2*DIGITS-RSQRT_BITS){1'b0}}, v3, 1'b0};
    wire [(DIGITS+1)*HIGH_W-1:0] partial;     // sums without the bits that no later digit changes
    wire [2*DIGITS-1:0]          partial_low;
    assign partial[HIGH_W-1:0] = '0;

    generate
        for (genvar k = 0; k < DIGITS; k++) begin : digit
            wire [2:0] d = k < EARLY ? digits2[2*k+:3] : digits3[2*k+:3];
            wire signed [GAMMA_BITS-1:0] g = k < EARLY ? gamma2 : gamma3;
            wire one = d[1] ^ d[0];
            wire two = d == 3'b011 || d == 3'b100;
            wire [HIGH_W-1:0] times = {HIGH_W{one}} & {{2{g[GAMMA_BITS-1]}}, g}
                                    | {HIGH_W{two}} & {g[GAMMA_BITS-1], g, 1'b0};
            wire [HIGH_W-1:0] prior = k == EARLY ? slope3 : partial[k*HIGH_W+:HIGH_W];
            wire [HIGH_W:0] sum = {prior, 1'b1} + {times ^ {HIGH_W{d[2]}}, d[2]};
            assign partial[(k+1)*HIGH_W+:HIGH_W] = {{2{sum[HIGH_W]}}, sum[HIGH_W:3]};
            assign partial_low[2*k+:2] = sum[2:1];
        end
    endgenerate

    // ------------------------------------------------------------------------------- clock 3: x_c, 4: t, 5: the product
    wire [8:0] centred = {1'b0, code2} - {1'b0, ZERO_POINT[7:0]};
    logic [LIFT_W-1:0]            lift, lift3;
    logic signed [MEAN_W-1:0]     minus3;
    logic signed [T_W-1:0]        t4;
    logic signed [PRODUCT_W-1:0]  product5;
    wire [HIGH_W+2*DIGITS-1:0] slope_bits = {slope4, slope4_low};
    wire signed [SLOPE_W-1:0] slope = slope_bits[SLOPE_W-1:0];
    wire [T_W-1:0] wide3 = {{(T_W-LIFT_W){lift3[LIFT_W-1]}}, lift3};
    wire signed [T_W-1:0] lifted3 = wide3 << MEAN_FRAC;
    wire signed [T_W-1:0] wide_minus = {minus3[MEAN_W-1], minus3};
    wire [LIFT_W-1:0] wide2 = {{MAX_ALPHA{centred[8]}}, centred};
    always_comb begin
        lift = wide2;
        for (int i = 1; i <= MAX_ALPHA; i++) if (alpha2 == ALPHA_W'(i)) lift = wide2 << i;
    end

    // ----------------------------------------------------------------------- clocks 6 and 7: shift, 8: + beta, 9: limit
    logic [EXP_W-3:0]            e5;
    logic [1:0]                  e6;
    logic signed [KEPT_W+2:0]    shifted6;
    logic signed [KEPT_W-1:0]    shifted7;
    logic signed [SUM_W-1:0]     sum8;
    logic                        far5, far6, over7, under7, over8, under8;
    logic [OUT_W-1:0]            result9;
    wire signed [PRODUCT_W-1:0] down5 = product5 >>> AFFINE_SHIFT;
    wire signed [WIDE_W-1:0] scaled5 = {{(WIDE_W-SHIFTED_W){down5[SHIFTED_W-1]}}, down5[SHIFTED_W-1:0]};
    wire signed [WIDE_W-1:0] coarse5 = scaled5 >>> {e5, 2'b00};
    wire [WIDE_W-1:0] differs5 = scaled5 ^ {WIDE_W{scaled5[WIDE_W-1]}};
    wire signed [KEPT_W+2:0] fine6 = shifted6 >>> e6;
    wire sign6 = shifted6[KEPT_W+2];
    wire outside6 = far6 || fine6[KEPT_W+1:KEPT_W-1] != {3{sign6}};
    always_comb begin
        far5 = 1'b0;
        for (int i = 0; i < (1 << (EXP_W - 2)); i++)
            if (e5 == (EXP_W-2)'(i)) far5 = |(differs5 >> (KEPT_W + 2 + 4 * i));
    end
    wire signed [SUM_W-1:0] down8 = sum8 >>> BIAS_FRAC;
    wire negative = down8[SUM_W-1];
    wire over = over8 || (!under8 && !negative && |down8[SUM_W-2:OUT_W-1]);
    wire under = under8 || (negative && (!(&down8[SUM_W-2:OUT_W-1]) || (SYMMETRIC != 0 && ~|down8[OUT_W-2:0])));
    wire [OUT_W-1:0] lowest = {1'b1, {(OUT_W-2){1'b0}}, SYMMETRIC != 0};

    always_ff @(posedge clk)
        if (advance) begin
            code2 <= code;
            {bias2, gamma2, alpha2} <= word;
            gamma3 <= gamma2;
            lift3 <= lift;
            slope3 <= partial[EARLY*HIGH_W+:HIGH_W];
            slope3_low <= partial_low[2*EARLY-1:0];
            t4 <= lifted3 + wide_minus;
            slope4 <= partial[DIGITS*HIGH_W+:HIGH_W];
            slope4_low <= {partial_low[2*DIGITS-1:2*EARLY], slope3_low};
            product5 <= t4 * slope;
            bias3 <= bias2;
            bias4 <= bias3;
            bias5 <= bias4;
            bias6 <= bias5;
            bias7 <= bias6;
            if (valid[1] && starts[1]) v2 <= inverse;
            if (valid[2] && starts[2]) v3 <= inverse;
            if (valid[2] && starts[2]) minus3 <= negative_mean;
            if (valid[4] && starts[4]) e5 <= exponent[EXP_W-1:2];
            if (valid[5] && starts[5]) e6 <= exponent[1:0];
            shifted6 <= {scaled5[WIDE_W-1], coarse5[KEPT_W+1:0]};
            far6 <= far5;
            shifted7 <= fine6[KEPT_W-1:0];
            over7 <= outside6 && !sign6;
            under7 <= outside6 && sign6;
            over8 <= over7;
            under8 <= under7;
            sum8 <= {shifted7[KEPT_W-1], shifted7}
                  + {{(SUM_W-BIAS_BITS){bias7[BIAS_BITS-1]}}, bias7};
            result9 <= over ? {1'b0, {(OUT_W-1){1'b1}}} : under ? lowest : down8[OUT_W-1:0];
        end
    assign m_tdata = result9;
    wire unused = &{1'b0, slope_bits, down5, coarse5, fine6};   // upper bits that repeat the sign
endmodule

`default_nettype wire
