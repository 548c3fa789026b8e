// SPDX-License-Identifier: Apache-2.0
// The shell of one or several kernels: a packet goes to the selected one, and its answer leaves before the next begins.
//
//     in_r -> gate -> skid -> kernel SELECT -> skid -> out_r
`default_nettype none

module attn_shell #(
    parameter [63:0] MODEL_ID = 64'd0,
    parameter KERNELS = 1,
    parameter SELECTABLE = 0,  // whether there is a register SELECT
    parameter [32*KERNELS-1:0] ANSWER_WORDS = {KERNELS{32'd1}}  // stream words of an output sample, kernel 0 lowest
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
    output wire kernel_in_tlast,
    output wire [KERNELS-1:0] kernel_in_tvalid,
    input wire [KERNELS-1:0] kernel_in_tready,
    input wire [32*KERNELS-1:0] kernel_out_tdata,
    input wire [KERNELS-1:0] kernel_out_tlast,
    input wire [KERNELS-1:0] kernel_out_tvalid,
    output wire [KERNELS-1:0] kernel_out_tready
);

localparam [15:0] SELECT = 16'h0038;
localparam [31:0] LAST_KERNEL = KERNELS - 1;
localparam NUMBER_BITS = KERNELS > 1 ? $clog2(KERNELS) : 1;

reg reset;
initial
    reset = 1'b1;
always @(posedge ap_clk)
    reset <= !ap_rst_n;

// --- registers ---------------------------------------------------------------------------------------
wire write;
wire read;
wire [15:0] write_offset;
wire [15:0] read_offset;
wire [31:0] write_data;
wire [31:0] control_data;
wire unused_waits;

reg [NUMBER_BITS-1:0] select;
wire [31:0] read_data = SELECTABLE != 0 && read_offset == SELECT ? {{(32-NUMBER_BITS){1'b0}}, select} : control_data;

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
    .write_waits(unused_waits),
    .write_hold(1'b0),
    .write_offset(write_offset),
    .write_data(write_data),
    .read(read),
    .read_offset(read_offset),
    .read_data(read_data)
);

wire begins;
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
    .ends(leaves),
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

always @(posedge ap_clk) begin
    if (write && write_offset == SELECT && write_data <= LAST_KERNEL)
        select <= write_data[NUMBER_BITS-1:0];
    if (reset)
        select <= 0;
end

// --- to the kernel -----------------------------------------------------------------------------------
reg open;  // words of a packet are accepted
wire room;
wire accepted = in_r_tvalid && in_r_tready;
// A word that lacks bytes is none: the kernel then waits for the rest of its sample.
wire cut = in_r_tlast && in_r_tkeep != 4'hf;
wire in_valid;

assign in_r_tready = open && room;
assign begins = accepted && !busy;

always @(posedge ap_clk) begin
    if (accepted && in_r_tlast)
        open <= 1'b0;
    else if (started && !busy)
        open <= 1'b1;
    if (reset)
        open <= 1'b0;
end

reg [NUMBER_BITS-1:0] target;  // the kernel of the packet under way
always @(posedge ap_clk)
    if (begins)
        target <= select;

attn_skid #(
    .WIDTH(33)
) in_skid (
    .clk(ap_clk),
    .reset(reset),
    .in_data({in_r_tlast, in_r_tdata}),
    .in_valid(accepted && !cut),
    .in_ready(room),
    .out_data({kernel_in_tlast, kernel_in_tdata}),
    .out_valid(in_valid),
    .out_ready(kernel_in_tready[target])
);

// --- from the kernel ---------------------------------------------------------------------------------
reg awaited;  // the answer's last word has not come yet
reg [31:0] place;  // of the next word in its sample
wire out_ready;
wire out_valid = awaited && kernel_out_tvalid[target];
wire out_last = kernel_out_tlast[target];
wire [31:0] out_data = kernel_out_tdata[32*target +: 32];
wire [31:0] words = ANSWER_WORDS[32*target +: 32];
wire out_ends = place + 32'd1 == words;
wire word_ends;

genvar k;
generate
    for (k = 0; k < KERNELS; k = k + 1) begin : kernel
        assign kernel_in_tvalid[k] = in_valid && target == k;
        assign kernel_out_tready[k] = awaited && out_ready && target == k;
    end
endgenerate

always @(posedge ap_clk) begin
    if (begins) begin
        awaited <= 1'b1;
        place <= 32'd0;
    end else if (out_valid && out_ready) begin
        awaited <= !out_last;
        place <= out_ends ? 32'd0 : place + 32'd1;
    end
    if (reset)
        awaited <= 1'b0;
end

attn_skid #(
    .WIDTH(34)
) out_skid (
    .clk(ap_clk),
    .reset(reset),
    .in_data({out_ends, out_last, out_data}),
    .in_valid(out_valid),
    .in_ready(out_ready),
    .out_data({word_ends, out_r_tlast, out_r_tdata}),
    .out_valid(out_r_tvalid),
    .out_ready(out_r_tready)
);

assign sample = out_r_tvalid && out_r_tready && word_ends;
assign leaves = out_r_tvalid && out_r_tready && out_r_tlast;

endmodule

`default_nettype wire
