# SPDX-License-Identifier: Apache-2.0
"""The AXI DMA in direct register mode (PG021): both channels, status bits, errors and soft reset."""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.host.emulated.blocks import RegisterBlock
from hls4attn.host.emulated.ddr import Ddr
from hls4attn.host.emulated.errors import BusError, EmulationDeadlock
from hls4attn.host.emulated.faults import Fault
from hls4attn.host.emulated.kernel import StreamKernel
from hls4attn.overlays import registers as reg

LATENCY = 3  # host accesses between the write of a length and the earliest completion
FIFO_BYTES = 4096  # output that the DMA and the stream hold while nobody receives
HOPELESS_POLLS = 5000  # status reads without any progress before the wait is declared hopeless

_STATUS_RESET = 0x10000 | reg.SR_HALTED  # bit 16 is the interrupt threshold, 1 in direct mode
_CONTROL_RESET = 0x10002
_ERRORS = {
    "MM2S": (
        (Fault.SEND_INTERNAL, reg.SR_INTERNAL_ERROR),
        (Fault.SEND_SLAVE, reg.SR_SLAVE_ERROR),
        (Fault.SEND_DECODE, reg.SR_DECODE_ERROR),
    ),
    "S2MM": (
        (Fault.RECEIVE_INTERNAL, reg.SR_INTERNAL_ERROR),
        (Fault.RECEIVE_SLAVE, reg.SR_SLAVE_ERROR),
        (Fault.RECEIVE_DECODE, reg.SR_DECODE_ERROR),
    ),
}


@dataclass
class _Channel:
    """Registers of one direction."""

    name: str
    control: int = _CONTROL_RESET
    status: int = _STATUS_RESET
    address: int = 0
    length: int = 0
    busy: int = 0  # accesses left before completion is possible; 0 when no transfer is under way
    delivered: bool = False  # MM2S: the packet is in the stream
    stuck: str = ""  # the fault that keeps it from moving until a reset, in words

    @property
    def interrupt(self) -> bool:
        return bool(self.status & self.control & reg.SR_IRQS)

    def finish(self) -> None:
        self.busy = 0
        self.status |= reg.SR_IDLE | reg.SR_COMPLETE_IRQ

    def fail(self, bit: int) -> None:
        """Halt with an error bit: the engine clears RS itself."""
        self.busy = 0
        self.control &= ~reg.CR_RUN
        self.status |= bit | reg.SR_HALTED | reg.SR_ERROR_IRQ


class AxiDma(RegisterBlock):
    """Moves packets between DDR and one `StreamKernel`.

    Args:
        name: for messages.
        base: first address.
        size: in bytes.
        ddr: memory behind it.
        length_width: bits of the length registers; higher bits of a length are lost.
        realign: whether it has the realignment engine; without it, addresses are multiples of 4.
    """

    def __init__(self, name: str, base: int, size: int, ddr: Ddr, *, length_width: int, realign: bool) -> None:
        super().__init__(name, base, size)
        self._ddr = ddr
        self._mask = (1 << length_width) - 1
        self._realign = realign
        self.kernel: StreamKernel | None = None
        self.resets_kernel = False
        self._clear()

    def _clear(self) -> None:
        self._send, self._receive = _Channel("MM2S"), _Channel("S2MM")
        self._polls = 0

    def read32(self, offset: int) -> int:
        """Value of a register.

        Raises:
            EmulationDeadlock: on a status that was polled too often while nothing can change it.
        """
        channel, offset = self._channel(offset)
        if offset == reg.DMASR and (channel.busy or channel.status & reg.SR_ERRORS):
            self._polls += 1
            if self._polls > HOPELESS_POLLS:
                self._polls = 0
                raise EmulationDeadlock(self._diagnose(channel))
        return {
            reg.DMACR: channel.control,
            reg.DMASR: channel.status,
            reg.ADDRESS: channel.address & 0xFFFFFFFF,
            reg.ADDRESS_MSB: channel.address >> 32,
            reg.LENGTH: channel.length,
        }.get(offset, 0)

    def write32(self, offset: int, value: int) -> None:
        """Write a register."""
        channel, offset = self._channel(offset)
        self._polls = 0
        if offset == reg.DMACR:
            self._write_control(channel, value)
        elif offset == reg.DMASR:
            channel.status &= ~(value & reg.SR_IRQS)
        elif offset == reg.ADDRESS:
            channel.address = channel.address & ~0xFFFFFFFF | value
        elif offset == reg.ADDRESS_MSB:
            channel.address = channel.address & 0xFFFFFFFF | value << 32
        elif offset == reg.LENGTH:
            self._start(channel, value & self._mask)

    def level(self, pin: str) -> bool:
        """Level of an interrupt output."""
        channels = {"mm2s_introut": self._send, "s2mm_introut": self._receive}
        return pin in channels and channels[pin].interrupt

    def tick(self) -> bool:
        """Move data if both sides are ready."""
        progress = False
        for channel in (self._send, self._receive):
            if channel.busy > 1:
                channel.busy -= 1
                progress = True
        if self._send.busy == 1 and not self._send.stuck:
            progress |= self._feed(self._send)
        if self._receive.busy == 1 and not self._receive.stuck and self.kernel is not None:
            progress |= self._drain(self._receive, self.kernel)
        if progress:
            self._polls = 0
        return progress

    def _channel(self, offset: int) -> tuple[_Channel, int]:
        return (self._receive, offset - reg.S2MM) if offset >= reg.S2MM else (self._send, offset)

    def _write_control(self, channel: _Channel, value: int) -> None:
        if value & reg.CR_RESET:  # resets both channels, and through its reset output the kernel
            self._clear()
            if self.faults.take(Fault.STUCK_RESET):
                self._send.control |= reg.CR_RESET
                return
            if self.kernel is not None and self.resets_kernel:
                self.kernel.reset()
            return
        channel.control = _CONTROL_RESET | value & (reg.CR_RUN | reg.SR_IRQS)
        if channel.status & reg.SR_ERRORS:
            channel.control &= ~reg.CR_RUN  # only a reset gets out of an error
        elif value & reg.CR_RUN:
            channel.status &= ~reg.SR_HALTED
        else:
            channel.status |= reg.SR_HALTED
            channel.busy = 0

    def _start(self, channel: _Channel, length: int) -> None:
        channel.length = length
        if not channel.control & reg.CR_RUN:
            return  # halted: PG021 ignores the length
        if length == 0:
            channel.fail(reg.SR_INTERNAL_ERROR)
            return
        channel.status &= ~reg.SR_IDLE
        channel.busy, channel.delivered = LATENCY, False

    def _feed(self, channel: _Channel) -> bool:
        """MM2S: put the packet into the stream, and finish once the output has room."""
        if self.kernel is None:
            return False
        if not channel.delivered and not self._deliver(channel, self.kernel):
            return bool(channel.status & reg.SR_ERRORS)
        if len(self.kernel.output or b"") > FIFO_BYTES and not self._receive.busy:
            return False  # back-pressure: the output fills the stream, so the input stands still
        if self._sticks(channel, Fault.NO_COMPLETION):
            return False
        channel.finish()
        return True

    def _deliver(self, channel: _Channel, kernel: StreamKernel) -> bool:
        """MM2S: offer the packet to the kernel; whether it took it."""
        if self._fails(channel) or self._sticks(channel, Fault.NO_INPUT):
            return False
        try:
            packet = self._ddr.read(self._aligned(channel), channel.length)
        except BusError:
            channel.fail(reg.SR_DECODE_ERROR)
            return False
        channel.delivered = kernel.accept(packet)
        return channel.delivered

    def _drain(self, channel: _Channel, kernel: StreamKernel) -> bool:
        """S2MM: store the packet; TLAST beyond the announced length is an error."""
        if kernel.output is None or self._sticks(channel, Fault.NO_ANSWER):
            return False
        if self._fails(channel):
            return True
        packet = kernel.take(channel.length)
        if self.faults.take(Fault.SHORT_ANSWER):
            packet = packet[:-4]
        try:
            self._ddr.write(self._aligned(channel), packet)
        except BusError:
            channel.fail(reg.SR_DECODE_ERROR)
            return True
        if kernel.output is not None:  # the rest stays in the stream until a reset
            channel.fail(reg.SR_INTERNAL_ERROR)
            return True
        if self._sticks(channel, Fault.NO_LAST):
            return True
        channel.length = len(packet)  # the bytes received, not the bytes asked for
        channel.finish()
        return True

    def _fails(self, channel: _Channel) -> bool:
        """Let a fault that is due halt a channel."""
        for fault, bit in _ERRORS[channel.name]:
            if self.faults.take(fault):
                channel.fail(bit)
                return True
        return False

    def _sticks(self, channel: _Channel, fault: Fault) -> bool:
        """Let a fault that is due hold a channel up."""
        if self.faults.take(fault):
            channel.stuck = fault.value
        return bool(channel.stuck)

    def _aligned(self, channel: _Channel) -> int:
        """Without the realignment engine, the low address bits are not there."""
        return channel.address if self._realign else channel.address & ~3

    def _diagnose(self, channel: _Channel) -> str:
        send = channel is self._send
        if channel.status & reg.SR_ERRORS:
            cause = f"{reg.status_words(channel.status)}; only a reset (4 to DMACR) clears an error"
        elif channel.stuck:
            cause = f"{channel.stuck} (a fault that was injected)"
        elif self.kernel is None:
            cause = f"no emulated IP is connected to the streams of {self.name}"
        elif send and not channel.delivered:
            cause = self.kernel.why_no_input() or "the stream does not move"
        elif send:
            cause = "its output has no receiver: arm the receive channel before waiting for the send channel"
        elif self._send.busy:
            cause = self.kernel.why_no_input() or "the send channel does not move"
        else:
            cause = self.kernel.why_no_output() or "nothing was sent: no packet is on its way to the model"
        return f"{self.name} {channel.name} would wait for ever: {cause}"
