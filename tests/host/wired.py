# SPDX-License-Identifier: Apache-2.0
"""A programmed board without PYNQ, and the register sequences of a host, spelt out."""

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design

from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.errors import EmulationDeadlock
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.hwh import build_hwh, parse_hwh
from hls4attn.overlays.packing import pack, unpack

RUN = reg.AP_START | reg.AUTO_RESTART


class Bench:
    """A programmed board and the register sequences of a host, spelt out."""

    def __init__(self, kernel=dense, start: bool = True, **changes: object) -> None:
        self.design = make_design(**changes)
        self.board = EmulatedBoard(self.design.board)
        self.board.program(self.design, parse_hwh(build_hwh(self.design)), kernel)
        self.dma, self.ip = self.design.addresses.dma, self.design.addresses.ip
        for base in (reg.MM2S, reg.S2MM):
            self.write(base + reg.DMACR, reg.CR_RUN)
        if start:
            self.board.write32(self.ip + reg.CTRL, RUN)

    def read(self, offset: int) -> int:
        return self.board.read32(self.dma + offset)

    def write(self, offset: int, value: int) -> None:
        self.board.write32(self.dma + offset, value)

    def transfer(self, base: int, address: int, nbytes: int) -> None:
        self.write(base + reg.ADDRESS, address & 0xFFFFFFFF)
        self.write(base + reg.ADDRESS_MSB, address >> 32)
        self.write(base + reg.LENGTH, nbytes)

    def send(self, data: bytes) -> int:
        address, _ = self.board.ddr.allocate(len(data))
        self.board.ddr.write(address, data)
        self.transfer(reg.MM2S, address, len(data))
        return address

    def receive(self, nbytes: int) -> int:
        address, _ = self.board.ddr.allocate(nbytes)
        self.transfer(reg.S2MM, address, nbytes)
        return address

    def poll(self, base: int) -> int:
        while not (status := self.read(base + reg.DMASR)) & (reg.SR_IDLE | reg.SR_HALTED):
            pass
        return status

    def run(self, codes: np.ndarray) -> np.ndarray:
        out = self.receive(len(codes) * OUTPUT.sample_bytes)
        self.send(pack(codes, INPUT).tobytes())
        assert self.poll(reg.MM2S) & reg.SR_IDLE
        assert self.poll(reg.S2MM) & reg.SR_IDLE
        received = self.read(reg.S2MM + reg.LENGTH)
        return unpack(self.board.ddr.read(out, received), OUTPUT)

    def reset(self) -> None:
        self.write(reg.MM2S + reg.DMACR, reg.CR_RESET)
        for base in (reg.MM2S, reg.S2MM):
            self.write(base + reg.DMACR, reg.CR_RUN)
        self.board.write32(self.ip + reg.CTRL, RUN)


def hopeless(bench: Bench, base: int) -> str:
    """What the board says about a wait that never ends."""
    with pytest.raises(EmulationDeadlock) as error:
        bench.poll(base)
    assert isinstance(error.value, DeviceError)
    return str(error.value)
