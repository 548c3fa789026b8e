// SPDX-License-Identifier: Apache-2.0
//
// Once a row of AILayerNorm: from the two sums to the mean and the reciprocal of the standard deviation.
//
//   total, low, high, -mean --> a --+
//                                   ( x ) --> m --> ( + ) --> p --+--> mean (step 3)
//   R, mean ------------------> b --+                 ^           +--> variance (step 9) --> leading one --> table
//                          half, 0, p >> HALF --> c --+                                        |              |
//                                                                                         exponent         inverse
//
// Formula:  mean = (total * R + half) >> (frac - f);  variance = ((power * R) >> (frac - 2 f - scale)) - mean^2, >= 1,
//           with power = high * 2^HALF + low and two shifts by HALF, so that one multiplier of 25 x 18 bits is enough:
//             p = total * R + half;  p = low * R;  p = high * R + (p >> HALF);  p = -mean * mean + (p >> HALF)
//           exponent = floor(position of the leading one / 2);  inverse from the position's last bit and the bits after
//           the leading one.
// Clocks:   ready 12 clocks after start; one row at a time: the next start comes after taken.
// Source:   SOLE, arXiv 2510.17189, algorithm 2, lines 11 and 12; the table's size is a parameter.

`default_nettype none

module op_ailn_row #(
    parameter int SUM_W           = 19,
    parameter int POWER_W         = 25,
    parameter int MEAN_W          = 16,
    parameter int MEAN_FRAC       = 4,
    parameter int SCALE           = 4,      // left shift from units of power to squares
    parameter int RECIPROCAL      = 65536,
    parameter int RECIPROCAL_FRAC = 22,
    parameter int PAIRS           = 15,     // pairs of bits of a variance
    parameter int EXP_W           = 4,
    parameter int INDEX_BITS      = 5,
    parameter int RSQRT_BITS      = 9,
    parameter RSQRT_ROM           = "rsqrt.mem"
) (
    input  wire                     clk,
    input  wire                     rst_n,
    input  wire signed [SUM_W-1:0]  total,  // taken at start
    input  wire [POWER_W-1:0]       power,  // taken two clocks later
    input  wire                     start,
    input  wire                     taken,
    output wire signed [MEAN_W-1:0] negative_mean,
    output wire [RSQRT_BITS-1:0]    inverse,
    output wire [EXP_W-1:0]         exponent,
    output wire                     ready
);
    localparam int DROP = RECIPROCAL_FRAC - 2 * MEAN_FRAC;  // >= 2
    localparam int HALF = (DROP + 1) / 2;
    localparam int UP = SCALE + 2 * HALF - DROP;            // an odd DROP is made even by doubling power
    localparam int FULL_W = POWER_W + UP;
    localparam int HIGH_W = FULL_W - HALF;
    localparam int A_MIN = SUM_W > MEAN_W + 1 ? SUM_W : MEAN_W + 1;
    localparam int A_W = A_MIN > HIGH_W + 1 ? A_MIN : HIGH_W + 1;
    localparam int B_W = MEAN_W > 18 ? MEAN_W : 18;
    localparam int P_W = A_W + B_W + 1;
    localparam int MEAN_SHIFT = RECIPROCAL_FRAC - MEAN_FRAC;
    localparam logic [P_W-1:0] ROUND = {{(P_W-1){1'b0}}, 1'b1} << (MEAN_SHIFT - 1);
    localparam logic [3:0] DONE = 4'd12;

    logic [3:0] step;   // 0: idle, or a row starts
    always_ff @(posedge clk) begin
        if (!rst_n) step <= 4'd0;
        else if (step == 4'd0) step <= {3'd0, start};
        else if (step == DONE) step <= taken ? 4'd0 : DONE;
        else step <= step + 4'd1;
    end
    assign ready = step == DONE;

    // ------------------------------------------------------------------------------------------------- the multiplier
    logic signed [A_W-1:0]     a;
    logic signed [B_W-1:0]     b;
    logic signed [A_W+B_W-1:0] m;
    logic signed [P_W-1:0]     c, p;
    logic signed [MEAN_W-1:0]  mean, minus;
    logic [HIGH_W-1:0]         high;
    wire [FULL_W-1:0] full = {{UP{1'b0}}, power} << UP;
    wire [HALF-1:0]   low = full[HALF-1:0];

    always_ff @(posedge clk) begin
        case (step[2:1])   // the sums are there in steps 0 and 2
            2'd0: a <= {{(A_W-SUM_W){total[SUM_W-1]}}, total};
            2'd1: a <= {{(A_W-HALF){1'b0}}, low};
            2'd2: a <= {{(A_W-HIGH_W){1'b0}}, high};
            default: a <= {{(A_W-MEAN_W){minus[MEAN_W-1]}}, minus};
        endcase
        b <= RECIPROCAL[B_W-1:0];
        if (step[2:1] == 2'd3) b <= {{(B_W-MEAN_W){mean[MEAN_W-1]}}, mean};
        m <= a * b;
        c <= p >>> HALF;
        if (step == 4'd1) c <= ROUND;
        if (step == 4'd3) c <= '0;
        if (!step[0]) p <= c + m;
        if (step == 4'd2) high <= full[FULL_W-1:HALF];
        if (step == 4'd3) mean <= p[MEAN_SHIFT+MEAN_W-1:MEAN_SHIFT];
        minus <= -mean;
    end
    assign negative_mean = minus;

    // ------------------------------------------------------------------------------------- reciprocal square root
    logic [RSQRT_BITS-1:0] table_rom [0:(2<<INDEX_BITS)-1];
    initial $readmemh(RSQRT_ROM, table_rom);
    wire [EXP_W-1:0]       place;
    logic [EXP_W-1:0]      e;
    wire [INDEX_BITS+1:0]  window;   // the pair with the leading one and the bits behind it
    logic [INDEX_BITS:0]   index;
    logic [RSQRT_BITS-1:0] v;
    logic                  minimum;  // the variance is below 1
    wire [2*PAIRS+INDEX_BITS-1:0] tail = {p[2*PAIRS-1:0], {INDEX_BITS{1'b0}}};
    wire [2*PAIRS+INDEX_BITS-1:0] moved = tail >> {e, 1'b0};
    assign window = moved[INDEX_BITS+1:0];
    function automatic [EXP_W-1:0] highest_pair(input [2*PAIRS-1:0] x);
        highest_pair = '0;
        for (int i = 1; i < PAIRS; i++) if (|(x >> (2 * i))) highest_pair = EXP_W'(i);
    endfunction
    assign place = highest_pair(p[2*PAIRS-1:0]);
    always_ff @(posedge clk) begin
        if (step == 4'd9) begin
            e <= p[2*PAIRS] ? '0 : place;
            minimum <= p[2*PAIRS];
        end
        index <= window[INDEX_BITS+1] ? window[INDEX_BITS+1:1] : {1'b0, window[INDEX_BITS-1:0]};
        if (minimum) index <= '0;
        if (step == 4'd11) v <= table_rom[index];
    end
    wire unused = &{1'b0, moved};
    assign inverse = v;
    assign exponent = e;
endmodule

`default_nettype wire
