# SPDX-License-Identifier: Apache-2.0
"""Registers: windows onto the address map of the emulated board."""

from __future__ import annotations

from typing import Any

from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.remote.protocol import mmio_messages, shown
from hls4attn.models.errors import Hls4attnError, InputError

WORD = 4


class RegisterService:
    """The service `Mmio`.  An access that fails answers with the reason, which the client raises.

    Args:
        board: whose registers.
    """

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board
        self._windows: dict[str, tuple[int, int]] = {}

    def get_mmio(self, request: Any, context: Any) -> Any:
        """Open a window; what it shows is found out by its accesses, as with mmap."""
        if request.base_addr % WORD or request.length < 1:
            received = f"{request.length} bytes at 0x{request.base_addr:x}"
            return mmio_messages.GetMmioResponse(
                msg=f"A window begins at a whole word and is not empty. Received: {received}"
            )
        name = f"mmio{request.base_addr:x}_{request.length:x}"  # clients close none: equal ones share a name
        self._windows[name] = (request.base_addr, request.length)
        return mmio_messages.GetMmioResponse(status=True, mmio_id=name)

    def read(self, request: Any, context: Any) -> Any:
        """Read 1, 2 or 4 bytes; for 8, which clients offer, the protocol's answer has no room."""
        try:
            if request.length not in (1, 2, WORD):
                raise InputError(
                    f"PYNQ.remote reads registers in 1, 2 or 4 bytes: its answers have 32 bits. "
                    f"Received: {request.length}"
                )
            value = self._board.read32(self._addresses(request, WORD)[0])
        except Hls4attnError as error:
            return mmio_messages.ReadResponse(msg=str(error))
        return mmio_messages.ReadResponse(status=True, data=value & ((1 << 8 * request.length) - 1))

    def write(self, request: Any, context: Any) -> Any:
        """Write whole words, the lowest first."""
        data = request.data
        try:
            if not data or len(data) % WORD:
                raise InputError(f"Registers are written in whole words. Received: {len(data)} bytes")
            for i, address in enumerate(self._addresses(request, len(data))):
                self._board.write32(address, int.from_bytes(data[WORD * i : WORD * (i + 1)], "little"))
        except Hls4attnError as error:
            return mmio_messages.WriteResponse(msg=str(error))
        return mmio_messages.WriteResponse(status=True)

    def _addresses(self, request: Any, nbytes: int) -> range:
        """Bus addresses of the words of an access."""
        if request.mmio_id not in self._windows:
            raise InputError(f"No such window of registers: {shown(request.mmio_id)}")
        base, length = self._windows[request.mmio_id]
        if request.offset % WORD or not 0 <= request.offset <= length - nbytes:
            raise InputError(
                f"An access begins at a whole word within its window of {length} bytes. "
                f"Received: {nbytes} bytes at offset {request.offset}"
            )
        return range(base + request.offset, base + request.offset + nbytes, WORD)
