// SPDX-License-Identifier: Apache-2.0
// Dense layer on every row: a block of IN_BLOCK x OUT_BLOCK weights a clock.
//
//   row --> part of x --+
//                       v
//   weights[step] --> products --> chains --> tree --> ( + )--> acc --> tails --> part of y --> row
//                                                     start or acc
//
// Formula:  y[r][o] = tail( sum_i x[r][i] w[i][o] )
// PACK = 2: a DSP block works for two outputs.  Its wide operand is w1 2^SPACE + w0, the product h 2^SPACE + l with
// SPACE bits for l.  Sums keep the two apart, ACC_W bits each, and borrow from the upper one what the lower one's sign
// takes; it is given back once, behind the accumulator.
// CHAIN > 1: DSP blocks add up so many products on their way; SPACE holds the sum of the lower ones (net_chain.sv).
// The constant term and the half of rounding are where the sum starts, if nothing is between (START_BY).
// Cycles:   a row every ceil(N_IN / IN_BLOCK) ceil(N_OUT / OUT_BLOCK); its result 4 + CHAIN clocks and those of the tree
//           after its last part came, 1 more with a scale; 1 less at a row a clock.
// Source:   blocked matrix multiplication; two products a DSP: Fu et al., Xilinx WP486 (2016).
`default_nettype none

module net_dense #(
    parameter int N_IN = 4,
    parameter int N_OUT = 4,
    parameter int IN_BLOCK = 2,
    parameter int OUT_BLOCK = 2,
    parameter int IN_W = 8,
    parameter int IN_SIGNED = 1,
    parameter int WEIGHT_W = 8,   // signed
    parameter int PACK = 1,       // outputs of a product
    parameter int SPACE = 16,     // bits of the lower products' sum
    parameter int CHAIN = 1,      // products of a chain
    parameter int BLOCKS = 0,     // whether weights are in block RAM
    parameter int ACC_W = 20,     // signed; SPACE at least
    parameter int START_BY = 0,   // 1, 2 or 3: sums start with constants, as *_BY of net_tails
    parameter int ROWS = 1,
    parameter int STEP_W = 2,
    parameter int SCALE_BY = 0,   // from here on the tail's
    parameter int SCALE_W = 2,
    parameter int SCALED_W = 20,
    parameter int OFFSET_BY = 0,
    parameter int OFFSET_W = 2,
    parameter int SHIFT = 0,
    parameter int SUM_W = 20,
    parameter int DROPPED = 0,
    parameter int EVEN = 0,
    parameter int RELU = 0,
    parameter int OUT_W = 8,
    parameter int OUT_SIGNED = 1,
    parameter int LIMIT = 0,
    parameter int DSP = 1,
    parameter WEIGHTS = "weights.mem",
    parameter STARTS = "starts.mem",
    parameter SCALES = "scales.mem",
    parameter OFFSETS = "offsets.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [N_IN*IN_W-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    output wire [N_OUT*OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int INS = (N_IN + IN_BLOCK - 1) / IN_BLOCK;
localparam int OUTS = (N_OUT + OUT_BLOCK - 1) / OUT_BLOCK;
localparam int STEPS = INS * OUTS;
localparam int GROUPS = (OUT_BLOCK + PACK - 1) / PACK;
localparam int ENTRY_W = PACK == 2 ? 2 * WEIGHT_W + 1 : WEIGHT_W;  // {w1 less w0's borrow, w0}
localparam int A_W = PACK == 2 ? WEIGHT_W + 1 + SPACE : WEIGHT_W;
localparam int X_W = IN_SIGNED != 0 ? IN_W : IN_W + 1;
localparam int WORD_W = PACK * ACC_W;
localparam int P_W = A_W + X_W + $clog2(CHAIN);
localparam int CHAINS = (IN_BLOCK + CHAIN - 1) / CHAIN;
localparam int TREE = ($clog2(CHAINS) + 1) / 2;
localparam int DEPTH = TREE + CHAIN;
localparam int ROM_W = GROUPS * IN_BLOCK * ENTRY_W;

wire run;
wire [INS*IN_BLOCK*IN_W-1:0] row;
wire [IN_BLOCK*IN_W-1:0] part;
wire [STEP_W-1:0] step;
wire valid, first, last, done, end_row;
genvar g, c, i;

generate
    if (INS * IN_BLOCK > N_IN) begin : filled
        assign row = {{((INS * IN_BLOCK - N_IN) * IN_W){1'b0}}, s0_tdata};
    end else begin : full
        assign row = s0_tdata;
    end
endgenerate

net_front #(.PARTS(INS), .REPEATS(OUTS), .PART_W(IN_BLOCK * IN_W), .STEP_W(STEP_W)) front (
    .clk(clk), .rst_n(rst_n), .run(run), .s_data(row), .s_valid(s0_tvalid), .s_last(s0_tlast), .s_ready(s0_tready),
    .step(step), .part(part), .valid(valid), .first(first), .last(last), .done(done), .end_row(end_row)
);

reg [ROM_W-1:0] weights;
generate
    if (BLOCKS != 0) begin : in_blocks
        (* rom_style = "block" *) reg [ROM_W-1:0] rom [0:STEPS-1];
        initial $readmemh(WEIGHTS, rom);
        always_ff @(posedge clk) if (run) weights <= rom[step];
    end else begin : in_luts
        reg [ROM_W-1:0] rom [0:STEPS-1];
        initial $readmemh(WEIGHTS, rom);
        always_ff @(posedge clk) if (run) weights <= rom[step];
    end
endgenerate

// What belongs to the part in each stage: chains at CHAIN, sums at CHAIN + TREE, the accumulator one later.
reg [DEPTH:1] valid_at, first_at, last_at, done_at, end_at;
always_ff @(posedge clk) begin
    if (run) begin
        first_at <= DEPTH'({first_at, first});
        last_at <= DEPTH'({last_at, last});
        done_at <= DEPTH'({done_at, done});
        end_at <= DEPTH'({end_at, end_row});
    end
    if (!rst_n) valid_at <= '0;
    else if (run) valid_at <= DEPTH'({valid_at, valid});
end
wire summed = valid_at[DEPTH];
wire starting = first_at[DEPTH];
wire finished = summed && last_at[DEPTH];

wire [GROUPS*WORD_W-1:0] starts;
generate
    if (START_BY != 0) begin : start
        net_constants #(
            .BY(START_BY), .PARTS(OUTS), .ROWS(ROWS), .WIDTH(GROUPS * WORD_W), .WORDS(STARTS)
        ) words (
            .clk(clk), .rst_n(rst_n), .en(run), .next(finished), .restart(done_at[DEPTH] && end_at[DEPTH]),
            .word(starts)
        );
    end else begin : from_nothing
        assign starts = '0;
    end
endgenerate

wire [OUT_BLOCK*ACC_W-1:0] cores;
generate
    for (g = 0; g < GROUPS; g = g + 1) begin : group
        wire [CHAINS*WORD_W-1:0] terms;
        wire signed [WORD_W-1:0] sum;
        reg signed [WORD_W-1:0] acc;
        for (c = 0; c < CHAINS; c = c + 1) begin : chain
            localparam int COUNT = (c + 1) * CHAIN > IN_BLOCK ? IN_BLOCK - c * CHAIN : CHAIN;
            wire [COUNT*A_W-1:0] a;
            wire [COUNT*X_W-1:0] x;
            wire signed [P_W-1:0] p;
            for (i = 0; i < COUNT; i = i + 1) begin : lane
                localparam int AT = c * CHAIN + i;
                wire [ENTRY_W-1:0] entry = weights[(g*IN_BLOCK+AT)*ENTRY_W +: ENTRY_W];
                if (IN_SIGNED != 0) begin : integers
                    assign x[i*X_W +: X_W] = part[AT*IN_W +: IN_W];
                end else begin : naturals
                    assign x[i*X_W +: X_W] = {1'b0, part[AT*IN_W +: IN_W]};
                end
                if (PACK == 2) begin : two
                    assign a[i*A_W +: A_W] =
                        {entry[2*WEIGHT_W:WEIGHT_W], {(SPACE-WEIGHT_W){entry[WEIGHT_W-1]}}, entry[WEIGHT_W-1:0]};
                end else begin : one
                    assign a[i*A_W +: A_W] = entry;
                end
            end
            net_chain #(.COUNT(COUNT), .LENGTH(CHAIN), .A_W(A_W), .B_W(X_W), .P_W(P_W), .DSP(DSP)) products (
                .clk(clk), .en(run), .a(a), .b(x), .p(p)
            );
            if (PACK == 2) begin : two
                wire signed [P_W-SPACE-1:0] high = p[P_W-1:SPACE];
                wire signed [SPACE-1:0] low = p[SPACE-1:0];
                assign terms[c*WORD_W +: WORD_W] = {ACC_W'(high), ACC_W'(low)};
                wire unused = ^high;
            end else begin : one
                assign terms[c*WORD_W +: WORD_W] = ACC_W'(p);
                wire unused = ^p;
            end
        end
        net_tree #(.COUNT(CHAINS), .WIDTH(WORD_W)) tree (.clk(clk), .en(run), .words(terms), .sum(sum));
        wire signed [WORD_W-1:0] base = starting || INS == 1 ? starts[g*WORD_W +: WORD_W] : acc;
        always_ff @(posedge clk) if (run && summed) acc <= base + sum;
        if (PACK == 2) begin : split
            assign cores[2*g*ACC_W +: ACC_W] = acc[ACC_W-1:0];
            if (2 * g + 1 < OUT_BLOCK) begin : both
                wire signed [ACC_W-1:0] high = acc[WORD_W-1:ACC_W];
                assign cores[(2*g+1)*ACC_W +: ACC_W] = high + $signed({{(ACC_W-1){1'b0}}, acc[ACC_W-1]});
            end else begin : alone
                wire unused = ^acc[WORD_W-1:ACC_W];
            end
        end else begin : single
            assign cores[g*ACC_W +: ACC_W] = acc;
        end
    end
endgenerate

reg finished_acc, done_acc, end_acc;
always_ff @(posedge clk) begin
    if (run) begin
        done_acc <= done_at[DEPTH];
        end_acc <= end_at[DEPTH];
    end
    if (!rst_n) finished_acc <= 1'b0;
    else if (run) finished_acc <= finished;
end

wire [OUT_BLOCK*OUT_W-1:0] codes;
wire codes_valid, codes_last;
net_tails #(
    .LANES(OUT_BLOCK), .PARTS(OUTS), .ROWS(ROWS), .CORE_W(ACC_W), .SCALE_BY(SCALE_BY), .SCALE_W(SCALE_W),
    .SCALED_W(SCALED_W), .OFFSET_BY(OFFSET_BY), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED),
    .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP), .SCALES(SCALES),
    .OFFSETS(OFFSETS)
) tails (
    .clk(clk), .rst_n(rst_n), .en(run), .cores(cores), .valid(finished_acc), .done(done_acc), .last(end_acc),
    .codes(codes), .codes_valid(codes_valid), .codes_last(codes_last)
);

net_back #(.PARTS(OUTS), .PART_W(OUT_BLOCK * OUT_W), .ROW_W(N_OUT * OUT_W), .INTERVAL(STEPS)) back (
    .clk(clk), .rst_n(rst_n), .part(codes), .valid(codes_valid), .end_row(codes_last), .run(run), .m_data(m_tdata),
    .m_valid(m_tvalid), .m_last(m_tlast), .m_ready(m_tready)
);

endmodule

`default_nettype wire
