# SPDX-License-Identifier: Apache-2.0
"""The AXI GPIO (PG144): two channels; wires from one to the other are what the handoff draws."""

from __future__ import annotations

from collections.abc import Mapping

from hls4attn.host.emulated.blocks import RegisterBlock

CHANNEL = 8  # bytes between the registers of the channels
DATA = 0x0
DIRECTION = 0x4  # 1 is an input
WORD = 0xFFFFFFFF


class AxiGpio(RegisterBlock):
    """Register path of the channels; no interrupt.

    Args:
        name: for messages.
        base: first address.
        size: in bytes.
        loops: which channel (0 or 1) each one's inputs are wired to; others read 0.
        fixed: channels that the design makes all inputs (true) or all outputs; the others' directions are written.
    """

    def __init__(self, name: str, base: int, size: int, loops: Mapping[int, int], fixed: Mapping[int, bool]) -> None:
        super().__init__(name, base, size)
        self._loops, self._fixed = loops, fixed
        self._data = [0, 0]
        self._inputs = [WORD * fixed.get(channel, True) for channel in (0, 1)]

    def read32(self, offset: int) -> int:
        """Value of a register: of an input its wire, of an output what was written."""
        channel, register = divmod(offset, CHANNEL)
        if channel > 1:
            return 0
        inputs = self._inputs[channel]
        if register == DIRECTION:
            return inputs
        return (self._wires(channel) & inputs) | (self._data[channel] & ~inputs & WORD)

    def write32(self, offset: int, value: int) -> None:
        """Write data or directions."""
        channel, register = divmod(offset, CHANNEL)
        if channel > 1:
            return
        if register == DATA:
            self._data[channel] = value
        elif channel not in self._fixed:
            self._inputs[channel] = value

    def _wires(self, channel: int) -> int:
        source = self._loops.get(channel)
        return 0 if source is None else self._data[source]
