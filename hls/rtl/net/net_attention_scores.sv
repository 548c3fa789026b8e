// SPDX-License-Identifier: Apache-2.0
// Scores Q K^T of PARALLEL heads at a time, one key after the other.
//
//     k rows --> bank --> word --( x )-- + over WIDTH --( + )--> tail --> FIFO --> scores, group, last key of a row
//                                  ^            over CHUNKS
//     q row ---> register --> word-+
//
// Order: query rows, groups of heads, keys, chunks of WIDTH elements; a chunk a clock.  Keys: all of the sequence, or
// as many as the query's place says (CAUSAL).  Clocks a row: GROUPS * keys * CHUNKS.  A sequence starts when all of
// its keys are there; the next one's come in meanwhile.
// Nothing between the memory and the FIFO ever stops: a score is started when the FIFO has a place for it.
`default_nettype none

module net_attention_scores #(
    parameter int ROWS = 16,
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int CAUSAL = 0,
    parameter int DSP = 1,
    parameter int Q_W = 8,
    parameter int Q_SIGNED = 1,
    parameter int K_W = 8,
    parameter int K_SIGNED = 1,
    parameter int GROUP_W = 1,
    parameter int SCORE_CORE_W = 19,  // Q K^T exactly, and so on: see net_tail.sv
    parameter int SCORE_SCALE = 0,
    parameter int SCORE_SCALE_W = 2,
    parameter int SCORE_SCALED_W = 19,
    parameter int SCORE_OFFSET = 0,
    parameter int SCORE_OFFSET_W = 2,
    parameter int SCORE_SHIFT = 0,
    parameter int SCORE_SUM_W = 19,
    parameter int SCORE_DROPPED = 8,
    parameter int SCORE_EVEN = 0,
    parameter int SCORE_RELU = 0,
    parameter int SCORE_LIMIT = 0,
    parameter int SCORE_W = 8,
    parameter int SCORE_SCALES = 1,  // entries of a table: 1, or one a key
    parameter int SCORE_OFFSETS = 1,
    parameter SCORE_SCALE_TABLE = "net_attention_score_scale_table.mem",
    parameter SCORE_OFFSET_TABLE = "net_attention_score_offset_table.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [HEADS*DIM*Q_W-1:0] q_tdata,
    input wire q_tvalid,
    input wire q_tlast,
    output wire q_tready,
    input wire [HEADS*DIM*K_W-1:0] k_tdata,
    input wire k_tvalid,
    input wire k_tlast,
    output wire k_tready,
    output wire [PARALLEL*SCORE_W-1:0] m_scores,
    output wire [GROUP_W-1:0] m_group,
    output wire m_last,
    output wire m_valid,
    input wire m_ready
);

localparam int GROUPS = HEADS / PARALLEL;
localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = GROUPS * CHUNKS;
localparam int ELEMENTS = PARALLEL * WIDTH;
localparam int ROW_W = ROWS > 1 ? $clog2(ROWS) : 1;
localparam int PLACE_W = $clog2(2 * ROWS * ROW_WORDS);
localparam int CHUNK_W = CHUNKS > 1 ? $clog2(CHUNKS) : 1;
localparam int WORD_W = ROW_WORDS > 1 ? $clog2(ROW_WORDS) : 1;
localparam logic [GROUP_W-1:0] LAST_GROUP = GROUP_W'(GROUPS - 1);
localparam logic [CHUNK_W-1:0] LAST_CHUNK = CHUNK_W'(CHUNKS - 1);

// Clocks from a place in the memory to a sum of products, to a score.
localparam int QX_W = Q_W + (Q_SIGNED != 0 ? 0 : 1);  // operands have a sign
localparam int KX_W = K_W + (K_SIGNED != 0 ? 0 : 1);
localparam int PAIR = DSP != 0 && WIDTH > 2 ? 2 : 1;  // products that DSP blocks add up
localparam int PAIRS = (WIDTH + PAIR - 1) / PAIR;
localparam int TREE = PAIRS > 1 ? $clog2(PAIRS) : 1;
localparam int TO_SUM = 2 + PAIR + TREE;
localparam int TO_CORE = TO_SUM + (CHUNKS > 1 ? 1 : 0);
localparam int TAIL = SCORE_SCALE != 0 ? 2 : 1;
localparam int TO_SCORE = TO_CORE + TAIL;
localparam int FIFO_W = $clog2((TO_SCORE + 2 + CHUNKS - 1) / CHUNKS + 1);

// ---- the keys
wire full, release_half, room;
wire [PLACE_W-1:0] base;
wire [ROW_W-1:0] last_row;
logic [PLACE_W-1:0] address;
wire [ELEMENTS*K_W-1:0] k_word;

net_attention_bank #(
    .ROWS(ROWS), .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .ELEMENT_W(K_W), .ROW_W(ROW_W),
    .PLACE_W(PLACE_W)
) keys (
    .clk(clk), .rst_n(rst_n), .s_tdata(k_tdata), .s_tvalid(k_tvalid), .s_tlast(k_tlast), .s_tready(k_tready),
    .full(full), .base(base), .last(last_row), .release_half(release_half), .address(address), .word(k_word)
);

// ---- where the products are
logic [HEADS*DIM*Q_W-1:0] query;
logic query_valid, query_last;
logic [ROW_W-1:0] row, key;
logic [GROUP_W-1:0] group;
logic [CHUNK_W-1:0] chunk;
logic [WORD_W-1:0] part;  // group * CHUNKS + chunk
logic [PLACE_W-1:0] offset;  // key * ROW_WORDS + part
wire go = query_valid && full && room;
wire chunk_ends = chunk == LAST_CHUNK;
wire key_ends = key == (CAUSAL != 0 ? row : last_row);
wire unit_ends = chunk_ends && key_ends;
wire row_ends = unit_ends && group == LAST_GROUP;

assign q_tready = !query_valid || (go && row_ends);
assign release_half = go && row_ends && query_last;
assign address = base + offset;

always_ff @(posedge clk) begin
    if (q_tready) begin
        query <= q_tdata;
        query_last <= q_tlast;
    end
    if (!rst_n) begin
        query_valid <= 1'b0;
        row <= '0;
        key <= '0;
        group <= '0;
        chunk <= '0;
        part <= '0;
        offset <= '0;
    end else begin
        if (q_tready) query_valid <= q_tvalid;
        if (go) begin
            chunk <= chunk_ends ? '0 : chunk + 1'b1;
            if (chunk_ends) key <= key_ends ? '0 : key + 1'b1;
            if (unit_ends) group <= group == LAST_GROUP ? '0 : group + 1'b1;
            if (row_ends) row <= query_last ? '0 : row + 1'b1;
            // The next chunk; the same group's first chunk of the next key; the next group's of key 0; the row's first.
            if (!chunk_ends) part <= part + 1'b1;
            else if (!key_ends) part <= part - WORD_W'(CHUNKS - 1);
            else part <= row_ends ? '0 : part + 1'b1;
            if (!chunk_ends) offset <= offset + 1'b1;
            else if (!key_ends) offset <= offset + PLACE_W'(ROW_WORDS - CHUNKS + 1);
            else offset <= row_ends ? '0 : PLACE_W'(part) + 1'b1;
        end
    end
end

// ---- products
wire [ROW_WORDS*ELEMENTS*Q_W-1:0] q_words;
wire [ELEMENTS*Q_W-1:0] q_now;
logic [ELEMENTS*Q_W-1:0] q_word;
net_attention_words #(
    .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .ELEMENT_W(Q_W)
) in_words (.row(query), .words(q_words));
op_pick #(.COUNT(ROW_WORDS), .WIDTH(ELEMENTS * Q_W), .SELECT_W(WORD_W)) choice (
    .words(q_words), .select(part), .word(q_now)
);
always_ff @(posedge clk) q_word <= q_now;

wire [PARALLEL*SCORE_W-1:0] scores;
logic [TO_SCORE:1] valid;  // a score, so many clocks after its last chunk
genvar p, e;

// The tail's constants, some of them a key's.
wire [SCORE_SCALE_W-1:0] scale;
wire [SCORE_OFFSET_W-1:0] term;
wire [ROW_W-1:0] core_key;
op_delay #(.WIDTH(ROW_W), .LENGTH(TO_CORE - 1)) key_delay (.clk(clk), .enable(1'b1), .in(key), .out(core_key));
generate
    if (SCORE_SCALE != 0) begin : gen_scale
        net_attention_constants #(
            .WORDS(SCORE_SCALES), .WIDTH(SCORE_SCALE_W), .INDEX_W(ROW_W), .TABLE(SCORE_SCALE_TABLE)
        ) scales (.clk(clk), .index(core_key), .word(scale));
    end else begin : gen_no_scale
        assign scale = '0;
    end
    if (SCORE_OFFSET != 0) begin : gen_offset
        net_attention_constants #(
            .WORDS(SCORE_OFFSETS), .WIDTH(SCORE_OFFSET_W), .INDEX_W(ROW_W), .TABLE(SCORE_OFFSET_TABLE)
        ) offsets (.clk(clk), .index(core_key), .word(term));
    end else begin : gen_no_offset
        assign term = '0;
    end
endgenerate

generate
    for (p = 0; p < PARALLEL; p = p + 1) begin : head
        localparam int P_W = QX_W + KX_W + PAIR - 1;
        wire [WIDTH*QX_W-1:0] q_operands;
        wire [WIDTH*KX_W-1:0] k_operands;
        wire [PAIRS*SCORE_CORE_W-1:0] products;
        wire signed [SCORE_CORE_W-1:0] sum;
        wire signed [SCORE_CORE_W-1:0] core;
        for (e = 0; e < WIDTH; e = e + 1) begin : element
            localparam int AT = p * WIDTH + e;
            logic signed [QX_W-1:0] q_operand;
            logic signed [KX_W-1:0] k_operand;
            always_ff @(posedge clk) begin
                q_operand <= {{(QX_W - Q_W){1'b0}}, q_word[AT*Q_W +: Q_W]};
                k_operand <= {{(KX_W - K_W){1'b0}}, k_word[AT*K_W +: K_W]};
            end
            assign q_operands[e*QX_W +: QX_W] = q_operand;
            assign k_operands[e*KX_W +: KX_W] = k_operand;
        end
        for (e = 0; e < PAIRS; e = e + 1) begin : pair
            localparam int COUNT = (e + 1) * PAIR > WIDTH ? 1 : PAIR;
            wire signed [P_W-1:0] product;
            net_chain #(.COUNT(COUNT), .LENGTH(PAIR), .A_W(QX_W), .B_W(KX_W), .P_W(P_W), .DSP(DSP)) times (
                .clk(clk), .en(1'b1), .a(q_operands[e*PAIR*QX_W +: COUNT*QX_W]),
                .b(k_operands[e*PAIR*KX_W +: COUNT*KX_W]), .p(product)
            );
            assign products[e*SCORE_CORE_W +: SCORE_CORE_W] = SCORE_CORE_W'(product);
            wire unused = ^product;
        end
        op_tree #(.COUNT(PAIRS), .WIDTH(SCORE_CORE_W), .SIGNED(1)) tree (.clk(clk), .words(products), .sum(sum));
        if (CHUNKS > 1) begin : gen_chunks
            wire sum_first, sum_valid;
            op_delay #(.WIDTH(2), .LENGTH(TO_SUM)) beside_sum (
                .clk(clk), .enable(1'b1), .in({go, chunk == '0}), .out({sum_valid, sum_first})
            );
            logic signed [SCORE_CORE_W-1:0] total;
            always_ff @(posedge clk) if (sum_valid) total <= sum_first ? sum : total + sum;
            assign core = total;
        end else begin : gen_whole
            assign core = sum;
        end
        net_tail #(
            .CORE_W(SCORE_CORE_W), .SCALE(SCORE_SCALE), .SCALE_W(SCORE_SCALE_W), .SCALED_W(SCORE_SCALED_W),
            .OFFSET(SCORE_OFFSET), .OFFSET_W(SCORE_OFFSET_W), .SHIFT(SCORE_SHIFT), .SUM_W(SCORE_SUM_W),
            .DROPPED(SCORE_DROPPED), .EVEN(SCORE_EVEN), .RELU(SCORE_RELU), .OUT_W(SCORE_W), .OUT_SIGNED(1),
            .LIMIT(SCORE_LIMIT), .DSP(DSP)
        ) tail (
            .clk(clk), .en(1'b1), .core(core), .scale(scale), .offset(term), .code(scores[p*SCORE_W +: SCORE_W])
        );
    end
endgenerate

// ---- what goes along
wire score_last;
wire [GROUP_W-1:0] score_group;
op_delay #(.WIDTH(GROUP_W + 1), .LENGTH(TO_SCORE)) beside (
    .clk(clk), .enable(1'b1), .in({group, key_ends}), .out({score_group, score_last})
);
always_ff @(posedge clk) valid <= rst_n ? {valid[TO_SCORE-1:1], go && chunk_ends} : '0;

net_attention_fifo #(.WIDTH(PARALLEL * SCORE_W + GROUP_W + 1), .PLACE_W(FIFO_W)) fifo (
    .clk(clk), .rst_n(rst_n), .reserve(go && chunk_ends), .room(room), .in_data({scores, score_group, score_last}),
    .in_valid(valid[TO_SCORE]), .m_data({m_scores, m_group, m_last}), .m_valid(m_valid), .m_ready(m_ready)
);

endmodule

`default_nettype wire
