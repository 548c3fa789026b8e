# SPDX-License-Identifier: Apache-2.0
"""A gRPC server that PYNQ's own client takes for a board with PYNQ.remote.

An overlay is recognised by the contents that the client sends, not by its name: the server has to be given every
overlay that it shall configure, with what its logic computes.  There is no authentication in the protocol; the server
listens to this computer alone unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent import futures
from pathlib import Path
from typing import Any

from hls4attn.host.connect import EMULATED
from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.host.remote.device_service import DeviceService
from hls4attn.host.remote.files import BoardFiles
from hls4attn.host.remote.gpio_service import GpioService
from hls4attn.host.remote.memory_service import MemoryService
from hls4attn.host.remote.protocol import PORT, add_service, grpc, shown
from hls4attn.host.remote.register_service import RegisterService
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import hwh, strict
from hls4attn.overlays.bitfile import MAX_BYTES
from hls4attn.overlays.boards import Board
from hls4attn.overlays.package import Package, read_package

HOST = "127.0.0.1"
THREADS = 8

Served = tuple[Package, Kernel | MakeCells | MakeKernels]
"""An overlay and what its logic computes."""


class RemoteServer:
    """An emulated board that listens on a port, from `start` to `stop`.

    Args:
        board: which one.
        overlays: those that clients may load.
        host: address of this computer on which to listen.
        port: 0 for any that is free.

    Raises:
        DeviceError: if an overlay is for another part, or holds a real bitstream.
    """

    def __init__(self, board: Board, overlays: Iterable[Served], *, host: str = HOST, port: int = PORT) -> None:
        self.board = EmulatedBoard(board)
        self.name = f"{EMULATED}{board.name}"
        self._overlays = list(overlays)
        for package, _ in self._overlays:
            self._check(package)
        self._address = (host, port)
        self._server: Any = None

    def start(self) -> int:
        """Listen; returns the port.

        Raises:
            DeviceError: if the port is taken or may not be used, or the server was started before.
        """
        if self._server is not None:
            raise DeviceError("This server was started before; make another one")
        host, port = self._address
        # by default, a second server on the same port would be let in, and take every other connection
        server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
        services = {
            "remote_device.RemoteDevice": DeviceService(self._files(), self._program),
            "mmio.Mmio": RegisterService(self.board),
            "buffer.RemoteBuffer": MemoryService(self.board.ddr),
            "gpio.Gpio": GpioService(self.board.board),
        }
        for name, servicer in services.items():
            add_service(server, name, servicer)
        refusal: Exception | None = None
        try:
            found = server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:  # newer versions of grpc raise, older ones return 0
            found, refusal = 0, error
        if not found:
            taken = f"Cannot listen on {host}:{port}; is another server there? Choose another port"
            raise DeviceError(taken) from refusal
        server.start()
        self._server = server
        return int(found)

    def wait(self) -> None:
        """Serve until somebody else stops the server."""
        if self._server is not None:
            self._server.wait_for_termination()

    def stop(self) -> None:
        """End all calls; a second time does nothing."""
        if self._server is not None:
            self._server.stop(grace=None).wait()

    def _files(self) -> BoardFiles:
        return BoardFiles(self.board.board, self.name)

    def _check(self, package: Package) -> None:
        here, there = self.board.board, package.design.board
        if here.part != there.part:
            raise DeviceError(f"{package.bit} is for {there.part} ({there.name}); {self.name} has {here.part}")
        if not package.emulation:
            raise DeviceError(f"{package.bit} is a real bitstream, for a board; {self.name} takes emulation files")

    def _program(self, name: str, firmware: bytes) -> None:
        for given, kernel in self._overlays:
            package = read_package(given.bit)  # again: it may have been written anew
            self._check(package)
            if _holds(package.bit, firmware):
                root = hwh.parse_hwh(strict.read_bytes(package.hwh, hwh.MAX_BYTES), str(package.hwh))
                self.board.program(package.design, root, kernel)
                return
        known = ", ".join(str(package.bit) for package, _ in self._overlays) or "none"
        raise DeviceError(
            f"Firmware {shown(name)} ({len(firmware)} bytes) is of no overlay that this server was given: {known}. "
            "PYNQ sends a bitstream once a name: if this one was written anew, start the server again"
        )


def _holds(bit: Path, firmware: bytes) -> bool:
    """Whether firmware is the data of a `.bit`, which PYNQ sends with the bytes of every word reversed."""
    data = bytearray(len(firmware))
    for i in range(4):
        part = firmware[3 - i :: 4]
        if len(part) != len(data[i::4]):
            return False  # not a whole number of words
        data[i::4] = part
    return strict.read_bytes(bit, MAX_BYTES).endswith(b"e" + len(data).to_bytes(4, "big") + data)
