// SPDX-License-Identifier: Apache-2.0
// The shell of a gain-cell kernel: whole tokens and commands go to it, answers come back.
//
//     in_r -> gate -> whole tokens --+-> skid -> kernel -> skid -> out_r
//                        commands ---+
//
// TLAST of an answer is made here: whether a token was the packet's last whole one shows only after it, when TLAST cuts
// the next one short.
`default_nettype none

module attn_cells #(
    parameter [63:0] MODEL_ID = 64'd0,
    parameter TOKEN_WORDS = 1,
    parameter ANSWER_WORDS = 1,
    parameter LAYERS = 1,
    parameter WINDOW = 1,
    parameter TABLE_WORDS = 1,  // currents of a table
    parameter CURRENT_WIDTH = 32  // signed bits of each
) (
    input wire ap_clk,
    input wire ap_rst_n,

    input wire [15:0] s_axi_control_awaddr,
    input wire s_axi_control_awvalid,
    output wire s_axi_control_awready,
    input wire [31:0] s_axi_control_wdata,
    input wire [3:0] s_axi_control_wstrb,
    input wire s_axi_control_wvalid,
    output wire s_axi_control_wready,
    output wire [1:0] s_axi_control_bresp,
    output wire s_axi_control_bvalid,
    input wire s_axi_control_bready,
    input wire [15:0] s_axi_control_araddr,
    input wire s_axi_control_arvalid,
    output wire s_axi_control_arready,
    output wire [31:0] s_axi_control_rdata,
    output wire [1:0] s_axi_control_rresp,
    output wire s_axi_control_rvalid,
    input wire s_axi_control_rready,

    input wire [31:0] in_r_tdata,
    input wire [3:0] in_r_tkeep,
    input wire in_r_tlast,
    input wire in_r_tvalid,
    output wire in_r_tready,

    output wire [31:0] out_r_tdata,
    output wire out_r_tlast,
    output wire out_r_tvalid,
    input wire out_r_tready,

    output wire [31:0] kernel_in_tdata,
    output wire [7:0] kernel_in_tuser,
    output wire kernel_in_tlast,
    output wire kernel_in_tvalid,
    input wire kernel_in_tready,
    input wire [31:0] kernel_out_tdata,
    input wire kernel_out_tvalid,
    output wire kernel_out_tready
);

localparam [31:0] LAST_PLACE = ANSWER_WORDS - 1;

reg reset;
initial
    reset = 1'b1;
always @(posedge ap_clk)
    reset <= !ap_rst_n;

// --- registers ---------------------------------------------------------------------------------------
wire write;
wire write_waits;
wire write_hold;
wire read;
wire [15:0] write_offset;
wire [15:0] read_offset;
wire [31:0] write_data;
wire [31:0] control_data;
wire [31:0] command_data;

// A register is in one of the two, and reads as 0 in the other.
wire [31:0] read_data = control_data | command_data;

attn_axilite lite (
    .clk(ap_clk),
    .reset(reset),
    .s_axi_awaddr(s_axi_control_awaddr),
    .s_axi_awvalid(s_axi_control_awvalid),
    .s_axi_awready(s_axi_control_awready),
    .s_axi_wdata(s_axi_control_wdata),
    .s_axi_wstrb(s_axi_control_wstrb),
    .s_axi_wvalid(s_axi_control_wvalid),
    .s_axi_wready(s_axi_control_wready),
    .s_axi_bresp(s_axi_control_bresp),
    .s_axi_bvalid(s_axi_control_bvalid),
    .s_axi_bready(s_axi_control_bready),
    .s_axi_araddr(s_axi_control_araddr),
    .s_axi_arvalid(s_axi_control_arvalid),
    .s_axi_arready(s_axi_control_arready),
    .s_axi_rdata(s_axi_control_rdata),
    .s_axi_rresp(s_axi_control_rresp),
    .s_axi_rvalid(s_axi_control_rvalid),
    .s_axi_rready(s_axi_control_rready),
    .write(write),
    .write_waits(write_waits),
    .write_hold(write_hold),
    .write_offset(write_offset),
    .write_data(write_data),
    .read(read),
    .read_offset(read_offset),
    .read_data(read_data)
);

wire begins;
wire ends;
wire sample;
wire leaves;
wire started;
wire busy;

attn_control #(
    .MODEL_ID(MODEL_ID)
) control (
    .clk(ap_clk),
    .reset(reset),
    .begins(begins),
    .ends(ends),
    .leaves(leaves),
    .sample(sample),
    .started(started),
    .busy(busy),
    .write(write),
    .write_offset(write_offset),
    .write_data(write_data),
    .read(read),
    .read_offset(read_offset),
    .read_data(control_data)
);

wire whole;
wire dropped;
wire [5:0] packet_layer;
wire [7:0] command_user;
wire [31:0] command_word;
wire command_valid;
wire room;
wire blocks;

attn_commands #(
    .LAYERS(LAYERS),
    .WINDOW(WINDOW),
    .TABLE_WORDS(TABLE_WORDS),
    .CURRENT_WIDTH(CURRENT_WIDTH)
) commands (
    .clk(ap_clk),
    .reset(reset),
    .begins(begins),
    .busy(busy),
    .whole(whole),
    .dropped(dropped),
    .packet_layer(packet_layer),
    .write(write),
    .write_waits(write_waits),
    .write_hold(write_hold),
    .blocks(blocks),
    .write_offset(write_offset),
    .write_data(write_data),
    .read_offset(read_offset),
    .read_data(command_data),
    .word_user(command_user),
    .word_data(command_word),
    .word_valid(command_valid),
    .word_ready(room)
);

// --- to the kernel -----------------------------------------------------------------------------------
reg open;  // words of a packet are accepted
wire accepted = in_r_tvalid && in_r_tready;
wire [31:0] token_word;
wire token_last;
wire token_valid;

assign begins = accepted && !busy;

always @(posedge ap_clk) begin
    if (accepted && in_r_tlast)
        open <= 1'b0;
    else if (started && !busy)
        open <= 1'b1;
    if (reset)
        open <= 1'b0;
end

attn_tokens #(
    .TOKEN_WORDS(TOKEN_WORDS)
) tokens (
    .clk(ap_clk),
    .reset(reset),
    .in_data(in_r_tdata),
    .in_last(in_r_tlast),
    .in_cut(in_r_tlast && in_r_tkeep != 4'hf),
    .in_valid(in_r_tvalid),
    .in_ready(in_r_tready),
    .in_open(open && !blocks),
    .whole(whole),
    .dropped(dropped),
    .out_data(token_word),
    .out_last(token_last),
    .out_valid(token_valid),
    .out_ready(room && !command_valid)
);

attn_skid #(
    .WIDTH(41)
) in_skid (
    .clk(ap_clk),
    .reset(reset),
    .in_data(command_valid ? {command_user, 1'b1, command_word} : {packet_layer, 2'd0, token_last, token_word}),
    .in_valid(command_valid || token_valid),
    .in_ready(room),
    .out_data({kernel_in_tuser, kernel_in_tlast, kernel_in_tdata}),
    .out_valid(kernel_in_tvalid),
    .out_ready(kernel_in_tready)
);

// --- from the kernel ---------------------------------------------------------------------------------
reg closed;  // the packet's TLAST was accepted
reg [31:0] place;  // of the next word in its answer
reg [31:0] due;  // answers
wire out_ready;
wire out_ends = place == LAST_PLACE;
wire out_last = out_ends && closed && due == 32'd1;
// An answer's last word waits until it shows whether it is the packet's last.
wire known = !out_ends || closed || due > 32'd1;
wire out_valid = busy && known && kernel_out_tvalid;
wire answered = out_valid && out_ready && out_ends;
wire word_ends;

assign kernel_out_tready = busy && known && out_ready;

always @(posedge ap_clk) begin
    if (accepted)
        closed <= in_r_tlast;
    if (out_valid && out_ready)
        place <= out_ends ? 32'd0 : place + 32'd1;
    due <= due + (whole ? 32'd1 : 32'd0) - (answered ? 32'd1 : 32'd0);
    if (reset) begin
        closed <= 1'b0;
        place <= 32'd0;
        due <= 32'd0;
    end
end

attn_skid #(
    .WIDTH(34)
) out_skid (
    .clk(ap_clk),
    .reset(reset),
    .in_data({out_ends, out_last, kernel_out_tdata}),
    .in_valid(out_valid),
    .in_ready(out_ready),
    .out_data({word_ends, out_r_tlast, out_r_tdata}),
    .out_valid(out_r_tvalid),
    .out_ready(out_r_tready)
);

assign sample = out_r_tvalid && out_r_tready && word_ends;
assign leaves = out_r_tvalid && out_r_tready && out_r_tlast;
// The last answer stays due until TLAST came; where none is due, no token was whole.
assign ends = leaves || (dropped && due == 32'd0);

endmodule

`default_nettype wire
