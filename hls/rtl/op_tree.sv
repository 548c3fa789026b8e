// SPDX-License-Identifier: Apache-2.0
// The sum of COUNT words, in rows of registered adders.
//
//     words[0] --+
//     words[1] --+--( + )--[ ]--+
//        ...                    +--( + )--[ ]-- ... --> sum        which fits WIDTH
//     words[n] -----( + )--[ ]--+
//
// Latency ceil(log2(COUNT)), 1 for one word; a sum a clock.  Synthesis drops bits that are always 0.
// The adders have to know the sign: Yosys moves the last one into a DSP behind it, and extends the words there.
`default_nettype none

module op_tree #(
    parameter int COUNT = 2,
    parameter int WIDTH = 1,
    parameter int SIGNED = 0
) (
    input wire clk,
    input wire [COUNT*WIDTH-1:0] words,
    output wire [WIDTH-1:0] sum
);

localparam int ROWS = COUNT > 1 ? $clog2(COUNT) : 1;
localparam int LEAVES = 1 << ROWS;

// Node n adds nodes 2 n and 2 n + 1: node 1 is the root, nodes LEAVES on are the words, 0 behind them.
wire [LEAVES*WIDTH-1:0] leaves;
reg [LEAVES*WIDTH-1:WIDTH] nodes;
genvar n;

generate
    for (n = 0; n < LEAVES; n = n + 1) begin : leaf
        if (n < COUNT) begin : word
            assign leaves[n*WIDTH +: WIDTH] = words[n*WIDTH +: WIDTH];
        end else begin : nothing
            assign leaves[n*WIDTH +: WIDTH] = {WIDTH{1'b0}};
        end
    end
    for (n = 1; n < LEAVES; n = n + 1) begin : node
        wire [WIDTH-1:0] a;
        wire [WIDTH-1:0] b;
        if (2 * n < LEAVES) begin : inner
            assign a = nodes[2*n*WIDTH +: WIDTH];
            assign b = nodes[(2*n+1)*WIDTH +: WIDTH];
        end else begin : outer
            assign a = leaves[(2*n-LEAVES)*WIDTH +: WIDTH];
            assign b = leaves[(2*n+1-LEAVES)*WIDTH +: WIDTH];
        end
        if (SIGNED != 0) begin : integers
            always_ff @(posedge clk) nodes[n*WIDTH +: WIDTH] <= $signed(a) + $signed(b);
        end else begin : naturals
            always_ff @(posedge clk) nodes[n*WIDTH +: WIDTH] <= a + b;
        end
    end
endgenerate

assign sum = nodes[WIDTH +: WIDTH];

endmodule

`default_nettype wire
