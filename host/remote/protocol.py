# SPDX-License-Identifier: Apache-2.0
"""The messages and calls of PYNQ.remote, as clients of pynq 3.1 and 4.0 send them.

They are built here from tables, so that the server needs no PYNQ: it runs where the models are converted, in another
environment than the client.  Source: the descriptors in `pynq.remote` of pynq 4.0.0; pynq 3.1 has no service `Gpio`
and reads `ReadResponse.data` as a signed number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from hls4attn.models.errors import ToolError

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise ToolError(f'PYNQ.remote needs gRPC: {error}. Install it with: pip install "hls4attn[remote]"') from error

PORT = 7967
#: What is sent at most in one message.
CHUNK_BYTES = 1 << 20
EXCERPT = 200

_TYPES = {"bool": 8, "string": 9, "bytes": 12, "int32": 5, "uint32": 13, "uint64": 4}  # of descriptor.proto

#: Fields of each message as "name:type=number", by package.
MESSAGES: dict[str, dict[str, str]] = {
    "remote_device": {
        "ReadFileRequest": "file_path:string=1",
        "ReadFileResponse": "data:bytes=1",
        "WriteFileRequest": "file_path:string=1 data:bytes=2",
        "WriteFileResponse": "",
        "ExistsFileRequest": "file_path:string=1",
        "ExistsFileResponse": "exists:bool=1",
        "SetBitstreamAttrsRequest": "binfile_name:string=1 partial:bool=2",
        "SetBitstreamAttrsResponse": "status:bool=1",
    },
    "mmio": {
        "GetMmioRequest": "base_addr:uint64=1 length:uint64=2",
        "GetMmioResponse": "status:bool=1 msg:string=2 mmio_id:string=3",
        "ReadRequest": "mmio_id:string=1 length:uint64=2 offset:uint64=3 word_order:string=4",
        "ReadResponse": "status:bool=1 msg:string=2 data:uint32=3",
        "WriteRequest": "mmio_id:string=1 offset:uint64=2 data:bytes=3",
        "WriteResponse": "status:bool=1 msg:string=2",
    },
    "buffer": {
        "CacheableRequest": "buffer_id:string=1",
        "CacheableResponse": "msg:string=2 cacheable:bool=3",
        "AddressRequest": "buffer_id:string=1",
        "AddressResponse": "msg:string=2 address:uint64=3",
        "InvalidateRequest": "buffer_id:string=1",
        "InvalidateResponse": "msg:string=2",
        "FlushRequest": "buffer_id:string=1",
        "FlushResponse": "msg:string=2",
        "AllocateRequest": "size:int32=1 dtype:string=2 cacheable:bool=3",
        "AllocateResponse": "msg:string=2 buffer_id:string=3",
        "BufferWriteRequest": "buffer_id:string=1 data:bytes=2 start:int32=3 end:int32=4",
        "BufferWriteResponse": "msg:string=2",
        "BufferReadRequest": "buffer_id:string=1 start:int32=2 end:int32=3",
        "BufferReadResponse": "msg:string=2 data:bytes=3",
        "FreeBufferRequest": "buffer_id:string=1",
        "FreeBufferResponse": "msg:string=2",
    },
    "gpio": {
        "GetGpioRequest": "index:int32=1 direction:string=2",
        "GetGpioResponse": "message:string=2 gpio_id:string=3",
        "GpioReadRequest": "gpio_id:string=1",
        "GpioReadResponse": "message:string=2 value:int32=3",
        "GpioWriteRequest": "gpio_id:string=1 value:int32=2",
        "GpioWriteResponse": "",
        "GpioUnexportRequest": "gpio_id:string=1",
        "GpioUnexportResponse": "",
        "GpioIsExportedRequest": "gpio_id:string=1",
        "GpioIsExportedResponse": "is_exported:bool=3",
        "GetGpioBasePathRequest": "target_label:string=1",
        "GetGpioBasePathResponse": "base_path:string=3",
        "GetGpioNPinsRequest": "target_label:string=1",
        "GetGpioNPinsResponse": "npins:int32=1",
    },
}


class Call(NamedTuple):
    """A call of a service: stem of its messages, and which side sends a stream of them."""

    stem: str
    streams: str = ""  # in, out or neither


#: Calls by service and name.
CALLS: dict[str, dict[str, Call]] = {
    "remote_device.RemoteDevice": {
        "existsfile": Call("ExistsFile"),
        "readfile": Call("ReadFile", "out"),
        "writefile": Call("WriteFile", "in"),
        "set_bitstream_attrs": Call("SetBitstreamAttrs"),
    },
    "mmio.Mmio": {"get_mmio": Call("GetMmio"), "read": Call("Read"), "write": Call("Write")},
    "buffer.RemoteBuffer": {
        "allocate": Call("Allocate"),
        "write": Call("BufferWrite", "in"),
        "read": Call("BufferRead", "out"),
        "freebuffer": Call("FreeBuffer"),
        "flush": Call("Flush"),
        "invalidate": Call("Invalidate"),
        "physical_address": Call("Address"),
        "virtual_address": Call("Address"),
        "cacheable": Call("Cacheable"),
    },
    "gpio.Gpio": {
        "get_gpio": Call("GetGpio"),
        "read": Call("GpioRead"),
        "write": Call("GpioWrite"),
        "unexport": Call("GpioUnexport"),
        "is_exported": Call("GpioIsExported"),
        "get_gpio_base_path": Call("GetGpioBasePath"),
        "get_gpio_npins": Call("GetGpioNPins"),
    },
}


def fields_of(text: str) -> Iterator[tuple[str, str, int]]:
    """Name, type and number of each field of a message."""
    for field in text.split():
        name, _, rest = field.partition(":")
        kind, _, number = rest.partition("=")
        yield name, kind, int(number)


def _classes(package: str) -> SimpleNamespace:
    """Message classes of a package, in a pool of their own: PYNQ's may be in the same process."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, text in MESSAGES[package].items():
        described = file.message_type.add(name=message)
        for name, kind, number in fields_of(text):
            described.field.add(name=name, number=number, type=_TYPES[kind], label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    made = message_factory.GetMessageClass
    return SimpleNamespace(**{m: made(pool.FindMessageTypeByName(f"{package}.{m}")) for m in MESSAGES[package]})


device_messages, mmio_messages = _classes("remote_device"), _classes("mmio")
buffer_messages, gpio_messages = _classes("buffer"), _classes("gpio")
_MESSAGES = {
    "remote_device": device_messages,
    "mmio": mmio_messages,
    "buffer": buffer_messages,
    "gpio": gpio_messages,
}
_HANDLERS: dict[str, Callable[..., Any]] = {
    "": grpc.unary_unary_rpc_method_handler,
    "in": grpc.stream_unary_rpc_method_handler,
    "out": grpc.unary_stream_rpc_method_handler,
}


def add_service(server: Any, service: str, servicer: Any) -> None:
    """Let a gRPC server answer the calls of a service by the methods of `servicer` of the same names."""
    messages = _MESSAGES[service.partition(".")[0]]
    handlers = {
        name: _HANDLERS[call.streams](
            getattr(servicer, name),
            request_deserializer=getattr(messages, f"{call.stem}Request").FromString,
            response_serializer=getattr(messages, f"{call.stem}Response").SerializeToString,
        )
        for name, call in CALLS[service].items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def shown(value: Any) -> str:
    """What a client sent, short enough for a message."""
    text = repr(value)
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."
