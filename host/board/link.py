# SPDX-License-Identifier: Apache-2.0
"""Packets through an AXI DMA and back, in a pair of buffers that are allocated once and reused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.board.laps import lap
from hls4attn.host.errors import (
    DeviceGoneError,
    DmaDecodeError,
    DmaError,
    DmaInternalError,
    DmaSlaveError,
    LostInterruptError,
    ShortPacketError,
    TransferTimeoutError,
)
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg

CHANNELS = {"MM2S": reg.MM2S, "S2MM": reg.S2MM}
SPIN = 200  # status polls before the first pause: a short transfer is over by then
PAUSE_S = 20e-6
RESET_S = 1.0
LOOK_S = 0.05  # between two looks at the status while an interrupt is awaited: not every error raises one
GRACE_S = 0.1  # that an interrupt may come after the end of its transfer
ALL_ONES = 0xFFFFFFFF
_ERRORS = (
    (reg.SR_DECODE_ERROR, DmaDecodeError),
    (reg.SR_SLAVE_ERROR, DmaSlaveError),
    (reg.SR_INTERNAL_ERROR, DmaInternalError),
)
GONE = (
    "The board was reset or switched off, or somebody configured its logic. If the next call fails too, load the "
    "overlay again"
)
_INTERRUPTS = reg.SR_COMPLETE_IRQ | reg.SR_ERROR_IRQ


class DmaLink:
    """One send and one receive buffer, and the `pynq.lib.DMA` between them and the logic.

    Args:
        dma: the driver that PYNQ bound to the AXI DMA.
        device: where the buffers are allocated.
        send_bytes: size of the send buffer.
        receive_bytes: size of the receive buffer.
        timeout_s: longest wait for one transfer, in seconds.
    """

    def __init__(self, dma: Any, device: Any, *, send_bytes: int, receive_bytes: int, timeout_s: float) -> None:
        self._dma = dma
        self._device = device
        self._timeout_s = timeout_s
        self._bound: tuple[asyncio.AbstractEventLoop, Any] | None = None
        self._send = device.allocate((send_bytes,), np.uint8)
        try:
            self._receive = device.allocate((receive_bytes,), np.uint8)
            # Lines of the cleared buffer may still be dirty in the cache; written back later, they would
            # overwrite what the DMA stored.
            self._receive.flush()
        except BaseException:
            self._send.freebuffer()
            raise
        self.closed = False
        self._under_way = False  # the DMA may still write to the receive buffer

    def exchange(self, packet: NDArray[np.uint8], expected: int) -> NDArray[np.uint8]:
        """Send a packet and receive one of exactly `expected` bytes; returns a copy of it.

        Raises:
            DmaError: if the DMA stops.
            TransferTimeoutError: if there is no answer in time.
            ShortPacketError: if the answer is shorter.
            DeviceGoneError: if the DMA does not answer.

        After each of them, `reset` makes the DMA usable again.
        """
        self._start(packet, expected)
        deadline = time.monotonic() + self._timeout_s
        polls = 0
        while not self._over():
            polls += 1
            if polls > SPIN:
                self._check_time(deadline)
                time.sleep(PAUSE_S)
        return self._answer(int(packet.size), expected)

    async def exchange_async(self, packet: NDArray[np.uint8], expected: int) -> NDArray[np.uint8]:
        """As `exchange`, but other tasks run while the logic works.

        The interrupt of the receive channel ends the wait; where the overlay or the system has none, the status is
        looked at now and then.

        Raises:
            LostInterruptError: if the transfer ended without its interrupt; the others as `exchange`.
        """
        interrupt = self._interrupt()
        if interrupt is not None:
            self._dma.mmio.write(reg.S2MM + reg.DMASR, reg.SR_IRQS)  # of earlier transfers
            self._dma.mmio.write(reg.S2MM + reg.DMACR, reg.CR_RUN | _INTERRUPTS)
        self._start(packet, expected)
        deadline = time.monotonic() + self._timeout_s
        came = interrupt is None
        while True:
            if interrupt is None:
                await asyncio.sleep(PAUSE_S)
            else:
                came = await _came(interrupt, LOOK_S)
            if self._over():
                break
            self._check_time(deadline)
        if not came and not await _came(interrupt, GRACE_S):
            self._unbind()  # the next call binds it anew
            raise LostInterruptError(
                f"The transfer is over, but its interrupt did not come. {self.status()}. Use the method without "
                "_async if the system delivers none"
            )
        return self._answer(int(packet.size), expected)

    def healthy(self) -> bool:
        """Whether both channels run without error."""
        stopped = reg.SR_HALTED | reg.SR_ERRORS
        return not any(self._read(base + reg.DMASR) & stopped for base in CHANNELS.values())

    def idle(self) -> tuple[bool, bool]:
        """Whether the send channel and the receive channel have nothing to do."""
        send, receive = (bool(self._read(base + reg.DMASR) & reg.SR_IDLE) for base in CHANNELS.values())
        return send, receive

    def reset(self) -> None:
        """Soft reset of the DMA, and through its reset output of the model; then both channels run.

        Raises:
            DmaError: if the reset does not end.
            DeviceGoneError: if the DMA does not answer.
        """
        self._dma.mmio.write(reg.MM2S + reg.DMACR, reg.CR_RESET)
        deadline = time.monotonic() + RESET_S
        while self._read(reg.MM2S + reg.DMACR) & reg.CR_RESET:
            if time.monotonic() > deadline:
                raise DmaError(
                    f"The DMA did not come out of reset within {RESET_S:g} s. {self.status()}. If it happens again, "
                    "load the overlay again"
                )
        self._under_way = False
        self._dma.sendchannel.start()
        self._dma.recvchannel.start()

    def status(self) -> str:
        """Both channels in words."""
        words = (f"{name}: {reg.status_words(self._read(b + reg.DMASR))}" for name, b in CHANNELS.items())
        return "; ".join(words)

    def close(self) -> None:
        """Free both buffers; a second time does nothing."""
        if not self.closed:
            self.closed = True
            self._unbind()
            if self._under_way:  # a transfer into memory that somebody else gets next
                with suppress(Exception):  # a board that does not answer transfers nothing either
                    self._dma.mmio.write(reg.MM2S + reg.DMACR, reg.CR_RESET)
            self._send.freebuffer()
            self._receive.freebuffer()

    def _start(self, packet: NDArray[np.uint8], expected: int) -> None:
        lap("check")
        nbytes = int(packet.size)
        self._send[:nbytes] = packet.reshape(-1)
        lap("copy in")
        self._send.flush()
        lap("flush")
        self._under_way = True
        try:
            # Always the whole buffer with a length: slices have wrong addresses on some devices.
            self._dma.recvchannel.transfer(self._receive, nbytes=expected)
            self._dma.sendchannel.transfer(self._send, nbytes=nbytes)
        except DeviceError:
            raise
        except RuntimeError as error:  # PYNQ's word for it is "not started", whatever happened before
            self._over()  # raises the cause, if the status knows one
            raise DmaError(f"The DMA takes no transfer: {error}. {self.status()}") from error

    def _answer(self, sent: int, expected: int) -> NDArray[np.uint8]:
        lap("dma")
        self._receive.invalidate()
        lap("invalidate")
        received = self._read(reg.S2MM + reg.LENGTH)
        self._under_way = False
        if received != expected:
            raise ShortPacketError(
                f"The model answered {sent} bytes with {received}, expected {expected}: "
                "the overlay was not built for this manifest, or the stream is misaligned"
            )
        answer = np.array(np.asarray(self._receive)[:expected])  # asarray first: a slice would be a buffer
        lap("copy out")
        return answer

    def _over(self) -> bool:
        """Whether both channels are done; reads the status first, since an error may already have halted them."""
        status = [self._read(base + reg.DMASR) for base in CHANNELS.values()]
        for bit, kind in _ERRORS:
            if any(s & bit for s in status):
                raise kind(f"The DMA stopped. {self.status()}")
        if any(s & reg.SR_HALTED for s in status):
            raise DmaError(f"The DMA was stopped, though not by an error. {self.status()}")
        return all(s & reg.SR_IDLE for s in status)

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise TransferTimeoutError(f"No answer within {self._timeout_s:g} s. {self.status()}")

    def _interrupt(self) -> Any:
        """The receive channel's interrupt in the event loop that runs now, or None."""
        loop = asyncio.get_running_loop()
        if self._bound is None or self._bound[0] is not loop:
            self._unbind()
            self._bound = (loop, self._bind())
        return self._bound[1]

    def _unbind(self) -> None:
        """Let go of the interrupt: two listeners of one line would take it from each other."""
        bound, self._bound = self._bound, None
        if bound is not None and bound[1] is not None:
            bound[1].close()

    def _bind(self) -> Any:
        from hls4attn.host.board.interrupts import BoundInterrupt  # needs PYNQ

        pins = self._dma.description.get("interrupts", {})
        try:
            return BoundInterrupt(self._device, pins["s2mm_introut"]["fullpath"])
        except (KeyError, ValueError, OSError):  # no such pin, or nothing in Linux that delivers it
            return None

    def _read(self, offset: int) -> int:
        value = read_register(self._dma.mmio.read, offset)
        if value == ALL_ONES:
            raise DeviceGoneError(f"The DMA answers with all bits set. {GONE}")
        return value


@contextmanager
def answering() -> Iterator[None]:
    """Name what the bus, the driver or the network between raise.

    Raises:
        DeviceGoneError: in place of an error of theirs.
    """
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and "RpcError" not in {
            c.__name__ for c in type(error).__mro__
        }:
            raise
        raise DeviceGoneError(f"The device does not answer: {type(error).__name__}: {error}. {GONE}") from error


def read_register(read: Callable[[int], Any], offset: int) -> int:
    """Value of a register.

    Raises:
        DeviceGoneError: if it does not answer.
    """
    with answering():
        return int(read(offset)) & 0xFFFFFFFF  # PYNQ.remote of 3.1 reads signed numbers


async def _came(interrupt: Any, seconds: float) -> bool:
    """Whether an interrupt comes in time."""
    try:
        await asyncio.wait_for(interrupt.wait(), seconds)
    except asyncio.TimeoutError:  # builtin from Python 3.11
        return False
    return True
