# SPDX-License-Identifier: Apache-2.0
"""Buffers: the server's copy, and the memory that the logic sees; `flush` and `invalidate` move between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hls4attn.host.emulated.ddr import Ddr
from hls4attn.host.remote.protocol import CHUNK_BYTES, buffer_messages, grpc, shown
from hls4attn.models.errors import DeviceError, Hls4attnError, InputError


@dataclass
class _Buffer:
    address: int
    memory: bytearray  # of whole pages
    cached: bytearray


class MemoryService:
    """The service `RemoteBuffer`.  A call that fails answers with the reason, which the client raises.

    Args:
        ddr: contiguous memory of the board.
    """

    def __init__(self, ddr: Ddr) -> None:
        self._ddr = ddr
        self._buffers: dict[str, _Buffer] = {}
        self._lock = threading.Lock()

    def allocate(self, request: Any, context: Any) -> Any:
        """A new buffer; clients do not look at the answer's message, so a refusal ends the call."""
        if request.size < 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"A buffer has at least one byte. Received: {request.size}")
        with self._lock:
            try:
                address, memory = self._ddr.allocate(request.size)
            except DeviceError as error:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{error}; or start the server again")
                return None
            name = f"buffer{address:x}"
            self._buffers[name] = _Buffer(address, memory, bytearray(request.size))
        return buffer_messages.AllocateResponse(buffer_id=name)

    def write(self, requests: Iterator[Any], context: Any) -> Any:
        """Fill the server's copy from its beginning."""
        offset = 0
        for request in requests:
            data = request.data

            def fill(buffer: _Buffer, start: int = offset, data: bytes = data) -> None:
                if start + len(data) > len(buffer.cached):
                    raise InputError(f"{start + len(data)} bytes for a buffer of {len(buffer.cached)}")
                buffer.cached[start : start + len(data)] = data

            message = self._on(request.buffer_id, fill)
            if message:
                return buffer_messages.BufferWriteResponse(msg=message)
            offset += len(data)
        return buffer_messages.BufferWriteResponse()

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        """The server's copy, piece by piece."""
        with self._lock:
            buffer = self._buffers.get(request.buffer_id)
            content = None if buffer is None else bytes(buffer.cached)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, _unknown(request.buffer_id))
            return
        for start in range(0, max(len(content), 1), CHUNK_BYTES):
            yield buffer_messages.BufferReadResponse(data=content[start : start + CHUNK_BYTES])

    def flush(self, request: Any, context: Any) -> Any:
        """Make the server's copy visible to the logic."""

        def move(buffer: _Buffer) -> None:
            buffer.memory[: len(buffer.cached)] = buffer.cached

        return buffer_messages.FlushResponse(msg=self._on(request.buffer_id, move))

    def invalidate(self, request: Any, context: Any) -> Any:
        """Make what the logic wrote visible in the server's copy."""

        def move(buffer: _Buffer) -> None:
            buffer.cached[:] = buffer.memory[: len(buffer.cached)]

        return buffer_messages.InvalidateResponse(msg=self._on(request.buffer_id, move))

    def physical_address(self, request: Any, context: Any) -> Any:
        """Where the logic finds a buffer."""
        with self._lock:
            buffer = self._buffers.get(request.buffer_id)
        if buffer is None:
            return buffer_messages.AddressResponse(msg=_unknown(request.buffer_id))
        return buffer_messages.AddressResponse(address=buffer.address)

    def virtual_address(self, request: Any, context: Any) -> Any:
        """Where a program on the board would find it: at the same address."""
        return self.physical_address(request, context)

    def cacheable(self, request: Any, context: Any) -> Any:
        """Every buffer is."""
        return buffer_messages.CacheableResponse(msg=self._on(request.buffer_id, lambda _buffer: None), cacheable=True)

    def freebuffer(self, request: Any, context: Any) -> Any:
        """Give a buffer back."""
        with self._lock:
            buffer = self._buffers.pop(request.buffer_id, None)
            if buffer is None:
                return buffer_messages.FreeBufferResponse(msg=_unknown(request.buffer_id))
            self._ddr.free(buffer.address)
        return buffer_messages.FreeBufferResponse()

    def _on(self, name: str, work: Callable[[_Buffer], None]) -> str:
        """Do something with a buffer; returns why it did not work, or nothing."""
        with self._lock:
            buffer = self._buffers.get(name)
            if buffer is None:
                return _unknown(name)
            try:
                work(buffer)
            except Hls4attnError as error:
                return f"{name}: {error}"
        return ""


def _unknown(name: str) -> str:
    return f"No such buffer on this board: {shown(name)}; it was freed, or another server allocated it"
