# SPDX-License-Identifier: Apache-2.0
"""A board that looks real: not an `EmulatedDevice`, its overlays marked as built, its rails readable."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path
from typing import Any

import pynq

from hls4attn.host.emulated_device import EmulatedDevice
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.hwh import build_hwh
from hls4attn.overlays.package import Package, write_package

_NUMBERS = itertools.count()


def built_bit(design: OverlayDesign) -> bytes:
    """A `.bit` as Vivado heads it, with a synchronisation word and nothing behind it."""
    data = b"\xff" * 32 + bytes.fromhex("aa995566") + b"\0" * 12
    fields = {b"a": f"{design.name}_wrapper;UserID=0XFFFFFFFF;Version=2024.1", b"c": "2025/01/01", b"d": "12:00:00"}
    board = design.board
    zynq = board.family == "zynq"
    fields[b"b"] = board.device.removeprefix("xc") + board.package if zynq else board.part
    magic = bytes.fromhex("0ff00ff00ff00ff000")
    bit = struct.pack(">H", len(magic)) + magic + struct.pack(">H", 1)
    for key in sorted(fields):
        text = fields[key].encode() + b"\0"
        bit += key + struct.pack(">H", len(text)) + text
    return bit + b"e" + struct.pack(">I", len(data)) + data


def built_package(design: OverlayDesign, folder: Path) -> Package:
    """An overlay that passes for one that Vivado built."""
    package = write_package(design, folder, bit=built_bit(design), handoff=build_hwh(design))
    assert not package.emulation
    return package


class FakeBoard(pynq.Device):
    """Hands everything to an emulated device, and is none.

    Args:
        name: of a known board.
        kernels: what the logic of a design computes.
    """

    def __init__(self, name: str, kernels: dict[OverlayDesign, Any]) -> None:
        super().__init__(f"fake-{name}-{os.getpid()}-{next(_NUMBERS)}")  # other workers have theirs
        self.inner = EmulatedDevice(name)
        self.name = name
        self.arch, self.capabilities = self.inner.arch, self.inner.capabilities
        for design, kernel in kernels.items():
            self.inner.register_kernel(design, kernel)

    def mmap(self, *arguments: Any) -> Any:
        return self.inner.mmap(*arguments)

    def allocate(self, *arguments: Any, **options: Any) -> Any:
        return self.inner.allocate(*arguments, **options)

    def get_bitfile_metadata(self, *arguments: Any, **options: Any) -> Any:
        return self.inner.get_bitfile_metadata(*arguments, **options)

    def set_bitfile_name(self, bitfile_name: str) -> None:
        self.inner.set_bitfile_name(bitfile_name)
        super().set_bitfile_name(bitfile_name)

    def download(self, bitstream: Any, parser: Any = None) -> None:
        self.inner.download(bitstream, parser)
        super().post_download(bitstream, parser or self.parser, self.name)

    def get_memory(self, description: Any) -> Any:
        return self.inner

    @property
    def default_memory(self) -> Any:
        return self.inner
