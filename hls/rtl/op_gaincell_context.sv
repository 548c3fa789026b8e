// SPDX-License-Identifier: Apache-2.0
// Second array of a gain-cell head: charges of a tile, and the sums of the tiles' codes.
//
//     currents --( x )--[ ]--> one product a level --> v chooses, DIM lanes --( + )--> charges, never cleared
//     pulse -------^                                                            ^---------+      |
//                                                          at the end of a tile: [ copy of all lanes ]
//                                                                                                | a lane a clock
//     y <-- + over the tiles <-- code <-- limit, round <-- ( x CODE_MUL ) <-- limit <-- ( - ) <--+
//                                                       the same lane at the tile before --^
//
// Formula:  A_d = sum_{slots of the tile} pulse I[v_d],  code = (limit(A_d, CHARGE_LIMIT) CODE_MUL + half) >> CODE_SHIFT
//           y_d = sum over the tiles of limit(code, CODE_LIMIT),  half = 2 ^ (CODE_SHIFT - 1)
// Charges run on modulo 2 ^ CHARGE_W, and the difference between two tiles is exact: this saves a clear a lane, and the
// limit is needed once.  A slot a clock; two ends of tiles are DIM clocks apart or more.  pulse, `sees` and
// currents at clock 0, v at clock 1, `ends` at clock 2, y_0 at clock 9 of a tile's last slot; the last two are one clock
// later with LANE_DSP, where v chooses the current, and each lane has a multiplier and an adder of its own.
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315; the integers are this package's.
`default_nettype none

module op_gaincell_context #(
    parameter int DIM = 64,
    parameter int LANE_DSP = 0,
    parameter int LEVELS = 8,
    parameter int V_W = 3,
    parameter int CURRENT_W = 12,
    parameter int PULSE_W = 10,  // unsigned
    parameter int PRODUCT_W = 22,  // signed, and so on
    parameter int CHARGE_W = 28,
    parameter int HELD_W = 23,
    parameter int CHARGE_LIMIT = 3072000,
    parameter int ROUNDED_W = 41,
    parameter int CODE_MUL = 86683,
    parameter int CODE_SHIFT = 34,
    parameter int CODE_LIMIT = 16,
    parameter int SUM_W = 10
) (
    input wire clk,
    input wire rst_n,
    input wire [PULSE_W-1:0] pulse,
    input wire [LEVELS*CURRENT_W-1:0] currents,
    input wire [DIM*V_W-1:0] v,
    input wire sees,  // the slot counts
    input wire ends,  // a tile's last slot
    input wire first,  // this tile is the head's first one
    input wire last,  // ... last one
    output logic [SUM_W-1:0] y,
    output logic y_valid
);

localparam int LANE_W = DIM > 1 ? $clog2(DIM) : 1;
localparam logic [LANE_W-1:0] LAST_LANE = LANE_W'(DIM - 1);
localparam logic signed [CHARGE_W-1:0] TOP = CHARGE_W'(CHARGE_LIMIT);
localparam logic signed [ROUNDED_W-1:0] MUL = ROUNDED_W'(CODE_MUL);
localparam logic signed [ROUNDED_W-1:0] HALF = CODE_SHIFT > 0 ? {{ROUNDED_W - 1{1'b0}}, 1'b1} << (CODE_SHIFT - 1) : '0;
localparam logic signed [ROUNDED_W-1:0] CODE_TOP = ROUNDED_W'(CODE_LIMIT);

// ---- every slot
wire signed [PULSE_W:0] pulses = {1'b0, pulse};
wire [DIM*PRODUCT_W-1:0] increments;
logic [DIM*CHARGE_W-1:0] copy;
genvar c, d;

generate
    if (LANE_DSP == 0) begin : by_level
        logic [LEVELS*PRODUCT_W-1:0] products;
        for (c = 0; c < LEVELS; c = c + 1) begin : level
            wire signed [CURRENT_W-1:0] current = currents[c*CURRENT_W +: CURRENT_W];
            logic signed [PRODUCT_W-1:0] product;
            always_ff @(posedge clk) begin
                if (!sees) product <= '0;
                else product <= current * pulses;
            end
            assign products[c*PRODUCT_W +: PRODUCT_W] = product;
        end
        for (d = 0; d < DIM; d = d + 1) begin : lane
            wire [PRODUCT_W-1:0] chosen;
            op_pick #(.COUNT(LEVELS), .WIDTH(PRODUCT_W), .SELECT_W(V_W)) pick (
                .words(products), .select(v[d*V_W +: V_W]), .word(chosen)
            );
            assign increments[d*PRODUCT_W +: PRODUCT_W] = chosen;
        end
    end else begin : by_lane
        logic [LEVELS*CURRENT_W-1:0] currents_late;
        logic signed [PULSE_W:0] pulses_late;
        logic sees_late;
        always_ff @(posedge clk) begin
            currents_late <= currents;
            pulses_late <= pulses;
            sees_late <= sees;
        end
        for (d = 0; d < DIM; d = d + 1) begin : lane
            wire [CURRENT_W-1:0] chosen;
            wire signed [CURRENT_W-1:0] current = chosen;
            logic signed [PRODUCT_W-1:0] product;
            op_pick #(.COUNT(LEVELS), .WIDTH(CURRENT_W), .SELECT_W(V_W)) pick (
                .words(currents_late), .select(v[d*V_W +: V_W]), .word(chosen)
            );
            always_ff @(posedge clk) begin
                if (!sees_late) product <= '0;
                else product <= current * pulses_late;
            end
            assign increments[d*PRODUCT_W +: PRODUCT_W] = product;
        end
    end
    for (d = 0; d < DIM; d = d + 1) begin : lane
        wire [PRODUCT_W-1:0] narrow = increments[d*PRODUCT_W +: PRODUCT_W];
        wire [CHARGE_W-1:0] increment = {{CHARGE_W - PRODUCT_W{narrow[PRODUCT_W-1]}}, narrow};
        logic [CHARGE_W-1:0] charge;
        always_ff @(posedge clk) begin
            if (!rst_n) charge <= '0;
            else charge <= charge + increment;
            if (ends) copy[d*CHARGE_W +: CHARGE_W] <= charge;
        end
    end
endgenerate

// ---- every tile, a lane a clock
logic reading, first_tile, last_tile;  // of the copy
logic [LANE_W-1:0] lane_read;
wire [CHARGE_W-1:0] lane_charge;

op_pick #(.COUNT(DIM), .WIDTH(CHARGE_W), .SELECT_W(LANE_W)) read (
    .words(copy), .select(lane_read), .word(lane_charge)
);

logic [CHARGE_W-1:0] earlier [0:DIM-1];  // the lanes' charges at the tile before
logic [SUM_W-1:0] sums [0:DIM-1];  // of the tiles before
logic fresh;  // no tile ended since the reset
logic [4:0] valid, firsts, lasts;
logic [LANE_W-1:0] lanes [0:4];
logic [CHARGE_W-1:0] charge_now;
logic signed [CHARGE_W-1:0] tile_charge;
logic signed [HELD_W-1:0] held;
logic signed [ROUNDED_W-1:0] scaled;
logic [SUM_W-1:0] code;
integer i;

wire signed [ROUNDED_W-1:0] rounded = (scaled + HALF) >>> CODE_SHIFT;
wire [SUM_W-1:0] sum = code + (firsts[4] ? '0 : sums[lanes[4]]);

always_ff @(posedge clk) begin
    if (ends) begin
        lane_read <= '0;
        first_tile <= first;
        last_tile <= last;
    end else
        lane_read <= lane_read + 1'b1;
    if (!rst_n) reading <= 1'b0;
    else if (ends) reading <= 1'b1;
    else if (lane_read == LAST_LANE) reading <= 1'b0;

    firsts <= {firsts[3:0], first_tile};
    lasts <= {lasts[3:0], last_tile};
    lanes[0] <= lane_read;
    for (i = 1; i < 5; i = i + 1) lanes[i] <= lanes[i-1];
    valid <= rst_n ? {valid[3:0], reading} : '0;

    charge_now <= lane_charge;
    tile_charge <= charge_now - (fresh ? '0 : earlier[lanes[0]]);
    if (tile_charge > TOP) held <= TOP[HELD_W-1:0];
    else if (tile_charge < -TOP) held <= -TOP[HELD_W-1:0];
    else held <= tile_charge[HELD_W-1:0];
    scaled <= held * MUL;
    if (rounded > CODE_TOP) code <= CODE_TOP[SUM_W-1:0];
    else if (rounded < -CODE_TOP) code <= -CODE_TOP[SUM_W-1:0];
    else code <= rounded[SUM_W-1:0];
    y <= sum;
    y_valid <= rst_n && valid[4] && lasts[4];

    if (!rst_n) fresh <= 1'b1;
    else if (valid[0] && lanes[0] == LAST_LANE) fresh <= 1'b0;
end

always_ff @(posedge clk) if (valid[0]) earlier[lanes[0]] <= charge_now;
always_ff @(posedge clk) if (valid[4]) sums[lanes[4]] <= sum;

endmodule

`default_nettype wire
