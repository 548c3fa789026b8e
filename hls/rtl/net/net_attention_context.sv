// SPDX-License-Identifier: Apache-2.0
// Contexts P V of PARALLEL heads at a time, one key after the other.
//
//     v rows --> bank -----------> word --( x )--( + )--> sums at the last key --> tail --> row --> m
//                                           ^      ^ over the keys, for each of CHUNKS words
//     p ---> register --> format of P V ----+
//
// A probability stays for CHUNKS clocks.  p_last ends the keys of a row and group; the rows of a sequence are those of
// its values.  Nothing between the memory and the row ever stops: a row of results is started when one of the two
// registers for rows is free.
`default_nettype none

module net_attention_context #(
    parameter int ROWS = 16,
    parameter int HEADS = 1,
    parameter int DIM = 8,
    parameter int PARALLEL = 1,
    parameter int WIDTH = 8,
    parameter int DSP = 1,
    parameter int V_W = 8,
    parameter int V_SIGNED = 1,
    parameter int P_IN_W = 8,  // unsigned, as the score function gives it
    parameter int E_FORM = 0,  // 1: the shift form; p is {q, ks, k}, and v << (E_FRAC - k) is summed up
    parameter int E_FRAC = 15,
    parameter int E_CODE_W = 4,
    parameter int E_KS_W = 3,
    parameter int E_SUM_W = 30,
    parameter int E_MANTISSAS = 2,
    parameter int E_MANTISSA_W = 10,
    parameter int E_SHIFT = 15,
    parameter int E_LIMIT = 0,
    parameter int P_ROUND = 0,  // whether P V takes another format: see net_tail.sv
    parameter int P_OFFSET = 0,
    parameter int P_OFFSET_W = 2,
    parameter int P_SUM_W = 9,
    parameter int P_DROPPED = 0,
    parameter int P_EVEN = 0,
    parameter int P_LIMIT = 0,
    parameter int P_W = 8,
    parameter int P_SIGNED = 0,
    parameter int CORE_W = 23,  // P V exactly, and so on: see net_tail.sv
    parameter int SCALE = 0,
    parameter int SCALE_W = 2,
    parameter int SCALED_W = 23,
    parameter int OFFSET = 0,
    parameter int OFFSET_W = 2,
    parameter int SHIFT = 0,
    parameter int SUM_W = 23,
    parameter int DROPPED = 9,
    parameter int EVEN = 0,
    parameter int RELU = 0,
    parameter int LIMIT = 0,
    parameter int OUT_W = 8,
    parameter int OUT_SIGNED = 1,
    parameter int SCALES = 1,  // words of a table: 1, or CHUNKS; a word has WIDTH entries
    parameter int OFFSETS = 1,
    parameter E_TABLE = "net_attention_e_table.mem",
    parameter P_OFFSET_TABLE = "net_attention_p_offset_table.mem",
    parameter SCALE_TABLE = "net_attention_scale_table.mem",
    parameter OFFSET_TABLE = "net_attention_offset_table.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [HEADS*DIM*V_W-1:0] v_tdata,
    input wire v_tvalid,
    input wire v_tlast,
    output wire v_tready,
    input wire [PARALLEL*P_IN_W-1:0] p_data,
    input wire p_last,
    input wire p_valid,
    output wire p_ready,
    output wire [HEADS*DIM*OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int GROUPS = HEADS / PARALLEL;
localparam int CHUNKS = (DIM + WIDTH - 1) / WIDTH;
localparam int ROW_WORDS = GROUPS * CHUNKS;
localparam int ELEMENTS = PARALLEL * WIDTH;
localparam int ROW_W = ROWS > 1 ? $clog2(ROWS) : 1;
localparam int PLACE_W = $clog2(2 * ROWS * ROW_WORDS);
localparam int CHUNK_W = CHUNKS > 1 ? $clog2(CHUNKS) : 1;
localparam int GROUP_W = GROUPS > 1 ? $clog2(GROUPS) : 1;
localparam int WORD_W = ROW_WORDS > 1 ? $clog2(ROW_WORDS) : 1;
localparam logic [GROUP_W-1:0] LAST_GROUP = GROUP_W'(GROUPS - 1);
localparam logic [CHUNK_W-1:0] LAST_CHUNK = CHUNK_W'(CHUNKS - 1);

localparam int PX_W = P_W + (P_SIGNED != 0 ? 0 : 1);  // operands have a sign
localparam int VX_W = V_W + (V_SIGNED != 0 ? 0 : 1);

// Clocks from a place in the memory to a sum, to a result.
localparam int FORMAT = P_ROUND != 0 ? 1 : 0;
localparam int TO_PRODUCT = 3 + FORMAT;
localparam int TO_SUM = TO_PRODUCT + 1;
localparam int TAIL = SCALE != 0 ? 2 : 1;
localparam int TO_CORE = TO_SUM + (E_FORM != 0 ? 3 : 0);
localparam int TO_RESULT = TO_CORE + TAIL;
localparam int ACC_W = E_FORM != 0 ? E_SUM_W : CORE_W;

// ---- the values
wire full, release_half;
wire [PLACE_W-1:0] base, address;
wire [ROW_W-1:0] last_row;
wire [ELEMENTS*V_W-1:0] v_word;

net_attention_bank #(
    .ROWS(ROWS), .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .ELEMENT_W(V_W), .ROW_W(ROW_W),
    .PLACE_W(PLACE_W)
) values (
    .clk(clk), .rst_n(rst_n), .s_tdata(v_tdata), .s_tvalid(v_tvalid), .s_tlast(v_tlast), .s_tready(v_tready),
    .full(full), .base(base), .last(last_row), .release_half(release_half), .address(address), .word(v_word)
);

// ---- where the products are
logic [ROW_W-1:0] row;
logic [GROUP_W-1:0] group;
logic [CHUNK_W-1:0] chunk;
logic [WORD_W-1:0] part;  // group * CHUNKS + chunk
logic [PLACE_W-1:0] offset;  // key * ROW_WORDS + part
logic first_key;
logic [1:0] rows_out;  // started, not yet taken
wire chunk_ends = chunk == LAST_CHUNK;
wire unit_ends = chunk_ends && p_last;
wire row_ends = unit_ends && group == LAST_GROUP;
wire sequence_ends = row_ends && row == last_row;
wire row_starts = p_last && part == '0;  // the first word of the row that will have a result
wire open = full && !(row_starts && rows_out[1]);
wire go = p_valid && open;
wire given = m_tvalid && m_tready;

assign p_ready = open && chunk_ends;
assign release_half = go && sequence_ends;

always_ff @(posedge clk) begin
    if (!rst_n) begin
        row <= '0;
        group <= '0;
        chunk <= '0;
        part <= '0;
        offset <= '0;
        first_key <= 1'b1;
        rows_out <= 2'd0;
    end else begin
        if ((go && row_starts) != given) rows_out <= given ? rows_out - 2'd1 : rows_out + 2'd1;
        if (go) begin
            chunk <= chunk_ends ? '0 : chunk + 1'b1;
            if (chunk_ends) first_key <= p_last;
            if (unit_ends) group <= group == LAST_GROUP ? '0 : group + 1'b1;
            if (row_ends) row <= sequence_ends ? '0 : row + 1'b1;
            // The next chunk; the same group's first chunk of the next key; the next group's of key 0; the row's first.
            if (!chunk_ends) part <= part + 1'b1;
            else if (!p_last) part <= part - WORD_W'(CHUNKS - 1);
            else part <= row_ends ? '0 : part + 1'b1;
            if (!chunk_ends) offset <= offset + 1'b1;
            else if (!p_last) offset <= offset + PLACE_W'(ROW_WORDS - CHUNKS + 1);
            else offset <= row_ends ? '0 : PLACE_W'(part) + 1'b1;
        end
    end
end

// ---- products; the memory waits for the probabilities' format
logic [PARALLEL*P_IN_W-1:0] p_held;
wire [PARALLEL*P_W-1:0] p_word;
always_ff @(posedge clk) p_held <= p_data;

generate
    if (FORMAT != 0) begin : gen_format
        op_delay #(.WIDTH(PLACE_W), .LENGTH(FORMAT)) wait_for_p (
            .clk(clk), .enable(1'b1), .in(base + offset), .out(address)
        );
    end else begin : gen_no_format
        assign address = base + offset;
    end
endgenerate

wire sum_go, sum_first, result_row_ends, result_last, result_ends;
wire [WORD_W-1:0] result_part;
wire [ELEMENTS*OUT_W-1:0] results;
genvar p, e;

// The tails' constants.
wire [WIDTH*SCALE_W-1:0] scales;
wire [WIDTH*OFFSET_W-1:0] terms;
wire [CHUNK_W-1:0] core_chunk;
op_delay #(.WIDTH(CHUNK_W), .LENGTH(TO_CORE - 1)) chunk_delay (.clk(clk), .enable(1'b1), .in(chunk), .out(core_chunk));
generate
    if (SCALE != 0) begin : gen_scale
        net_attention_constants #(
            .WORDS(SCALES), .WIDTH(WIDTH * SCALE_W), .INDEX_W(CHUNK_W), .TABLE(SCALE_TABLE)
        ) scale_words (.clk(clk), .index(core_chunk), .word(scales));
    end else begin : gen_no_scale
        assign scales = '0;
    end
    if (OFFSET != 0) begin : gen_offset
        net_attention_constants #(
            .WORDS(OFFSETS), .WIDTH(WIDTH * OFFSET_W), .INDEX_W(CHUNK_W), .TABLE(OFFSET_TABLE)
        ) offset_words (.clk(clk), .index(core_chunk), .word(terms));
    end else begin : gen_no_offset
        assign terms = '0;
    end
endgenerate

generate
    for (p = 0; p < PARALLEL; p = p + 1) begin : head
        wire [P_IN_W-1:0] taken = p_held[p*P_IN_W +: P_IN_W];
        if (FORMAT != 0) begin : gen_round
            wire [P_OFFSET_W-1:0] p_term;
            if (P_OFFSET != 0) begin : gen_offset
                net_attention_constants #(.WIDTH(P_OFFSET_W), .TABLE(P_OFFSET_TABLE)) offset_word (
                    .clk(clk), .index(1'b0), .word(p_term)
                );
            end else begin : gen_no_offset
                assign p_term = '0;
            end
            net_tail #(
                .CORE_W(P_IN_W + 1), .SCALED_W(P_IN_W + 1), .OFFSET(P_OFFSET), .OFFSET_W(P_OFFSET_W), .SUM_W(P_SUM_W),
                .DROPPED(P_DROPPED), .EVEN(P_EVEN), .OUT_W(P_W), .OUT_SIGNED(P_SIGNED), .LIMIT(P_LIMIT)
            ) rounding (
                .clk(clk), .en(1'b1), .core({1'b0, taken}), .scale(2'd0), .offset(p_term), .code(p_word[p*P_W +: P_W])
            );
        end else begin : gen_as_is
            assign p_word[p*P_W +: P_W] = P_W'(taken);
        end
        // The shift form's division: which factor is known with the sum, how far to shift a clock later.
        wire [E_MANTISSA_W-1:0] factor;
        wire [E_KS_W-1:0] ks;
        if (E_FORM != 0) begin : gen_division
            localparam int Q_OF = $clog2(E_MANTISSAS);
            wire [Q_OF-1:0] q;
            op_delay #(.WIDTH(Q_OF), .LENGTH(TO_SUM - 2)) q_delay (
                .clk(clk), .enable(1'b1), .in(taken[E_CODE_W+E_KS_W +: Q_OF]), .out(q)
            );
            op_delay #(.WIDTH(E_KS_W), .LENGTH(TO_SUM)) ks_delay (
                .clk(clk), .enable(1'b1), .in(taken[E_CODE_W +: E_KS_W]), .out(ks)
            );
            net_attention_constants #(
                .WORDS(E_MANTISSAS), .WIDTH(E_MANTISSA_W), .INDEX_W(Q_OF), .TABLE(E_TABLE)
            ) mantissas (.clk(clk), .index(q), .word(factor));
        end else begin : gen_no_division
            assign factor = '0;
            assign ks = '0;
        end
        for (e = 0; e < WIDTH; e = e + 1) begin : element
            localparam int AT = p * WIDTH + e;
            wire signed [ACC_W-1:0] product;
            wire signed [ACC_W-1:0] earlier;
            wire signed [CORE_W-1:0] core;
            logic signed [ACC_W-1:0] sum;
            logic signed [VX_W-1:0] v_operand;
            always_ff @(posedge clk) v_operand <= {{(VX_W - V_W){1'b0}}, v_word[AT*V_W +: V_W]};
            if (E_FORM != 0) begin : gen_shift
                // As far to the right as k says, from E_FRAC places to the left; nothing is left behind E_FRAC.
                logic [E_CODE_W-1:0] k;
                logic signed [VX_W+E_FRAC-1:0] shifted;
                wire signed [VX_W+E_FRAC-1:0] highest = {v_operand, {E_FRAC{1'b0}}};
                always_ff @(posedge clk) begin
                    k <= p_word[p*P_W +: E_CODE_W];
                    if (int'(k) > E_FRAC) shifted <= '0;
                    else shifted <= highest >>> k;
                end
                assign product = ACC_W'(shifted);
            end else begin : gen_product
                logic signed [PX_W-1:0] p_operand;
                wire signed [PX_W+VX_W-1:0] times;
                always_ff @(posedge clk) p_operand <= {{(PX_W - P_W){1'b0}}, p_word[p*P_W +: P_W]};
                net_product #(.A_W(PX_W), .B_W(VX_W), .DSP(DSP)) multiplier (
                    .clk(clk), .en(1'b1), .a(p_operand), .b(v_operand), .p(times)
                );
                assign product = ACC_W'(times);
            end
            if (CHUNKS > 1) begin : gen_ring
                op_delay #(.WIDTH(ACC_W), .LENGTH(CHUNKS - 1)) ring (
                    .clk(clk), .enable(sum_go), .in(sum), .out(earlier)
                );
            end else begin : gen_one
                assign earlier = sum;
            end
            always_ff @(posedge clk) if (sum_go) sum <= sum_first ? product : earlier + product;
            if (E_FORM != 0) begin : gen_divide
                net_attention_divide #(
                    .SUM_W(ACC_W), .FACTOR_W(E_MANTISSA_W), .KS_W(E_KS_W), .OUT_SHIFT(E_SHIFT), .CORE_W(CORE_W),
                    .LIMIT(E_LIMIT), .DSP(DSP)
                ) division (.clk(clk), .sum(sum), .factor(factor), .ks(ks), .core(core));
            end else begin : gen_sum
                assign core = sum;
            end
            net_tail #(
                .CORE_W(CORE_W), .SCALE(SCALE), .SCALE_W(SCALE_W), .SCALED_W(SCALED_W), .OFFSET(OFFSET),
                .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED), .EVEN(EVEN), .RELU(RELU),
                .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP)
            ) tail (
                .clk(clk), .en(1'b1), .core(core), .scale(scales[e*SCALE_W +: SCALE_W]),
                .offset(terms[e*OFFSET_W +: OFFSET_W]), .code(results[AT*OUT_W +: OUT_W])
            );
        end
    end
endgenerate

// ---- what goes along
op_delay #(.WIDTH(2), .LENGTH(TO_PRODUCT)) beside_product (
    .clk(clk), .enable(1'b1), .in({go, first_key}), .out({sum_go, sum_first})
);
op_delay #(.WIDTH(WORD_W + 2), .LENGTH(TO_RESULT)) beside_result (
    .clk(clk), .enable(1'b1), .in({part, row_ends, sequence_ends}),
    .out({result_part, result_row_ends, result_last})
);
logic [TO_RESULT:1] ends;
always_ff @(posedge clk) ends <= rst_n ? {ends[TO_RESULT-1:1], go && p_last} : '0;
assign result_ends = ends[TO_RESULT];

// ---- the row of results
net_attention_rows #(
    .HEADS(HEADS), .DIM(DIM), .PARALLEL(PARALLEL), .WIDTH(WIDTH), .ELEMENT_W(OUT_W), .WORD_W(WORD_W)
) rows (
    .clk(clk), .rst_n(rst_n), .word(results), .part(result_part), .word_valid(result_ends),
    .row_ends(result_row_ends), .last(result_last), .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast),
    .m_tready(m_tready)
);

endmodule

`default_nettype wire
