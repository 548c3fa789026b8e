# SPDX-License-Identifier: Apache-2.0
"""What a worker, the keeper of an evaluation and the evaluation itself say to each other."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

#: What is kept of an evaluation's output.
LOG_BYTES = 32 * 1024


@dataclass
class Tail:
    """The end of a stream of bytes."""

    size: int = 0
    kept: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self.size += len(data)
        self.kept += data
        if len(self.kept) > 2 * LOG_BYTES:
            del self.kept[:-LOG_BYTES]

    def text(self) -> str:
        """As text, with a note of what is missing."""
        kept = bytes(self.kept[-LOG_BYTES:])
        left_out = self.size - len(kept)
        note = f"[{left_out:,} bytes of output before this are left out]\n" if left_out else ""
        return note + kept.decode(errors="replace")


def pack(value: Any) -> bytes:
    """A message of plain values: JSON, with its length before it."""
    data = json.dumps(value).encode()
    return struct.pack("!Q", len(data)) + data


def unpack(data: bytes) -> Any:
    """The values of a message, or None if it is not complete."""
    if len(data) < 8 or len(data) < 8 + struct.unpack("!Q", data[:8])[0]:
        return None
    return json.loads(data[8:])


def receive(control: socket.socket) -> Any:
    """The values of the next message; None if the other side closes before its end."""
    data = b""
    while (value := unpack(data)) is None:
        more = control.recv(1 << 16)
        if not more:
            return None
        data += more
    return value
