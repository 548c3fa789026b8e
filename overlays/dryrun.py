# SPDX-License-Identifier: Apache-2.0
"""Runs build scripts against a model of Vivado and of high-level synthesis, in plain Tcl.

The model (`overlays/tcl_stub`) knows the commands, options and properties that overlays use, the pins, interfaces and
parameters of their IPs, and the rules of a block design: one driver a net, everything that must be connected
connected, every segment with one address, none overlapping.  The interfaces of the shell are read from its Verilog.
It synthesises nothing: no timing, no resources, and no guarantee that another version of Vivado agrees.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hls4attn.models.errors import SpecError, ToolError
from hls4attn.overlays.clocks import io_pll_mhz
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.scripts import HLS_FOLDER, RTL_FOLDER, Script
from hls4attn.overlays.tcl_text import word

DEFAULT_VERSION = "2024.1"
TIMEOUT_S = 120
#: What a build reads; all else in its folder is made by the tools, and here by their model.
SOURCES = (HLS_FOLDER, RTL_FOLDER, "rtl", "design.json")
_STUB = Path(__file__).parent / "tcl_stub" / "main.tcl"
_ESCAPES = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


class Problem(NamedTuple):
    """What a script does wrong."""

    script: str
    text: str

    def __str__(self) -> str:
        return f"{self.script}: {self.text}"


class Address(NamedTuple):
    """A segment of a slave in the address space of a master."""

    space: str
    segment: str
    base: int
    size: int


@dataclass
class DryRunReport:
    """What the scripts would draw, and what is wrong with them.

    Args:
        version: of the Vivado that was played.
        scripts: names, in the order in which they ran.
        problems: empty if the scripts are sound.
        warnings: what the scripts themselves warn of.
        commands: of the tools that were called.
        cells: type by instance.
        parameters: that the scripts set, by instance and name.
        addresses: all that are assigned.
        streams: driver and sink, as ``cell/interface``.
        nets: driver of every pin, as ``cell/pin``.
    """

    version: str
    scripts: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    commands: int = 0
    cells: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    streams: list[tuple[str, str]] = field(default_factory=list)
    nets: dict[str, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "version": self.version,
            "scripts": list(self.scripts),
            "clean": self.clean,
            "problems": [str(problem) for problem in self.problems],
            "warnings": [str(warning) for warning in self.warnings],
            "commands": self.commands,
            "cells": dict(self.cells),
            "addresses": [
                {"space": a.space, "segment": a.segment, "base": f"0x{a.base:08X}", "bytes": a.size}
                for a in self.addresses
            ],
        }


def dry_run(
    scripts: Sequence[Script],
    folder: Path | str,
    version: str = DEFAULT_VERSION,
    *,
    design: OverlayDesign | None = None,
    boards: Sequence[str] | None = None,
    without: Sequence[str] = (),
    failing: Sequence[str] = (),
) -> DryRunReport:
    """Run scripts against the model of the tools.  The folder is only read.

    Args:
        scripts: in the order in which they run.
        folder: the build folder, with the sources that the scripts read.
        version: of the Vivado to play, such as 2020.1.
        design: if given, what sound scripts draw is compared with the handoff of this design; differences are problems.
        boards: board parts that are installed; without it, every board is.
        without: IPs that the catalogue lacks, such as ``xilinx.com:ip:xlconcat``.
        failing: steps of runs that fail, such as ``route_design``.

    Raises:
        SpecError: for a version of another form.
        ToolError: if there is no `tclsh`, or it does not end.
    """
    release = re.match(r"\d{4}\.\d(?!\d)", version)  # 2022.2.1 has the IPs of 2022.2
    if release is None:
        raise SpecError(f"A version of Vivado is a year and a number, such as 2024.1. Received: {version!r:.40}")
    tclsh = shutil.which("tclsh") or shutil.which("tclsh8.6")
    if tclsh is None:
        raise ToolError("A dry run needs Tcl's shell: install it, for instance with: sudo apt-get install tcl")
    setup: list[Any] = ["version", version, "release", release[0], "boards", "*" if boards is None else tuple(boards)]
    setup += ["without", tuple(without), "failing", tuple(failing)]
    setup += ["io_pll", 0 if design is None else io_pll_mhz(design.board)]
    with tempfile.TemporaryDirectory(prefix="hls4attn-dry-run-") as scratch:
        setup += ["scripts", [_place(script, Path(scratch)) for script in scripts]]
        lines = _play(tclsh, Path(folder), Path(scratch), " ".join(word(item) for item in setup))
    report = DryRunReport(version, tuple(script.name for script in scripts))
    for line in lines:
        _enter(report, line)
    if design is not None and report.clean:
        from hls4attn.overlays.handoff_match import differences

        report.problems += [Problem("design", text) for text in differences(report, design)]
    return report


def _place(script: Script, scratch: Path) -> tuple[Any, ...]:
    path = scratch / "scripts" / f"{script.name}.tcl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script.text, encoding="utf-8")
    paths = ("reads", script.reads, "writes", script.writes)
    return ("name", script.name, "tool", script.tool, "path", f"scripts/{path.name}", *paths)


def _play(tclsh: str, folder: Path, scratch: Path, setup: str) -> list[str]:
    for name in SOURCES:
        source = folder / name
        if source.is_dir():
            shutil.copytree(source, scratch / name)
        elif source.is_file():
            shutil.copy(source, scratch / name)
    manifest = scratch / "manifest"
    manifest.write_text(setup, encoding="utf-8")
    # A variable of the user's Vivado must not change what a dry run finds.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HLS4ATTN_")}
    command = [tclsh, str(_STUB), str(manifest)]
    try:
        done = subprocess.run(
            command, cwd=scratch, env=environment, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"The dry run did not end within {TIMEOUT_S} s: a script waits or loops for ever") from error
    if done.returncode != 0:
        raise ToolError(f"The dry run broke off: {done.stderr.strip()[-500:]}")
    return done.stdout.splitlines()


def _enter(report: DryRunReport, line: str) -> None:
    kind, *fields = [re.sub(r"\\.", lambda m: _ESCAPES[m[0]], item) for item in line.split("\t")]
    if kind == "problem":
        report.problems.append(Problem(*fields))
    elif kind == "warning":
        report.warnings.append(Problem(*fields))
    elif kind == "commands":
        report.commands = int(fields[0])
    elif kind == "cell":
        report.cells[fields[0]] = fields[1]
    elif kind == "parameter":
        report.parameters.setdefault(fields[0], {})[fields[1]] = fields[2]
    elif kind == "address":
        report.addresses.append(Address(fields[0], fields[1], int(fields[2]), int(fields[3])))
    elif kind == "stream":
        report.streams.append((fields[0], fields[1]))
    elif kind == "net":
        report.nets |= dict.fromkeys(fields[1:], fields[0])
