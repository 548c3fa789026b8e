// SPDX-License-Identifier: Apache-2.0
// One of COUNT words, combinational.
//
//     words[0] --+
//     words[1] --+--> 2:1 --+
//        ...                +--> 2:1 --> ... --> word      select bit 0 decides in the first row, bit 1 in the next one
//     words[n] -----> 2:1 --+
//
// Rows of two-way choices, because synthesis makes several times the gates of a part-select with a variable start.
`default_nettype none

module op_pick #(
    parameter int COUNT = 2,
    parameter int WIDTH = 1,
    parameter int SELECT_W = 1  // 2 ** SELECT_W is COUNT or more
) (
    input wire [COUNT*WIDTH-1:0] words,
    input wire [SELECT_W-1:0] select,
    output wire [WIDTH-1:0] word
);

localparam int LEAVES = 1 << SELECT_W;

reg [LEAVES*WIDTH-1:0] row;
integer bit_of;
integer i;

always @* begin
    row = {LEAVES * WIDTH{1'b0}};
    row[COUNT*WIDTH-1:0] = words;
    for (bit_of = 0; bit_of < SELECT_W; bit_of = bit_of + 1)
        for (i = 0; i < (LEAVES >> (bit_of + 1)); i = i + 1)
            row[i*WIDTH +: WIDTH] = select[bit_of] ? row[(2*i+1)*WIDTH +: WIDTH] : row[2*i*WIDTH +: WIDTH];
end

assign word = row[WIDTH-1:0];

endmodule

`default_nettype wire
