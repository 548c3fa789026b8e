# SPDX-License-Identifier: Apache-2.0
"""A gain-cell unit in Icarus Verilog: gaps, stalls and a reset in the middle of the work; unknowns stay unknown."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.formats import Codes

_BENCH = """`default_nettype none
module bench;
reg clk = 0;
reg rst_n = 0;
reg [{in_width}:0] words [0:{count}-1];
reg s_tvalid = 0;
reg m_tready = 0;
wire s_tready, m_tvalid, m_tlast;
wire [{out_width}-1:0] m_tdata;
integer at = 0;
integer clocks = 0;
integer seed = {seed};
op_gaincell #({parameters}) dut (
    .clk(clk), .rst_n(rst_n), .s_tdata(words[at][{in_width}-1:0]), .s_tuser({{words[at][{in_width}], 1'b0}}),
    .s_tvalid(s_tvalid), .s_tlast(1'b0), .s_tready(s_tready),
    .m_tdata(m_tdata), .m_tvalid(m_tvalid), .m_tlast(m_tlast), .m_tready(m_tready)
);
initial $readmemh("words.mem", words);
always #5 clk = !clk;
always @(posedge clk) begin
    clocks <= clocks + 1;
    rst_n <= clocks > 3 && !(clocks > {reset_at} && clocks < {reset_at} + 3);
    if (clocks == {reset_at} + 1) begin
        $display("reset");
        at <= 0;
        s_tvalid <= 0;
    end else if (rst_n) begin
        if (s_tvalid && s_tready) at <= at + 1;
        if (!s_tvalid || s_tready)
            s_tvalid <= at + (s_tvalid && s_tready) < {count} && $unsigned($random(seed)) % 100 >= {gaps};
        if (m_tvalid && m_tready) $display("%0d %b", $signed(m_tdata), m_tlast);
        m_tready <= $unsigned($random(seed)) % 100 >= {stalls};
    end
    if (clocks == {patience}) $finish;
end
endmodule
"""


def icarus(
    folder: Path,
    unit: RtlUnit,
    rows: Codes,
    keep: Codes,
    sources: Mapping[str, str] | None = None,
    stalls: int = 20,
    reset_at: int = -9,
    patience: int = 20_000,
) -> list[tuple[str, str]]:
    """Words that came out, as text, with their TLAST; of a run with a reset those behind it.

    Args:
        folder: for the files.
        unit: the unit.
        rows: words, a row a token.
        keep: whether the stored tokens are kept, a token each.
        sources: text of sources in place of the files' own, by name.
        stalls: per cent of clocks without ``m_tready``.
        reset_at: clock of a reset, after which all rows come once more.
        patience: clocks of the run.
    """
    text = unit.sources() | dict(sources or {})
    for name, content in (*text.items(), *((file, unit.roms[rom].text()) for rom, file in unit.rom_files().items())):
        (folder / name).write_text(content)
    first = np.arange(rows.shape[1]) > 0
    words = rows | (np.asarray(keep)[:, None] | first).astype(np.int64) << unit.in_width
    (folder / "words.mem").write_text("".join(f"{int(w):x}\n" for w in words.ravel()))
    values = [f".{name}({value})" for name, value in unit.parameters.items()]
    values += [f'.{name}("{file}")' for name, file in unit.rom_files().items()]
    (folder / "bench.sv").write_text(
        _BENCH.format(
            in_width=unit.in_width,
            out_width=unit.out_width,
            parameters=", ".join(values),
            count=words.size,
            seed=1,
            gaps=20,
            stalls=stalls,
            reset_at=reset_at,
            patience=patience,
        )
    )
    command = ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", "bench.sv", *text]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    done = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True)
    lines = done.stdout.split("reset\n")[-1].splitlines()
    return [(value, last) for value, last in (line.split() for line in lines if line[-1:] in "01xz")]


def words_of(expected: Codes) -> list[tuple[str, str]]:
    """What `icarus` gives for sums, a row a token."""
    lasts = np.arange(expected.shape[1]) == expected.shape[1] - 1
    return [(str(int(y)), str(int(last))) for row in expected for y, last in zip(row, lasts, strict=True)]
