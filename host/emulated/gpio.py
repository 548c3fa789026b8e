# SPDX-License-Identifier: Apache-2.0
"""The AXI GPIO (PG144): two channels; wires from one to the other are what the handoff draws."""

from __future__ import annotations

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
    """

    def __init__(self, name: str, base: int, size: int, loops: dict[int, int]) -> None:
        super().__init__(name, base, size)
        self._loops = loops
        self._data, self._inputs = [0, 0], [WORD, WORD]

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
        if channel <= 1:
            (self._inputs if register == DIRECTION else self._data)[channel] = value

    def fix(self, channel: int, *, inputs: bool) -> None:
        """A channel that the design makes all inputs or all outputs."""
        self._inputs[channel] = WORD if inputs else 0

    def _wires(self, channel: int) -> int:
        source = self._loops.get(channel)
        return 0 if source is None else self._data[source]
