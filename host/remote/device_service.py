# SPDX-License-Identifier: Apache-2.0
"""Files and configuration: a client configures the logic by writing files, as on Linux."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hls4attn.host.remote.files import FIRMWARE, FPGA, BoardFiles
from hls4attn.host.remote.protocol import CHUNK_BYTES, device_messages, grpc, shown
from hls4attn.models.errors import Hls4attnError

Program = Callable[[str, bytes], None]
"""Configures the logic from the name and the contents of a firmware file."""


class DeviceService:
    """The service `RemoteDevice`.

    Args:
        files: of the board.
        program: called when a client names its firmware to the FPGA manager.
    """

    def __init__(self, files: BoardFiles, program: Program) -> None:
        self._files = files
        self._program = program

    def existsfile(self, request: Any, context: Any) -> Any:
        """Whether there is a file."""
        return device_messages.ExistsFileResponse(exists=self._files.read(request.file_path) is not None)

    def readfile(self, request: Any, context: Any) -> Iterator[Any]:
        """Contents of a file, piece by piece."""
        content = self._files.read(request.file_path)
        if content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"No such file on this board: {shown(request.file_path)}")
            return
        for start in range(0, max(len(content), 1), CHUNK_BYTES):
            yield device_messages.ReadFileResponse(data=content[start : start + CHUNK_BYTES])

    def writefile(self, requests: Iterator[Any], context: Any) -> Any:
        """Write a file, which may configure the logic."""
        path, pieces = "", []
        for request in requests:
            path = request.file_path
            pieces.append(request.data)
        if pieces:  # of an empty file, clients send nothing at all
            try:
                self._write(path, b"".join(pieces))
            except Hls4attnError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return device_messages.WriteFileResponse()

    def set_bitstream_attrs(self, request: Any, context: Any) -> Any:
        """Announce a bitstream."""
        if request.partial:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Partial reconfiguration is not emulated")
        return device_messages.SetBitstreamAttrsResponse(status=True)

    def _write(self, path: str, content: bytes) -> None:
        if path == f"{FPGA}firmware":
            name = content.decode(errors="replace").strip("\0\n ")
            firmware = self._files.read(FIRMWARE + name)
            if firmware is None:
                raise Hls4attnError(f"No firmware {shown(name)}: write it to {FIRMWARE} first")
            self._program(name, firmware)
            self._files.write(f"{FPGA}state", b"operating\n")
        self._files.write(path, content)
