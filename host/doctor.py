# SPDX-License-Identifier: Apache-2.0
"""What is installed, what is missing, and what each missing piece would enable."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hls4attn.models.files import write_json

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
_TOOLS: dict[str, tuple[tuple[str, ...], str]] = {
    "C++ compiler": (("g++",), "C simulation, and with it the csim and board rungs"),
    "Vitis HLS": (("vitis-run", "vitis_hls"), "your own synthesis of a converted project (no verb here runs it)"),
    "Vivado": (("vivado",), "your own bitstream for a real board (no verb here runs it)"),
}


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
        found.append(Finding(name, _package_version(name), enables))
    for name, (commands, enables) in _TOOLS.items():
        found.append(Finding(name, next(filter(None, map(_tool_version, commands)), None), enables))
    return found


def _package_version(name: str) -> str | None:
    """Version of a distribution, or of its CPU-only build."""
    for candidate in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _tool_version(command: str) -> str | None:
    path = shutil.which(command)
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
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
