// SPDX-License-Identifier: Apache-2.0
// Which slot of a gain-cell head is scanned, how old it is, and whether it counts.
//
//     take --> newest slot and number of filled ones, once a token --> slot 0, 1, 2, ... of the tiles in use
//                                                                      age = newest - slot modulo WINDOW
//
// Formula:  token t is written to slot t mod WINDOW; the tiles in use hold min(t + 1, WINDOW) slots.  Where tiles are
//           split and the window is full, the newest token's tile comes twice: its tokens of this round, and at the end
//           those of the round before.
// A head takes 1 + STEP tiles clocks: one to write the newest slot, then TILE slots a tile, and STEP - TILE of rest.
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315; the authors' code has the split tiles.
`default_nettype none

module op_gaincell_cursor #(
    parameter int HEADS = 1,
    parameter int WINDOW = 1024,
    parameter int TILE = 64,
    parameter int STEP = 64,  // clocks from tile to tile, TILE or more
    parameter int SPLIT = 0,
    parameter int SLOT_W = 10,
    parameter int CELL_W = 10
) (
    input wire clk,
    input wire rst_n,
    input wire take,  // a head starts; only while not busy
    input wire clear,  // with its token's first head: an empty window
    output logic busy,
    output wire [CELL_W-1:0] write_address,  // of the newest slot, with take
    output logic [CELL_W-1:0] address,
    output logic [SLOT_W-1:0] age,
    output wire sees,
    output wire ends,  // the tile's last slot
    output logic first,  // tile of the head
    output wire last  // ..., with ends
);

localparam int HEAD_W = HEADS > 1 ? $clog2(HEADS) : 1;
localparam int FILL_W = $clog2(WINDOW + 1);
localparam int STEP_W = $clog2(STEP + 1);
localparam logic [HEAD_W-1:0] LAST_HEAD = HEAD_W'(HEADS - 1);
localparam logic [SLOT_W-1:0] LAST_SLOT = SLOT_W'(WINDOW - 1);
localparam logic [FILL_W-1:0] FULL = FILL_W'(WINDOW);
localparam logic [STEP_W-1:0] LAST_PLACE = STEP_W'(TILE - 1);
localparam logic [STEP_W-1:0] LAST_STEP = STEP_W'(STEP - 1);
localparam logic [STEP_W-1:0] NO_PLACE = STEP_W'(TILE);
localparam logic [CELL_W-1:0] NEXT_HEAD = CELL_W'(WINDOW);

logic [HEAD_W-1:0] head;  // the next one
logic [CELL_W-1:0] base;  // its slots
logic [SLOT_W-1:0] newest, slot;
logic [FILL_W-1:0] filled;
logic [STEP_W-1:0] place;  // in the tile

// ---- a head starts
wire begins = head == '0;  // a token, too
wire empty = clear || filled == '0;
wire wraps = newest == LAST_SLOT;
wire [SLOT_W-1:0] newest_next = !begins ? newest : empty || wraps ? '0 : newest + 1'b1;
wire [CELL_W-1:0] newest_cell = {{CELL_W - SLOT_W{1'b0}}, newest_next};

assign write_address = base + newest_cell;

always_ff @(posedge clk) begin
    if (take) begin
        newest <= newest_next;
        if (begins) filled <= empty ? {{FILL_W - 1{1'b0}}, 1'b1} : filled == FULL ? FULL : filled + 1'b1;
        head <= head == LAST_HEAD ? '0 : head + 1'b1;
        base <= head == LAST_HEAD ? '0 : base + NEXT_HEAD;
    end
    if (!rst_n) begin
        filled <= '0;
        head <= '0;
        base <= '0;
    end
end

// ---- its slots
wire [FILL_W:0] slots_done = {{FILL_W + 1 - SLOT_W{1'b0}}, slot} + 1'b1;
wire scans = busy && place < NO_PLACE;
wire all_seen = slots_done >= {1'b0, filled};
wire older;  // the second part of a split tile
wire older_next;  // comes after this tile
wire [SLOT_W-1:0] older_slot, older_age;

assign ends = scans && place == LAST_PLACE;
wire step_ends = place == LAST_STEP;
logic done;  // the head's last tile ended, if it is longer than its slots

assign last = older || (all_seen && !older_next);

always_ff @(posedge clk) begin
    if (take) begin
        slot <= '0;
        age <= newest_next;
        address <= base;
        place <= '0;
        first <= 1'b1;
        done <= 1'b0;
    end else begin
        place <= step_ends ? '0 : place + 1'b1;
        if (scans) begin
            slot <= slot + 1'b1;
            age <= age == '0 ? LAST_SLOT : age - 1'b1;
            address <= address + 1'b1;
        end
        if (ends) begin
            first <= 1'b0;
            done <= last;
            if (all_seen && older_next) begin
                slot <= older_slot;
                age <= older_age;
                address <= address - {{CELL_W - SLOT_W{1'b0}}, slot} + {{CELL_W - SLOT_W{1'b0}}, older_slot};
            end
        end
    end
    if (!rst_n) busy <= 1'b0;
    else if (take) busy <= 1'b1;
    else if (step_ends && (done || (ends && last))) busy <= 1'b0;
end

// ---- split tiles
generate
    if (SPLIT != 0) begin : split
        localparam logic [SLOT_W-1:0] TILE_END = SLOT_W'(TILE - 1);
        logic [SLOT_W-1:0] newest_place;  // in its tile
        logic [SLOT_W-1:0] origin, tile;  // first slots of the newest one's tile, and of this one
        logic again;
        wire ahead = tile == origin && slot > newest;
        always_ff @(posedge clk) begin
            if (take) begin
                tile <= '0;
                again <= 1'b0;
                if (begins) begin
                    newest_place <= empty || newest_place == TILE_END ? '0 : newest_place + 1'b1;
                    if (empty) origin <= '0;
                    else if (newest_place == TILE_END) origin <= newest_next;
                end
            end else if (ends) begin
                tile <= all_seen ? origin : slot + 1'b1;
                again <= all_seen;
            end
        end
        assign older = again;
        assign older_next = filled == FULL && !again;
        assign older_slot = origin;
        assign older_age = newest_place;
        assign sees = scans && ahead == again;  // empty slots are ahead, too
    end else begin : whole
        assign older = 1'b0;
        assign older_next = 1'b0;
        assign older_slot = '0;
        assign older_age = '0;
        assign sees = scans && {{FILL_W - SLOT_W{1'b0}}, slot} < filled;
    end
endgenerate

endmodule

`default_nettype wire
