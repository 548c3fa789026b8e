# SPDX-License-Identifier: Apache-2.0
"""The driver and its device: ownership, memory and files."""

import gc
from dataclasses import replace

import numpy as np
import pytest
from dense_model import dense, random_codes
from driven import works

from hls4attn.models.errors import DeviceError, ModelFileError
from hls4attn.overlays.bitfile import MARK

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.errors import WrongPartError  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


def test_a_busy_device_is_refused_whole(overlay, device: EmulatedDevice, package) -> None:
    other = package(on=device.name, name="second", model=b"second", clock_mhz=50.0)
    device.register_kernel(other.design, dense)
    clock = pynq.Clocks.fclk0_mhz
    for attempt in (
        lambda: load_overlay(other, device, dense),
        lambda: pynq.Overlay(str(other.bit), device=device),
        lambda: pynq.Bitstream(str(other.bit), device=device).download(),
    ):
        with pytest.raises(DeviceError, match=r"Device busy: overlay 'nn' is open on emulated:.*close\(\) first"):
            attempt()
    assert clock == pynq.Clocks.fclk0_mhz  # Overlay sets the clocks first, so it has to be stopped before
    assert device.bitfile_name == str(overlay.package.bit)
    works(overlay)
    overlay.close()
    with load_overlay(other, device, dense) as second:
        works(second)


def test_closing_frees_everything_and_ends_the_model(device: EmulatedDevice, package) -> None:
    overlay = load_overlay(package(on=device.name), device, dense)
    works(overlay)
    assert len(device.board.ddr.live) == 2
    overlay.close()
    overlay.close()
    assert device.board.ddr.live == {}
    for call in (overlay.model.predict_codes, overlay.model.predict):
        with pytest.raises(DeviceError, match="closed; load the overlay again"):
            call(random_codes(1))
    with load_overlay(package(on=device.name), device, dense) as again:
        works(again)
    assert device.board.ddr.live == {}


def test_twenty_loads_leak_nothing(package) -> None:
    device, written = EmulatedDevice("pynq-z2"), package()
    for _ in range(20):
        with load_overlay(written, device, dense) as overlay:
            works(overlay, 2)
    assert device.board.ddr.live == {}


def test_a_forgotten_overlay_gives_the_device_back(package) -> None:
    device, written = EmulatedDevice("pynq-z2"), package()
    overlay = load_overlay(written, device, dense)
    del overlay
    gc.collect()
    assert device.board.ddr.live == {}
    load_overlay(written, device, dense).close()


def test_the_model_alone_is_a_context(overlay, device: EmulatedDevice) -> None:
    with overlay.model as model:
        works(overlay)
    assert device.board.ddr.live == {}
    with pytest.raises(DeviceError, match="closed"):
        model.predict_codes(random_codes(1))


def test_downloading_again_restarts_the_model(overlay) -> None:
    works(overlay)
    overlay.download()
    assert overlay.model.samples == 0
    works(overlay)


def test_an_emulated_device_needs_a_kernel(package) -> None:
    device = EmulatedDevice("pynq-z2")
    with pytest.raises(DeviceError, match=r"emulated:pynq-z2 computes with a function .*pass kernel="):
        load_overlay(package(), device)
    load_overlay(package(), device, dense).close()


def test_the_wrong_board_is_refused_before_it_is_touched(package) -> None:
    device = EmulatedDevice("pynq-z2")
    with pytest.raises(DeviceError, match=r"is for xczu3eg-sfvc784-2-e \(aup-zu3\)"):
        load_overlay(package(on="aup-zu3"), device, dense)
    assert device.board.programmed is None
    assert not hasattr(device, "bitfile_name")  # not even its metadata were taken over


class RealDevice(pynq.Device):
    """A device that is not emulated."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def test_an_emulation_file_is_refused_by_a_real_device(package) -> None:
    written = package()
    assert MARK.encode() in written.bit.read_bytes()
    with pytest.raises(DeviceError, match="only serves the emulated board and configures no device"):
        load_overlay(written, RealDevice("real"), dense)


def test_a_real_board_with_another_part_is_refused_before_it_is_touched(package) -> None:
    built = replace(package(on="aup-zu3"), emulation=False)
    with pytest.raises(WrongPartError, match=r"is for xczu3eg-sfvc784-2-e \(aup-zu3\); this Pynq-Z2 has xc7z020"):
        load_overlay(built, RealDevice("Pynq-Z2"))
    with pytest.raises(WrongPartError):  # the refusal gave the device back
        load_overlay(built, RealDevice("Pynq-Z2"))


def test_a_driver_without_dma_says_so(package) -> None:
    device, written = EmulatedDevice("pynq-z2"), package()
    device.register_kernel(written.design, dense)
    plain = pynq.Overlay(str(written.bit), device=device)
    with pytest.raises(DeviceError, match="no DMA yet"):
        plain.stream_model_0.predict_codes(random_codes(1))
    with plain.stream_model_0 as model:  # attached by hand
        model.attach(written.design, plain.axi_dma_0)
        assert np.array_equal(model.predict_codes(random_codes(2)), dense(random_codes(2)))


def test_damaged_files_are_refused(package) -> None:
    written = package()
    written.manifest.write_text(written.manifest.read_text()[:-9])
    with pytest.raises(ModelFileError, match="truncated"):
        load_overlay(written.bit, EmulatedDevice("pynq-z2"), dense)
