# SPDX-License-Identifier: Apache-2.0
"""What the tests of all streaming units do: linters, Icarus on a few rows, and mutants that must be refuted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit, head_bits
from hls4attn.models.errors import Hls4attnError
from hls4attn.models.formats import Codes

Rows = NDArray[np.int64]
Kept = NDArray[np.bool_]

BENCH = """`default_nettype none
`timescale 1ns / 1ps
module bench;
localparam WORDS = {words};
reg clk = 0, rst_n = 0, s_tvalid = 0, m_tready = 0;
reg [{in_top}:0] data [0:WORDS-1];
reg [{user_top}:0] user [0:WORDS-1];
reg last [0:WORDS-1];
integer sent = 0, idle = 0, seed = {seed};
wire s_tready, m_tvalid, m_tlast;
wire [{out_top}:0] m_tdata;
always #5 clk = !clk;
initial begin
    $readmemh("data.mem", data);
    $readmemh("user.mem", user);
    $readmemh("last.mem", last);
    #42 rst_n = 1;
end
// Driven away from the edge: a port that changes within a clock shows.
always @(negedge clk) if (rst_n) begin
    if (!s_tvalid || taken) s_tvalid <= sent < WORDS && $unsigned($random(seed)) % 100 >= {stall};
    m_tready <= $unsigned($random(seed)) % 100 >= {stall};
end
reg taken = 0;
always @(posedge clk) begin
    taken <= s_tvalid && s_tready;
    if (s_tvalid && s_tready) sent <= sent + 1;
    if (m_tvalid && m_tready) $display("%h %b", m_tdata, m_tlast);
    idle <= (s_tvalid && s_tready) || (m_tvalid && m_tready) ? 0 : idle + 1;
    if (idle == {patience}) $finish;
end
wire [31:0] at = sent < WORDS ? sent : 0;
dut dut (.clk(clk), .rst_n(rst_n), .s_tdata(data[at]), .s_tuser(user[at]), .s_tlast(last[at]), .s_tvalid(s_tvalid),
    .s_tready(s_tready), .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast), .m_tready(m_tready));
endmodule
"""


def icarus(
    folder: Path,
    unit: RtlUnit,
    rows: Rows,
    heads: Rows | None = None,
    keep: Kept | None = None,
    stall: int = 0,
    patience: int = 5000,
) -> list[Rows]:
    """Packets that come out of Icarus Verilog; words behind the last TLAST are one more."""
    count, n = rows.shape
    head = np.zeros(count, dtype=np.int64) if heads is None else heads
    kept = np.ones(rows.shape, dtype=bool) if keep is None else keep
    user = (kept.astype(np.int64) << head_bits(unit.heads) | head[:, None]) & ((1 << unit.user_width) - 1)
    last = np.broadcast_to(np.arange(n) == n - 1, rows.shape)
    for name, words in {"data": rows & ((1 << unit.in_width) - 1), "user": user, "last": last}.items():
        (folder / f"{name}.mem").write_text("".join(f"{int(w):x}\n" for w in words.ravel()))
    for name, file in unit.rom_files().items():
        (folder / file).write_text(unit.roms[name].text())
    numbers = {"words": rows.size, "seed": 7, "stall": stall, "patience": patience}
    tops = {"in_top": unit.in_width - 1, "user_top": unit.user_width - 1, "out_top": unit.out_width - 1}
    (folder / "bench.v").write_text(BENCH.format(**numbers, **tops))
    (folder / "dut.v").write_text(unit.top("dut"))
    for name, text in unit.sources().items():
        (folder / name).write_text(text)
    command = ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", *unit.sources(), "dut.v", "bench.v"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True)
    words = [line.split() for line in done.stdout.splitlines() if line[-2:] in {" 0", " 1"}]
    values = np.array([int(word, 16) for word, _ in words], dtype=np.int64)
    if unit.out_signed:
        values -= (values >> (unit.out_width - 1)) << unit.out_width
    ends = [k + 1 for k, (_, end) in enumerate(words) if end == "1"]
    return [part for part in np.split(values, ends) if part.size]


def lint(folder: Path, unit: RtlUnit, sources: dict[str, str] | None = None) -> str:
    """What Verilator and Icarus have to say about a unit, with all warnings."""
    paths = []
    for name, text in (unit.sources() | (sources or {})).items():
        paths.append(folder / name)
        paths[-1].write_text(text)
    for name, file in unit.rom_files().items():
        (folder / file).write_text(unit.roms[name].text())
    (folder / "dut.v").write_text(unit.top("dut"))
    files = [str(path) for path in (*paths, folder / "dut.v")]
    verilator = [str(Path(sys.executable).with_name("verilator-cli")), "--lint-only", "-Wall", "-Wno-DECLFILENAME"]
    said = ""
    for command in (
        [*verilator, "--top-module", "dut", *files],
        ["iverilog", "-g2012", "-Wall", "-t", "null", "-s", "dut", *files],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        said += done.stderr if "iverilog" in command[0] or done.returncode else ""
    return said


def refuted(
    unit: RtlUnit,
    file: str,
    right: str,
    wrong: str,
    rows: Rows,
    expected: Codes,
    stalls: tuple[int, int] = (30, 30),
    **arguments: object,
) -> bool:
    """Whether a unit with a mistake gives other codes, hangs, or breaks a rule of the stream."""
    text = unit.sources()[file]
    assert text.count(right) == 1, f"{file}: {right!r} is there {text.count(right)} times"
    sim = RtlSim(unit, sources={file: text.replace(right, wrong)})
    try:
        run = sim.run(rows, stalls=stalls, patience=20_000, **arguments)  # type: ignore[arg-type]
    except Hls4attnError:
        return True
    return not np.array_equal(run.outputs, expected)
