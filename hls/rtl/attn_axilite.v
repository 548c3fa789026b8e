// SPDX-License-Identifier: Apache-2.0
// An AXI4-Lite slave in front of registers: one write and one read at a time, every answer OKAY.
//
// The reset comes from the DMA, by software, while the interconnect runs on.  What was accepted before it is therefore
// answered after it: an answer that never comes would hang the processor.
`default_nettype none

module attn_axilite #(
    parameter ADDRESS_BITS = 16
) (
    input wire clk,
    input wire reset,

    input wire [ADDRESS_BITS-1:0] s_axi_awaddr,
    input wire s_axi_awvalid,
    output wire s_axi_awready,
    input wire [31:0] s_axi_wdata,
    input wire [3:0] s_axi_wstrb,
    input wire s_axi_wvalid,
    output wire s_axi_wready,
    output wire [1:0] s_axi_bresp,
    output wire s_axi_bvalid,
    input wire s_axi_bready,
    input wire [ADDRESS_BITS-1:0] s_axi_araddr,
    input wire s_axi_arvalid,
    output wire s_axi_arready,
    output reg [31:0] s_axi_rdata,
    output wire [1:0] s_axi_rresp,
    output wire s_axi_rvalid,
    input wire s_axi_rready,

    // A write waits until the registers let it pass; one of less than a word passes without effect.
    output wire write,
    output wire write_waits,
    input wire write_hold,
    output reg [ADDRESS_BITS-1:0] write_offset,
    output reg [31:0] write_data,
    // A read takes the value in the clock of `read`.
    output wire read,
    output reg [ADDRESS_BITS-1:0] read_offset,
    input wire [31:0] read_data
);

// Their initial values are those of the configuration; no reset changes them.
reg addressed;
reg filled;
reg whole;
reg written;
reg asked;
reg answered;
initial begin
    addressed = 1'b0;
    filled = 1'b0;
    whole = 1'b0;
    written = 1'b0;
    asked = 1'b0;
    answered = 1'b0;
end

assign s_axi_awready = !addressed && !reset;
assign s_axi_wready = !filled && !reset;
assign s_axi_bresp = 2'b00;
assign s_axi_bvalid = written;
assign s_axi_arready = !asked && !reset;
assign s_axi_rresp = 2'b00;
assign s_axi_rvalid = answered;

wire complete = addressed && filled && !written && !reset;
wire passes = complete && (!write_hold || !whole);
assign write_waits = complete && whole;
assign write = passes && whole;
assign read = asked && !answered && !reset;

wire unused = &{s_axi_awaddr[1:0], s_axi_araddr[1:0], 1'b0};

always @(posedge clk) begin
    if (s_axi_awvalid && s_axi_awready) begin
        write_offset <= {s_axi_awaddr[ADDRESS_BITS-1:2], 2'b00};
        addressed <= 1'b1;
    end
    if (s_axi_wvalid && s_axi_wready) begin
        write_data <= s_axi_wdata;
        whole <= s_axi_wstrb == 4'hf;
        filled <= 1'b1;
    end
    if (passes) begin
        addressed <= 1'b0;
        filled <= 1'b0;
        written <= 1'b1;
    end
    if (s_axi_bvalid && s_axi_bready)
        written <= 1'b0;

    if (s_axi_arvalid && s_axi_arready) begin
        read_offset <= {s_axi_araddr[ADDRESS_BITS-1:2], 2'b00};
        asked <= 1'b1;
    end
    if (read) begin
        s_axi_rdata <= read_data;
        asked <= 1'b0;
        answered <= 1'b1;
    end
    if (s_axi_rvalid && s_axi_rready)
        answered <= 1'b0;
end

endmodule

`default_nettype wire
