// SPDX-License-Identifier: Apache-2.0
// First array of a gain-cell head: a slot's keys against the query, and the pulse that their charge gives.
//
//     k ---> which lanes hold level c? --+
//     q -----------------------------> gate --> tree, + over the lanes --> n[c], c < LEVELS - 1 --( x )--+
//     currents --> I[c] - I[LEVELS-1] ------------------------------------------------------------^      +--> tree
//     q_sum ---------------------------------> as late as the tree --> ( x I[LEVELS-1] ) ----------------+      |
//                                                       pulse <-- limit <-- round <-- ( x PULSE_MUL ) <-- S ----+
//
// Formula:  S = sum_d q_d I[k_d] = I[L-1] sum_d q_d + sum_{c < L-1} (I[c] - I[L-1]) n[c],  n[c] = sum_{d: k_d = c} q_d
//           pulse = limit( (S PULSE_MUL + 2 ^ (PULSE_SHIFT - 1)) >> PULSE_SHIFT, 0, PULSE_STEPS )
// Few levels make this cheaper than a choice and a product a lane: one multiplier a level, for any number of lanes.
// A slot a clock.  q, k, q_sum at clock 0, currents at clock T, pulse at clock T + 4 + ceil(log2(LEVELS)),
// T = max(1, ceil(log2(DIM))).
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315; the integers are this package's.
`default_nettype none

module op_gaincell_score #(
    parameter int DIM = 64,
    parameter int LEVELS = 8,
    parameter int Q_W = 4,
    parameter int K_W = 3,
    parameter int COUNT_W = 10,  // unsigned bits of a sum of q
    parameter int CURRENT_W = 12,  // signed, and so on
    parameter int SCORE_W = 24,
    parameter int SCALED_W = 24,
    parameter int PULSE_MUL = 1,
    parameter int PULSE_SHIFT = 8,
    parameter int PULSE_STEPS = 600,
    parameter int PULSE_W = 10  // unsigned
) (
    input wire clk,
    input wire [DIM*Q_W-1:0] q,
    input wire [COUNT_W-1:0] q_sum,
    input wire [DIM*K_W-1:0] k,
    input wire [LEVELS*CURRENT_W-1:0] currents,
    output logic [PULSE_W-1:0] pulse
);

localparam int ROWS = DIM > 1 ? $clog2(DIM) : 1;
localparam logic signed [SCALED_W-1:0] MUL = SCALED_W'(PULSE_MUL);
localparam logic signed [SCALED_W-1:0] TOP = SCALED_W'(PULSE_STEPS);
localparam logic signed [SCALED_W-1:0] HALF = PULSE_SHIFT > 0 ? {{SCALED_W - 1{1'b0}}, 1'b1} << (PULSE_SHIFT - 1) : '0;

wire [LEVELS*SCORE_W-1:0] parts;
wire signed [CURRENT_W-1:0] last_current = currents[(LEVELS-1)*CURRENT_W +: CURRENT_W];
genvar c, d;

generate
    for (c = 0; c < LEVELS - 1; c = c + 1) begin : level
        localparam logic [K_W-1:0] CODE = c;
        wire [DIM*COUNT_W-1:0] gated;
        wire [COUNT_W-1:0] count;
        wire signed [CURRENT_W-1:0] current = currents[c*CURRENT_W +: CURRENT_W];
        logic signed [CURRENT_W:0] difference;
        logic signed [COUNT_W:0] pulses;
        logic signed [SCORE_W-1:0] part;
        for (d = 0; d < DIM; d = d + 1) begin : lane
            wire [Q_W-1:0] held = k[d*K_W +: K_W] == CODE ? q[d*Q_W +: Q_W] : {Q_W{1'b0}};
            assign gated[d*COUNT_W +: COUNT_W] = {{COUNT_W - Q_W{1'b0}}, held};
        end
        op_tree #(.COUNT(DIM), .WIDTH(COUNT_W)) tree (.clk(clk), .words(gated), .sum(count));
        always_ff @(posedge clk) begin
            difference <= current - last_current;
            pulses <= {1'b0, count};
            part <= difference * pulses;
        end
        assign parts[c*SCORE_W +: SCORE_W] = part;
    end
endgenerate

wire [COUNT_W-1:0] all_late;
logic signed [CURRENT_W-1:0] last_late;
logic signed [COUNT_W:0] all_pulses;
logic signed [SCORE_W-1:0] last_part;

op_delay #(.WIDTH(COUNT_W), .LENGTH(ROWS)) all_delay (.clk(clk), .enable(1'b1), .in(q_sum), .out(all_late));

always_ff @(posedge clk) begin
    last_late <= last_current;
    all_pulses <= {1'b0, all_late};
    last_part <= last_late * all_pulses;
end
assign parts[(LEVELS-1)*SCORE_W +: SCORE_W] = last_part;

wire [SCORE_W-1:0] score_bits;
op_tree #(.COUNT(LEVELS), .WIDTH(SCORE_W), .SIGNED(1)) total (.clk(clk), .words(parts), .sum(score_bits));

wire signed [SCORE_W-1:0] score = score_bits;
logic signed [SCALED_W-1:0] scaled;
wire signed [SCALED_W-1:0] rounded = (scaled + HALF) >>> PULSE_SHIFT;

always_ff @(posedge clk) begin
    scaled <= score * MUL;
    if (rounded[SCALED_W-1]) pulse <= '0;
    else if (rounded > TOP) pulse <= TOP[PULSE_W-1:0];
    else pulse <= rounded[PULSE_W-1:0];
end

endmodule

`default_nettype wire
