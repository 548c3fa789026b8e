// SPDX-License-Identifier: Apache-2.0
// A row comes in, its parts go out, one a clock, all of them REPEATS times.
//
//   row --+---------------> part 0 --+
//         +--> held row --> others --+--[ ]--> part, first, last, end
//
// A row is taken with its first part: a row every PARTS * REPEATS clocks, no clock lost between two.
// go, step and fresh belong to the part that will be in the register a clock later: addresses of constants.
// Everything stands while run is 0.
`default_nettype none

module net_front #(
    parameter int PARTS = 4,
    parameter int REPEATS = 1,
    parameter int PART_W = 8,
    parameter int STEP_W = 2  // of a number below PARTS * REPEATS
) (
    input wire clk,
    input wire rst_n,
    input wire run,
    input wire [PARTS*PART_W-1:0] s_data,
    input wire s_valid,
    input wire s_last,
    output wire s_ready,
    output wire [STEP_W-1:0] step,
    output reg [PART_W-1:0] part,
    output reg valid,
    output reg first,  // part 0
    output reg last,   // part PARTS - 1
    output reg done,   // and of the last repeat
    output reg end_row  // the row was the last of its sequence
);

localparam int STEPS = PARTS * REPEATS;
localparam int INDEX_W = PARTS > 1 ? $clog2(PARTS) : 1;

generate
    if (STEPS == 1) begin : whole
        assign s_ready = run;
        assign step = '0;
        always_ff @(posedge clk) begin
            if (run) begin
                part <= s_data;
                end_row <= s_last;
                first <= 1'b1;
                last <= 1'b1;
                done <= 1'b1;
            end
            if (!rst_n) valid <= 1'b0;
            else if (run) valid <= s_valid;
        end
    end else begin : parts
        reg [STEP_W-1:0] count;
        reg [INDEX_W-1:0] index;
        reg row_last;
        wire fresh = count == '0;
        wire go = !fresh || s_valid;
        wire at_last = index == INDEX_W'(PARTS - 1);
        wire at_end = count == STEP_W'(STEPS - 1);
        assign s_ready = run && fresh;
        assign step = count;
        if (PARTS == 1) begin : repeated
            always_ff @(posedge clk) if (run && fresh) part <= s_data;
        end else begin : chosen
            reg [PARTS*PART_W-1:0] row;
            always_ff @(posedge clk)
                if (run) begin
                    if (fresh) row <= s_data;
                    part <= fresh ? s_data[PART_W-1:0] : row[index*PART_W +: PART_W];
                end
        end
        always_ff @(posedge clk) begin
            if (run) begin
                if (fresh) row_last <= s_last;
                first <= index == '0;
                last <= at_last;
                done <= at_end;
                end_row <= fresh ? s_last : row_last;
            end
            if (!rst_n) begin
                count <= '0;
                index <= '0;
                valid <= 1'b0;
            end else if (run) begin
                valid <= go;
                if (go) begin
                    count <= at_end ? '0 : count + 1'b1;
                    index <= at_last ? '0 : index + 1'b1;
                end
            end
        end
    end
endgenerate

endmodule

`default_nettype wire
