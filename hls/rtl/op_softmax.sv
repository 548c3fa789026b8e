// SPDX-License-Identifier: Apache-2.0
//
// Exact integer softmax of rows that arrive one element a clock.
//
//     s --+--> [ x, keep ] --> m - x --> d --+--> [ d, keep ] --> T[head, d] --> e --> ( x r ) --> round, limit --> m
//         |     2 rows           ^           |     2 rows                                ^
//         +--> max of kept ------+           +--> T[head, d] --> e --> + --> S --> 1 / S-+
//         first pass                second pass                  divider            third pass
//
// Formula:  d = m - x,  e = T[d] = round(2^EXP_FRAC exp(-scale d)) or 0 where masked,  S = sum e,
//           r = (2^R + floor(S/2)) div S,  R = EXP_FRAC + OUT_FRAC + GUARD,
//           p = min(2^OUT_W - 1, (e r + half) >> (EXP_FRAC + GUARD))
// Both passes that look up share one table of two ports, so d is kept between them and not the wider e.
// S does not divide 2^(R+1) to a half, therefore r = (Q + 1) >> 1 with Q = 2^(R+1) div S: the dividend is one constant.
// Q comes from non-restoring division, one bit a clock, while the next row is summed.
//
// Cycles:   the passes of different rows overlap: N a row of N elements, if N >= OUT_FRAC + GUARD + 12 = F; shorter rows
//           take (N + F) / 2, at least OUT_FRAC + GUARD + 3.
//           A row in an empty unit: 3 N + F + 3 from its first element to its last result.
// Row:      1 to N_MAX elements; the elements of a longer one overwrite each other.
// Source:   softmax with the maximum subtracted; Milakov and Gimelshein, arXiv 1805.02867, section 2 (safe softmax).
`default_nettype none

module op_softmax #(
    parameter int IN_W = 8,       // signed scores
    parameter int OUT_W = 8,      // unsigned probabilities
    parameter int USER_W = 2,     // keep, head
    parameter int HEADS = 1,
    parameter int N_MAX = 1024,
    parameter int EXP_FRAC = 15,
    parameter int OUT_FRAC = 8,
    parameter int GUARD = 3,
    parameter ROM_FILE = "softmax.mem"  // HEADS tables of 2^IN_W words of EXP_FRAC + 1 bits
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

localparam int PLACE_W = N_MAX > 1 ? $clog2(N_MAX) : 1;
localparam int ROM_W = EXP_FRAC + 1;
localparam int ENTRY_W = IN_W + (HEADS > 1 ? USER_W - 1 : 0);
localparam int SUM_W = EXP_FRAC + $clog2(N_MAX + 1);
localparam int RATIO_W = OUT_FRAC + GUARD + 1;
localparam int STEPS = RATIO_W + 1;              // bits of Q
localparam int COUNT_W = $clog2(STEPS + 2);
localparam int DEPTH = 5;                        // from the first buffer to the sum
localparam int DOWN = EXP_FRAC + GUARD;
localparam int PRODUCT_W = ROM_W + RATIO_W;
localparam [SUM_W:0] HALF_REST = {{SUM_W{1'b0}}, 1'b1} << (EXP_FRAC - 1);
localparam [PRODUCT_W-1:0] HALF_STEP = {{(PRODUCT_W - 1){1'b0}}, 1'b1} << (DOWN - 1);
localparam [IN_W-1:0] LOWEST = {1'b1, {(IN_W - 1){1'b0}}};

// Rows of a buffer are counted modulo 4: two rows apart is full, none is empty.
reg [1:0] written;   // by the first pass
reg [1:0] read;      // by the second pass
reg [1:0] divided;   // reciprocals
reg [1:0] issued;    // read by the third pass
reg [1:0] freed;     // left the third pass's table

// --- first pass: the maximum ----------------------------------------------------------------------------
reg [IN_W:0] scores [0:(2<<PLACE_W)-1];
reg [PLACE_W-1:0] place;
(* ram_style = "distributed" *) reg [PLACE_W-1:0] row_length [0:1];  // less one
(* ram_style = "distributed" *) reg [IN_W-1:0] row_top [0:1];
reg [IN_W-1:0] top;
reg first;
reg ended;

assign s_tready = written != {!read[1], read[0]};
wire take = s_tvalid && s_tready;
wire keep = s_tuser[USER_W-1];
wire higher = first || $signed(s_tdata) > $signed(top);

always @(posedge clk) begin
    if (take)
        scores[{written[0], place}] <= {keep, s_tdata};
    if (take && s_tlast)
        row_length[written[0]] <= place;
    if (ended)
        row_top[!written[0]] <= top;
    if (take && first && !keep)
        top <= LOWEST;
    else if (take && keep && higher)
        top <= s_tdata;
    if (!rst_n) begin
        written <= 2'd0;
        place <= '0;
        first <= 1'b1;
        ended <= 1'b0;
    end else begin
        ended <= take && s_tlast;
        if (take) begin
            place <= s_tlast ? '0 : place + 1'b1;
            first <= s_tlast;
            if (s_tlast)
                written <= written + 2'd1;
        end
    end
end

// --- second pass: the distances and their sum -----------------------------------------------------------
reg [IN_W:0] distances [0:(2<<PLACE_W)-1];
(* ram_style = "distributed" *) reg [PLACE_W-1:0] sum_length [0:1];

reg [PLACE_W-1:0] at;
reg pacing;          // another row may not end yet: its sum would meet a busy divider
reg [DEPTH:1] valid;
reg [DEPTH:1] last;
reg [PLACE_W:0] to_1, to_2, to_3;
reg [IN_W:0] score_1, score_2, distance;
wire [ROM_W-1:0] entry_4;
reg [ROM_W-1:0] exp_5;
reg keep_4;
reg [SUM_W-1:0] sum;

wire at_end = at == row_length[read[0]];
// The bank is free again, or the third pass moves on in it and stays ahead.  A row's last element also overwrites what
// is said of the bank's row before, which must therefore have left.
wire moving;
wire go = written != read && (at_end ? read != {!freed[1], freed[0]} && !pacing
                                     : read != {!issued[1], issued[0]} || moving);
wire [SUM_W-1:0] sum_next = sum + {{(SUM_W - ROM_W){1'b0}}, exp_5};
wire divide = last[DEPTH];
wire pace_over;
wire [ENTRY_W-1:0] entry;
wire [ENTRY_W-1:0] out_entry;

always @(posedge clk) begin
    to_1 <= {read[0], at};
    to_2 <= to_1;
    to_3 <= to_2;
    score_1 <= scores[{read[0], at}];
    score_2 <= score_1;
    // The maximum is there from this clock on; the next row of the bank replaces it behind this clock at the earliest.
    distance <= {score_2[IN_W], row_top[to_2[PLACE_W]] - score_2[IN_W-1:0]};
    if (valid[3])
        distances[to_3] <= distance;
    keep_4 <= distance[IN_W] && valid[3];
    if (!keep_4)
        exp_5 <= '0;
    else
        exp_5 <= entry_4;
    if (go && at_end)
        sum_length[read[0]] <= at;
    if (!rst_n) begin
        read <= 2'd0;
        at <= '0;
        pacing <= 1'b0;
        valid <= '0;
        last <= '0;
        sum <= '0;
    end else begin
        valid <= {valid[DEPTH-1:1], go};
        last <= {last[DEPTH-1:1], go && at_end};
        if (go) begin
            at <= at_end ? '0 : at + 1'b1;
            if (at_end)
                read <= read + 2'd1;
        end
        if (go && at_end)
            pacing <= 1'b1;
        else if (pace_over)
            pacing <= 1'b0;
        sum <= divide ? '0 : sum_next;
    end
end

// --- the reciprocal -------------------------------------------------------------------------------------
reg [SUM_W-1:0] divisor;
reg [SUM_W:0] rest;  // signed, of magnitude at most the divisor
reg [RATIO_W-1:0] quotient;
reg [COUNT_W-1:0] step;
(* ram_style = "distributed" *) reg [RATIO_W-1:0] ratios [0:1];

wire negative = rest[SUM_W];
wire finished = step == COUNT_W'(STEPS + 1);
assign pace_over = STEPS > DEPTH ? step == COUNT_W'(STEPS - DEPTH) : divide;

always @(posedge clk) begin
    if (divide)
        divisor <= sum_next;
    if (divide)
        rest <= HALF_REST;
    else
        rest <= {rest[SUM_W-1:0], 1'b0} + ({1'b0, divisor} ^ {(SUM_W + 1){!negative}})
            + {{SUM_W{1'b0}}, !negative};
    quotient <= {quotient[RATIO_W-2:0], !negative};
    if (finished)
        ratios[divided[0]] <= quotient + {{(RATIO_W - 1){1'b0}}, !negative};
    if (!rst_n) begin
        divided <= 2'd0;
        step <= '0;
    end else begin
        if (finished)
            divided <= divided + 2'd1;
        if (divide)
            step <= COUNT_W'(1);
        else if (finished)
            step <= '0;
        else if (step != '0)
            step <= step + 1'b1;
    end
end

// --- third pass: the products; the whole of it waits for the receiver -----------------------------------
reg [PLACE_W-1:0] out_at;
reg [6:1] out_valid;
reg [6:1] out_last;
reg [IN_W:0] out_distance_1, out_distance_2;
wire [ROM_W-1:0] out_entry_3;
reg [ROM_W-1:0] out_exp_4;
reg out_keep_3;
reg [RATIO_W-1:0] ratio_4;
reg [PRODUCT_W-1:0] product_5, product_6;

wire advance = !m_tvalid || m_tready;
wire out_go = divided != issued;
assign moving = out_go && advance;
wire out_end = out_at == sum_length[issued[0]];
wire [PRODUCT_W-DOWN-1:0] whole = product_6[PRODUCT_W-1:DOWN];
wire over;
wire [OUT_W-1:0] code;

generate
    if (PRODUCT_W - DOWN > OUT_W) begin : g_limit
        assign over = |whole[PRODUCT_W-DOWN-1:OUT_W];
        assign code = whole[OUT_W-1:0];
    end else begin : g_no_limit
        assign over = 1'b0;
        assign code = OUT_W'(whole);
    end
    if (HEADS > 1) begin : g_heads
        reg [USER_W-2:0] row_head [0:1];
        reg [USER_W-2:0] sum_head [0:1];
        reg [USER_W-2:0] head_1, head_2, head_3, out_head_1, out_head_2;
        always @(posedge clk) begin
            if (take && s_tlast)
                row_head[written[0]] <= s_tuser[USER_W-2:0];
            head_1 <= row_head[read[0]];
            head_2 <= head_1;
            head_3 <= head_2;
            if (go && at_end)
                sum_head[read[0]] <= row_head[read[0]];
            if (advance) begin
                out_head_1 <= sum_head[issued[0]];
                out_head_2 <= out_head_1;
            end
        end
        assign entry = {head_3, distance[IN_W-1:0]};
        assign out_entry = {out_head_2, out_distance_2[IN_W-1:0]};
    end else begin : g_one_head
        wire unused_head = &{1'b0, s_tuser[USER_W-2:0], 1'b0};
        assign entry = distance[IN_W-1:0];
        assign out_entry = out_distance_2[IN_W-1:0];
    end
endgenerate

always @(posedge clk) begin
    if (advance) begin
        out_distance_1 <= distances[{issued[0], out_at}];
        out_distance_2 <= out_distance_1;
        out_keep_3 <= out_distance_2[IN_W];
        if (!out_keep_3)
            out_exp_4 <= '0;
        else
            out_exp_4 <= out_entry_3;
        ratio_4 <= ratios[freed[0]];
        product_5 <= out_exp_4 * ratio_4;
        product_6 <= product_5 + HALF_STEP;
        if (over)
            m_tdata <= '1;
        else
            m_tdata <= code;
        m_tlast <= out_last[6];
    end
    if (!rst_n) begin
        issued <= 2'd0;
        freed <= 2'd0;
        out_at <= '0;
        out_valid <= '0;
        m_tvalid <= 1'b0;
    end else if (advance) begin
        out_valid <= {out_valid[5:1], out_go};
        m_tvalid <= out_valid[6];
        if (out_go) begin
            out_at <= out_end ? '0 : out_at + 1'b1;
            if (out_end)
                issued <= issued + 2'd1;
        end
        // The bank is given back when the row's last element has taken the reciprocal.
        if (out_valid[3] && out_last[3])
            freed <= freed + 2'd1;
    end
end

op_table #(
    .WORDS(HEADS << IN_W),
    .WIDTH(ROM_W),
    .ADDRESS_W(ENTRY_W),
    .ROM_FILE(ROM_FILE)
) exponentials (
    .clk(clk),
    .a_enable(1'b1),
    .a_address(entry),
    .a_word(entry_4),
    .b_enable(advance),
    .b_address(out_entry),
    .b_word(out_entry_3)
);

always @(posedge clk)
    if (advance)
        out_last <= {out_last[5:1], out_end};

wire unused = &{1'b0, valid[DEPTH], product_6[DOWN-1:0], 1'b0};

endmodule

`default_nettype wire
