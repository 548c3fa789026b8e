# SPDX-License-Identifier: Apache-2.0
"""The files of an emulated board: a few that Linux would have, and what clients write, in memory only."""

from __future__ import annotations

import threading

from hls4attn.models.errors import DeviceError
from hls4attn.overlays.boards import Board

FIRMWARE = "/lib/firmware/"
FPGA = "/sys/class/fpga_manager/fpga0/"
MAX_BYTES = 256 << 20
MAX_FILES = 1024
MAX_PATH = 4096


class BoardFiles:
    """Contents by absolute path; nothing of this computer's file system can be reached.

    Args:
        board: whose files they are.
        name: of the board, as the device tree says it.
    """

    def __init__(self, board: Board, name: str) -> None:
        machine = "aarch64" if board.family == "zynquplus" else "armv7l"
        self._files = {
            "/proc/device-tree/chosen/pynq_board": name.encode() + b"\0",
            "/proc/version": f"Linux version none (emulated by hls4attn) {machine}\n".encode(),
            f"{FPGA}state": b"unknown\n",
            f"{FPGA}flags": b"0\n",
        }
        self._lock = threading.Lock()

    def read(self, path: str) -> bytes | None:
        """Contents of a file; None if there is none."""
        with self._lock:
            return self._files.get(path)

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file.

        Raises:
            DeviceError: for a path that is not absolute or too long, or if the files become too many or too large.
        """
        if not path.startswith("/") or len(path) > MAX_PATH:
            raise DeviceError(f"Files need an absolute path of up to {MAX_PATH} characters. Received: {path!r:.80}")
        with self._lock:
            others = [len(data) for name, data in self._files.items() if name != path]
            if len(others) >= MAX_FILES or sum(others) + len(content) > MAX_BYTES:
                raise DeviceError(
                    f"{path:.80}: no room for {len(content)} bytes; an emulated board keeps up to {MAX_FILES} files of "
                    f"{MAX_BYTES} bytes together, until its server ends"
                )
            self._files[path] = content
