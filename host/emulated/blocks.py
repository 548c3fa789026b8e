# SPDX-License-Identifier: Apache-2.0
"""What answers register accesses: the base of all blocks, and the clock registers of the boards."""

from __future__ import annotations

from collections.abc import Mapping

from hls4attn.host.emulated.faults import Faults
from hls4attn.overlays.boards import Board


class RegisterBlock:
    """32-bit registers at consecutive addresses; this base stores what is written.

    Args:
        name: for messages.
        base: first address.
        size: in bytes.
        initial: values by byte offset.
    """

    def __init__(self, name: str, base: int, size: int, initial: Mapping[int, int] | None = None) -> None:
        self.name = name
        self.base = base
        self.size = size
        self.faults = Faults()  # the board's, once the block is part of one
        self._values = dict(initial or {})

    def read32(self, offset: int) -> int:
        """Value of the register at a byte offset."""
        return self._values.get(offset, 0)

    def write32(self, offset: int, value: int) -> None:
        """Write the register at a byte offset."""
        self._values[offset] = value

    def level(self, pin: str) -> bool:
        """Level of an output pin, such as an interrupt."""
        return False

    def tick(self) -> bool:
        """Let work proceed; called once per host access, the only notion of time.  True on progress."""
        return False


def clock_blocks(board: Board) -> list[RegisterBlock]:
    """The registers from which PYNQ computes clocks, and which it writes before every download.

    The PLLs hold the values of the boards' presets, so `pynq.Clocks` reads plausible CPU clocks; the PL
    clocks follow the dividers that the overlay asks for.
    """
    io_pll = board.io_pll_feedback
    if board.family == "zynq":
        cpu = {0x100: 26 << 12, 0x120: 2 << 8}  # ARM_PLL_CTRL, ARM_CLK_CTRL: 50 MHz * 26 / 2
        pl = {0x170 + 0x10 * i: 10 << 8 | 1 << 20 for i in range(4)}  # FPGAn_CLK_CTRL
        slcr = {0x104: 21 << 12, 0x108: io_pll << 12, **cpu, **pl}  # DDR_PLL_CTRL, IO_PLL_CTRL
        return [RegisterBlock("SLCR", 0xF8000000, 0x1000, slcr)]
    divided = 1 << 16  # DIV2 of a PLL, and DIVISOR1 = 1 of a clock
    pl = {0xC0 + 4 * i: 1 << 24 | divided | 15 << 8 for i in range(4)}  # PLn_REF_CTRL, active
    crl = {0x20: io_pll << 8 | divided, 0x30: 90 << 8 | divided, **pl}  # IOPLL_CTRL, RPLL_CTRL
    crf = {0x20: 72 << 8 | divided, 0x2C: 64 << 8 | divided, 0x38: 90 << 8 | divided, 0x60: 1 << 8}
    return [
        RegisterBlock("CRL_APB", 0xFF5E0000, 0x1000, crl),
        RegisterBlock("CRF_APB", 0xFD1A0000, 0x1000, crf),
    ]


def width_blocks(board: Board) -> list[RegisterBlock]:
    """The registers of Zynq UltraScale+ to which PYNQ writes the widths of the AXI ports; addresses from UG1087."""
    if board.family == "zynq":
        return []
    slaves = [*(0xFD360000 + 0x10000 * i for i in range(6)), 0xFF9B0000]  # AFIFM0 to AFIFM6
    masters = {"FPD_SLCR": 0xFD615000, "LPD_SLCR": 0xFF419000}
    named = {f"AFIFM{i}": base for i, base in enumerate(slaves)} | masters
    return [RegisterBlock(name, base, 0x1000) for name, base in named.items()]
