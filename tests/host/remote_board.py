# SPDX-License-Identifier: Apache-2.0
"""An emulated board on a free port, and raw calls to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dense_model import dense, make_design

from hls4attn.host.remote import protocol
from hls4attn.host.remote.server import RemoteServer
from hls4attn.overlays.boards import board
from hls4attn.overlays.package import Package, write_package


@contextmanager
def serving(folder: Path, on: str = "aup-zu3", **changes: Any) -> Iterator[tuple[RemoteServer, int, Package]]:
    """A server with one overlay, the small dense model."""
    package = write_package(make_design(on, **changes), folder / on)
    server = RemoteServer(board(on), [(package, dense)], port=0)
    port = server.start()
    try:
        yield server, port, package
    finally:
        server.stop()


class Caller:
    """Calls any service of a server by name, without PYNQ."""

    def __init__(self, port: int) -> None:
        self._channel = protocol.grpc.insecure_channel(f"127.0.0.1:{port}")

    def __call__(self, service: str, name: str, **fields: Any) -> Any:
        """Send one message; returns the answer, or the list of answers of a stream."""
        call = protocol.CALLS[service][name]
        messages = getattr(protocol, f"{service.partition('.')[0].removeprefix('remote_')}_messages")
        request = getattr(messages, f"{call.stem}Request")(**fields)
        method = {"": "unary_unary", "in": "stream_unary", "out": "unary_stream"}[call.streams]
        send = getattr(self._channel, method)(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(messages, f"{call.stem}Response").FromString,
        )
        answer = send(iter([request]) if call.streams == "in" else request, timeout=20)
        return list(answer) if call.streams == "out" else answer

    def close(self) -> None:
        """Give the connection back."""
        self._channel.close()
