// SPDX-License-Identifier: Apache-2.0
//
// Row buffer: elements come out once their row is complete, each beside the word that was known at the row's end.
//
//      w_data, w_last --> ring of 2^ADDR_W elements --> register --> output register --> r_data, r_last
//      w_row (at the last element) --> queue of 2^QUEUE_W words ---------------------> r_row
//
// One element a clock in and one out, several rows at a time; two clocks from a read to r_data.  The ring gives a place
// back when it is read, so that it needs no second half: with rows as long as the ring, a row costs one clock more.
// The reader stops with r_enable = 0.  A row that is longer than the ring never ends: w_ready stays low.
`default_nettype none

module op_rowbuf #(
    parameter int DATA_W = 8,  // bits of an element
    parameter int ROW_W = 8,  // bits of a row's word
    parameter int ADDR_W = 10,
    parameter int QUEUE_W = 4
) (
    input wire clk,
    input wire rst_n,
    input wire w_valid,
    output wire w_ready,
    input wire [DATA_W-1:0] w_data,
    input wire w_last,
    input wire [ROW_W-1:0] w_row,
    input wire r_enable,
    output wire r_valid,
    output wire [DATA_W-1:0] r_data,
    output wire r_last,
    output wire [ROW_W-1:0] r_row
);

reg [DATA_W:0] ring[0:(1 << ADDR_W)-1];
reg [ROW_W-1:0] queue[0:(1 << QUEUE_W)-1];
reg [ADDR_W:0] write, read, complete;  // one bit more than an address: full and empty differ
reg [QUEUE_W:0] row_write, row_read;
reg [DATA_W:0] fetched, held;
reg fetched_valid, held_valid;

wire [ADDR_W:0] write_next = write + 1'b1;
wire ring_full = write == {!read[ADDR_W], read[ADDR_W-1:0]};
wire queue_full = row_write == {!row_read[QUEUE_W], row_read[QUEUE_W-1:0]};
wire accept = w_valid && w_ready;
wire fetch = r_enable && read != complete;

assign w_ready = !ring_full && !queue_full;
assign r_valid = held_valid;
assign {r_last, r_data} = held;
assign r_row = queue[row_read[QUEUE_W-1:0]];

always_ff @(posedge clk) begin
    if (accept) ring[write[ADDR_W-1:0]] <= {w_last, w_data};
    if (accept && w_last) queue[row_write[QUEUE_W-1:0]] <= w_row;
    if (fetch) fetched <= ring[read[ADDR_W-1:0]];
    if (r_enable) held <= fetched;
end

always_ff @(posedge clk) begin
    if (!rst_n) begin
        write <= '0;
        read <= '0;
        complete <= '0;
        row_write <= '0;
        row_read <= '0;
        fetched_valid <= 1'b0;
        held_valid <= 1'b0;
    end else begin
        if (accept) write <= write_next;
        if (accept && w_last) begin
            complete <= write_next;
            row_write <= row_write + 1'b1;
        end
        if (fetch) read <= read + 1'b1;
        if (r_enable) begin
            fetched_valid <= fetch;
            held_valid <= fetched_valid;
            if (held_valid && r_last) row_read <= row_read + 1'b1;
        end
    end
end

endmodule

`default_nettype wire
