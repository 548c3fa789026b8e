// SPDX-License-Identifier: Apache-2.0
//
// Exact integer LayerNorm of rows that arrive one channel a clock.
//
//     s --+--> [ x: CHANNELS and what arrives while a row is worked out ] --> C x - T --> ( x G ) --> ( x r ) --> >> --> + B --> m
//         |                                                                      ^                      ^         ^
//         +--> + --> T ----------------------------------------------------------+                      |         |
//         +--> x ((C - 1) x - 2 T) --> + --> V --> root, two bits of V a clock --> 1 / root, a bit a clock -- e --+
//
// Formula:  T = sum x,  V = C sum x^2 - T^2,  e = floor(log4 V),  root = isqrt(V 4^(ROOT_BITS-1-e)),
//           r = (2^(RSQRT_BITS + ROOT_BITS) + floor(root/2)) div root,
//           y = limit((((G (C x - T) r) >> (SHIFT + e)) + B) >> BIAS_FRAC),  B with its rounding constant
// V needs no product of sums: (T + x)^2 = T^2 + x (2 T + x), so an element adds x ((C - 1) x - 2 T) with T before it.
// The root's first one bit comes with the first pair of V that is not zero: V is not normalised first, and a root of
// ROOT_BITS bits is the end.  V = 0 has no such end; it stops with e = 0, and C x - T = 0 whatever its r.
//
// Cycles:   rows overlap; CHANNELS a row, at least 7 + (E - e) + ROOT_BITS and RSQRT_BITS + 5, E the largest e.
//           A row in an empty unit: 2 CHANNELS + (E - e) + ROOT_BITS + RSQRT_BITS + 20 to its last result.
// Row:      CHANNELS elements, counted: s_tlast is not looked at, m_tlast ends what was counted.
// Source:   LayerNorm, arXiv 1607.06450; root and reciprocal by the non-restoring method, base 2.
`default_nettype none

module op_layernorm #(
    parameter int IN_W = 8,
    parameter int IN_SIGNED = 1,
    parameter int OUT_W = 8,       // signed
    parameter int USER_W = 1,      // not looked at
    parameter int CHANNELS = 64,
    parameter int ROOT_BITS = 16,
    parameter int RSQRT_BITS = 16,
    parameter int GAMMA_W = 8,     // signed
    parameter int BIAS_W = 12,     // signed
    parameter int BIAS_FRAC = 4,
    parameter int SHIFT = 16,      // right shift of the product for e = 0
    parameter int SCALED_W = 16,   // signed bits behind that shift; no row has more
    parameter ROM_FILE = "layernorm.mem"  // CHANNELS words {B, G}
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

// All that is multiplied is signed from its first sum on: Yosys packs sums in front of a product into the wider adder of
// a DSP block, where one that wraps would not be the same.  No register behind a product is wider than the product: Yosys
// 0.70 moves the product's bits of such a register into the DSP block and leaves its sign bits without a source.
localparam int LOG = $clog2(CHANNELS);
localparam int PLACE_W = LOG > 0 ? LOG : 1;
localparam int TOTAL_W = IN_W + LOG;
localparam int CENTRED_W = TOTAL_W + 1;
localparam int FACTOR_W = TOTAL_W + 2;
localparam int VARIANCE_W = 2 * (TOTAL_W - 1) > 2 ? 2 * (TOTAL_W - 1) : 2;
localparam int ADDED_W = FACTOR_W + IN_W < VARIANCE_W ? FACTOR_W + IN_W : VARIANCE_W;
localparam int TOP = VARIANCE_W / 2 - 1;  // largest e
localparam int E_W = $clog2(TOP + ROOT_BITS + 1);
localparam int REST_W = ROOT_BITS + 3;
localparam int RATIO_W = RSQRT_BITS + 2;
localparam int STEPS = RATIO_W + 1;
localparam int STEP_W = $clog2(STEPS + 2);
localparam int BUFFER_W = $clog2(CHANNELS + TOP + ROOT_BITS + RSQRT_BITS + 16);
localparam int SLOPED_W = GAMMA_W + CENTRED_W - 1;
localparam int PRODUCT_W = SLOPED_W + RSQRT_BITS + 1;
localparam int SUM_W = (SCALED_W > BIAS_W ? SCALED_W : BIAS_W) + 1;
localparam [IN_W-1:0] HALF_RANGE = {1'b1, {(IN_W - 1){1'b0}}};
localparam [ROOT_BITS:0] HALF_REST = {{ROOT_BITS{1'b0}}, 1'b1} << (ROOT_BITS - 2);
localparam [E_W-1:0] FIRST_E = E_W'(TOP + ROOT_BITS);

wire unused = &{1'b0, s_tuser, s_tlast, 1'b0};

// --- in: the buffer, the sum and the variance -----------------------------------------------------------
reg [IN_W-1:0] buffer [0:(1<<BUFFER_W)-1];
reg [BUFFER_W:0] put;
reg [BUFFER_W:0] get;
reg [PLACE_W-1:0] place;
reg [2:0] rows;      // taken, modulo 8
reg [2:0] freed;     // of these, rows that left; four may be under way
reg [1:0] summed;
reg pacing;          // the next row may not end yet: its variance would meet a busy root

(* ram_style = "distributed" *) reg [TOTAL_W-1:0] totals [0:3];
reg signed [IN_W-1:0] x_1, x_2, x_3;
reg signed [TOTAL_W-1:0] total, total_2;
reg signed [TOTAL_W:0] scaled_2;
reg signed [FACTOR_W-1:0] factor_3;
reg signed [ADDED_W-1:0] product_4;
reg [VARIANCE_W-1:0] power;  // at no time negative, nor more than fits
reg [4:1] valid;
reg [5:1] last;
reg first_4;

wire at_end = place == PLACE_W'(CHANNELS - 1);
wire crowded = rows == {!freed[2], freed[1:0]};
assign s_tready = put != {!get[BUFFER_W], get[BUFFER_W-1:0]} && !(at_end && (pacing || crowded));
wire take = s_tvalid && s_tready;
// Unsigned codes less half their range: what a row has in common changes neither V nor C x - T.
wire [IN_W-1:0] x_0 = IN_SIGNED != 0 ? s_tdata : s_tdata ^ HALF_RANGE;
wire signed [TOTAL_W-1:0] total_next = total + TOTAL_W'(x_1);
wire root_taken;
wire signed [TOTAL_W:0] channels_x_1;
wire [VARIANCE_W-1:0] added_4 = VARIANCE_W'(product_4);

op_multiple #(
    .FACTOR(CHANNELS),
    .IN_W(IN_W),
    .OUT_W(TOTAL_W + 1)
) in_multiple (
    .x(x_1),
    .y(channels_x_1)
);

always @(posedge clk) begin
    if (take)
        buffer[put[BUFFER_W-1:0]] <= x_0;
    x_1 <= x_0;
    x_2 <= x_1;
    x_3 <= x_2;
    scaled_2 <= channels_x_1 - CENTRED_W'(x_1);
    total_2 <= total;
    factor_3 <= FACTOR_W'(scaled_2) - (FACTOR_W'(total_2) <<< 1);
    product_4 <= factor_3 * x_3;
    if (valid[4])
        power <= first_4 ? added_4 : power + added_4;
    if (last[1])
        totals[summed] <= total_next;
    if (!rst_n) begin
        put <= '0;
        place <= '0;
        rows <= 3'd0;
        summed <= 2'd0;
        pacing <= 1'b0;
        total <= '0;
        valid <= '0;
        last <= '0;
        first_4 <= 1'b1;
    end else begin
        valid <= {valid[3:1], take};
        last <= {last[4:1], take && at_end};
        if (take) begin
            put <= put + 1'b1;
            place <= at_end ? '0 : place + 1'b1;
            if (at_end)
                rows <= rows + 3'd1;
        end
        if (take && at_end)
            pacing <= 1'b1;
        else if (root_taken)
            pacing <= 1'b0;
        if (valid[1])
            total <= last[1] ? '0 : total_next;
        if (last[1])
            summed <= summed + 2'd1;
        if (valid[4])
            first_4 <= last[4];
    end
end

// --- the root -------------------------------------------------------------------------------------------
reg [VARIANCE_W-1:0] radicand;
reg [REST_W-1:0] root_rest;  // signed
reg [ROOT_BITS-1:0] root;
reg [E_W-1:0] exponent;      // e, when the root is there
reg rooting;
reg dividing;

wire below = root_rest[REST_W-1];
wire rooted = root[ROOT_BITS-1] || exponent == '0;
assign root_taken = rooting && rooted && !dividing;
// Minus 4 root + 1, or plus 4 root + 3.
wire [REST_W-1:0] root_trial = {1'b0, root, 2'b11} ^ {REST_W{!below}};
wire [REST_W-1:0] root_next =
    {root_rest[REST_W-3:0], radicand[VARIANCE_W-1 -: 2]} + root_trial + {{(REST_W - 2){1'b0}}, !below, !below};

always @(posedge clk) begin
    if (last[5]) begin
        radicand <= power;
        root_rest <= '0;
        root <= '0;
        exponent <= FIRST_E;
    end else if (rooting && !rooted) begin
        radicand <= radicand << 2;
        root_rest <= root_next;
        root <= {root[ROOT_BITS-2:0], !root_next[REST_W-1]};
        exponent <= exponent - 1'b1;
    end
    if (!rst_n)
        rooting <= 1'b0;
    else if (last[5])
        rooting <= 1'b1;
    else if (root_taken)
        rooting <= 1'b0;
end

// --- its reciprocal: Q = 2^(RSQRT_BITS + ROOT_BITS + 1) div root, r = (Q + 1) >> 1 ---------------------------
reg [ROOT_BITS-1:0] divisor;
reg [ROOT_BITS:0] rest;      // signed, of magnitude at most the divisor
reg [RATIO_W-1:0] quotient;
reg [STEP_W-1:0] step;
reg [E_W-1:0] divided_e;
reg [2:0] divided;
(* ram_style = "distributed" *) reg [RATIO_W-2:0] ratios [0:3];  // r - 2^RSQRT_BITS
(* ram_style = "distributed" *) reg [E_W-1:0] exponents [0:3];

wire negative = rest[ROOT_BITS];
wire finished = step == STEP_W'(STEPS);
wire [RATIO_W-1:0] ratio = quotient + {{(RATIO_W - 1){1'b0}}, !negative};

always @(posedge clk) begin
    if (root_taken) begin
        divisor <= root;
        divided_e <= exponent;
    end
    if (root_taken)
        rest <= HALF_REST;
    else
        rest <= {rest[ROOT_BITS-1:0], 1'b0} + ({1'b0, divisor} ^ {(ROOT_BITS + 1){!negative}})
            + {{ROOT_BITS{1'b0}}, !negative};
    quotient <= {quotient[RATIO_W-2:0], !negative};
    if (dividing && finished) begin
        ratios[divided[1:0]] <= {ratio[RATIO_W-1], ratio[RATIO_W-3:0]};
        exponents[divided[1:0]] <= divided_e;
    end
    step <= root_taken ? '0 : step + 1'b1;
    if (!rst_n) begin
        dividing <= 1'b0;
        divided <= 3'd0;
    end else if (root_taken)
        dividing <= 1'b1;
    else if (dividing && finished) begin
        dividing <= 1'b0;
        divided <= divided + 3'd1;
    end
end

// --- out: the products; all of it waits for the receiver ------------------------------------------------
reg [2:0] issued;
reg [PLACE_W-1:0] out_place;
reg [9:1] out_valid;
reg [9:1] out_last;
reg [1:0] row_1, row_2, row_3, row_4, row_5, row_6, row_7;
reg [IN_W-1:0] read_1;
reg signed [IN_W-1:0] read_2;
reg signed [CENTRED_W-1:0] centred_3;
wire [BIAS_W+GAMMA_W-1:0] affine_1;
reg [BIAS_W+GAMMA_W-1:0] affine_2;
reg signed [GAMMA_W-1:0] gamma_3;
reg signed [BIAS_W-1:0] bias_3, bias_4, bias_5, bias_6, bias_7, bias_8;
reg signed [SLOPED_W-1:0] sloped_4, sloped_5, sloped_6;
reg signed [RATIO_W-1:0] ratio_5;
reg signed [PRODUCT_W-1:0] product_6, product_7;
reg signed [SCALED_W-1:0] scaled_8;
reg signed [SUM_W-1:0] sum_9;

wire advance = !m_tvalid || m_tready;
wire out_go = divided != issued;
wire out_end = out_place == PLACE_W'(CHANNELS - 1);
wire signed [CENTRED_W-1:0] channels_x_2;
wire signed [TOTAL_W-1:0] total_of_2 = totals[row_2];
wire signed [PRODUCT_W-1:0] shifted_7 = product_7 >>> SHIFT;
wire signed [SCALED_W-1:0] scaled_7 = SCALED_W'(shifted_7 >>> exponents[row_7]);
wire signed [SUM_W-1:0] whole = sum_9 >>> BIAS_FRAC;

generate
    if (SUM_W > OUT_W) begin : g_limit
        wire fits = whole[SUM_W-1:OUT_W-1] == {(SUM_W - OUT_W + 1){whole[SUM_W-1]}};
        always @(posedge clk)
            if (advance)
                m_tdata <= fits ? whole[OUT_W-1:0] : {whole[SUM_W-1], {(OUT_W - 1){!whole[SUM_W-1]}}};
    end else begin : g_no_limit
        always @(posedge clk)
            if (advance)
                m_tdata <= OUT_W'(whole);
    end
endgenerate

wire [BIAS_W+GAMMA_W-1:0] unused_word;
wire unused_port = &{1'b0, unused_word, 1'b0};

op_table #(
    .WORDS(CHANNELS),
    .WIDTH(BIAS_W + GAMMA_W),
    .ADDRESS_W(PLACE_W),
    .ROM_FILE(ROM_FILE)
) affine (
    .clk(clk),
    .a_enable(advance),
    .a_address(out_place),
    .a_word(affine_1),
    .b_enable(1'b0),
    .b_address({PLACE_W{1'b0}}),
    .b_word(unused_word)
);

op_multiple #(
    .FACTOR(CHANNELS),
    .IN_W(IN_W),
    .OUT_W(CENTRED_W)
) out_multiple (
    .x(read_2),
    .y(channels_x_2)
);

always @(posedge clk) begin
    if (advance) begin
        read_1 <= buffer[get[BUFFER_W-1:0]];
        read_2 <= read_1;
        affine_2 <= affine_1;
        {row_7, row_6, row_5, row_4, row_3, row_2, row_1} <= {row_6, row_5, row_4, row_3, row_2, row_1, issued[1:0]};
        centred_3 <= channels_x_2 - CENTRED_W'(total_of_2);
        {bias_3, gamma_3} <= affine_2;
        {bias_8, bias_7, bias_6, bias_5, bias_4} <= {bias_7, bias_6, bias_5, bias_4, bias_3};
        sloped_4 <= centred_3 * gamma_3;
        sloped_5 <= sloped_4;
        ratio_5 <= {1'b0, ratios[row_4]};
        product_6 <= sloped_5 * ratio_5;
        sloped_6 <= sloped_5;
        product_7 <= product_6 + (PRODUCT_W'(sloped_6) <<< RSQRT_BITS);
        scaled_8 <= scaled_7;
        sum_9 <= SUM_W'(scaled_8) + SUM_W'(bias_8);
        out_last <= {out_last[8:1], out_end};
        m_tlast <= out_last[9];
    end
    if (!rst_n) begin
        get <= '0;
        issued <= 3'd0;
        freed <= 3'd0;
        out_place <= '0;
        out_valid <= '0;
        m_tvalid <= 1'b0;
    end else if (advance) begin
        out_valid <= {out_valid[8:1], out_go};
        m_tvalid <= out_valid[9];
        if (out_go) begin
            get <= get + 1'b1;
            out_place <= out_end ? '0 : out_place + 1'b1;
            if (out_end)
                issued <= issued + 3'd1;
        end
        // The row's last element has taken everything that is kept of the row.
        if (out_valid[7] && out_last[7])
            freed <= freed + 3'd1;
    end
end

endmodule

`default_nettype wire
