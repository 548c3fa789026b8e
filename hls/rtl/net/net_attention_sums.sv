// SPDX-License-Identifier: Apache-2.0
// The sums P V of one head, over the keys: WIDTH elements a clock, CHUNKS words in turn.
//
//     v --[ ]--( x )--[ ]--( + )--[ sum ]--> cores            p --[ ]--^
//                            ^-- the sum CHUNKS words before, 0 at the first key
//
//     shift form:  v --[ ]-- << (E_FRAC - k) --[ ]--( + )--[ sum ]--> net_attention_divide --> cores
//
// p and v at clock 0, `go` and `first` of the same word at clock 2, cores at clock 3; 3 more in the shift form.
`default_nettype none

module net_attention_sums #(
    parameter int WIDTH = 8,
    parameter int CHUNKS = 1,
    parameter int DSP = 1,
    parameter int V_W = 8,
    parameter int V_SIGNED = 1,
    parameter int P_W = 8,
    parameter int P_SIGNED = 0,
    parameter int CORE_W = 23,
    parameter int E_FORM = 0,  // 1: the shift form; p is {q, ks, k}
    parameter int E_FRAC = 15,
    parameter int E_CODE_W = 4,
    parameter int E_KS_W = 3,
    parameter int E_SUM_W = 30,
    parameter int E_MANTISSAS = 2,
    parameter int E_MANTISSA_W = 10,
    parameter int E_SHIFT = 15,
    parameter int E_LIMIT = 0,
    parameter E_TABLE = "net_attention_e_table.mem"
) (
    input wire clk,
    input wire [P_W-1:0] p,
    input wire [WIDTH*V_W-1:0] v,
    input wire go,
    input wire first,
    output wire [WIDTH*CORE_W-1:0] cores
);

localparam int PX_W = P_W + (P_SIGNED != 0 ? 0 : 1);  // operands have a sign
localparam int VX_W = V_W + (V_SIGNED != 0 ? 0 : 1);
localparam int ACC_W = E_FORM != 0 ? E_SUM_W : CORE_W;
genvar e;

// The shift form's division: which factor is known with the sum, how far to shift a clock later.
// verilator lint_off UNUSEDSIGNAL
wire [E_MANTISSA_W-1:0] factor;
wire [E_KS_W-1:0] ks;
// verilator lint_on UNUSEDSIGNAL
generate
    if (E_FORM != 0) begin : gen_division
        localparam int Q_OF = $clog2(E_MANTISSAS);
        wire [Q_OF-1:0] q;
        op_delay #(.WIDTH(Q_OF), .LENGTH(2)) q_delay (
            .clk(clk), .enable(1'b1), .in(p[E_CODE_W+E_KS_W +: Q_OF]), .out(q)
        );
        op_delay #(.WIDTH(E_KS_W), .LENGTH(4)) ks_delay (
            .clk(clk), .enable(1'b1), .in(p[E_CODE_W +: E_KS_W]), .out(ks)
        );
        net_attention_constants #(
            .WORDS(E_MANTISSAS), .WIDTH(E_MANTISSA_W), .INDEX_W(Q_OF), .TABLE(E_TABLE)
        ) mantissas (.clk(clk), .index(q), .word(factor));
    end else begin : gen_no_division
        assign factor = '0;
        assign ks = '0;
    end
    for (e = 0; e < WIDTH; e = e + 1) begin : element
        wire signed [ACC_W-1:0] product;
        wire signed [ACC_W-1:0] earlier;
        wire signed [CORE_W-1:0] core;
        logic signed [ACC_W-1:0] sum;
        logic signed [VX_W-1:0] v_operand;
        always_ff @(posedge clk) v_operand <= {{(VX_W - V_W){1'b0}}, v[e*V_W +: V_W]};
        if (E_FORM != 0) begin : gen_shift
            // As far to the right as k says, from E_FRAC places to the left; nothing is left behind E_FRAC.
            logic [E_CODE_W-1:0] k;
            logic signed [VX_W+E_FRAC-1:0] shifted;
            wire signed [VX_W+E_FRAC-1:0] highest = {v_operand, {E_FRAC{1'b0}}};
            always_ff @(posedge clk) begin
                k <= p[E_CODE_W-1:0];
                if (int'(k) > E_FRAC) shifted <= '0;
                else shifted <= highest >>> k;
            end
            assign product = ACC_W'(shifted);
        end else begin : gen_product
            logic signed [PX_W-1:0] p_operand;
            wire signed [PX_W+VX_W-1:0] times;
            always_ff @(posedge clk) p_operand <= {{(PX_W - P_W){1'b0}}, p};
            net_product #(.A_W(PX_W), .B_W(VX_W), .DSP(DSP)) multiplier (
                .clk(clk), .en(1'b1), .a(p_operand), .b(v_operand), .p(times)
            );
            assign product = ACC_W'(times);
        end
        if (CHUNKS > 1) begin : gen_ring
            op_delay #(.WIDTH(ACC_W), .LENGTH(CHUNKS - 1)) ring (
                .clk(clk), .enable(go), .in(sum), .out(earlier)
            );
        end else begin : gen_one
            assign earlier = sum;
        end
        wire signed [ACC_W-1:0] addend = first ? '0 : earlier;
        always_ff @(posedge clk) if (go) sum <= addend + product;
        if (E_FORM != 0) begin : gen_divide
            net_attention_divide #(
                .SUM_W(ACC_W), .FACTOR_W(E_MANTISSA_W), .KS_W(E_KS_W), .OUT_SHIFT(E_SHIFT), .CORE_W(CORE_W),
                .LIMIT(E_LIMIT), .DSP(DSP)
            ) division (.clk(clk), .sum(sum), .factor(factor), .ks(ks), .core(core));
        end else begin : gen_sum
            assign core = sum;
        end
        assign cores[e*CORE_W +: CORE_W] = core;
    end
endgenerate

endmodule

`default_nettype wire
