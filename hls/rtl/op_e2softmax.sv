// SPDX-License-Identifier: Apache-2.0
//
// E2Softmax of rows that arrive one element a clock: softmax with log2-quantised exponentials and no divider.
//
//      x, keep, head --> running maximum m
//             |              | at the end of a slice
//             v              v
//        [ row buffer ]--> m - x --> log2exp --> k --> sum of 2^-k --> S --> leading one --> ks, q
//                                                |     (online: S >> log2exp(rise of m))       | at the end of the row
//                                                v                                             v
//                                          [ row buffer ] --> k (online: + log2exp(rise)) --> + ks --> table --> p
//
// Formula:  k_j = log2exp(m - x_j) (op_log2exp),  S = sum 2^-k_j = 2^ks (1 + s),  q = the first MUX_BITS bits of s,
//           p_j = min( largest code, ( (C[q] << out_frac) + half ) >> (k_j + ks + divider_frac) ).
// SLICE = 0: two passes, a slice is the row.  Else online: a slice of SLICE elements waits for its own maximum only,
// and what the maxima of later slices add comes on top at the end, limited to the largest exponent.
// p depends on few bits (six for two mantissas and rows of 1024): one look-up table a bit of p is the multiplexer, the
// shift, the rounding and the limit of the divider.  Only log2exp with folded factors multiplies.
// Rows of 1 to N_MAX elements, ended by s_tlast; a longer one never ends (s_tready stays low).  An element with
// keep = 0 gives 0 and has no part in m and S.  s_tuser = {keep, head}, head being the same in all elements of a row.
// Cycles: N a row of N, rows being overlapped (N + 2 for rows of 1024, online N + 1); a row alone is out 3 N + 10
// clocks after its first element was offered, online 2 N + min(N, SLICE) + 13.
// Source: SOLE, arXiv 2510.17189, section III-B, algorithm 1, equations 7 to 13 and 17, figure 4.
`default_nettype none

module op_e2softmax #(
    parameter int IN_W = 8,  // bits of a score, signed
    parameter int OUT_W = 8,
    parameter int USER_W = 2,
    parameter int N_MAX = 1024,  // longest row
    parameter int SLICE = 0,  // elements of a slice, fewer than N_MAX; 0: two passes
    parameter int CODE_W = 4,  // bits of an exponent k
    parameter int SUM_FRAC = 15,  // fraction bits of 2^-k and of S
    parameter int FOLDED = 0,  // op_log2exp
    parameter int FACTOR_W = 5,
    parameter int PLACES_W = 4,
    parameter int FACTOR = 23,
    parameter int PLACES = 8,
    parameter int PER_HEAD = 0,
    parameter int HEADS = 1,
    parameter int MUX_BITS = 1,  // the divider has 2, 4 or 8 mantissas C
    parameter int EXPONENTS = 0,  // 1: {q, ks, k} of an element that is not masked, in place of p
    parameter CODE_FILE = "op_e2softmax_code_file.mem",  // p of every {q, k + ks}
    parameter HEAD_FILE = "op_e2softmax_head_file.mem"
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

localparam int ONLINE = (SLICE != 0) ? 1 : 0;
localparam int HEAD_W = USER_W - 1;
// Two places more than a row save a clock a row; not where a block RAM would be spent on them.
localparam int ADDR_W = $clog2(N_MAX < 1023 ? N_MAX + 2 : N_MAX);
localparam int WAIT_W = (ONLINE != 0) ? $clog2(SLICE + 2) : ADDR_W;
localparam int SLICE_W = (SLICE > 1) ? $clog2(SLICE) : 1;
localparam int MAX_KS = (N_MAX > 3) ? $clog2(N_MAX + 1) - 1 : 1;  // S is N_MAX at most
localparam int KS_W = (MAX_KS > 1) ? $clog2(MAX_KS + 1) : 1;
localparam int SUM_W = SUM_FRAC + MAX_KS + 1;
localparam int SHIFT_W = $clog2((1 << CODE_W) + MAX_KS);

// ---------------------------------------------------------------- stage 1: the maximum
wire keep = s_tuser[USER_W-1];
wire s_take = s_tvalid && s_tready;
wire [IN_W-1:0] score = {!s_tdata[IN_W-1], s_tdata[IN_W-2:0]};  // above the lowest one, so that it has no sign
reg [IN_W-1:0] top;
wire [IN_W-1:0] risen = (keep && score > top) ? score : top;
wire slice_end;

always_ff @(posedge clk) begin
    if (!rst_n) top <= '0;
    else if (s_take) top <= s_tlast ? '0 : risen;
end

generate
    if (ONLINE != 0) begin : gen_slices
        reg [SLICE_W-1:0] place;
        wire full_slice = {{(32 - SLICE_W) {1'b0}}, place} == SLICE - 1;
        assign slice_end = s_tlast || full_slice;
        always_ff @(posedge clk) begin
            if (!rst_n) place <= '0;
            else if (s_take) place <= slice_end ? '0 : place + 1'b1;
        end
    end else begin : gen_rows
        assign slice_end = s_tlast;
    end
endgenerate

// ---------------------------------------------------------------- stage 2: exponents and their sum
wire x_on, x_valid, x_ends_slice, x_row_end, x_keep;
wire [IN_W-1:0] x, x_top;
wire [HEAD_W-1:0] x_head;

op_rowbuf #(.DATA_W(IN_W + 2), .ROW_W(IN_W + HEAD_W), .ADDR_W(WAIT_W)) waiting (
    .clk(clk), .rst_n(rst_n), .w_valid(s_tvalid), .w_ready(s_tready), .w_data({s_tlast, keep, score}),
    .w_last(slice_end), .w_row({s_tuser[HEAD_W-1:0], risen}), .r_enable(x_on), .r_valid(x_valid),
    .r_data({x_row_end, x_keep, x}), .r_last(x_ends_slice), .r_row({x_head, x_top})
);

wire x_last = (ONLINE != 0) ? x_row_end : x_ends_slice;
reg x_starts_row;
reg [3:0] valid;  // after each clock of this stage

always_ff @(posedge clk) begin
    if (!rst_n) begin
        x_starts_row <= 1'b1;
        valid <= '0;
    end else if (x_on) begin
        if (x_valid) x_starts_row <= x_last;
        valid <= {valid[2:0], x_valid};
    end
end

wire [CODE_W-1:0] k;
op_log2exp #(
    .IN_W(IN_W), .CODE_W(CODE_W), .FOLDED(FOLDED), .FACTOR_W(FACTOR_W), .PLACES_W(PLACES_W), .FACTOR(FACTOR),
    .PLACES(PLACES), .PER_HEAD(PER_HEAD), .HEADS(HEADS), .HEAD_W(HEAD_W), .ROM_FILE(HEAD_FILE)
) exponents (.clk(clk), .enable(x_on), .head(x_head), .above(x_top), .below(x), .exponent(k));

wire k_last, k_keep, k_starts_row;
op_delay #(.WIDTH(3), .LENGTH(3)) beside_k (
    .clk(clk), .enable(x_on), .in({x_last, x_keep, x_starts_row}), .out({k_last, k_keep, k_starts_row})
);

reg [SUM_W-1:0] sum;
wire [SUM_W-1:0] carried;  // S as this element finds it
wire [SUM_W-1:0] numerator = {{MAX_KS{1'b0}}, k_keep, {SUM_FRAC{1'b0}}} >> k;
reg [CODE_W-1:0] sum_k;
reg sum_last, sum_keep;

always_ff @(posedge clk) begin
    if (x_on) begin
        if (valid[2]) sum <= (k_starts_row ? '0 : carried) + numerator;
        sum_k <= k;
        sum_last <= k_last;
        sum_keep <= k_keep;
    end
end

// {q, ks} of a sum from its MUX_BITS bits below one on; what is below one has no part in ks.
function automatic [MUX_BITS+KS_W-1:0] leading_one(input [MAX_KS+MUX_BITS:0] leading);
    leading_one = {leading[MUX_BITS-1:0], {KS_W{1'b0}}};
    for (int i = 1; i <= MAX_KS; i++) begin
        if (leading[MUX_BITS+i]) leading_one = {leading[i +: MUX_BITS], i[KS_W-1:0]};
    end
endfunction

wire [KS_W-1:0] ks;
wire [MUX_BITS-1:0] q;
assign {q, ks} = leading_one(sum[SUM_W-1:SUM_FRAC-MUX_BITS]);

// ---------------------------------------------------------------- stage 3: division
wire y_on = !m_tvalid || m_tready;
wire y_valid, y_last, y_keep;  // beside the exponent with its correction
wire [CODE_W-1:0] y_k;
wire [KS_W-1:0] y_ks;
wire [MUX_BITS-1:0] y_q;

generate
    if (ONLINE != 0) begin : gen_online
        localparam int BESIDE_W = CODE_W + KS_W + MUX_BITS + 2;
        // What a rise of the maximum takes from the sum at the first element of a slice; nothing at the others.
        reg [IN_W-1:0] top_before;
        wire [CODE_W-1:0] rise;
        wire [IN_W-1:0] sum_top;
        wire [HEAD_W-1:0] sum_head;
        always_ff @(posedge clk) if (x_on && x_valid) top_before <= x_top;
        op_log2exp #(
            .IN_W(IN_W), .CODE_W(CODE_W), .FOLDED(FOLDED), .FACTOR_W(FACTOR_W), .PLACES_W(PLACES_W), .FACTOR(FACTOR),
            .PLACES(PLACES), .PER_HEAD(PER_HEAD), .HEADS(HEADS), .HEAD_W(HEAD_W), .ROM_FILE(HEAD_FILE)
        ) rises (.clk(clk), .enable(x_on), .head(x_head), .above(x_top), .below(top_before), .exponent(rise));
        op_delay #(.WIDTH(HEAD_W + IN_W), .LENGTH(4)) beside_sum (
            .clk(clk), .enable(x_on), .in({x_head, x_top}), .out({sum_head, sum_top})
        );
        assign carried = sum >> rise;

        wire w_ready, o_valid, o_last, o_keep;
        wire [CODE_W-1:0] o_k, c_k, fall;
        wire [IN_W-1:0] o_top, o_final;
        wire [HEAD_W-1:0] o_head;
        wire [KS_W-1:0] o_ks;
        wire [MUX_BITS-1:0] o_q;
        assign x_on = w_ready;
        op_rowbuf #(.DATA_W(CODE_W + 1 + IN_W), .ROW_W(KS_W + MUX_BITS + IN_W + HEAD_W), .ADDR_W(ADDR_W)) numbered (
            .clk(clk), .rst_n(rst_n), .w_valid(valid[3]), .w_ready(w_ready), .w_data({sum_keep, sum_k, sum_top}),
            .w_last(sum_last), .w_row({ks, q, sum_top, sum_head}), .r_enable(y_on), .r_valid(o_valid),
            .r_data({o_keep, o_k, o_top}), .r_last(o_last), .r_row({o_ks, o_q, o_final, o_head})
        );
        op_log2exp #(
            .IN_W(IN_W), .CODE_W(CODE_W), .FOLDED(FOLDED), .FACTOR_W(FACTOR_W), .PLACES_W(PLACES_W), .FACTOR(FACTOR),
            .PLACES(PLACES), .PER_HEAD(PER_HEAD), .HEADS(HEADS), .HEAD_W(HEAD_W), .ROM_FILE(HEAD_FILE)
        ) falls (.clk(clk), .enable(y_on), .head(o_head), .above(o_final), .below(o_top), .exponent(fall));
        reg [2:0] flight;
        always_ff @(posedge clk) begin
            if (!rst_n) flight <= '0;
            else if (y_on) flight <= {flight[1:0], o_valid};
        end
        assign y_valid = flight[2];
        op_delay #(.WIDTH(BESIDE_W), .LENGTH(3)) beside_fall (
            .clk(clk), .enable(y_on), .in({o_last, o_keep, o_k, o_ks, o_q}), .out({y_last, y_keep, c_k, y_ks, y_q})
        );
        wire [CODE_W:0] both = {1'b0, c_k} + {1'b0, fall};
        assign y_k = both[CODE_W] ? {CODE_W{1'b1}} : both[CODE_W-1:0];
    end else begin : gen_two_pass
        assign carried = sum;
        op_rowbuf #(.DATA_W(CODE_W + 1), .ROW_W(KS_W + MUX_BITS), .ADDR_W(ADDR_W)) numbered (
            .clk(clk), .rst_n(rst_n), .w_valid(valid[3]), .w_ready(x_on), .w_data({sum_keep, sum_k}),
            .w_last(sum_last), .w_row({ks, q}), .r_enable(y_on), .r_valid(y_valid), .r_data({y_keep, y_k}),
            .r_last(y_last), .r_row({y_ks, y_q})
        );
    end
endgenerate

reg index_valid, index_last, index_keep;
wire [OUT_W-1:0] result;

generate
    if (EXPONENTS != 0) begin : gen_exponents
        reg [OUT_W-1:0] divider;
        always_ff @(posedge clk) if (y_on) divider <= {y_q, y_ks, y_k};
        assign result = divider;
    end else begin : gen_codes
        reg [OUT_W-1:0] codes[0:(1<<(MUX_BITS+SHIFT_W))-1];
        initial $readmemh(CODE_FILE, codes);
        reg [MUX_BITS+SHIFT_W-1:0] index;
        always_ff @(posedge clk) begin
            if (y_on) index <= {y_q, {{(SHIFT_W - CODE_W) {1'b0}}, y_k} + {{(SHIFT_W - KS_W) {1'b0}}, y_ks}};
        end
        assign result = codes[index];
    end
endgenerate

always_ff @(posedge clk) begin
    if (y_on) begin
        index_last <= y_last;
        index_keep <= y_keep;
        if (!index_keep) m_tdata <= '0;
        else m_tdata <= result;
        m_tlast <= index_last;
    end
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        index_valid <= 1'b0;
        m_tvalid <= 1'b0;
    end else if (y_on) begin
        index_valid <= y_valid;
        m_tvalid <= index_valid;
    end
end

endmodule

`default_nettype wire
