// SPDX-License-Identifier: Apache-2.0
// Gain-cell attention heads that remember their window: a token in, the sums of its tiles' codes out.
//
//     {v, k, q} --> collect a head --+--> cells[slot] = {v, k} -----> k ---> score --> pulse --> context --> FIFO --> y
//     a lane a clock                 |        ^                  |    ^        ^                 ^   ^
//                                    |     cursor --> age --+    +--- | ------ | --> as late ----+   |
//                                    +--> q of the head ------- | ----+        |                     |
//                                                               +--> currents[age] --> two ports ----+
//
// Words: {v, k, q} of lane d = 0 .. DIM - 1 of head 0, then of head 1, ...; so the sums come out.  A token has HEADS * DIM
// words whatever s_tlast says.  s_tuser.keep = 0 with a token's first word: the window is empty before it.  Codes beyond
// the last level mean the last level.  Formulas: op_gaincell_score.sv, op_gaincell_context.sv, op_gaincell_cursor.sv.
// Heads share all of it one after the other.  STEP = max(TILE, DIM), tiles = ceil(filled slots / TILE) and one more if
// tiles are split and the window is full:
//     clocks a token  HEADS * (1 + STEP * tiles);      words of the next token come in and sums leave meanwhile
//     latency         DIM + 1 + STEP * (tiles - 1) + TILE + LATENCY to a head's first sum, DIM - 1 more to its last one
//     LATENCY         16 + max(1, ceil(log2(DIM))) + ceil(log2(K_LEVELS)), 1 more with LANE_DSP
// A head starts when the FIFO has room for its sums, so nothing behind the cursor ever stops.
// Source: Leroux et al., Nat. Comput. Sci. 5, 813 (2025), arXiv 2409.19315; the integers are this package's.
`default_nettype none

module op_gaincell #(
    parameter int IN_W = 10,  // V_W + K_W + Q_W
    parameter int OUT_W = 10,
    parameter int USER_W = 2,
    parameter int HEADS = 1,
    parameter int DIM = 64,
    parameter int WINDOW = 1024,
    parameter int TILE = 64,
    parameter int SPLIT = 0,
    parameter int Q_LEVELS = 16,
    parameter int K_LEVELS = 8,
    parameter int V_LEVELS = 8,
    parameter int LANE_DSP = 0,  // a multiplier for each lane of the values, instead of one for each of their levels
    parameter int SHARED = 1,  // keys and values have the same currents; else a row has those of keys, then of values
    parameter int CURRENT_W = 12,  // signed; widths of what follows from it: see hls/rtl/gaincell.py
    parameter int SCORE_W = 24,
    parameter int SCALED_W = 24,
    parameter int PULSE_MUL = 1,
    parameter int PULSE_SHIFT = 8,
    parameter int PULSE_STEPS = 600,
    parameter int PRODUCT_W = 22,
    parameter int CHARGE_W = 28,
    parameter int HELD_W = 23,
    parameter int CHARGE_LIMIT = 3072000,
    parameter int ROUNDED_W = 41,
    parameter int CODE_MUL = 86683,
    parameter int CODE_SHIFT = 34,
    parameter int CODE_LIMIT = 16,
    parameter CURRENTS = "op_gaincell_currents.mem"
) (
    input wire clk,
    input wire rst_n,
    input wire [IN_W-1:0] s_tdata,
    input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid,
    input wire s_tlast,
    output wire s_tready,
    output wire [OUT_W-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int Q_W = $clog2(Q_LEVELS);
localparam int K_W = $clog2(K_LEVELS);
localparam int V_W = $clog2(V_LEVELS);
localparam int COUNT_W = $clog2(DIM * (Q_LEVELS - 1) + 1);
localparam int PULSE_W = $clog2(PULSE_STEPS + 1);
localparam int STEP = TILE > DIM ? TILE : DIM;
localparam int SLOT_W = WINDOW > 1 ? $clog2(WINDOW) : 1;
localparam int CELLS = HEADS * WINDOW;
localparam int CELL_W = CELLS > 1 ? $clog2(CELLS) : 1;
localparam int LANE_W = DIM > 1 ? $clog2(DIM) : 1;
localparam logic [LANE_W-1:0] LAST_LANE = LANE_W'(DIM - 1);
localparam int ENTRIES = SHARED != 0 ? K_LEVELS : K_LEVELS + V_LEVELS;
localparam int FIRST_VALUE = SHARED != 0 ? 0 : K_LEVELS;

// Clocks from a slot's address to its pulse: two of the memory, then those of op_gaincell_score.
localparam int ROWS = DIM > 1 ? $clog2(DIM) : 1;
localparam int TO_PULSE = 2 + ROWS + 4 + (K_LEVELS > 1 ? $clog2(K_LEVELS) : 1);
localparam int TO_CHARGE = TO_PULSE + 1 + (LANE_DSP != 0 ? 1 : 0);
localparam int LATENCY = TO_CHARGE + 9;
// Heads on their way at once, so that the slowest reader makes none wait that a faster one would not.
localparam int PAGES = (TILE + DIM + LATENCY + 4) / (STEP + 1) + 1;

// ---- a head's words come in
wire [Q_W-1:0] q_in;
wire [K_W-1:0] k_in;
wire [V_W-1:0] v_in;

op_limit #(.WIDTH(Q_W), .LEVELS(Q_LEVELS)) q_limit (.code(s_tdata[0 +: Q_W]), .level(q_in));
op_limit #(.WIDTH(K_W), .LEVELS(K_LEVELS)) k_limit (.code(s_tdata[Q_W +: K_W]), .level(k_in));
op_limit #(.WIDTH(V_W), .LEVELS(V_LEVELS)) v_limit (.code(s_tdata[Q_W+K_W +: V_W]), .level(v_in));

logic [DIM*Q_W-1:0] q_next, q;
logic [DIM*K_W-1:0] k_next;
logic [DIM*V_W-1:0] v_next;
logic [COUNT_W-1:0] q_sum_next, q_sum;
logic [LANE_W-1:0] lane;
logic full, clear, taken;
wire busy, take;
wire accept = s_tvalid && s_tready;
wire [COUNT_W-1:0] q_wide = {{COUNT_W - Q_W{1'b0}}, q_in};

assign s_tready = !full;

generate
    if (DIM == 1) begin : one_lane
        always_ff @(posedge clk) if (accept) begin
            q_next <= q_in;
            k_next <= k_in;
            v_next <= v_in;
        end
    end else begin : lanes
        always_ff @(posedge clk) if (accept) begin
            q_next <= {q_in, q_next[DIM*Q_W-1:Q_W]};
            k_next <= {k_in, k_next[DIM*K_W-1:K_W]};
            v_next <= {v_in, v_next[DIM*V_W-1:V_W]};
        end
    end
endgenerate

always_ff @(posedge clk) begin
    if (accept) begin
        if (lane == '0) clear <= !s_tuser[USER_W-1];
        q_sum_next <= lane == '0 ? q_wide : q_sum_next + q_wide;
        lane <= lane == LAST_LANE ? '0 : lane + 1'b1;
        if (lane == LAST_LANE) full <= 1'b1;
    end
    if (take) full <= 1'b0;
    // The last slots of the head before still meet its q one clock longer.
    taken <= take;
    if (taken) begin
        q <= q_next;
        q_sum <= q_sum_next;
    end
    if (!rst_n) begin
        lane <= '0;
        full <= 1'b0;
    end
end

// ---- slots
wire [CELL_W-1:0] write_address, address;
wire [SLOT_W-1:0] age;
wire sees, ends, first, last;

op_gaincell_cursor #(
    .HEADS(HEADS), .WINDOW(WINDOW), .TILE(TILE), .STEP(STEP), .SPLIT(SPLIT), .SLOT_W(SLOT_W), .CELL_W(CELL_W)
) cursor (
    .clk(clk), .rst_n(rst_n), .take(take), .clear(clear), .busy(busy), .write_address(write_address), .address(address), .age(age),
    .sees(sees), .ends(ends), .first(first), .last(last)
);

logic [DIM*(K_W+V_W)-1:0] cells [0:CELLS-1];
logic [DIM*(K_W+V_W)-1:0] fetched, stored;

always_ff @(posedge clk) begin
    if (take) cells[write_address] <= {v_next, k_next};
    fetched <= cells[address];
    stored <= fetched;
end

// ---- currents, read for keys and once more for values
logic [ENTRIES*CURRENT_W-1:0] table_rows [0:WINDOW-1];
logic [K_LEVELS*CURRENT_W-1:0] key_row, key_currents;
logic [V_LEVELS*CURRENT_W-1:0] value_row, value_currents;
wire [SLOT_W-1:0] key_age, value_age;

initial $readmemh(CURRENTS, table_rows);

op_delay #(.WIDTH(SLOT_W), .LENGTH(ROWS)) key_delay (.clk(clk), .enable(1'b1), .in(age), .out(key_age));
op_delay #(.WIDTH(SLOT_W), .LENGTH(TO_PULSE - 2 - ROWS)) value_delay (
    .clk(clk), .enable(1'b1), .in(key_age), .out(value_age)
);

always_ff @(posedge clk) begin
    key_row <= table_rows[key_age][0 +: K_LEVELS*CURRENT_W];
    value_row <= table_rows[value_age][FIRST_VALUE*CURRENT_W +: V_LEVELS*CURRENT_W];
    key_currents <= key_row;
    value_currents <= value_row;
end

// ---- pulse, charges, codes
wire [PULSE_W-1:0] pulse;
wire [DIM*V_W-1:0] v;
logic [TO_PULSE-1:0] seen;
logic [TO_CHARGE:0] ended, firsts, lasts;
wire [OUT_W-1:0] y;
wire y_valid;

op_gaincell_score #(
    .DIM(DIM), .LEVELS(K_LEVELS), .Q_W(Q_W), .K_W(K_W), .COUNT_W(COUNT_W), .CURRENT_W(CURRENT_W), .SCORE_W(SCORE_W),
    .SCALED_W(SCALED_W), .PULSE_MUL(PULSE_MUL), .PULSE_SHIFT(PULSE_SHIFT), .PULSE_STEPS(PULSE_STEPS), .PULSE_W(PULSE_W)
) keys (
    .clk(clk), .q(q), .q_sum(q_sum), .k(stored[DIM*K_W-1:0]), .currents(key_currents),
    .pulse(pulse)
);

op_delay #(.WIDTH(DIM * V_W), .LENGTH(TO_PULSE - 1)) v_delay (
    .clk(clk), .enable(1'b1), .in(stored[DIM*K_W +: DIM*V_W]), .out(v)
);

always_ff @(posedge clk) begin
    seen <= rst_n ? {seen[TO_PULSE-2:0], sees} : '0;
    ended <= rst_n ? {ended[TO_CHARGE-1:0], ends} : '0;
    firsts <= {firsts[TO_CHARGE-1:0], first};
    lasts <= {lasts[TO_CHARGE-1:0], last};
end

op_gaincell_context #(
    .DIM(DIM), .LANE_DSP(LANE_DSP), .LEVELS(V_LEVELS), .V_W(V_W), .CURRENT_W(CURRENT_W), .PULSE_W(PULSE_W), .PRODUCT_W(PRODUCT_W),
    .CHARGE_W(CHARGE_W), .HELD_W(HELD_W), .CHARGE_LIMIT(CHARGE_LIMIT), .ROUNDED_W(ROUNDED_W), .CODE_MUL(CODE_MUL),
    .CODE_SHIFT(CODE_SHIFT), .CODE_LIMIT(CODE_LIMIT), .SUM_W(OUT_W)
) values (
    .clk(clk), .rst_n(rst_n), .pulse(pulse),
    .currents(value_currents), .v(v), .sees(seen[TO_PULSE-1]), .ends(ended[TO_CHARGE]),
    .first(firsts[TO_CHARGE]), .last(lasts[TO_CHARGE]), .y(y), .y_valid(y_valid)
);

// ---- sums leave
wire room;  // for a head

assign take = full && !busy && room;

op_gaincell_fifo #(.WIDTH(OUT_W), .PAGE(DIM), .PAGES(PAGES), .PACKET(HEADS)) fifo (
    .clk(clk), .rst_n(rst_n), .reserve(take), .room(room), .in_data(y), .in_valid(y_valid),
    .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast), .m_tready(m_tready)
);

wire unused = &{1'b0, s_tlast, s_tuser};

endmodule

`default_nettype wire
