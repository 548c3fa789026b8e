// SPDX-License-Identifier: Apache-2.0
// The sum of COUNT signed words, two rows of adders between registers; modulo 2^WIDTH.
//
//     words[0] --+
//     words[1] --+--( + )--+
//        ...               +--( + )--[ ]-- ... --> sum
//     words[n] -----( + )--+
//
// Latency ceil(ceil(log2(COUNT)) / 2) enabled clocks: none for one word.
`default_nettype none

module net_tree #(
    parameter int COUNT = 2,
    parameter int WIDTH = 8
) (
    input wire clk,
    input wire en,
    input wire [COUNT*WIDTH-1:0] words,
    output wire [WIDTH-1:0] sum
);

localparam int LEVELS = $clog2(COUNT);
localparam int LEAVES = 1 << LEVELS;

// Node n adds nodes 2 n and 2 n + 1: node 1 is the root, nodes LEAVES on are the words, none behind them.
wire [2*LEAVES*WIDTH-1:WIDTH] nodes;
genvar n;

generate
    for (n = 0; n < LEAVES; n = n + 1) begin : leaf
        if (n < COUNT) begin : word
            assign nodes[(LEAVES+n)*WIDTH +: WIDTH] = words[n*WIDTH +: WIDTH];
        end else begin : nothing
            assign nodes[(LEAVES+n)*WIDTH +: WIDTH] = {WIDTH{1'b0}};
        end
    end
    for (n = 1; n < LEAVES; n = n + 1) begin : node
        wire signed [WIDTH-1:0] a = nodes[2*n*WIDTH +: WIDTH];
        wire signed [WIDTH-1:0] b = nodes[(2*n+1)*WIDTH +: WIDTH];
        if ($clog2(n + 1) % 2 != 0) begin : stored  // the root's row, and every other one below
            reg signed [WIDTH-1:0] held;
            always_ff @(posedge clk) if (en) held <= a + b;
            assign nodes[n*WIDTH +: WIDTH] = held;
        end else begin : passed
            assign nodes[n*WIDTH +: WIDTH] = a + b;
        end
    end
    if (LEVELS == 0) begin : wires
        wire unused = &{1'b0, clk, en, 1'b0};
    end
endgenerate

assign sum = nodes[WIDTH +: WIDTH];

endmodule

`default_nettype wire
