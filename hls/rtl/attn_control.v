// SPDX-License-Identifier: Apache-2.0
// The registers that every shell has: CTRL, MODEL_ID, SAMPLES and CYCLES.
`default_nettype none

module attn_control #(
    parameter [63:0] MODEL_ID = 64'd0
) (
    input wire clk,
    input wire reset,
    // Of the packet under way, each for one clock:
    input wire begins,  // its first word is accepted
    input wire ends,    // nothing of it is left
    input wire leaves,  // the last word of its answer is accepted
    input wire sample,  // the last word of an output sample is accepted
    output reg started,
    output reg busy,
    input wire write,
    input wire [15:0] write_offset,
    input wire [31:0] write_data,
    input wire read,
    input wire [15:0] read_offset,
    output reg [31:0] read_data
);

localparam [15:0] CTRL = 16'h0000;
localparam [15:0] MODEL_ID_LO = 16'h0010;
localparam [15:0] MODEL_ID_HI = 16'h0018;
localparam [15:0] SAMPLES = 16'h0020;
localparam [15:0] CYCLES_LO = 16'h0028;
localparam [15:0] CYCLES_HI = 16'h0030;

reg auto_restart;
reg done;
reg [31:0] samples;
reg [63:0] cycles;

wire unused = &{write_data[31:8], write_data[6:1], 1'b0};
wire write_ctrl = write && write_offset == CTRL;
wire read_ctrl = read && read_offset == CTRL;

always @(posedge clk) begin
    started <= (leaves ? auto_restart : started) || (write_ctrl && write_data[0]);
    if (write_ctrl)
        auto_restart <= write_data[7];
    done <= leaves || (done && !read_ctrl);
    busy <= (busy || begins) && !ends;
    if (sample)
        samples <= samples + 32'd1;
    if (busy || begins)
        cycles <= cycles + 64'd1;
    if (reset) begin
        started <= 1'b0;
        auto_restart <= 1'b0;
        done <= 1'b0;
        busy <= 1'b0;
        samples <= 32'd0;
        cycles <= 64'd0;
    end
end

always @* begin
    case (read_offset)
        CTRL: read_data = {24'd0, auto_restart, 3'd0, done, !started, done, started};
        MODEL_ID_LO: read_data = MODEL_ID[31:0];
        MODEL_ID_HI: read_data = MODEL_ID[63:32];
        SAMPLES: read_data = samples;
        CYCLES_LO: read_data = cycles[31:0];
        CYCLES_HI: read_data = cycles[63:32];
        default: read_data = 32'd0;
    endcase
end

endmodule

`default_nettype wire
