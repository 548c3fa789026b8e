# SPDX-License-Identifier: Apache-2.0
"""AMD's own Overlay, DMA, MMIO, allocate and Clocks, unmodified, on the emulated boards."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes

from hls4attn.host.emulated.errors import BusError, EmulationDeadlock
from hls4attn.models.errors import DeviceError, ModelFileError, UnsupportedError
from hls4attn.overlays.packing import pack, unpack

pynq = pytest.importorskip("pynq")
from hls4attn.host.emulated_device import EmulatedBuffer, EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")
BOARDS = ("pynq-z2", "aup-zu3")


@pytest.fixture(params=BOARDS)
def device(request: pytest.FixtureRequest) -> EmulatedDevice:
    device = EmulatedDevice(request.param)
    pynq.Device.active_device = device
    return device


def load(device: EmulatedDevice, package) -> "pynq.Overlay":
    written = package(on=device.name)
    device.register_kernel(written.design, dense)
    return pynq.Overlay(str(written.bit), device=device)


def transfer(overlay, x, y) -> None:
    overlay.axi_dma_0.recvchannel.transfer(y)
    overlay.axi_dma_0.sendchannel.transfer(x)
    overlay.axi_dma_0.sendchannel.wait()
    overlay.axi_dma_0.recvchannel.wait()


def start(overlay) -> None:
    overlay.stream_model_0.register_map.CTRL = 0x81


def buffers(samples: int):
    x = pynq.allocate((samples, INPUT.sample_bytes), np.uint8)
    return x, pynq.allocate((samples, OUTPUT.sample_bytes), np.uint8)


def test_notebook_code_as_on_a_board(device: EmulatedDevice, package) -> None:
    overlay = load(device, package)
    assert overlay.is_loaded()
    assert type(overlay.axi_dma_0) is pynq.lib.DMA
    start(overlay)
    for n in (1, 50, 7):
        codes = random_codes(n, n)
        x, y = buffers(n)
        x[:] = pack(codes, INPUT)
        transfer(overlay, x, y)
        assert np.count_nonzero(unpack(np.array(y), OUTPUT) != dense(codes)) == 0
        assert overlay.axi_dma_0.recvchannel.transferred == n * OUTPUT.sample_bytes
    assert overlay.stream_model_0.read(0x20) == 58
    assert int(overlay.stream_model_0.register_map.SAMPLES) == 58
    assert overlay.axi_dma_0.buffer_max_size == (1 << 26) - 1


def test_clocks_follow_the_overlay_and_the_device(package) -> None:
    """Clocks keeps the first device for ever unless it is told: every overlay has to."""
    for name, mhz, cpu in (("pynq-z2", 100.0, 650.0), ("aup-zu3", 99.999, 1199.988), ("pynq-z1", 100.0, 650.0)):
        device = EmulatedDevice(name)
        load(device, package)
        assert pytest.approx(mhz) == pynq.Clocks.fclk0_mhz
        assert pytest.approx(cpu) == pynq.Clocks.cpu_mhz
        pynq.Clocks.fclk0_mhz = 50
        assert pytest.approx(mhz / 2) == pynq.Clocks.fclk0_mhz


def test_loading_sets_the_active_device_neither_for_clocks_nor_otherwise(package) -> None:
    other, device = EmulatedDevice("pynq-z1"), EmulatedDevice("pynq-z2")
    pynq.Device.active_device = other
    load(device, package)
    assert pynq.Device.active_device is other


def test_a_forgotten_flush_and_invalidate_show_stale_data(device: EmulatedDevice) -> None:
    x = pynq.allocate(4, np.uint32)
    x[:] = 7
    assert device.board.ddr.read(x.device_address, 16) == bytes(16)
    x.flush()
    assert device.board.ddr.read(x.device_address, 16) == (b"\7" + bytes(3)) * 4
    device.board.ddr.write(x.device_address, b"\1\0\0\0")
    assert x[0] == 7
    x.invalidate()
    assert x.tolist() == [1, 7, 7, 7]
    x[:] = 9
    x[1:3].flush()  # a slice covers its own words only
    x.invalidate()
    assert x.tolist() == [1, 9, 9, 7]


def test_stale_input_gives_the_old_answer(device: EmulatedDevice, package) -> None:
    overlay = load(device, package)
    start(overlay)
    old, new = random_codes(3, 1), random_codes(3, 2)
    x, y = buffers(3)
    x[:] = pack(old, INPUT)
    x.flush()
    x[:] = pack(new, INPUT)  # not flushed; registers by hand, since transfer() would flush
    dma = overlay.axi_dma_0
    dma.recvchannel.transfer(y)
    dma.mmio.write(0x18, x.physical_address)
    dma.mmio.write(0x28, x.nbytes)
    while not dma.recvchannel.idle:
        pass
    assert not np.array(y).any()  # not invalidated either
    y.invalidate()
    assert np.array_equal(unpack(np.array(y), OUTPUT), dense(old))


def test_uncached_buffers_are_coherent(device: EmulatedDevice) -> None:
    x = pynq.allocate(4, np.uint8, cacheable=False)
    x[:] = 5
    assert device.board.ddr.read(x.device_address, 4) == b"\5" * 4


def test_memory_comes_back(device: EmulatedDevice) -> None:
    live = device.board.ddr.live
    with pynq.allocate((10, 10), np.float32) as x:
        assert isinstance(x, pynq.buffer.PynqBuffer)
        assert set(device.board.ddr.live) - set(live) == {x.physical_address}
        view = x[2:4]
        assert view.physical_address == x.physical_address + 80
        del view
        assert len(device.board.ddr.live) == len(live) + 1  # a view does not free
    assert device.board.ddr.live == live
    with pytest.raises(DeviceError, match="was freed"):
        x.flush()
    x.freebuffer()
    y = pynq.allocate(10, np.uint8)
    assert isinstance(y, EmulatedBuffer)
    del y
    gc.collect()
    assert device.board.ddr.live == live


def test_exhausted_memory_says_so() -> None:
    device = EmulatedDevice("pynq-z2")
    kept = device.allocate(100 << 20, np.uint8)
    with pytest.raises(DeviceError, match="No contiguous memory"):
        device.allocate(100 << 20, np.uint8)
    kept.freebuffer()
    device.allocate(100 << 20, np.uint8)


def test_register_arrays_behave_as_on_a_board(device: EmulatedDevice, package) -> None:
    overlay = load(device, package)
    mmio = pynq.MMIO(device_address(overlay), 0x100, device=device)
    assert isinstance(mmio.array, np.ndarray)
    low, high = make_design(on=device.name).model_id_words
    assert mmio.read(0x10) == low
    assert mmio.array[4:8][2] == high  # a slice is a view of the same registers
    assert list(mmio.array[4:8:2]) == [low, high]
    assert mmio.array.view("u8")[2] == low
    mmio.array[0:1] = 0x81
    assert mmio.read(0) & 0x81 == 0x81
    mmio.write(0, (0x80).to_bytes(4, "little"))
    assert mmio.array[-64] & 0x80
    with pytest.raises(IndexError):
        mmio.array[64]
    with pytest.raises(TypeError, match="take words out first"):
        mmio.array + 1
    with pytest.raises(TypeError, match="integer or a slice"):
        mmio.array[[1, 2]] = 0
    with pytest.raises(BusError):
        pynq.MMIO(0x70000000, 16, device=device).read(0)


def device_address(overlay) -> int:
    return overlay.ip_dict["stream_model_0"]["phys_addr"]


def test_pynq_reports_a_packet_longer_than_the_buffer(device: EmulatedDevice, package) -> None:
    overlay = load(device, package)
    start(overlay)
    x, y = buffers(3)
    overlay.axi_dma_0.recvchannel.transfer(y, nbytes=OUTPUT.sample_bytes)
    overlay.axi_dma_0.sendchannel.transfer(x)
    with pytest.raises(RuntimeError, match="DMA"):
        while True:
            overlay.axi_dma_0.recvchannel.wait()
    assert overlay.axi_dma_0.recvchannel.error
    assert not overlay.axi_dma_0.recvchannel.running


def test_forgotten_start_is_a_deadlock_with_its_cause(device: EmulatedDevice, package) -> None:
    overlay = load(device, package)
    x, y = buffers(1)
    with pytest.raises(EmulationDeadlock, match=r"stream_model_0 was not started: write 0x81"):
        transfer(overlay, x, y)


def test_transfers_beyond_the_length_register_are_refused_by_pynq(package) -> None:
    from hls4attn.overlays.design import DmaSpec

    device = EmulatedDevice("pynq-z2")
    pynq.Device.active_device = device
    written = package(dma=DmaSpec(length_width=14))
    device.register_kernel(written.design, dense)
    overlay = pynq.Overlay(str(written.bit), device=device)
    with pytest.raises(ValueError, match="16384 bytes, which exceeds the maximum DMA buffer size 16383"):
        overlay.axi_dma_0.sendchannel.transfer(pynq.allocate(1 << 14, np.uint8))


def test_wrong_part(package) -> None:
    written = package(on="zcu104")
    device = EmulatedDevice("aup-zu3")
    device.register_kernel(written.design, dense)
    with pytest.raises(DeviceError, match=r"for xczu7ev-ffvc1156-2-e \(zcu104\); emulated:aup-zu3 has xczu3eg"):
        pynq.Overlay(str(written.bit), device=device)


def test_boards_of_one_part_share_overlays(package) -> None:
    written = package(on="pynq-z1")
    device = EmulatedDevice("pynq-z2")
    device.register_kernel(written.design, dense)
    assert pynq.Overlay(str(written.bit), device=device).is_loaded()


def test_no_kernel(package) -> None:
    with pytest.raises(DeviceError, match=r"no kernel for model .*register_kernel"):
        pynq.Overlay(str(package().bit), device=EmulatedDevice("pynq-z2"))
    with pytest.raises(DeviceError, match=r"A kernel is a function of codes\. Received: NoneType"):
        EmulatedDevice("pynq-z2").register_kernel(make_design(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["bit", "hwh", "json"])
def test_damaged_files(package, suffix: str) -> None:
    written = package()
    device = EmulatedDevice("pynq-z2")
    device.register_kernel(written.design, dense)
    path = written.bit.with_suffix(f".{suffix}")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelFileError, match=r"nn\."):
        pynq.Overlay(str(written.bit), device=device)


def test_a_plain_bitstream_downloads(package) -> None:
    written = package()
    device = EmulatedDevice("pynq-z2")
    device.register_kernel(written.design, dense)
    pynq.Bitstream(str(written.bit), device=device).download()
    assert device.board.programmed == "nn"
    with pytest.raises(DeviceError, match="Partial reconfiguration"):
        device.get_bitfile_metadata(str(written.bit), partial=True)


def test_unknown_board() -> None:
    with pytest.raises(UnsupportedError, match="Unknown board 'zedboard'"):
        EmulatedDevice("zedboard")


@pytest.mark.parametrize(("wish", "found"), [("kv260", "['emulated:kv260']"), (None, "[]")])
def test_pynq_finds_an_emulated_board_only_when_asked(wish: str | None, found: str) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import hls4attn.host.emulated_device, pynq\nprint([d.tag for d in pynq.Device.devices])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HLS4ATTN_EMULATED_BOARD"}
    if wish:
        environment["HLS4ATTN_EMULATED_BOARD"] = wish
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == found
