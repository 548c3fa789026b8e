// SPDX-License-Identifier: Apache-2.0
//
// Streaming AILayerNorm: one element a clock, rows overlapped, 8 bits stored an element.
//
//   s_tdata --> quantise --+--> row buffer, 2 rows x 8 bits -----------------> centre, scale, shift, + beta --> m_tdata
//               (channel   |                                                      ^   (op_ailn_affine)
//                 ROM)     +--> sums Ex, Ex2 --> mean, 1/sqrt(variance) ----------+
//                               (op_ailn_stats)  (op_ailn_row)
//
// Formula:  models/operators/ailayernorm.py; every result equals its `reference`.
// Rows:     always CHANNELS elements, counted from reset.  s_tlast and s_tuser are ignored: a sender whose rows are
//           shorter or longer is out of step until the next reset.  m_tlast ends every row of CHANNELS results.
// Clocks:   with both sides always ready the first result is taken CHANNELS + 25 clocks after the first element came,
//           and rows follow each other every max(CHANNELS, 23) clocks.
//           A row is written behind the one that is read from the same half of the buffer, so no clock is lost.
// Source:   SOLE, arXiv 2510.17189, algorithm 2, equations 6, 15 and 16, figure 5.

`default_nettype none

module op_ailayernorm #(
    parameter int IN_W            = 16,
    parameter int IN_SIGNED       = 1,
    parameter int OUT_W           = 8,
    parameter int SYMMETRIC       = 0,      // 1: the smallest code is given up
    parameter int CHANNELS        = 64,
    parameter int ZERO_POINT      = 128,
    parameter int MULTIPLIER      = 1,
    parameter int QUANT_SHIFT     = 0,
    parameter int MAX_ALPHA       = 3,
    parameter int SQUARES         = 0,      // 0: squares of 4-bit codes, 1: 32 bin means, 2: exact
    parameter int MEAN_FRAC       = 4,
    parameter int RECIPROCAL      = 65536,  // of CHANNELS
    parameter int RECIPROCAL_FRAC = 22,
    parameter int RSQRT_BITS      = 9,
    parameter int INDEX_BITS      = 5,
    parameter int GAMMA_BITS      = 8,
    parameter int BIAS_BITS       = 12,
    parameter int BIAS_FRAC       = 4,
    parameter int AFFINE_SHIFT    = 12,
    parameter CHANNEL_ROM         = "channels.mem",  // {bias, gamma, alpha} of a channel
    parameter SQUARE_ROM          = "squares.mem",
    parameter RSQRT_ROM           = "rsqrt.mem"
) (
    input  wire             clk,
    input  wire             rst_n,
    input  wire [IN_W-1:0]  s_tdata,
    input  wire [0:0]       s_tuser,
    input  wire             s_tvalid,
    input  wire             s_tlast,
    output wire             s_tready,
    output wire [OUT_W-1:0] m_tdata,
    output wire             m_tvalid,
    output wire             m_tlast,
    input  wire             m_tready
);
    localparam int AW = CHANNELS > 1 ? $clog2(CHANNELS) : 1;
    localparam int ALPHA_W = MAX_ALPHA > 1 ? 2 : 1;
    localparam int WORD = BIAS_BITS + GAMMA_BITS + ALPHA_W;
    localparam int SUM_W = 9 + MAX_ALPHA + $clog2(CHANNELS + 1);
    localparam int POWER_W = (SQUARES == 2 ? 16 : 12) + 2 * MAX_ALPHA + $clog2(CHANNELS + 1);
    localparam int MEAN_W = 9 + MAX_ALPHA + MEAN_FRAC;
    localparam int EXP_W = $clog2(8 + MAX_ALPHA + MEAN_FRAC);
    localparam logic [AW-1:0] LAST = AW'(CHANNELS - 1);

    // ------------------------------------------------------------------------------------------------- writing side
    logic [AW-1:0] wr, rd;        // next channel to accept, to read
    logic [1:0]    ahead;         // rows accepted and not yet read
    logic          pending;       // a row is accepted whose constants are not yet in use
    logic          release_row, reading;
    wire wr_last = wr == LAST;
    wire rd_last = rd == LAST;
    assign s_tready = !(ahead[1] && wr == rd) && !(pending && wr_last);
    wire accept = s_tvalid && s_tready;
    wire row_in = accept && wr_last;
    wire row_out = reading && rd_last;

    always_ff @(posedge clk) begin
        if (!rst_n) begin
            wr <= '0;
            rd <= '0;
            ahead <= '0;
            pending <= 1'b0;
        end else begin
            if (accept) wr <= wr_last ? '0 : wr + 1'b1;
            if (reading) rd <= rd_last ? '0 : rd + 1'b1;
            if (row_in != row_out) ahead <= row_in ? ahead + 1'b1 : ahead - 1'b1;
            if (row_in) pending <= 1'b1;
            else if (release_row) pending <= 1'b0;
        end
    end

    // ------------------------------------------------------------------------- constants of the channels, row buffer
    // Padded: synthesis weighs tables by their full size, and this one should become block RAM.
    localparam int ROM_W = CHANNELS > 64 ? 10 : AW;
    logic [WORD-1:0] channel_rom [0:(1<<ROM_W)-1];
    logic [WORD-1:0] word_in, word_out;
    initial $readmemh(CHANNEL_ROM, channel_rom);

    logic [7:0]  rows [0:(2<<AW)-1];
    logic [7:0]  stored;
    logic [AW:0] at_in, at_out;   // {half, channel}
    wire [7:0]   code;
    wire         code_valid;
    wire         advance;

    always_ff @(posedge clk) if (accept) word_in <= channel_rom[ROM_W'(wr)];
    always_ff @(posedge clk) if (code_valid) rows[at_in] <= code;
    always_ff @(posedge clk)
        if (advance) begin
            stored <= rows[at_out];
            word_out <= channel_rom[ROM_W'(rd)];
        end

    logic        half_in, half_out;
    logic [AW:0] at1, at2, at3;   // follow an element through the quantiser
    assign at_in = at3;
    assign at_out = {half_out, rd};
    always_ff @(posedge clk) begin
        if (!rst_n) begin
            half_in <= 1'b0;
            half_out <= 1'b0;
        end else begin
            if (row_in) half_in <= !half_in;
            if (row_out) half_out <= !half_out;
        end
        at1 <= {half_in, wr};
        at2 <= at1;
        at3 <= at2;
    end

    // ----------------------------------------------------------------------------------------------------- the stages
    wire signed [SUM_W-1:0]  total;
    wire [POWER_W-1:0]       power;
    wire                     total_valid;
    wire signed [MEAN_W-1:0] negative_mean;
    wire [RSQRT_BITS-1:0]    inverse;
    wire [EXP_W-1:0]         exponent;
    wire                     row_ready;

    op_ailn_stats #(
        .IN_W(IN_W), .IN_SIGNED(IN_SIGNED), .ZERO_POINT(ZERO_POINT), .MULTIPLIER(MULTIPLIER),
        .QUANT_SHIFT(QUANT_SHIFT), .MAX_ALPHA(MAX_ALPHA), .ALPHA_W(ALPHA_W), .SQUARES(SQUARES), .SUM_W(SUM_W),
        .POWER_W(POWER_W), .SQUARE_ROM(SQUARE_ROM)
    ) stats (
        .clk(clk), .rst_n(rst_n), .x(s_tdata), .alpha(word_in[ALPHA_W-1:0]), .valid(accept), .first(wr == '0), .last(wr_last),
        .code(code), .code_valid(code_valid), .total(total), .power(power),
        .total_valid(total_valid)
    );

    op_ailn_row #(
        .SUM_W(SUM_W), .POWER_W(POWER_W), .MEAN_W(MEAN_W), .MEAN_FRAC(MEAN_FRAC), .SCALE(SQUARES == 2 ? 0 : 4),
        .RECIPROCAL(RECIPROCAL), .RECIPROCAL_FRAC(RECIPROCAL_FRAC), .PAIRS(8 + MAX_ALPHA + MEAN_FRAC), .EXP_W(EXP_W),
        .INDEX_BITS(INDEX_BITS), .RSQRT_BITS(RSQRT_BITS), .RSQRT_ROM(RSQRT_ROM)
    ) row (
        .clk(clk), .rst_n(rst_n), .total(total), .power(power), .start(total_valid), .taken(release_row),
        .negative_mean(negative_mean), .inverse(inverse), .exponent(exponent), .ready(row_ready)
    );

    op_ailn_affine #(
        .OUT_W(OUT_W), .SYMMETRIC(SYMMETRIC), .ZERO_POINT(ZERO_POINT), .MAX_ALPHA(MAX_ALPHA), .ALPHA_W(ALPHA_W),
        .MEAN_W(MEAN_W), .MEAN_FRAC(MEAN_FRAC), .RSQRT_BITS(RSQRT_BITS), .EXP_W(EXP_W), .GAMMA_BITS(GAMMA_BITS),
        .BIAS_BITS(BIAS_BITS), .BIAS_FRAC(BIAS_FRAC), .AFFINE_SHIFT(AFFINE_SHIFT)
    ) affine (
        .clk(clk), .rst_n(rst_n), .row_ready(row_ready), .first(rd == '0), .last(rd_last), .code(stored), .word(word_out),
        .negative_mean(negative_mean), .inverse(inverse), .exponent(exponent), .advance(advance), .reading(reading),
        .release_row(release_row), .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast), .m_tready(m_tready)
    );

    wire unused = &{1'b0, s_tlast, s_tuser, word_in};
endmodule

`default_nettype wire
