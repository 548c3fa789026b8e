# SPDX-License-Identifier: Apache-2.0
"""Place and route of a streaming unit for a Zynq-7020 by openXC7's nextpnr-xilinx, where somebody has installed it.

It is on no package index, and its chip database takes minutes to make.  It routes pads only where they are placed, so
that a unit of many ports sits between two shift registers, which are counted with it:

    in --> [ shift register ] --> unit --> [ register, shifted out ] --> out
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.rtl.synth import TOP, call_tool, run_yosys
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.files import atomic_write

NEXTPNR, CHIPDB = "HLS4ATTN_NEXTPNR_XILINX", "HLS4ATTN_CHIPDB"
SEEDS = (1, 2, 3)
_TARGET_MHZ = 150
_BETWEEN = "pad_top"
#: Pads of a PYNQ-Z2: its clock, a switch, an LED.
_PADS = {"clk": "H16", "in": "M20", "out": "R14"}
_OPTIONS = ("--timing-allow-fail", "--freq", str(_TARGET_MHZ))
_PORT = re.compile(r"(input|output) wire (?:\[(\d+):0\] )?(\w+)")
#: Figures of the log; of each kind of cell those that are used.
_MHZ = re.compile(r"Max frequency for clock[^:]*: ([\d.]+) MHz")
_CELLS = {
    "lut": ("SLICE_LUTX",),
    "ff": ("SLICE_FFX",),
    "dsp": ("DSP48E1_DSP48E1", "DSP48E1"),
    "ramb18": ("RAMB18E1_RAMB18E1", "RAMB18E1"),
    "ramb36": ("RAMB36E1_RAMB36E1", "RAMB36E1"),
}


@dataclass(frozen=True)
class OpenXc7:
    """An installation.

    Attributes:
        command: path of nextpnr-xilinx.
        chipdb: database of an xc7z020clg400.
        version: in its own words.
    """

    command: str
    chipdb: Path
    version: str


@dataclass(frozen=True)
class Routed:
    """A routed unit with the shift registers around it, in the tool's own figures.

    Attributes:
        mhz: for each seed.
        median: of them.
        lut: LUTs of five and of six inputs, of which a 7020 has 106,400.
        ff: flip-flops.
        dsp: DSP blocks.
        bram18: half block RAMs.
        tool: name and version.
    """

    mhz: tuple[float, ...]
    median: float
    lut: int
    ff: int
    dsp: int
    bram18: int
    tool: str

    def cells(self) -> list[str]:
        """Cells of a table."""
        return [*(f"{n:,}" for n in (self.lut, self.ff, self.dsp, self.bram18)), f"{self.median:.0f}"]


def find_openxc7(chipdb: Path | None = None) -> OpenXc7 | None:
    """The installation, if there is one: ``$HLS4ATTN_NEXTPNR_XILINX`` or nextpnr-xilinx on PATH, and a database.

    Args:
        chipdb: the database; ``$HLS4ATTN_CHIPDB`` if not given.

    Raises:
        InputError: for a database that is not there.
        ToolError: if a database is given and there is no tool, or it does not say its version.
    """
    wanted = os.environ.get(NEXTPNR) or "nextpnr-xilinx"
    named = chipdb or (Path(os.environ[CHIPDB]) if os.environ.get(CHIPDB) else None)
    if named is None:
        return None
    if not named.is_file():
        raise InputError(f"No chip database {named}: make one of an xc7z020clg400 with nextpnr-xilinx's bbaexport.py")
    found = shutil.which(wanted)
    if found is None:
        raise ToolError(f"No nextpnr at {wanted} for the chip database {named}: install openXC7, or set {NEXTPNR}")
    match = re.search(r"[Vv]ersion ([\w.+-]+)", call_tool([found, "--version"], Path(), errors_too=True))
    if match is None:
        raise ToolError(f"{found} does not say which version it is")
    return OpenXc7(found, named.resolve(), f"nextpnr-xilinx {match.group(1)}")


def routed(unit: RtlUnit, tool: OpenXc7, seeds: Sequence[int] = SEEDS) -> Routed:
    """Size and frequency of a unit on an xc7z020clg400.

    Args:
        unit: the unit.
        tool: the installation.
        seeds: of the placer.

    Raises:
        ToolError: if a tool is missing or fails, or the unit does not fit.
    """
    sources = unit.sources() | {f"{_BETWEEN}.v": between(unit)}
    commands = (f"synth_xilinx -family xc7 -flatten -top {_BETWEEN}", "write_json net.json")
    folder = run_yosys(unit, sources, commands, ("net.json",), top=_BETWEEN)
    logs = [_log(tool, (folder / "net.json").read_text(), seed) for seed in seeds]
    mhz = tuple(_last(_MHZ, log, unit.module, tool) for log in logs)
    used = {name: sum(_used(kind, logs[0]) for kind in kinds) for name, kinds in _CELLS.items()}
    bram18 = used["ramb18"] + 2 * used["ramb36"]
    return Routed(mhz, statistics.median(mhz), used["lut"], used["ff"], used["dsp"], bram18, tool.version)


def between(unit: RtlUnit) -> str:
    """Verilog of a module with three pads: the unit, a shift register in front and one behind."""
    ports = [(way, int(high or 0) + 1, name) for way, high, name in _PORT.findall(unit.top(TOP)) if name != "clk"]
    wires, lists = [], []
    for way in ("input", "output"):
        mine = [(width, name) for found, width, name in ports if found == way]
        wires.append(sum(width for width, _ in mine))
        lists.append(", ".join(name for _, name in mine))
    declared = "\n".join(f"wire [{width - 1}:0] {name};" for _, width, name in ports)
    connected = ", ".join(f".{name}({name})" for name in ("clk", *(name for _, _, name in ports)))
    return f"""// SPDX-License-Identifier: Apache-2.0
module {_BETWEEN} (input wire clk, input wire in, output wire out);
{declared}
reg [{wires[0]}:0] front;
reg [{wires[1] - 1}:0] back;
always @(posedge clk) begin
    front <= {{front[{wires[0] - 1}:0], in}};
    back <= front[{wires[0]}] ? {{{lists[1]}}} : back >> 1;
end
assign {{{lists[0]}}} = front[{wires[0] - 1}:0];
assign out = back[0];
{TOP} unit ({connected});
endmodule
"""


def _constraints() -> str:
    lines = []
    for port, pad in _PADS.items():
        lines += [f"set_property LOC {pad} [get_ports {port}]", f"set_property IOSTANDARD LVCMOS33 [get_ports {port}]"]
    return "\n".join((*lines, ""))


def _log(tool: OpenXc7, netlist: str, seed: int) -> str:
    """What the tool says with one seed, from the cache if there."""
    database = f"{tool.chipdb}\0{tool.chipdb.stat().st_size}"
    parts = (tool.version, database, *_OPTIONS, _constraints(), netlist)
    kept = cache_dir() / "rtl" / f"xc7_{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}" / f"{seed}.json"
    if not kept.is_file():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
                (Path(scratch) / "net.json").write_text(netlist)
                (Path(scratch) / "pads.xdc").write_text(_constraints())
                files = ("--chipdb", str(tool.chipdb), "--xdc", "pads.xdc", "--json", "net.json", "--seed", str(seed))
                said = call_tool([tool.command, *_OPTIONS, *files], Path(scratch), errors_too=True)
            atomic_write(kept, json.dumps(said).encode())
        except OSError as error:
            raise ToolError(f"Cannot write {kept.parent}: {error.strerror}; set HLS4ATTN_CACHE") from error
    return str(json.loads(kept.read_text()))


def _last(pattern: re.Pattern[str], log: str, module: str, tool: OpenXc7) -> float:
    """The last of the figures: earlier ones are before routing."""
    found = pattern.findall(log)
    if not found:
        raise ToolError(f"{module}: {tool.version} reports no frequency")
    return float(found[-1])


def _used(kind: str, log: str) -> int:
    found = re.findall(rf"\b{kind}:\s*(\d+)\s*/", log)
    return int(found[-1]) if found else 0
