# SPDX-License-Identifier: Apache-2.0
"""A build folder with sample scripts, and the fake tools on PATH."""

import json
import os
import struct
import sys
from pathlib import Path

from hls4attn.overlays.building.folder import Recipe
from hls4attn.overlays.hwh import build_hwh
from hls4attn.overlays.scripts import Script

TOOL = Path(__file__).with_name("tool.py")
LAUNCHERS = ("vivado", "vitis-run")


def sample_scripts(design):
    """One script a stage, as overlays.scripts writes them in form, with less in them."""
    kernel = design.kernels[0].name
    ip, shell, project = f"ip/{kernel}/component.xml", f"ip/{design.ip}/component.xml", "vivado/overlay.xpr"
    out = tuple(f"out/{design.name}{suffix}" for suffix in (".bit", ".hwh", ".xsa"))
    reports = ("reports/utilization.rpt", "reports/timing.rpt", "reports/power.rpt")
    routed = "vivado/overlay.runs/impl_1/overlay_wrapper_routed.dcp"
    return (
        Script("hls", f"hls_{kernel}", "hls", "# hls", (f"hls/{kernel}/top.cpp",), (ip, f"reports/hls_{kernel}.xml")),
        Script("shell", "shell", "vivado", "# shell", ("rtl/top.v",), (shell,)),
        Script("design", "design", "vivado", "# design", (ip, shell), (project,)),
        Script("synthesis", "synthesis", "vivado", "# synthesis", (project,), ("vivado/synth.dcp",)),
        Script("implementation", "implementation", "vivado", "# implementation", (project,), (routed, *reports)),
        Script("bitstream", "bitstream", "vivado", "# bitstream", (routed,), out),
    )


def real_bit(design):
    """A `.bit` whose header does not say that it is for emulation."""

    def field(key, text):
        data = text.encode() + b"\0"
        return key + struct.pack(">H", len(data)) + data

    magic = bytes.fromhex("0ff00ff00ff00ff000")
    board = design.board
    part = board.part if board.family == "zynquplus" else board.device.removeprefix("xc") + board.package
    head = struct.pack(">H", 9) + magic + struct.pack(">H", 1) + field(b"a", "overlay_wrapper;UserID=0XFFFFFFFF")
    head += field(b"b", part) + field(b"c", "2024/06/01") + field(b"d", "10:00:00")
    payload = b"\xff" * 16 + bytes.fromhex("aa995566") + bytes(64)
    return head + b"e" + struct.pack(">I", len(payload)) + payload


class Workshop:
    """Fake tools in a folder that is the only one on PATH besides the system's; `fault` makes one fail."""

    def __init__(self, root, monkeypatch, launchers=LAUNCHERS):
        self.root, self.play = root, root / "play.json"
        self.bin = root / "bin"
        self.bin.mkdir()
        self.play.write_text(json.dumps({"release": "2024.1", "writes": {}}))
        self.add(*launchers)
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.defpath}")
        monkeypatch.setenv("FAKE_VIVADO", str(self.play))

    def add(self, *launchers):
        """Put tools on PATH."""
        for launcher in launchers:
            command = self.bin / launcher
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{TOOL}" {launcher} "$@"\n')
            command.chmod(0o755)

    def set(self, scripts, design, release="2024.1", fault=None):
        """What the tools play from now on."""
        bit, hwh = self.root / "real.bit", self.root / "real.hwh"
        bit.write_bytes(real_bit(design))
        hwh.write_bytes(build_hwh(design))
        play = {"release": release, "writes": {s.name: s.writes for s in scripts}, "bit": str(bit), "hwh": str(hwh)}
        self.play.write_text(json.dumps({**play, "family": design.board.family, "fault": fault}))


def sample_recipe(design, folder):
    """A recipe whose kernel source lies in the folder already."""
    source = f"hls/{design.kernels[0].name}/top.cpp"
    (folder / source).parent.mkdir(parents=True, exist_ok=True)
    (folder / source).write_text("void top() {}\n")
    return Recipe(design, sample_scripts(design), {"rtl/top.v": b"module top; endmodule\n"}, (source,))


def runs(folder):
    """Names of the scripts that tools ran in a folder, since it was asked last."""
    record = folder / "fake_runs"
    if not record.exists():
        return []
    names = [line.split()[0] for line in record.read_text().splitlines()]
    record.unlink()
    return names
