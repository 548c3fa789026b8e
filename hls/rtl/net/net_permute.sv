// SPDX-License-Identifier: Apache-2.0
// Streaming transpose: element [a][b][c][d] of the result is the input's at the strides S0..S3.
//
//     s0_tdata --> bank of two sequences, in registers --> m_tdata
//
// A row a clock on either side.  A result row leaves as soon as the last of its elements is here, 1 clock after it.
`default_nettype none

module net_permute #(
    parameter int WIDTH = 8,
    parameter int IN_ROWS = 4,
    parameter int IN_CHANNELS = 4,
    parameter int OUT_ROWS = 4,
    parameter int OUT_CHANNELS = 4,
    parameter int N1 = 1,
    parameter int N2 = 4,
    parameter int N3 = 4,
    parameter int S0 = 0,
    parameter int S1 = 0,
    parameter int S2 = 1,
    parameter int S3 = 4
) (
    input wire clk,
    input wire rst_n,
    input wire [IN_CHANNELS*WIDTH-1:0] s0_tdata,
    input wire s0_tvalid,
    input wire s0_tlast,
    output wire s0_tready,
    output logic [OUT_CHANNELS*WIDTH-1:0] m_tdata,
    output wire m_tvalid,
    output wire m_tlast,
    input wire m_tready
);

localparam int IN_W = IN_ROWS > 1 ? $clog2(IN_ROWS) : 1;
localparam int OUT_W = OUT_ROWS > 1 ? $clog2(OUT_ROWS) : 1;
localparam int BANK = IN_ROWS * IN_CHANNELS * WIDTH;

// Which element of the input is element `at` of the result.
function automatic int source(input int at);
    source = at / (N1 * N2 * N3) * S0 + at / (N2 * N3) % N1 * S1 + at / N3 % N2 * S2 + at % N3 * S3;
endfunction

logic [2*BANK-1:0] bank;
logic [1:0] full;
logic half_in, half_out;  // of the bank
logic [IN_W-1:0] row_in;
logic [OUT_W-1:0] row_out;
logic [OUT_ROWS-1:0] here;  // rows of the result that can be made of what is being loaded
wire taken = s0_tvalid && s0_tready;
wire given = m_tvalid && m_tready;
wire filled = row_in == IN_W'(IN_ROWS - 1);

assign s0_tready = !full[half_in];
assign m_tvalid = full[half_out] || (half_in == half_out && here[row_out]);
assign m_tlast = row_out == OUT_W'(OUT_ROWS - 1);

generate
    for (genvar r = 0; r < OUT_ROWS; r++) begin : gen_here
        wire [OUT_CHANNELS-1:0] element;
        for (genvar c = 0; c < OUT_CHANNELS; c++) begin : gen_element
            localparam int ROW = source(r * OUT_CHANNELS + c) / IN_CHANNELS;
            assign element[c] = int'(row_in) > ROW;
        end
        assign here[r] = &element;
    end
    for (genvar c = 0; c < OUT_CHANNELS; c++) begin : gen_channel
        wire [2*OUT_ROWS*WIDTH-1:0] choice;
        for (genvar r = 0; r < OUT_ROWS; r++) begin : gen_row
            localparam int FROM = source(r * OUT_CHANNELS + c) * WIDTH;
            assign choice[2*r*WIDTH +: 2*WIDTH] = {bank[BANK + FROM +: WIDTH], bank[FROM +: WIDTH]};
        end
        assign m_tdata[c*WIDTH +: WIDTH] = choice[int'({row_out, half_out})*WIDTH +: WIDTH];
    end
    for (genvar r = 0; r < 2*IN_ROWS; r++) begin : gen_load
        always_ff @(posedge clk)
            if (taken && half_in == (r >= IN_ROWS) && row_in == IN_W'(r % IN_ROWS))
                bank[r*IN_CHANNELS*WIDTH +: IN_CHANNELS*WIDTH] <= s0_tdata;
    end
endgenerate

always_ff @(posedge clk) begin
    if (taken) begin
        row_in <= filled ? '0 : row_in + 1'b1;
        if (filled) begin
            full[half_in] <= 1'b1;
            half_in <= !half_in;
        end
    end
    if (given) begin
        row_out <= m_tlast ? '0 : row_out + 1'b1;
        if (m_tlast) begin
            full[half_out] <= 1'b0;
            half_out <= !half_out;
        end
    end
    if (!rst_n) begin
        full <= '0;
        half_in <= 1'b0;
        half_out <= 1'b0;
        row_in <= '0;
        row_out <= '0;
    end
end

wire unused = &{1'b0, s0_tlast};

endmodule

`default_nettype wire
