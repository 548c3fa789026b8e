# SPDX-License-Identifier: Apache-2.0
"""The contiguous memory of a board, as the programmable logic sees it."""

from __future__ import annotations

import threading
from bisect import bisect_right

from hls4attn.host.emulated.errors import BusError
from hls4attn.models.errors import DeviceError

PAGE = 4096


class Ddr:
    """Page-aligned buffers in a contiguous region, first fit.

    Only live buffers answer.  On a board the memory between them answers too, and a wrong address destroys
    somebody else's data; here it is an error.

    Args:
        base: first address.
        size: in bytes.
    """

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self.size = size
        self._live: dict[int, bytearray] = {}
        self._lock = threading.Lock()  # threads allocate from one memory

    @property
    def live(self) -> dict[int, int]:
        """Address and size in bytes of every buffer that was not freed."""
        return {address: len(memory) for address, memory in sorted(self._live.items())}

    def allocate(self, nbytes: int) -> tuple[int, bytearray]:
        """Address and memory of a new zeroed buffer of whole pages.

        Raises:
            DeviceError: if no gap is large enough.
        """
        with self._lock:
            return self._place(nbytes)

    def _place(self, nbytes: int) -> tuple[int, bytearray]:
        size = max(1, -(-nbytes // PAGE)) * PAGE
        start = self.base
        for address, length in self.live.items():
            if address - start >= size:
                break
            start = address + length
        if start + size > self.base + self.size:
            used = sum(len(memory) for memory in self._live.values())
            raise DeviceError(
                f"No contiguous memory for {nbytes} bytes: {used} of {self.size} "
                f"are in {len(self._live)} buffers. Free buffers, or use smaller ones"
            )
        self._live[start] = bytearray(size)
        return start, self._live[start]

    def free(self, address: int) -> None:
        """Give back the buffer at `address`; a second time does nothing."""
        self._live.pop(address, None)

    def read(self, address: int, nbytes: int) -> bytes:
        """Bytes of a live buffer.

        Raises:
            BusError: if they are not all within one.
        """
        memory, offset = self._find(address, nbytes)
        return bytes(memory[offset : offset + nbytes])

    def write(self, address: int, data: bytes) -> None:
        """Store bytes in a live buffer.

        Raises:
            BusError: if they are not all within one.
        """
        memory, offset = self._find(address, len(data))
        memory[offset : offset + len(data)] = data

    def _find(self, address: int, nbytes: int) -> tuple[bytearray, int]:
        starts = sorted(self._live)
        index = bisect_right(starts, address) - 1
        if index >= 0:
            memory = self._live[starts[index]]
            offset = address - starts[index]
            if offset + nbytes <= len(memory):
                return memory, offset
        raise BusError(f"{nbytes} bytes at 0x{address:08x} are not within an allocated buffer")
