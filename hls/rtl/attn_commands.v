// SPDX-License-Identifier: Apache-2.0
// The further registers of gain cells, and the words that tell the kernel what was written to them.
//
// A word for the kernel is {user, data}, of which user[1:0] is the operation and user[7:2] the layer:
//     1 clear      data 0: the windows of that layer; 1: of all layers
//     2 current    data: the next current of the new table
//     3 table      data 0: begin a new table; 1: use the new one
// Words are made only between packets, and come before the tokens of the next one.
`default_nettype none

module attn_commands #(
    parameter LAYERS = 1,
    parameter WINDOW = 1,
    parameter TABLE_WORDS = 1,
    parameter CURRENT_WIDTH = 32
) (
    input wire clk,
    input wire reset,
    input wire begins,  // the first word of a packet is accepted
    input wire busy,  // a packet is under way
    input wire whole,  // a token of it is accepted
    input wire dropped,  // it was cut short inside a token
    output wire [5:0] packet_layer,

    input wire write,
    input wire write_waits,
    output wire write_hold,
    output wire blocks,  // a write waits, which the next packet must not overtake
    input wire [15:0] write_offset,
    input wire [31:0] write_data,
    input wire [15:0] read_offset,
    output reg [31:0] read_data,

    output reg [7:0] word_user,
    output reg [31:0] word_data,
    output wire word_valid,
    input wire word_ready
);

localparam [15:0] LAYER = 16'h0038;
localparam [15:0] COMMAND = 16'h0040;
localparam [15:0] FILLED = 16'h0048;
localparam [15:0] TABLE_ADDRESS = 16'h0050;
localparam [15:0] TABLE_DATA = 16'h0058;
localparam [15:0] ERROR = 16'h0060;

localparam [1:0] CLEAR = 2'd1;
localparam [1:0] CURRENT = 2'd2;
localparam [1:0] TABLE = 2'd3;

localparam [31:0] LAYER_COUNT = LAYERS;
localparam [31:0] WORD_COUNT = TABLE_WORDS;
localparam LAYER_BITS = LAYERS > 1 ? $clog2(LAYERS) : 1;
localparam FILLED_BITS = $clog2(WINDOW + 1);
localparam [FILLED_BITS-1:0] FULL = WINDOW;
// Clocks that a write waits for the kernel before it is refused: a kernel that hangs must not hang the processor.
localparam [15:0] PATIENCE = 16'hffff;

reg [LAYER_BITS-1:0] layer;
reg [LAYER_BITS-1:0] taken_layer;  // of the packet under way
reg [3:0] errors;  // packet, table, layer, busy
reg [31:0] table_address;
reg [FILLED_BITS-1:0] filled [0:LAYERS-1];

// --- what the kernel has not been told yet; the processor waits before it writes more -------------------
reg tell_current;
reg tell_use;
reg tell_clear;
reg tell_clear_all;
reg tell_begin;  // a new table; may come while a packet is under way, and then waits for its end
reg [31:0] current;
reg [LAYER_BITS-1:0] cleared_layer;
reg [15:0] waited;

wire [LAYER_BITS-1:0] token_layer = begins ? layer : taken_layer;
wire [FILLED_BITS-1:0] layer_filled = filled[layer];
// A bit more than TUSER has, since 64 layers would need a replication of no bits.
wire [6:0] packet_user = {{(7-LAYER_BITS){1'b0}}, taken_layer};
wire [6:0] clear_user = {{(7-LAYER_BITS){1'b0}}, cleared_layer};
wire unused = &{packet_user[6], clear_user[6], 1'b0};
assign packet_layer = packet_user[5:0];

wire under_way = busy || begins;
wire telling = tell_current || tell_use || tell_clear || tell_clear_all || tell_begin;
wire tells = write_offset == COMMAND || write_offset == TABLE_ADDRESS || write_offset == TABLE_DATA;
wire refused = under_way || telling;

wire hold = blocks && telling;

assign blocks = write_waits && tells && !busy;
assign write_hold = hold && waited != PATIENCE;
assign word_valid = tell_current || tell_use || tell_clear || tell_clear_all || (tell_begin && !busy);

always @* begin
    word_user = {6'd0, TABLE};
    word_data = 32'd0;
    if (tell_current) begin
        word_user = {6'd0, CURRENT};
        word_data = current;
    end else if (tell_use) begin
        word_data = 32'd1;
    end else if (tell_clear_all) begin
        word_user = {6'd0, CLEAR};
        word_data = 32'd1;
    end else if (tell_clear) begin
        word_user = {clear_user[5:0], CLEAR};
    end
end

// --- what a write does ---------------------------------------------------------------------------------
wire write_command = write && write_offset == COMMAND;
wire write_address = write && write_offset == TABLE_ADDRESS;
wire write_current = write && write_offset == TABLE_DATA;
wire write_layer = write && write_offset == LAYER;
wire write_error = write && write_offset == ERROR;

wire complete = table_address == WORD_COUNT;
wire [31:0] extended = {{(33-CURRENT_WIDTH){write_data[CURRENT_WIDTH-1]}}, write_data[CURRENT_WIDTH-2:0]};
wire fits = !complete && extended == write_data;
wire clears = write_command && !refused && (write_data[0] || write_data[1]);
wire uses = write_command && !refused && write_data[2];
wire adds = write_current && !refused && fits;
// A word too many or too large begins the table anew, as a write of TABLE_ADDRESS does.
wire restarts = (write_address && !hold) || (write_current && !refused && !fits);

wire busy_error = (write_command && refused) || (write_current && refused) || (write_address && hold);
wire layer_error = write_layer && write_data >= LAYER_COUNT;
wire table_error = (uses && !complete) || (write_current && !refused && !fits)
    || (write_address && !hold && write_data != 32'd0);

integer i;
always @(posedge clk) begin
    if (write_layer && !layer_error)
        layer <= write_data[LAYER_BITS-1:0];
    if (begins)
        taken_layer <= layer;

    if (restarts || (uses && complete))
        table_address <= 32'd0;
    else if (adds)
        table_address <= table_address + 32'd1;
    errors <= (errors & ~(write_error ? write_data[3:0] : 4'd0)) | {dropped, table_error, layer_error, busy_error};

    for (i = 0; i < LAYERS; i = i + 1)
        if (clears && (write_data[1] || layer == i[LAYER_BITS-1:0]))
            filled[i] <= 0;
        else if (whole && token_layer == i[LAYER_BITS-1:0] && filled[i] != FULL)
            filled[i] <= filled[i] + 1'b1;

    waited <= hold ? waited + 16'd1 : 16'd0;

    if (word_ready && word_valid) begin
        if (tell_current)
            tell_current <= 1'b0;
        else if (tell_use)
            tell_use <= 1'b0;
        else if (tell_clear_all)
            tell_clear_all <= 1'b0;
        else if (tell_clear)
            tell_clear <= 1'b0;
        else
            tell_begin <= 1'b0;
    end
    if (adds) begin
        tell_current <= 1'b1;
        current <= write_data;
    end
    if (uses && complete)
        tell_use <= 1'b1;
    if (clears) begin
        tell_clear_all <= write_data[1];
        tell_clear <= !write_data[1];
        cleared_layer <= layer;
    end
    if (restarts)
        tell_begin <= 1'b1;

    if (reset) begin
        layer <= 0;
        errors <= 4'd0;
        table_address <= 32'd0;
        for (i = 0; i < LAYERS; i = i + 1)
            filled[i] <= 0;
        tell_current <= 1'b0;
        tell_use <= 1'b0;
        tell_clear <= 1'b0;
        // The kernel's memories keep their contents over a reset, so it is told to forget them.
        tell_clear_all <= 1'b1;
        tell_begin <= 1'b1;
        waited <= 16'd0;
    end
end

always @* begin
    case (read_offset)
        LAYER: read_data = {{(32-LAYER_BITS){1'b0}}, layer};
        FILLED: read_data = {{(32-FILLED_BITS){1'b0}}, layer_filled};
        TABLE_ADDRESS: read_data = table_address;
        ERROR: read_data = {28'd0, errors};
        default: read_data = 32'd0;
    endcase
end

endmodule

`default_nettype wire
