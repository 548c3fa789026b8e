# SPDX-License-Identifier: Apache-2.0
"""Signals of a streaming unit, clock by clock, from Icarus Verilog: what to look at when a unit is to be understood."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.rtl.unit import RtlUnit, head_bits
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.formats import Codes

#: What every trace has: the unit's ports.
PORTS = ("s_tdata", "s_tvalid", "s_tready", "s_tlast", "m_tdata", "m_tvalid", "m_tready", "m_tlast")
_BENCH = """`timescale 1ns / 1ps
module bench;
localparam WORDS = {words}, CLOCKS = {clocks};
reg clk = 0, rst_n = 0;
reg [{in_top}:0] data [0:WORDS-1];
reg [{user_top}:0] user [0:WORDS-1];
reg last [0:WORDS-1];
integer sent = 0, clock = 0;
wire s_tready, m_tvalid, m_tlast;
wire m_tready = 1;
wire [{out_top}:0] m_tdata;
wire s_tvalid = rst_n && sent < WORDS;
wire [31:0] at = sent < WORDS ? sent : 0;
wire [{in_top}:0] s_tdata = data[at];
wire s_tlast = last[at];
initial begin
    $readmemh("data.mem", data);
    $readmemh("user.mem", user);
    $readmemh("last.mem", last);
end
always #5 clk = !clk;
always @(posedge clk) begin  // shows what is there before the edge
    clock <= clock + 1;
    rst_n <= clock >= 3;
    if (rst_n) $display("> {formats}", {signals});
    if (s_tvalid && s_tready) sent <= sent + 1;
    if (clock == CLOCKS + 3) $finish;
end
dut dut (.clk(clk), .rst_n(rst_n), .s_tdata(s_tdata), .s_tuser(user[at]), .s_tlast(s_tlast), .s_tvalid(s_tvalid),
    .s_tready(s_tready), .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast), .m_tready(m_tready));
endmodule
"""


@dataclass(frozen=True, eq=False)
class Trace:
    """Signals of a unit.

    Attributes:
        signals: value of each in every clock from the first word offered on, as an unsigned number; -1 while any bit
            of it is unknown.
    """

    signals: Mapping[str, Codes]

    @property
    def clocks(self) -> int:
        """How many clocks there are."""
        return len(self.signals["m_tvalid"])

    def outputs(self) -> Codes:
        """The words that came out, as unsigned numbers."""
        taken = (self.signals["m_tvalid"] == 1) & (self.signals["m_tready"] == 1)
        return self.signals["m_tdata"][taken]


def trace(unit: RtlUnit, rows: ArrayLike, clocks: int, inner: Sequence[str] = ()) -> Trace:
    """Run rows through a unit whose receiver always takes a word.

    Args:
        unit: the unit.
        rows: codes, shape ``(rows, n)``, one behind the other; no element is masked, all of head 0.
        clocks: how many clocks to show.
        inner: signals inside the unit, as ``sum`` or ``waiting.write``.

    Raises:
        InputError: for rows, clocks or signals that are none.
        ToolError: if Icarus Verilog is missing, or refuses the unit.
    """
    codes = np.asarray(rows)
    if codes.dtype.kind not in "iu" or codes.ndim != 2 or not codes.size or clocks < 1:
        raise InputError(f"{unit.module}: a trace needs integer rows (rows, n) and clocks. Received: {codes.shape}")
    for name in inner:
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            raise InputError(f"{unit.module}: {name!r} is no name of a signal")
    lines = _simulated(unit, codes.astype(np.int64), clocks, inner)
    names = (*PORTS, *inner)
    columns = zip(*(line.split()[1:] for line in lines), strict=True)
    values = ([int(v, 16) if re.fullmatch("[0-9a-f]+", v) else -1 for v in column] for column in columns)
    return Trace({name: np.array(column, dtype=np.int64) for name, column in zip(names, values, strict=True)})


def _simulated(unit: RtlUnit, codes: Codes, clocks: int, inner: Sequence[str]) -> list[str]:
    """A line for every clock."""
    icarus, runner = shutil.which("iverilog"), shutil.which("vvp")
    if icarus is None or runner is None:
        raise ToolError("No iverilog on PATH: install Icarus Verilog 11 or newer (apt-get install iverilog)")
    user = np.full(codes.size, 1 << head_bits(unit.heads)) & ((1 << unit.user_width) - 1)
    last = np.tile(np.arange(codes.shape[1]) == codes.shape[1] - 1, len(codes))
    memories = {"data": codes.ravel() & ((1 << unit.in_width) - 1), "user": user, "last": last}
    files = unit.sources() | {file: unit.roms[name].text() for name, file in unit.rom_files().items()}
    files |= {f"{name}.mem": "".join(f"{int(w):x}\n" for w in words) for name, words in memories.items()}
    signals = (*PORTS, *(f"dut.unit.{name}" for name in inner))
    numbers = {"in_top": unit.in_width - 1, "user_top": unit.user_width - 1, "out_top": unit.out_width - 1}
    numbers |= {"words": codes.size, "clocks": clocks}
    bench = _BENCH.format(formats=" ".join(["%h"] * len(signals)), signals=", ".join(signals), **numbers)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (files | {"dut.v": unit.top("dut"), "bench.v": bench}).items():
            (Path(folder) / name).write_text(text)
        sources = [*unit.sources(), "dut.v", "bench.v"]
        _call([icarus, "-g2012", "-o", "bench.vvp", "-s", "bench", *sources], folder, unit.module)
        shown = _call([runner, "-n", "bench.vvp"], folder, unit.module)
    return [line for line in shown.splitlines() if line.startswith("> ")]


def _call(command: Sequence[str], folder: str, module: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return done.stdout
    unknown = re.search(r"Unable to bind \S+ `dut\.unit\.([\w.]+)'", done.stderr)
    if unknown:
        raise InputError(f"{module} has no signal {unknown[1]}")
    raise ToolError(f"{module}: {Path(command[0]).name}: {(done.stderr.splitlines() or ['failed'])[0]}")
