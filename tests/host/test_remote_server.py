# SPDX-License-Identifier: Apache-2.0
"""The server of an emulated board, called without PYNQ: what clients may get wrong is answered, never a crash."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from dense_model import dense, make_design, random_codes

grpc = pytest.importorskip("grpc")
from remote_board import Caller, serving  # noqa: E402

from hls4attn.host.emulated.board import EmulatedBoard  # noqa: E402
from hls4attn.host.remote import files as files_module  # noqa: E402
from hls4attn.host.remote.protocol import mmio_messages  # noqa: E402
from hls4attn.host.remote.register_service import RegisterService  # noqa: E402
from hls4attn.host.remote.server import RemoteServer  # noqa: E402
from hls4attn.models.errors import DeviceError  # noqa: E402
from hls4attn.overlays import registers as reg  # noqa: E402
from hls4attn.overlays.boards import board  # noqa: E402
from hls4attn.overlays.package import read_package, write_package  # noqa: E402
from hls4attn.overlays.packing import pack, unpack  # noqa: E402

DEVICE, MMIO, BUFFER, GPIO = "remote_device.RemoteDevice", "mmio.Mmio", "buffer.RemoteBuffer", "gpio.Gpio"
FIRMWARE = "/sys/class/fpga_manager/fpga0/firmware"


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as (server, port, package):
        caller = Caller(port)
        yield server, caller, package
        caller.close()


def firmware(package) -> bytes:
    """What PYNQ makes of a `.bit`: its data, the bytes of every word reversed."""
    _, _, data = package.bit.read_bytes().partition(b"00:00:00\0e")  # the header's last text, and the key of the data
    return np.frombuffer(data[4:], "<u4").byteswap().tobytes()


def configure(call: Caller, package, name: str = "nn.bin") -> None:
    call(DEVICE, "writefile", file_path=f"/lib/firmware/{name}", data=firmware(package))
    call(DEVICE, "writefile", file_path=FIRMWARE, data=name.encode())


def window(call: Caller, base: int, length: int = 0x10000) -> str:
    return call(MMIO, "get_mmio", base_addr=base, length=length).mmio_id


def refused(code: str, message: str, call: Caller, *names: str, **fields: object) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(*names, **fields)
    assert caught.value.code() is grpc.StatusCode[code]
    assert message in caught.value.details()


def not_written(message: str, call: Caller, path: str, data: bytes) -> None:
    refused("FAILED_PRECONDITION", message, call, DEVICE, "writefile", file_path=path, data=data)


def test_batch_by_bare_calls(served) -> None:
    """Every step of a client, spelt out: configure, start, flush, both transfers, wait, invalidate."""
    server, call, package = served
    configure(call, package, "any_name.bin")
    assert server.board.programmed == "nn"
    design = package.design
    dma, ip = window(call, design.addresses.dma), window(call, design.addresses.ip)

    def write(name: str, offset: int, value: int) -> None:
        assert not call(MMIO, "write", mmio_id=name, offset=offset, data=value.to_bytes(4, "little")).msg

    codes = random_codes(9)
    packed = pack(codes, design.input).tobytes()
    source = call(BUFFER, "allocate", size=len(packed)).buffer_id
    target = call(BUFFER, "allocate", size=9 * design.output.sample_bytes).buffer_id
    call(BUFFER, "write", buffer_id=source, data=packed)
    call(BUFFER, "flush", buffer_id=source)
    write(ip, reg.CTRL, 0x81)
    for base, name, size in (
        (reg.S2MM, target, 9 * design.output.sample_bytes),
        (reg.MM2S, source, len(packed)),
    ):
        write(dma, base + reg.DMACR, reg.CR_RUN)
        write(dma, base + reg.ADDRESS, call(BUFFER, "physical_address", buffer_id=name).address)
        write(dma, base + reg.LENGTH, size)
    for _ in range(20):
        status = call(MMIO, "read", mmio_id=dma, offset=reg.S2MM + reg.DMASR, length=4).data
        if status & reg.SR_IDLE:
            break
    stale = b"".join(piece.data for piece in call(BUFFER, "read", buffer_id=target))
    assert not any(stale)  # nothing reaches a client before it asks
    call(BUFFER, "invalidate", buffer_id=target)
    data = b"".join(piece.data for piece in call(BUFFER, "read", buffer_id=target))
    assert np.array_equal(unpack(data, design.output), dense(codes))


def test_firmware_is_recognised_by_its_contents(served) -> None:
    server, call, package = served
    path = "/lib/firmware/nn.bin"
    not_written("No firmware 'nn.bin'", call, FIRMWARE, b"nn.bin")
    whole = firmware(package)
    for wrong in (whole[:-4], whole[4:], whole[4:-4], whole[:-1], b"\xff" * len(whole), whole[:-1] + b"x", b""):
        call(DEVICE, "writefile", file_path=path, data=wrong)
        message = f"({len(wrong)} bytes) is of no overlay that this server was given: {package.bit}"
        not_written(message, call, FIRMWARE, b"nn.bin\n")
    assert server.board.programmed is None
    assert b"unknown" in call(DEVICE, "readfile", file_path=files_module.FPGA + "state")[0].data
    configure(call, package)
    assert b"operating" in call(DEVICE, "readfile", file_path=files_module.FPGA + "state")[0].data


def test_overlay_written_anew_needs_new_firmware(served, tmp_path) -> None:
    server, call, package = served
    old = firmware(package)
    write_package(make_design("aup-zu3", model=b"another"), tmp_path / "aup-zu3")
    call(DEVICE, "writefile", file_path="/lib/firmware/nn.bin", data=old)
    not_written("written anew", call, FIRMWARE, b"nn.bin")
    configure(call, package)
    assert server.board.programmed == "nn"


def test_overlay_written_anew_for_another_part_is_refused(served, tmp_path) -> None:
    server, call, _ = served
    package = write_package(make_design("zcu104"), tmp_path / "aup-zu3")
    call(DEVICE, "writefile", file_path="/lib/firmware/nn.bin", data=firmware(package))
    not_written("is for xczu7ev", call, FIRMWARE, b"nn.bin")
    assert server.board.programmed is None


def test_partial_bitstreams_are_refused(served) -> None:
    _, call, _ = served
    assert call(DEVICE, "set_bitstream_attrs", binfile_name="x.bin").status
    refused("UNIMPLEMENTED", "not emulated", call, DEVICE, "set_bitstream_attrs", binfile_name="x.bin", partial=True)


def test_files_are_the_boards_own(served, tmp_path) -> None:
    _, call, _ = served
    secret = tmp_path / "secret"
    secret.write_text("of this computer")
    for path in (str(secret), "/etc/passwd", "", "/"):
        assert not call(DEVICE, "existsfile", file_path=path).exists
        refused("NOT_FOUND", "No such file", call, DEVICE, "readfile", file_path=path)
    call(DEVICE, "writefile", file_path=str(tmp_path / "new"), data=b"x")
    assert not (tmp_path / "new").exists()
    assert call(DEVICE, "readfile", file_path=str(tmp_path / "new"))[0].data == b"x"
    big = bytes(range(256)) * 5000
    call(DEVICE, "writefile", file_path="/big", data=big)
    pieces = call(DEVICE, "readfile", file_path="/big")
    assert len(pieces) == 2
    assert b"".join(piece.data for piece in pieces) == big


def test_files_have_limits(served, monkeypatch) -> None:
    _, call, _ = served
    for path in ("relative", "", "/" + "x" * files_module.MAX_PATH):
        not_written("absolute path", call, path, b"x")
    monkeypatch.setattr(files_module, "MAX_BYTES", 200)
    call(DEVICE, "writefile", file_path="/a", data=b"x" * 100)
    call(DEVICE, "writefile", file_path="/a", data=b"y" * 90)  # replaces, does not add
    not_written("no room for 90", call, "/b", b"x" * 90)
    monkeypatch.setattr(files_module, "MAX_FILES", 6)
    call(DEVICE, "writefile", file_path="/b", data=b"x")
    not_written("up to 6 files", call, "/c", b"x")


def test_registers(served) -> None:
    _, call, package = served
    configure(call, package)
    design = package.design
    ip = window(call, design.addresses.ip)
    low, high = design.model_id_words
    assert [call(MMIO, "read", mmio_id=ip, offset=o, length=4).data for o in (0x10, 0x18)] == [low, high]
    assert call(MMIO, "read", mmio_id=ip, offset=0x10, length=2).data == low & 0xFFFF
    assert call(MMIO, "read", mmio_id=ip, offset=0x10, length=1).data == low & 0xFF
    gpio = window(call, design.addresses.gpio)
    two = (0xDEADBEEF).to_bytes(4, "little") + bytes(4)
    assert call(MMIO, "write", mmio_id=gpio, offset=0, data=two).status
    assert call(MMIO, "read", mmio_id=gpio, offset=8, length=4).data == 0xDEADBEEF  # through the loop, all 32 bits


def test_a_client_that_opens_windows_for_ever_takes_no_memory(tmp_path) -> None:
    service = RegisterService(EmulatedBoard(board("pynq-z2")))
    for base in (0x40400000, 0x40400000, 0x40410000):
        service.get_mmio(mmio_messages.GetMmioRequest(base_addr=base, length=64), None)
    assert len(service._windows) == 2


def test_accesses_that_cannot_be_are_answered_with_the_reason(served) -> None:
    _, call, package = served
    for fields in ({"base_addr": 2, "length": 4}, {"base_addr": 0, "length": 0}):
        assert "whole word and is not empty" in call(MMIO, "get_mmio", **fields).msg
    small = window(call, package.design.addresses.ip, 0x20)
    for fields, message in (
        ({"mmio_id": "other", "length": 4}, "No such window"),
        ({"mmio_id": small, "length": 8}, "1, 2 or 4 bytes"),
        ({"mmio_id": small, "length": 3}, "1, 2 or 4 bytes"),
        ({"mmio_id": small, "length": 4, "offset": 2}, "at offset 2"),
        ({"mmio_id": small, "length": 4, "offset": 0x20}, "at offset 32"),
        ({"mmio_id": small, "length": 4, "offset": 1 << 63}, "at offset 9223372036854775808"),
        ({"mmio_id": small, "length": 4}, "no overlay loaded"),
    ):
        answer = call(MMIO, "read", **fields)
        assert message in answer.msg
        assert not answer.status
    for data, message in ((b"", "whole words"), (b"123", "whole words"), (bytes(36), "36 bytes at offset 0")):
        assert message in call(MMIO, "write", mmio_id=small, data=data).msg
    assert "no overlay loaded" in call(MMIO, "write", mmio_id=small, data=bytes(4)).msg


def test_buffers_that_cannot_be_are_answered_with_the_reason(served) -> None:
    server, call, _ = served
    refused("RESOURCE_EXHAUSTED", "No contiguous memory", call, BUFFER, "allocate", size=(1 << 31) - 1)
    for size in (0, -1):
        refused("INVALID_ARGUMENT", "at least one byte", call, BUFFER, "allocate", size=size)
    name = call(BUFFER, "allocate", size=10).buffer_id
    assert "11 for a buffer of 10" in call(BUFFER, "write", buffer_id=name, data=bytes(11)).msg.replace(" bytes", "")
    assert len(server.board.ddr.live) == 1
    assert not call(BUFFER, "freebuffer", buffer_id=name).msg
    assert not server.board.ddr.live
    for action in ("flush", "invalidate", "physical_address", "virtual_address", "cacheable", "freebuffer"):
        assert "it was freed" in call(BUFFER, action, buffer_id=name).msg
    assert "it was freed" in call(BUFFER, "write", buffer_id=name, data=b"x").msg
    refused("NOT_FOUND", "it was freed", call, BUFFER, "read", buffer_id=name)


def test_pins(served) -> None:
    _, call, _ = served
    assert call(GPIO, "get_gpio_npins").npins == 174
    assert call(GPIO, "get_gpio_npins", target_label="other").npins == 0
    assert call(GPIO, "get_gpio_base_path").base_path.endswith("gpiochip512")
    pin = call(GPIO, "get_gpio", index=590, direction="out").gpio_id
    for value in (1, 0, 1):
        call(GPIO, "write", gpio_id=pin, value=value)
        assert call(GPIO, "read", gpio_id=pin).value == value
    refused("INVALID_ARGUMENT", "0 or 1. Received: 2", call, GPIO, "write", gpio_id=pin, value=2)
    read = call(GPIO, "get_gpio", index=591, direction="in").gpio_id
    assert call(GPIO, "read", gpio_id=read).value == 0
    refused("INVALID_ARGUMENT", "is an input", call, GPIO, "write", gpio_id=read, value=1)
    for index, direction in ((511, "in"), (686, "out"), (-1, "in"), (600, "sideways")):
        refused("INVALID_ARGUMENT", "Pins are 512 to 685", call, GPIO, "get_gpio", index=index, direction=direction)
    assert call(GPIO, "is_exported", gpio_id=pin).is_exported
    for _ in range(2):
        call(GPIO, "unexport", gpio_id=pin)
    assert not call(GPIO, "is_exported", gpio_id=pin).is_exported
    refused("NOT_FOUND", "given back", call, GPIO, "read", gpio_id=pin)


def test_overlays_for_another_part_and_real_ones_are_refused(tmp_path) -> None:
    package = write_package(make_design("zcu104"), tmp_path)
    with pytest.raises(DeviceError, match="xczu7ev.*emulated:aup-zu3 has xczu3eg"):
        RemoteServer(board("aup-zu3"), [(package, dense)])
    server = RemoteServer(board("zcu104"), [(package, dense)])
    with pytest.raises(DeviceError, match="real bitstream"):
        RemoteServer(board("zcu104"), [(replace(package, emulation=False), dense)])
    server.stop()  # never started: nothing to do


def test_one_server_a_port_and_one_start_a_server(served, tmp_path) -> None:
    server, call, _ = served
    port = int(call._channel._channel.target().decode().rpartition(":")[2])
    with pytest.raises(DeviceError, match=f"Cannot listen on 127.0.0.1:{port}"):
        RemoteServer(board("aup-zu3"), [], port=port).start()
    with pytest.raises(DeviceError, match="started before"):
        server.start()
    server.stop()
    server.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.onnx"], "nothing.onnx"),
        (["nowhere"], "nowhere"),
        (["--board", "z80"], "z80"),
        (["PACKAGE"], "name the model's .onnx file"),
    ],
)
def test_command_line_refuses_in_one_line(tmp_path, arguments: list[str], message: str) -> None:
    pytest.importorskip("onnx")
    package = write_package(make_design(), tmp_path)
    command = [str(package.bit) if a == "PACKAGE" else a for a in arguments]
    run = subprocess.run(
        [sys.executable, "-m", "hls4attn.host.remote", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    lines = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert run.returncode in (2, 4)
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in run.stderr


def test_command_line_serves_until_it_is_interrupted(tmp_path) -> None:
    """A bank of operators, whose simulations are compiled when a client uses them."""
    pytest.importorskip("onnx")
    command = [sys.executable, "-m", "hls4attn.host.remote", "operators", "--board", "aup-zu3", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stdout is not None
        try:
            first, overlay, _ = (server.stdout.readline() for _ in range(3))
            assert first.startswith("emulated:aup-zu3 on 127.0.0.1:")
            package = read_package(overlay.removeprefix("overlay ").strip())
            assert package.bit.is_relative_to(tmp_path / "build" / "remote" / "aup-zu3")
            call = Caller(int(first.partition("127.0.0.1:")[2].partition(":")[0]))
            configure(call, package)
            select = window(call, package.design.addresses.ip)
            call(MMIO, "write", mmio_id=select, offset=reg.SELECT, data=(7).to_bytes(4, "little"))
            assert call(MMIO, "read", mmio_id=select, offset=reg.SELECT, length=4).data == 7
            call.close()
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
