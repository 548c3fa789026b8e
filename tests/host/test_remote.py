# SPDX-License-Identifier: Apache-2.0
"""PYNQ's own remote client, unmodified, against the served board; pynq from 3.1 on has one."""

import importlib
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes

pynq = pytest.importorskip("pynq")
pytest.importorskip("pynq.remote", reason=f"pynq {pynq.__version__} has no PYNQ.remote; 3.1 and later have")
from pynq.pl_server.remote_device import RemoteDevice  # noqa: E402
from remote_board import serving  # noqa: E402

from hls4attn.host.board.link import read_register  # noqa: E402
from hls4attn.host.connect import device_tag, is_emulated  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.errors import WrongPartError  # noqa: E402
from hls4attn.host.remote import protocol  # noqa: E402
from hls4attn.models.errors import DeviceError  # noqa: E402
from hls4attn.overlays.package import write_package  # noqa: E402
from hls4attn.overlays.packing import pack, unpack  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

FOUR = int(pynq.__version__.split(".")[0]) >= 4
KINDS = {5: "int32", 13: "uint32", 4: "uint64", 8: "bool", 9: "string", 12: "bytes"}
#: A model identity whose halves have their highest bits set: 3.1 reads registers as signed numbers.
HIGH_BITS = b"model 3"


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path, model=HIGH_BITS) as (server, port, package):
        yield server, port, package


@pytest.fixture
def device(served):
    _, port, _ = served
    device = RemoteDevice(0, "127.0.0.1", port)
    pynq.Device.active_device = device
    if "_real_instance" in vars(pynq.ps.Clocks):  # it keeps the first device for ever
        del pynq.ps.Clocks._real_instance
    if hasattr(pynq.ps.Clocks, "set_device"):
        pynq.ps.Clocks.set_device(device)
    yield device
    device.client.channel.close()


def selftest(port: int, bit: object) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("pynq.remote.selftest", reason="the self-test came with pynq 4.0")
    command = [sys.executable, "-m", "pynq.remote.selftest", "--ip", "127.0.0.1", "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if k not in ("XILINX_XRT", "PYNQ_REMOTE_DEVICES")}
    return subprocess.run(
        [*command, "--bitstream", str(bit)], capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def test_every_check_of_the_selftest_passes(served) -> None:
    server, port, package = served
    run = selftest(port, package.bit)
    assert "11 passed, 0 failed, 0 skipped" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 0
    assert server.board.programmed == "nn"


def test_the_selftest_fails_where_it_should(served, tmp_path) -> None:
    """An overlay that the server was not given."""
    _, port, _ = served
    with serving(tmp_path / "other", model=b"unknown to the server") as (_, _, package):
        run = selftest(port, package.bit)
    assert run.returncode == 1
    assert "[FAIL] overlay download failed" in run.stdout
    assert "is of no overlay that this server was given" in run.stdout


def test_messages_and_calls_are_those_of_the_installed_client() -> None:
    """Names, numbers and types of all fields, and which side streams; what was added for later versions is left out."""
    seen = 0
    for service, calls in protocol.CALLS.items():
        package, name = service.split(".")
        try:
            file = importlib.import_module(f"pynq.remote.{package}_pb2").DESCRIPTOR
        except ImportError:
            assert (package, FOUR) == ("gpio", False)
            continue
        for message, text in protocol.MESSAGES[package].items():
            theirs = {(f.name, KINDS[f.type], f.number) for f in file.message_types_by_name[message].fields}
            ours = set(protocol.fields_of(text))
            if message == "ReadResponse" and not FOUR:
                assert theirs - ours == {("data", "int32", 3)}
                theirs = ours
            assert ours == theirs, message
            seen += 1
        stub = getattr(importlib.import_module(f"pynq.remote.{package}_pb2_grpc"), f"{name}Stub")(Recorder())
        for call, expected in calls.items():
            kind = {"": "unary_unary", "in": "stream_unary", "out": "unary_stream"}[expected.streams]
            assert getattr(stub, call) == (kind, f"/{service}/{call}", f"{expected.stem}Request"), call
    assert seen == sum(len(m) for p, m in protocol.MESSAGES.items() if FOUR or p != "gpio")


class Recorder:
    """A channel that only says what a stub asks of it."""

    def __getattr__(self, kind: str):
        def record(path: str, request_serializer=None, **_options: object) -> tuple[str, str, str]:
            message = request_serializer.__self__ if hasattr(request_serializer, "__self__") else None
            name = message.__name__ if message is not None else _request_name(path)
            return kind, path, name

        return record


def _request_name(path: str) -> str:
    _, service, call = path.split("/")
    package, name = service.split(".")
    file = importlib.import_module(f"pynq.remote.{package}_pb2").DESCRIPTOR
    return str(file.services_by_name[name].methods_by_name[call].input_type.name)


def test_notebook_code_as_on_a_board(served, device) -> None:
    server, _, package = served
    overlay = pynq.Overlay(str(package.bit), device=device)
    assert type(overlay.axi_dma_0) is pynq.lib.DMA
    overlay.stream_model_0.write(0, 0x81)
    for n in (1, 50):
        codes = random_codes(n, n)
        x, y = (device.allocate((n, port.sample_bytes), np.uint8) for port in (INPUT, OUTPUT))
        x[:] = pack(codes, INPUT)
        overlay.axi_dma_0.recvchannel.transfer(y)
        overlay.axi_dma_0.sendchannel.transfer(x)
        overlay.axi_dma_0.sendchannel.wait()
        overlay.axi_dma_0.recvchannel.wait()
        assert np.count_nonzero(unpack(np.array(y), OUTPUT) != dense(codes)) == 0
        for buffer in (x, y):
            buffer.freebuffer()
    assert overlay.stream_model_0.read(0x20) == 51
    assert not server.board.ddr.live


def test_gpio_of_the_overlay_through_its_loop(served, device) -> None:
    _, _, package = served
    overlay = pynq.Overlay(str(package.bit), device=device)
    gpio = overlay.axi_gpio_0
    assert type(gpio) is pynq.lib.AxiGPIO
    for value in (0x12345678, 0x7FFFFFFF, 0):
        gpio.channel1.write(value, 0xFFFFFFFF)
        assert gpio.channel2.read() == value


def test_clocks_are_the_served_boards(served, device) -> None:
    server, _, package = served
    pynq.Overlay(str(package.bit), device=device)
    assert pytest.approx(package.design.clock.mhz) == pynq.ps.Clocks.fclk0_mhz
    pynq.ps.Clocks.fclk0_mhz = 50
    assert pytest.approx(package.design.clock.mhz / 2) == pynq.ps.Clocks.fclk0_mhz
    assert (server.board.read32(0xFF5E00C0) >> 8) & 0x3F != 0


def test_signed_registers_are_read_as_they_are() -> None:
    assert read_register(lambda _offset: -2, 0) == 0xFFFFFFFE


def test_our_driver_on_a_served_board(served, device) -> None:
    server, _, package = served
    with load_overlay(package, device) as overlay:
        for n in (1, 300):
            codes = random_codes(n, n)
            assert np.count_nonzero(overlay.model.predict_codes(codes) != dense(codes)) == 0
        assert overlay.model.samples == 301
        assert overlay.model.device_tag == device_tag(device) == "emulated:aup-zu3"
        assert not is_emulated(device)  # it is one, but not in this process
        assert overlay.model.cycles is overlay.model.cycles_are is None  # no logic counts
    assert not server.board.ddr.live


def test_a_real_remote_board_is_no_emulated_one() -> None:
    class Board:
        name = "aup-zu3"

    assert device_tag(Board()) == "board:aup-zu3"


def test_emulation_files_are_still_refused_on_real_boards(served, device) -> None:
    _, _, package = served
    device.name = "aup-zu3"
    with pytest.raises(DeviceError, match="only serves the emulated board"):
        load_overlay(package, device)


def test_an_overlay_for_another_part_is_refused_before_it_is_sent(served, device, tmp_path) -> None:
    server, _, _ = served
    package = write_package(make_design("zcu104"), tmp_path / "other")
    with pytest.raises(WrongPartError, match="is for xczu7ev"):
        load_overlay(package, device)
    assert server.board.programmed is None


def test_errors_of_the_board_reach_the_client_in_words(served, device) -> None:
    _, _, package = served
    with pytest.raises(RuntimeError, match="Nothing answers at 0xa0010000.*no overlay loaded"):
        pynq.MMIO(package.design.addresses.ip, 0x1000, device=device).read(0)
    overlay = pynq.Overlay(str(package.bit), device=device)
    with pytest.raises(RuntimeError, match="Nothing answers at 0x50000000"):
        pynq.MMIO(0x50000000, 0x1000, device=device).write(0, 1)
    buffer = device.allocate((8,), np.uint8)
    overlay.axi_dma_0.sendchannel.transfer(buffer)  # never started
    with pytest.raises(RuntimeError, match="stream_model_0 was not started"):
        overlay.axi_dma_0.sendchannel.wait()
    buffer.freebuffer()
    buffer.freed = False
    with pytest.raises(RuntimeError, match="it was freed"):
        buffer.freebuffer()


def test_pins_of_the_processing_system(served, device) -> None:
    if not FOUR:
        pytest.skip("pynq 3.1 does not reach pins of remote boards")
    from pynq.pl_server.remote_device import RemoteGPIO

    assert RemoteGPIO.get_gpio_npins(device=device) == 174
    index = RemoteGPIO.get_gpio_pin(0, device=device)
    assert index == 512 + 78
    pin = RemoteGPIO(index, "out", device=device)
    pin.write(1)
    assert pin.is_exported()
    pin.release()
    assert not pin.is_exported()
    assert RemoteGPIO(index, "in", device=device).read() == 0


def test_zynq_boards(tmp_path, monkeypatch) -> None:
    """pynq 4.0 has given up Zynq-7000: it stumbles over its clocks, on any device."""
    if FOUR:
        pytest.skip("pynq 4.0 does not configure Zynq-7000")
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path, "pynq-z2") as (_, port, package):
        device = RemoteDevice(0, "127.0.0.1", port)
        assert device.arch == "armv7l"
        pynq.Device.active_device = device
        if "_real_instance" in vars(pynq.ps.Clocks):
            del pynq.ps.Clocks._real_instance
        pynq.ps.Clocks.set_device(device)
        with load_overlay(package, device) as overlay, warnings.catch_warnings():
            codes = random_codes(20)
            assert np.array_equal(overlay.model.predict_codes(codes), dense(codes))
        device.client.channel.close()
