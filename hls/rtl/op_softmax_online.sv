// SPDX-License-Identifier: Apache-2.0
//
// Softmax with an online maximum and one deferred division a row, on rows that arrive one element a clock.
//
//     s --+--> [ x, keep ] ------------------------------------> m - x --> T --> e --> ( e r ) --> round, limit --> m
//         |      a row                                           ^                       ^
//         +--> m --> |x - m| --> T --> S = S T + 1 or S + T --> end of row --> 1 / S ----+
//
// Formula:  with F = EXP_FRAC, for each kept x:  x > m:  S = (S T[x - m] + half >> F) + 2^F,  m = x;  else  S = S + T[m - x]
//           r = (2^R + floor(S/2)) div S,  R = F + OUT_FRAC + GUARD,  p = min(2^OUT_W - 1, (T[m - x] r + half) >> (F + GUARD))
// One pass less than the maximum first: no second buffer, a row less of latency.  The price is a product in the loop of
// the sum, which has to be done within a clock, and its rounding at every new maximum.
//
// Cycles:   N a row of N elements, if N exceeds the OUT_FRAC + GUARD + 4 clocks of a division; as many more where a row
//           fills the buffer (N_MAX a power of two of at least 1024), which is read when the row has been divided.
// Row:      1 to N_MAX elements; a longer one is never taken to its end.
// Source:   Milakov and Gimelshein, arXiv 1805.02867, algorithm 3.
`default_nettype none

module op_softmax_online #(
    parameter int IN_W = 8,  // signed scores
    parameter int OUT_W = 8,
    parameter int USER_W = 2,  // keep, and the head, of which there is one
    parameter int N_MAX = 1024,
    parameter int EXP_FRAC = 15,
    parameter int OUT_FRAC = 8,
    parameter int GUARD = 3,
    parameter ROM_FILE = "softmax.mem"
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

// Two places more than a row save a clock a row; not where a block RAM would be spent on them.
localparam int ADDR_W = $clog2(N_MAX < 1023 ? N_MAX + 2 : N_MAX);
localparam int QUEUE_W = 4;
localparam int ROM_W = EXP_FRAC + 1;
localparam int SUM_W = EXP_FRAC + $clog2(N_MAX + 1);
localparam int RATIO_W = OUT_FRAC + GUARD + 1;
localparam int STEPS = RATIO_W + 1;  // bits of the quotient 2^(R+1) div S, of which the last rounds
localparam int COUNT_W = $clog2(STEPS + 2);
localparam int DOWN = EXP_FRAC + GUARD;
localparam int SCALED_W = SUM_W + ROM_W;
localparam int PRODUCT_W = ROM_W + RATIO_W;
localparam logic [SUM_W-1:0] ONE = {{(SUM_W - 1) {1'b0}}, 1'b1} << EXP_FRAC;
localparam logic [SCALED_W-1:0] HALF = {{(SCALED_W - 1) {1'b0}}, 1'b1} << (EXP_FRAC - 1);
localparam logic [SUM_W:0] HALF_REST = {{SUM_W{1'b0}}, 1'b1} << (EXP_FRAC - 1);
localparam logic [PRODUCT_W-1:0] HALF_STEP = {{(PRODUCT_W - 1) {1'b0}}, 1'b1} << (DOWN - 1);

wire unused_head = ^s_tuser[USER_W-2:0];

// ---------------------------------------------------------------- the row, and what is known of it
reg [IN_W+1:0] ring[0:(1<<ADDR_W)-1];
reg [IN_W-1:0] tops[0:(1<<QUEUE_W)-1];
reg [RATIO_W-1:0] ratios[0:(1<<QUEUE_W)-1];
(* ram_style = "distributed" *) reg [ADDR_W:0] row_end[0:1];
reg [ADDR_W:0] write, read, complete;  // one bit more than an address: full and empty differ
reg [QUEUE_W:0] taken, divided, left;  // rows that came in, were divided, went out
reg [IN_W-1:0] top;

wire [ADDR_W:0] write_next = write + 1'b1;
wire keep = s_tuser[USER_W-1];
wire [IN_W-1:0] score = {!s_tdata[IN_W-1], s_tdata[IN_W-2:0]};  // above the lowest one, so that it has no sign
wire higher = keep && score > top;
wire [IN_W-1:0] risen = higher ? score : top;
wire take = s_tvalid && s_tready;

// Two rows may be between their ends and their divisions: one in the divider, one before it.
assign s_tready = write != {!read[ADDR_W], read[ADDR_W-1:0]} && taken != {!left[QUEUE_W], left[QUEUE_W-1:0]}
    && taken[1:0] != {!divided[1], divided[0]};

// ---------------------------------------------------------------- the sum
reg [4:1] valid, last;
reg [IN_W:0] difference;
reg keep_1, keep_2, keep_3, up_2, up_3;
reg [IN_W-1:0] distance;
wire [ROM_W-1:0] entry;
reg [SUM_W-1:0] sum;
reg starts;
wire [SUM_W-1:0] carried = starts ? '0 : sum;
wire [SCALED_W-1:0] scaled = carried * entry + HALF;
wire [SUM_W-1:0] fresh = up_3 ? ONE : keep_3 ? {{(SUM_W - ROM_W) {1'b0}}, entry} : '0;
wire unused_rest = ^{scaled[SCALED_W-1:SUM_W+EXP_FRAC], scaled[EXP_FRAC-1:0]};

always_ff @(posedge clk) begin
    if (take) ring[write[ADDR_W-1:0]] <= {s_tlast, keep, score};
    if (take && s_tlast) begin
        tops[taken[QUEUE_W-1:0]] <= risen;
        row_end[taken[0]] <= write_next;
    end
    difference <= {1'b0, top} - {1'b0, score};
    keep_1 <= keep;
    distance <= difference[IN_W] ? -difference[IN_W-1:0] : difference[IN_W-1:0];
    up_2 <= difference[IN_W] && keep_1;
    keep_2 <= keep_1;
    up_3 <= up_2;
    keep_3 <= keep_2;
    if (valid[3]) sum <= (up_3 ? scaled[SUM_W+EXP_FRAC-1:EXP_FRAC] : carried) + fresh;
    last <= {last[3:1], s_tlast};
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        write <= '0;
        taken <= '0;
        top <= '0;
        valid <= '0;
        starts <= 1'b1;
    end else begin
        if (take) write <= write_next;
        if (take && s_tlast) taken <= taken + 1'b1;
        if (take) top <= s_tlast ? '0 : risen;
        valid <= {valid[3:1], take};
        if (valid[3]) starts <= last[3];
    end
end

// ---------------------------------------------------------------- the reciprocal: a bit a clock, not restoring
reg [SUM_W-1:0] pending, divisor;
reg waits;
reg [SUM_W:0] rest;  // signed, of magnitude at most the divisor
reg [RATIO_W-1:0] quotient;
reg [COUNT_W-1:0] step;
wire negative = rest[SUM_W];
wire finished = step == COUNT_W'(STEPS + 1);
wire load = waits && step == '0;

always_ff @(posedge clk) begin
    if (valid[4] && last[4]) pending <= sum;
    if (load) begin
        divisor <= pending;
        rest <= HALF_REST;
    end else begin
        rest <= {rest[SUM_W-1:0], 1'b0} + ({1'b0, divisor} ^ {(SUM_W + 1) {!negative}}) + {{SUM_W{1'b0}}, !negative};
    end
    quotient <= {quotient[RATIO_W-2:0], !negative};
    if (finished) ratios[divided[QUEUE_W-1:0]] <= quotient + {{(RATIO_W - 1) {1'b0}}, !negative};
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        waits <= 1'b0;
        step <= '0;
        divided <= '0;
        complete <= '0;
    end else begin
        if (valid[4] && last[4]) waits <= 1'b1;
        else if (load) waits <= 1'b0;
        if (load) step <= COUNT_W'(1);
        else if (finished) step <= '0;
        else if (step != '0) step <= step + 1'b1;
        if (finished) begin
            divided <= divided + 1'b1;
            complete <= row_end[divided[0]];
        end
    end
end

// ---------------------------------------------------------------- the products; all of it waits for the receiver
wire y_on = !m_tvalid || m_tready;
wire fetch = y_on && read != complete;
reg [6:1] y_valid;
reg [IN_W+1:0] word_1, word_2;
reg [6:3] y_last;
reg [4:3] y_keep;
reg [IN_W-1:0] y_distance;
wire [ROM_W-1:0] y_entry;
wire [ROM_W-1:0] y_exp = y_keep[4] ? y_entry : '0;
reg [RATIO_W-1:0] ratio_3, ratio_4;
reg [PRODUCT_W-1:0] product, rounded;
wire [OUT_W+PRODUCT_W-DOWN-1:0] whole = {{OUT_W{1'b0}}, rounded[PRODUCT_W-1:DOWN]};
wire unused_fraction = ^rounded[DOWN-1:0];

always_ff @(posedge clk) begin
    if (y_on) begin
        word_1 <= ring[read[ADDR_W-1:0]];
        word_2 <= word_1;
        y_distance <= tops[left[QUEUE_W-1:0]] - word_2[IN_W-1:0];
        ratio_3 <= ratios[left[QUEUE_W-1:0]];
        ratio_4 <= ratio_3;
        y_keep <= {y_keep[3], word_2[IN_W]};
        product <= y_exp * ratio_4;
        rounded <= product + HALF_STEP;
        m_tdata <= |whole[OUT_W+PRODUCT_W-DOWN-1:OUT_W] ? '1 : whole[OUT_W-1:0];
        y_last <= {y_last[5:3], word_2[IN_W+1]};
        m_tlast <= y_last[6];
    end
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        read <= '0;
        left <= '0;
        y_valid <= '0;
        m_tvalid <= 1'b0;
    end else if (y_on) begin
        if (fetch) read <= read + 1'b1;
        y_valid <= {y_valid[5:1], fetch};
        if (y_valid[2] && word_2[IN_W+1]) left <= left + 1'b1;
        m_tvalid <= y_valid[6];
    end
end

op_table #(.WORDS(1 << IN_W), .WIDTH(ROM_W), .ADDRESS_W(IN_W), .ROM_FILE(ROM_FILE)) exponentials (
    .clk(clk), .a_enable(1'b1), .a_address(distance), .a_word(entry), .b_enable(y_on), .b_address(y_distance),
    .b_word(y_entry)
);

endmodule

`default_nettype wire
