# SPDX-License-Identifier: Apache-2.0
"""Packets through an AXI DMA and back, in a pair of buffers that are allocated once and reused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.laps import lap
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg

CHANNELS = {"MM2S": reg.MM2S, "S2MM": reg.S2MM}
SPIN = 200  # status polls before the first pause: a short transfer is over by then
PAUSE_S = 20e-6
RESET_S = 1.0


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
        self._timeout_s = timeout_s
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

    def exchange(self, packet: NDArray[np.uint8], expected: int) -> NDArray[np.uint8]:
        """Send a packet and receive one of exactly `expected` bytes; returns a copy of it.

        Raises:
            DeviceError: on a DMA error, an answer of another length, or no answer in time.  The DMA is
                halted afterwards; `reset` makes it usable again.
        """
        nbytes = int(packet.size)
        self._send[:nbytes] = packet.reshape(-1)
        lap("copy in")
        self._send.flush()
        lap("flush")
        try:
            # Always the whole buffer with a length: slices have wrong addresses on some devices.
            self._dma.recvchannel.transfer(self._receive, nbytes=expected)
            self._dma.sendchannel.transfer(self._send, nbytes=nbytes)
        except RuntimeError as error:
            raise DeviceError(f"The DMA takes no transfer: {error}. {self._status()}") from error
        self._wait()
        lap("dma")
        self._receive.invalidate()
        lap("invalidate")
        received = self._read(reg.S2MM + reg.LENGTH)
        if received != expected:
            raise DeviceError(
                f"The model answered {nbytes} bytes with {received}, expected {expected}: "
                "the overlay was not built for this manifest, or the stream is misaligned"
            )
        answer = np.array(np.asarray(self._receive)[:expected])  # asarray first: a slice would be a buffer
        lap("copy out")
        return answer

    def healthy(self) -> bool:
        """Whether both channels run without error."""
        stopped = reg.SR_HALTED | reg.SR_ERRORS
        return not any(self._read(base + reg.DMASR) & stopped for base in CHANNELS.values())

    def reset(self) -> None:
        """Soft reset of the DMA, and through its reset output of the model; then both channels run.

        Raises:
            DeviceError: if the reset does not end.
        """
        self._dma.mmio.write(reg.MM2S + reg.DMACR, reg.CR_RESET)
        deadline = time.monotonic() + RESET_S
        while self._read(reg.MM2S + reg.DMACR) & reg.CR_RESET:
            if time.monotonic() > deadline:
                raise DeviceError(f"The DMA did not come out of reset within {RESET_S:g} s. {self._status()}")
        self._dma.sendchannel.start()
        self._dma.recvchannel.start()

    def close(self) -> None:
        """Free both buffers; a second time does nothing."""
        if not self.closed:
            self.closed = True
            self._send.freebuffer()
            self._receive.freebuffer()

    def _wait(self) -> None:
        """Wait for both channels, reading the status first: an error may already have halted them."""
        deadline = time.monotonic() + self._timeout_s
        polls = 0
        while True:
            status = [self._read(base + reg.DMASR) for base in CHANNELS.values()]
            if any(s & (reg.SR_ERRORS | reg.SR_HALTED) for s in status):
                raise DeviceError(f"The DMA stopped. {self._status()}")
            if all(s & reg.SR_IDLE for s in status):
                return
            polls += 1
            if polls > SPIN:
                if time.monotonic() > deadline:
                    raise DeviceError(f"No answer within {self._timeout_s:g} s. {self._status()}")
                time.sleep(PAUSE_S)

    def _status(self) -> str:
        words = (f"{name}: {reg.status_words(self._read(b + reg.DMASR))}" for name, b in CHANNELS.items())
        return "; ".join(words)

    def _read(self, offset: int) -> int:
        return int(self._dma.mmio.read(offset))
