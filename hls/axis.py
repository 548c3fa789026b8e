# SPDX-License-Identifier: Apache-2.0
"""HLS kernels between AXI4-Streams: what stands between a converted model and an overlay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VENDOR = "hls4attn"
LIBRARY = "hls"
KERNEL_VERSION = "1.0"


@dataclass(frozen=True)
class KernelSource:
    """C++ of one kernel, ready for high-level synthesis as an IP with the streams `in_r` and `out_r`.

    Args:
        name: of the IP, a C identifier; its VLNV is ``hls4attn:hls:<name>:1.0``.
        top: top function.
        folder: absolute; all other paths are relative to it.
        files: translation units.
        includes: folders for -I.
        data: further files that must be beside them.
        part: the FPGA.
        clock_period_ns: target clock period.
        backend: hls4ml backend that wrote it: Vitis or Vivado.
        user_bits: width of TUSER of `in_r`; 0 if it has none.
    """

    name: str
    top: str
    folder: Path
    files: tuple[str, ...]
    includes: tuple[str, ...]
    data: tuple[str, ...]
    part: str
    clock_period_ns: float
    backend: str
    user_bits: int = 0

    @property
    def vlnv(self) -> str:
        """Vendor, library, name and version of the IP."""
        return f"{VENDOR}:{LIBRARY}:{self.name}:{KERNEL_VERSION}"
