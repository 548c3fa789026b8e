# SPDX-License-Identifier: Apache-2.0
"""Packets through the ports of a kernel's IP in Icarus Verilog, from the files that the IP consists of."""

import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.rtl.ip import RtlSource

Words = NDArray[np.int64]

BENCH = """`default_nettype none
`timescale 1ns / 1ps
module bench;
localparam WORDS = {words};
reg clk = 0, reset_n = 0, in_valid = 0, out_ready = 0, taken = 0;
reg [32:0] given [0:WORDS-1];
integer sent = 0, idle = 0, seed = 7;
wire in_ready, out_valid, out_last;
wire [31:0] out_data;
wire [3:0] out_keep;
always #5 clk = !clk;
initial begin
    $readmemh("given.hex", given);
    #92 reset_n = 1;
end
// Driven away from the edge: a port that changes within a clock shows.
always @(negedge clk) if (reset_n) begin
    if (!in_valid || taken) in_valid <= sent < WORDS && $unsigned($random(seed)) % 100 >= {stall};
    out_ready <= $unsigned($random(seed)) % 100 >= {stall};
end
always @(posedge clk) begin
    if (!reset_n && out_valid === 1'b1) $display("early");
    taken <= in_valid && in_ready;
    if (in_valid && in_ready) sent <= sent + 1;
    if (out_valid && out_ready) $display("%h %b %h", out_data, out_last, out_keep);
    idle <= (in_valid && in_ready) || (out_valid && out_ready) ? 0 : idle + 1;
    if (idle == {patience}) $finish;
end
wire [32:0] word = given[sent < WORDS ? sent : 0];
{top} dut (.ap_clk(clk), .ap_rst_n(reset_n), .in_r_tdata(word[31:0]), .in_r_tkeep(4'hf), .in_r_tlast(word[32]),
    .in_r_tvalid(in_valid), .in_r_tready(in_ready), .out_r_tdata(out_data), .out_r_tkeep(out_keep),
    .out_r_tlast(out_last), .out_r_tvalid(out_valid), .out_r_tready(out_ready));
endmodule
"""


def packets_out(source: RtlSource, packets: list[Words], stall: int = 0, patience: int = 5000) -> list[Words]:
    """Packets that come out of an IP; words behind the last TLAST are one more; -1 for one that is not defined.

    It runs where the IP's sources lie: there every table has its bare name, as Vivado finds it.
    """
    home = source.folder / Path(source.files[-1]).parent
    lines = [f"{w | (k == len(p) - 1) << 32:x}\n" for p in packets for k, w in enumerate(map(int, p))]
    (home / "given.hex").write_text("".join(lines))
    bench = BENCH.format(words=len(lines), stall=stall, patience=patience, top=source.name)
    (home / "bench.v").write_text(bench)
    names = [Path(file).name for file in source.files]
    command = ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", *names, "bench.v"]
    subprocess.run(command, cwd=home, check=True, capture_output=True, text=True)
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=home, check=True, capture_output=True, text=True)
    words = [line.split() for line in done.stdout.splitlines() if line.endswith(" f")]
    assert "early" not in done.stdout, "a word during the reset"
    ends = [k + 1 for k, (_, end, _) in enumerate(words) if end == "1"]
    values = np.array([-1 if "x" in word else int(word, 16) for word, _, _ in words], dtype=np.int64)
    return [part for part in np.split(values, ends) if part.size]
