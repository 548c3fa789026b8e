# SPDX-License-Identifier: Apache-2.0
"""A unit through Vivado out of context, where there is one on PATH: the figures that Yosys only estimates."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hls4attn.hls.compiler import cache_dir
from hls4attn.hls.rtl.synth import TOP, call_tool
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import BuildError, ToolError
from hls4attn.models.files import atomic_write
from hls4attn.overlays.building.reports import parse_timing, parse_utilization
from hls4attn.overlays.building.tools import Installed, find_tools

PART = "xc7z020clg400-1"
#: Asked for; the frequency follows from what is left of it or what is missing.
PERIOD_NS = 5.0
_REPORTS = ("utilization.rpt", "timing.rpt")
_SCRIPT = """# SPDX-License-Identifier: Apache-2.0
read_verilog -sv [list {sources}]
synth_design -top {top} -part {part} -mode out_of_context
create_clock -name clk -period {period:.3f} [get_ports clk]
opt_design
place_design
phys_opt_design
route_design
report_utilization -file utilization.rpt
report_timing_summary -file timing.rpt
"""


@dataclass(frozen=True)
class Implemented:
    """A routed unit, in Vivado's own figures.

    Attributes:
        lut: slice LUTs, those that are memory included.
        ff: registers.
        dsp: DSP slices.
        bram18: half block RAMs.
        mhz: 1000 / (period - worst slack of setup).
        release: of Vivado.
    """

    lut: int
    ff: int
    dsp: int
    bram18: int
    mhz: float
    release: str

    def cells(self) -> list[str]:
        """Cells of a table."""
        return [*(f"{n:,}" for n in (self.lut, self.ff, self.dsp, self.bram18)), f"{self.mhz:.0f}"]


def find_vivado() -> Installed | None:
    """Vivado on PATH, if there is one.

    Raises:
        ToolError: if it is there and does not start, or is too old.
    """
    return find_tools().get("vivado")


def script(unit: RtlUnit, part: str = PART, period_ns: float = PERIOD_NS) -> str:
    """Tcl that implements a unit alone on a part, for a clock, and reports on it."""
    names = " ".join((*unit.sources(), f"{TOP}.v"))
    return _SCRIPT.format(sources=names, top=TOP, part=part, period=period_ns)


def implement(unit: RtlUnit, vivado: Installed, part: str = PART, period_ns: float = PERIOD_NS) -> Implemented:
    """Implement a unit alone, from the cache if nothing it depends on has changed.

    Args:
        unit: the unit.
        vivado: the tool.
        part: the FPGA.
        period_ns: of the clock that is asked for.

    Raises:
        ToolError: if Vivado fails.
        BuildError: if it leaves no complete report.
    """
    files = unit.sources() | {file: unit.roms[name].text() for name, file in unit.rom_files().items()}
    files |= {f"{TOP}.v": unit.top(TOP), "unit.tcl": script(unit, part, period_ns)}
    parts = [vivado.banner, *(part for pair in sorted(files.items()) for part in pair)]
    kept = cache_dir() / "rtl" / ("vivado_" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32])
    if not all((kept / name).is_file() for name in _REPORTS):
        _run(unit, vivado, files, kept)
    return _read(kept, vivado, period_ns)


def _run(unit: RtlUnit, vivado: Installed, files: Mapping[str, str], kept: Path) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            for name, text in files.items():
                (Path(scratch) / name).write_text(text)
            batch = ("-mode", "batch", "-notrace", "-nolog", "-nojournal", "-source", "unit.tcl")
            call_tool([str(vivado.path), *batch], Path(scratch))
            for name in _REPORTS:
                report = Path(scratch) / name
                if not report.is_file():
                    raise BuildError(f"{unit.module}: Vivado {vivado.release} ended without {name}")
                atomic_write(kept / name, report.read_bytes())
    except OSError as error:
        raise ToolError(f"Cannot write {kept.parent}: {error.strerror}; set HLS4ATTN_CACHE") from error


def _read(kept: Path, vivado: Installed, period_ns: float) -> Implemented:
    sites = parse_utilization((kept / "utilization.rpt").read_text(), str(kept / "utilization.rpt"))
    timing = parse_timing((kept / "timing.rpt").read_text(), str(kept / "timing.rpt"))
    lut, ff, dsp, bram36 = (sites[kind]["used"] for kind in ("lut", "ff", "dsp", "bram36"))
    if timing.wns_ns is None:
        raise BuildError(f"{kept / 'timing.rpt'} has no slack of setup")
    mhz = 1000 / (period_ns - timing.wns_ns)
    return Implemented(int(lut), int(ff), int(dsp), int(2 * bram36), mhz, vivado.release)
