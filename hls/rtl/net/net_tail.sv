// SPDX-License-Identifier: Apache-2.0
// What a kernel does to an exact result before it leaves: constant factor, constant term, ReLU, rounding, limit.
//
//            scale                     offset
//              |                         |
//   core --> ( x ) --[ ]--> << SHIFT --( + )--> >> DROPPED --> ties to even --> max(., 0) --> limit --[ ]--> code
//
// Formula:  code = Q( relu( core * scale + offset ) ), each step optional, all but Q exact.
// The half of rounding is in the offset (hls/rtl/net/tail.py puts it there): floor( (x + half) / 2^DROPPED ), and a tie
// is where nothing is left below; to even, it clears the lowest bit.  A ReLU behind the rounding is the same as before
// it, since rounding keeps the order and leaves 0.
// Latency:  1 enabled clock, 2 with a scale (SCALE = 1).  scale and offset come with their core.
// Source:   hls/nnet/attn_tail.h, attn_requantise.h.
`default_nettype none

module net_tail #(
    parameter int CORE_W = 20,       // signed
    parameter int SCALE = 0,         // whether there is a factor
    parameter int SCALE_W = 2,       // signed
    parameter int SCALED_W = 20,     // signed bits of core * scale; CORE_W without a factor
    parameter int OFFSET = 0,        // whether there is a term
    parameter int OFFSET_W = 2,      // signed, with the half
    parameter int SHIFT = 0,         // aligns core * scale to the term
    parameter int SUM_W = 20,        // signed bits of the sum, with the half
    parameter int DROPPED = 0,       // fraction bits that go; negative: zeros that come
    parameter int EVEN = 0,          // ties to even, else up
    parameter int RELU = 0,
    parameter int OUT_W = 8,
    parameter int OUT_SIGNED = 1,
    parameter int LIMIT = 0,         // 0 saturate, 1 symmetric, 2 wrap
    parameter int DSP = 1            // the factor's product
) (
    input wire clk,
    input wire en,
    input wire [CORE_W-1:0] core,
    input wire [SCALE_W-1:0] scale,
    input wire [OFFSET_W-1:0] offset,
    output reg [OUT_W-1:0] code
);

localparam int DOWN = DROPPED > 0 ? DROPPED : 0;
localparam int UP = DROPPED < 0 ? -DROPPED : 0;
// At least a bit more than the result: its sign and what lies above are there.
localparam int WHOLE_W = SUM_W + UP - DOWN > OUT_W ? SUM_W + UP - DOWN : OUT_W + 1;
localparam logic [OUT_W-1:0] TOP_BIT = (OUT_W'(1)) << (OUT_W - 1);
localparam logic [OUT_W-1:0] ONE = OUT_W'(1);
localparam logic [OUT_W-1:0] CEILING = OUT_SIGNED != 0 ? ~TOP_BIT : {OUT_W{1'b1}};
localparam logic [OUT_W-1:0] BOTTOM = OUT_SIGNED == 0 ? {OUT_W{1'b0}} : LIMIT == 1 ? TOP_BIT | ONE : TOP_BIT;

wire signed [SCALED_W-1:0] scaled;
wire signed [OFFSET_W-1:0] term;
generate
    if (SCALE != 0) begin : factor
        wire signed [CORE_W+SCALE_W-1:0] product;
        net_product #(.A_W(CORE_W), .B_W(SCALE_W), .DSP(DSP)) multiplier (
            .clk(clk), .en(en), .a(core), .b(scale), .p(product)
        );
        wire unused_product = ^product;
        assign scaled = SCALED_W'(product);
        if (OFFSET != 0) begin : later
            reg [OFFSET_W-1:0] held;
            always_ff @(posedge clk) if (en) held <= offset;
            assign term = held;
        end else begin : no_term
            assign term = offset;
        end
    end else begin : no_factor
        wire signed [CORE_W-1:0] as_integer = core;
        wire unused = ^scale;
        assign scaled = SCALED_W'(as_integer);
        assign term = offset;
    end
endgenerate

wire signed [SUM_W-1:0] extended = SUM_W'(scaled);
wire unused_scaled = ^scaled;
wire signed [SUM_W-1:0] aligned = extended <<< SHIFT;
wire signed [SUM_W-1:0] sum;
generate
    if (OFFSET != 0) begin : plus
        wire signed [SUM_W-1:0] addend = SUM_W'(term);
        assign sum = aligned + addend;
    end else begin : nothing
        wire unused = ^term;
        assign sum = aligned;
    end
endgenerate

wire signed [WHOLE_W-1:0] whole;
wire tie;
generate
    if (DOWN > 0) begin : down
        wire signed [SUM_W-DOWN-1:0] kept = sum[SUM_W-1:DOWN];
        assign whole = WHOLE_W'(kept);
        if (EVEN != 0) begin : even
            assign tie = sum[DOWN-1:0] == '0;
        end else begin : one_way
            wire unused = ^sum[DOWN-1:0];
            assign tie = 1'b0;
        end
    end else begin : up
        wire signed [WHOLE_W-1:0] wide = WHOLE_W'(sum);
        assign whole = wide <<< UP;
        assign tie = 1'b0;
    end
endgenerate

wire minus = whole[WHOLE_W-1];
wire [OUT_W-1:0] low = whole[OUT_W-1:0] & (tie ? ~ONE : {OUT_W{1'b1}});
wire [OUT_W-1:0] limited;
wire fits;
generate
    if (LIMIT == 2) begin : wraps
        wire unused = ^whole[WHOLE_W-1:OUT_W];
        assign fits = 1'b1;
        assign limited = low;
    end else begin : limits
        wire [WHOLE_W-1:OUT_W-OUT_SIGNED] above = whole[WHOLE_W-1:OUT_W-OUT_SIGNED];
        assign fits = above == '0 || (OUT_SIGNED != 0 && above == '1);
        assign limited = LIMIT == 1 && OUT_SIGNED != 0 && low == TOP_BIT ? BOTTOM : low;
    end
endgenerate

always_ff @(posedge clk)
    if (en) begin
        if (RELU != 0 && minus) code <= '0;
        else if (fits) code <= limited;
        else code <= minus ? BOTTOM : CEILING;
    end

endmodule

`default_nettype wire
