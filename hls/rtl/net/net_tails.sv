// SPDX-License-Identifier: Apache-2.0
// Tails of LANES channels side by side, with their constants: a part of a row a clock.
//
//   cores --> net_tail --> codes        net_constants --> scale, offset of each lane
//
// *_BY: 0 no such constant, 1 one, 2 one a channel, 3 one an element of a sequence.
// Latency 1 enabled clock, 2 with a scale; valid, done and last come along.
`default_nettype none

module net_tails #(
    parameter int LANES = 4,
    parameter int PARTS = 4,   // of a row
    parameter int ROWS = 1,    // of the longest sequence
    parameter int CORE_W = 20,
    parameter int SCALE_BY = 0,
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
    parameter SCALES = "scales.mem",
    parameter OFFSETS = "offsets.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire en,
    input wire [LANES*CORE_W-1:0] cores,
    input wire valid,
    input wire done,  // the row's last part
    input wire last,  // of the sequence's last row
    output wire [LANES*OUT_W-1:0] codes,
    output wire codes_valid,
    output wire codes_last
);

localparam int LATENCY = SCALE_BY != 0 ? 2 : 1;

wire [LANES*SCALE_W-1:0] scales;
wire [LANES*OFFSET_W-1:0] offsets;
reg [LATENCY-1:0] valids;
reg [LATENCY-1:0] lasts;
wire restart = done && last;
genvar n;

assign codes_valid = valids[LATENCY-1];
assign codes_last = lasts[LATENCY-1];

generate
    if (SCALE_BY != 0) begin : scale
        net_constants #(.BY(SCALE_BY), .PARTS(PARTS), .ROWS(ROWS), .WIDTH(LANES * SCALE_W), .WORDS(SCALES)) words (
            .clk(clk), .rst_n(rst_n), .en(en), .next(valid), .restart(restart), .word(scales)
        );
        always_ff @(posedge clk) begin
            if (en) lasts <= {lasts[0], last};
            if (!rst_n) valids <= '0;
            else if (en) valids <= {valids[0], valid};
        end
    end else begin : no_scale
        assign scales = '0;
        always_ff @(posedge clk) begin
            if (en) lasts <= last;
            if (!rst_n) valids <= '0;
            else if (en) valids <= valid;
        end
    end
    if (OFFSET_BY != 0) begin : offset
        net_constants #(.BY(OFFSET_BY), .PARTS(PARTS), .ROWS(ROWS), .WIDTH(LANES * OFFSET_W), .WORDS(OFFSETS)) words (
            .clk(clk), .rst_n(rst_n), .en(en), .next(valid), .restart(restart), .word(offsets)
        );
    end else begin : no_offset
        assign offsets = '0;
    end
    if (SCALE_BY == 0 && OFFSET_BY == 0) begin : no_constants
        wire unused = restart;
    end
    for (n = 0; n < LANES; n = n + 1) begin : lane
        net_tail #(
            .CORE_W(CORE_W), .SCALE(SCALE_BY != 0 ? 1 : 0), .SCALE_W(SCALE_W), .SCALED_W(SCALED_W),
            .OFFSET(OFFSET_BY != 0 ? 1 : 0), .OFFSET_W(OFFSET_W), .SHIFT(SHIFT), .SUM_W(SUM_W), .DROPPED(DROPPED),
            .EVEN(EVEN), .RELU(RELU), .OUT_W(OUT_W), .OUT_SIGNED(OUT_SIGNED), .LIMIT(LIMIT), .DSP(DSP)
        ) tail (
            .clk(clk), .en(en), .core(cores[n*CORE_W +: CORE_W]), .scale(scales[n*SCALE_W +: SCALE_W]),
            .offset(offsets[n*OFFSET_W +: OFFSET_W]), .code(codes[n*OUT_W +: OUT_W])
        );
    end
endgenerate

endmodule

`default_nettype wire
