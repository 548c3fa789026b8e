// SPDX-License-Identifier: Apache-2.0
// A code of LEVELS levels: one beyond the last level means the last level.  Combinational.
//
//     code --> min( code, LEVELS - 1 ) --> level
`default_nettype none

module op_limit #(
    parameter int WIDTH = 4,
    parameter int LEVELS = 16
) (
    input wire [WIDTH-1:0] code,
    output wire [WIDTH-1:0] level
);

localparam logic [WIDTH-1:0] LAST = WIDTH'(LEVELS - 1);

generate
    if (LEVELS == 1 << WIDTH) begin : all_codes
        assign level = code;
    end else begin : some_codes
        assign level = code > LAST ? LAST : code;
    end
endgenerate

endmodule

`default_nettype wire
