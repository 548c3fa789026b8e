# SPDX-License-Identifier: Apache-2.0
"""Build folders that the tests of scripts and of dry runs share."""

from pathlib import Path

from hls4attn.hls.axis import KernelSource
from hls4attn.hls.rtl.ip import RtlSource, write_ip
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.scripts import Script, overlay_scripts
from hls4attn.overlays.shell import rtl_files
from tests.echo_unit import echo


def kernel_of(design: OverlayDesign, number: int, folder: Path) -> KernelSource:
    """A kernel of the right ports that is written down only as far as a dry run looks."""
    port = design.kernels[number]
    home = folder / "hls" / port.name
    home.mkdir(parents=True)
    (home / "kernel.cpp").write_text(f"void {port.name}() {{}}\n")
    period = 1000 / design.clock_mhz
    return KernelSource(
        port.name,
        port.name,
        home,
        ("kernel.cpp",),
        (),
        (),
        design.board.part,
        period,
        "Vitis",
        port.user_bits,
    )


def rtl_kernel_of(design: OverlayDesign, number: int, folder: Path) -> RtlSource:
    """A kernel in Verilog."""
    name = design.kernels[number].name
    return write_ip(name, echo(), folder / "kernels" / name, design.board.part)


def build_folder(design: OverlayDesign, folder: Path, rtl: bool = False) -> tuple[Script, ...]:
    """Write the sources of a build, with kernels in Verilog or in C++, and return its scripts."""
    write = rtl_kernel_of if rtl else kernel_of
    kernels = [write(design, number, folder) for number in range(len(design.kernels))]
    (folder / "rtl").mkdir()
    for name, text in rtl_files(design).items():
        (folder / "rtl" / name).write_text(text)
    return overlay_scripts(design, kernels)
