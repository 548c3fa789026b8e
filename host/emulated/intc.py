# SPDX-License-Identifier: Apache-2.0
"""The AXI interrupt controller (PG099): up to 32 level inputs, one output to the processing system."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls4attn.host.emulated.blocks import RegisterBlock

ISR = 0x00  # latched inputs
IPR = 0x04  # of those, the enabled ones
IER = 0x08
IAR = 0x0C  # write 1 to clear in ISR
SIE = 0x10  # write 1 to set in IER
CIE = 0x14  # write 1 to clear in IER
IVR = 0x18  # lowest pending input
MER = 0x1C

MASTER_ENABLE = 1 << 0
HARDWARE_ENABLE = 1 << 1  # once set, only a reset clears it


class AxiIntc(RegisterBlock):
    """Latches its inputs; a level that is still high when it is acknowledged is latched again.

    Args:
        name: for messages.
        base: first address.
        size: in bytes.
        inputs: levels by number of the input.
    """

    def __init__(self, name: str, base: int, size: int, inputs: Mapping[int, Callable[[], bool]]) -> None:
        super().__init__(name, base, size)
        self._inputs = dict(inputs)
        self._latched = self._enabled = self._master = 0

    def tick(self) -> bool:
        """Latch the inputs; true if one is new."""
        before = self._latched
        if self._master & HARDWARE_ENABLE:
            for number, level in self._inputs.items():
                self._latched |= level() << number
        return self._latched != before

    @property
    def irq(self) -> bool:
        """Level of the output."""
        return bool(self._master & MASTER_ENABLE and self._latched & self._enabled)

    def read32(self, offset: int) -> int:
        """Value of a register."""
        pending = self._latched & self._enabled
        lowest = (pending & -pending).bit_length() - 1 if pending else 0xFFFFFFFF
        values = {ISR: self._latched, IPR: pending, IER: self._enabled, IVR: lowest, MER: self._master}
        return values.get(offset, 0)

    def write32(self, offset: int, value: int) -> None:
        """Write a register."""
        if offset == IER:
            self._enabled = value
        elif offset == IAR:
            self._latched &= ~value
        elif offset == SIE:
            self._enabled |= value
        elif offset == CIE:
            self._enabled &= ~value
        elif offset == MER:
            self._master = value & MASTER_ENABLE | (value | self._master) & HARDWARE_ENABLE
        elif offset == ISR and not self._master & HARDWARE_ENABLE:
            self._latched = value  # interrupts by software, before hardware ones are let in
