// SPDX-License-Identifier: Apache-2.0
//
// Log2Exp of E2Softmax: exp(-(above - below)) ~ 2^-exponent.
//
//      above, below --> ( - ) --> d --> 23 d (two adders) or d * factor --> >> places, halves up --> limit --> exponent
//
// Formula:  exponent = min( 2^CODE_W - 1, ( d * f + 2^(p-1) ) >> p ), f = 16 + 8 - 1 (log2 e = 23/16) or a factor.
// The bit below the point is the rounding: ( v + 2^(p-1) ) >> p = ( v >> p ) + bit p-1 of v.
// Three enabled clocks.  Both inputs have no sign and below <= above, so that the difference does not wrap: the
// pre-adder of a multiplier block is wider than they are.  Where below > above, the exponent has no meaning.
// Source: SOLE, arXiv 2510.17189, equations 7 and 8.
`default_nettype none

module op_log2exp #(
    parameter int IN_W = 8,  // bits of `above` and `below`, unsigned
    parameter int CODE_W = 4,  // bits of an exponent
    parameter int FOLDED = 0,  // 1: f is a factor, else 23
    parameter int FACTOR_W = 5,
    parameter int PLACES_W = 4,
    parameter int FACTOR = 23,  // f and p of all heads, unless
    parameter int PLACES = 8,
    parameter int PER_HEAD = 0,  // 1: they are words {p, f} of ROM_FILE
    parameter int HEADS = 1,
    parameter int HEAD_W = 1,
    parameter ROM_FILE = "op_log2exp.mem"
) (
    input wire clk,
    input wire enable,
    // verilator lint_off UNUSEDSIGNAL
    input wire [HEAD_W-1:0] head,  // read where heads differ
    // verilator lint_on UNUSEDSIGNAL
    input wire [IN_W-1:0] above,
    input wire [IN_W-1:0] below,
    output reg [CODE_W-1:0] exponent
);

localparam int PRODUCT_W = IN_W + FACTOR_W + 1;
localparam int WORD_W = PLACES_W + FACTOR_W;

// verilator lint_off UNUSEDSIGNAL
wire [WORD_W-1:0] word;  // of its factor nothing, with 23
// verilator lint_on UNUSEDSIGNAL

generate
    if (PER_HEAD != 0) begin : gen_heads
        reg [WORD_W-1:0] rom[0:HEADS-1];
        reg [WORD_W-1:0] looked_up;
        initial $readmemh(ROM_FILE, rom);
        always_ff @(posedge clk) if (enable) looked_up <= rom[head];
        assign word = looked_up;
    end else begin : gen_constant
        assign word = {PLACES[PLACES_W-1:0], FACTOR[FACTOR_W-1:0]};
    end
endgenerate

// ---------------------------------------------------------------- distance
reg [IN_W-1:0] distance;
always_ff @(posedge clk) if (enable) distance <= above - below;

// ---------------------------------------------------------------- times f
wire [PRODUCT_W-1:0] d = {{(FACTOR_W + 1) {1'b0}}, distance};
wire [PRODUCT_W-1:0] times;
generate
    if (FOLDED != 0) begin : gen_factor
        assign times = d * {{(IN_W + 1) {1'b0}}, word[FACTOR_W-1:0]};
    end else begin : gen_23
        assign times = (d << 4) + (d << 3) - d;
    end
endgenerate
reg [PRODUCT_W-1:0] product;
always_ff @(posedge clk) if (enable) product <= times;

wire [PLACES_W-1:0] places;
generate
    if (PER_HEAD != 0) begin : gen_places
        reg [PLACES_W-1:0] delayed;
        always_ff @(posedge clk) if (enable) delayed <= word[WORD_W-1:FACTOR_W];
        assign places = delayed;
    end else begin : gen_fixed
        assign places = word[WORD_W-1:FACTOR_W];
    end
endgenerate

// ---------------------------------------------------------------- shift, round, limit
wire [PRODUCT_W:0] shifted = {product, 1'b0} >> places;
wire [PRODUCT_W-1:0] whole = shifted[PRODUCT_W:1];
wire beyond = whole >= {{(PRODUCT_W - CODE_W) {1'b0}}, {CODE_W{1'b1}}};
always_ff @(posedge clk) begin
    if (enable) exponent <= beyond ? {CODE_W{1'b1}} : whole[CODE_W-1:0] + {{(CODE_W - 1) {1'b0}}, shifted[0]};
end

endmodule

`default_nettype wire
