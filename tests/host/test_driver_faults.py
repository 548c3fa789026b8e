# SPDX-License-Identifier: Apache-2.0
"""Every fault of a board: the driver names it, and the next call works without loading anything again."""

import asyncio
import re

import numpy as np
import pytest
from dense_model import dense, make_design, random_codes
from driven import works

from hls4attn.host import errors
from hls4attn.host.emulated.faults import Fault
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.overlays.hwh import build_hwh, parse_hwh

pynq = pytest.importorskip("pynq")
from hls4attn.host.board import link  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

NAMED = {
    Fault.SEND_INTERNAL: (errors.DmaInternalError, r"MM2S: halted, internal error \(length 0.* \(DMASR 0x0001"),
    Fault.SEND_SLAVE: (errors.DmaSlaveError, "MM2S: halted, slave error .the memory answered with an error"),
    Fault.SEND_DECODE: (errors.DmaDecodeError, "MM2S: halted, decode error"),
    Fault.RECEIVE_INTERNAL: (errors.DmaInternalError, "S2MM: halted, internal error"),
    Fault.RECEIVE_SLAVE: (errors.DmaSlaveError, "S2MM: halted, slave error"),
    Fault.RECEIVE_DECODE: (errors.DmaDecodeError, "S2MM: halted, decode error"),
    Fault.NO_INPUT: (errors.StalledStreamError, r"The logic takes no input\. .*MM2S: running"),
    Fault.NO_ANSWER: (errors.StalledStreamError, r"The logic took 4 samples and answered 0\. .*S2MM: running"),
    Fault.NO_LAST: (errors.MissingLastError, "All 4 answers left the logic, but no TLAST with the last word"),
    Fault.SHORT_ANSWER: (errors.ShortPacketError, "answered 32 bytes with 44, expected 48"),
    Fault.NO_COMPLETION: (errors.TransferTimeoutError, "MM2S: running .* S2MM: idle"),
    Fault.NO_BUS: (errors.DeviceGoneError, "Nothing answers at 0x"),
    Fault.ALL_ONES: (errors.DeviceGoneError, "all bits set.*load the overlay again"),
}
STALLS = {Fault.NO_INPUT, Fault.NO_ANSWER, Fault.NO_LAST, Fault.NO_COMPLETION}


@pytest.fixture
def as_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """The board never says that waiting is hopeless, and the driver has no patience."""
    from hls4attn.host.emulated import dma

    monkeypatch.setattr(dma, "HOPELESS_POLLS", 10**9)


@pytest.fixture
def hasty(overlay, as_a_board):
    overlay.model.attach(overlay.package.design, overlay.axi_dma_0, timeout_s=0.1)
    return overlay


def check(error: DeviceError, fault: Fault) -> None:
    kind, match = NAMED[fault]
    assert isinstance(error, kind)
    assert re.search(match, str(error)), str(error)


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("fault", NAMED, ids=lambda f: f.name)
def test_each_fault_is_named_and_survived(hasty, device: EmulatedDevice, fault: Fault) -> None:
    works(hasty)
    buffers = dict(device.board.ddr.live)
    for _ in range(2):
        device.board.faults.inject(fault)
        with pytest.raises(DeviceError) as caught:
            hasty.model.predict_codes(random_codes(4))
        check(caught.value, fault)
        works(hasty)
    assert device.board.ddr.live == buffers


@pytest.mark.parametrize("fault", NAMED, ids=lambda f: f.name)
def test_each_fault_is_named_and_survived_by_tasks(hasty, device: EmulatedDevice, fault: Fault) -> None:
    async def go() -> None:
        device.board.faults.inject(fault)
        with pytest.raises(DeviceError) as caught:
            await hasty.model.predict_codes_async(random_codes(4))
        check(caught.value, fault)
        codes = random_codes(50)
        assert np.array_equal(await hasty.model.predict_codes_async(codes), dense(codes))

    asyncio.run(go())
    works(hasty)


@pytest.mark.parametrize("fault", sorted(STALLS, key=lambda f: f.name), ids=lambda f: f.name)
def test_the_emulated_board_knows_why_without_waiting(overlay, device: EmulatedDevice, fault: Fault) -> None:
    device.board.faults.inject(fault)
    with pytest.raises(NAMED[fault][0], match=rf"would wait for ever: {fault.value} \(a fault that was injected\)"):
        overlay.model.predict_codes(random_codes(4))
    works(overlay)


def test_a_fault_in_a_later_packet(overlay, device: EmulatedDevice) -> None:
    device.board.faults.inject(Fault.RECEIVE_SLAVE, after=2)
    with pytest.raises(errors.DmaSlaveError):
        overlay.model.predict_codes(random_codes(120))  # three packets
    works(overlay, 120)


def test_a_fault_that_stays_is_said_each_time(overlay, device: EmulatedDevice) -> None:
    device.board.faults.inject(Fault.NO_BUS, times=None)
    for _ in range(3):
        with pytest.raises(errors.DeviceGoneError, match="Nothing answers at 0x"):
            overlay.model.predict_codes(random_codes(4))
    device.board.faults.clear()
    works(overlay)


def test_a_lost_interrupt_is_named_and_survived(overlay, device: EmulatedDevice) -> None:
    async def go() -> None:
        codes = random_codes(4)
        for _ in range(2):
            device.board.faults.inject(Fault.LOST_INTERRUPT)
            with pytest.raises(errors.LostInterruptError, match=r"interrupt did not come. MM2S: idle.*S2MM: idle"):
                await overlay.model.predict_codes_async(codes)
            assert np.array_equal(await overlay.model.predict_codes_async(codes), dense(codes))

    asyncio.run(go())
    works(overlay)


def test_a_reset_that_does_not_end(overlay, device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RESET_S", 0.02)
    device.board.faults.inject(Fault.STUCK_RESET)
    with pytest.raises(errors.DmaError, match=r"did not come out of reset within 0\.02 s.*load the overlay again"):
        overlay.model.reset()
    works(overlay)


def test_a_reset_that_does_not_end_after_an_error(
    overlay, device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error is the one that is told; the reset is tried again by the next call."""
    monkeypatch.setattr(link, "RESET_S", 0.02)
    device.board.faults.inject(Fault.SEND_SLAVE)
    device.board.faults.inject(Fault.STUCK_RESET)
    with pytest.raises(errors.DmaSlaveError):
        overlay.model.predict_codes(random_codes(4))
    works(overlay)


def test_logic_that_somebody_configured(overlay, device: EmulatedDevice) -> None:
    """Another model answers: no code of it is taken for one of ours."""
    other = make_design(on=device.name, model=b"other")
    device.board.program(other, parse_hwh(build_hwh(other)), lambda codes: 0 * dense(codes))
    for _ in range(2):
        with pytest.raises(errors.WrongModelError, match="somebody configured the logic since. Load the overlay again"):
            overlay.model.predict_codes(random_codes(3))
    overlay.download()
    works(overlay)


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RuntimeError("Bus error"), type("RpcError", (Exception,), {})("away")]
)
def test_errors_of_drivers_and_networks(overlay, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(overlay.axi_dma_0.mmio, "read", lambda *_args: _raise(error))
    with pytest.raises(errors.DeviceGoneError, match="does not answer: .*(Input|Bus error|away)"):
        overlay.model.predict_codes(random_codes(3))
    monkeypatch.undo()
    works(overlay)


def test_what_is_no_fault_is_refused(device: EmulatedDevice) -> None:
    for bad in ({"fault": "NO_BUS"}, {"fault": Fault.NO_BUS, "times": 0}, {"fault": Fault.NO_BUS, "after": -1}):
        with pytest.raises(InputError, match="No such fault.*Known: SEND_INTERNAL"):
            device.board.faults.inject(**bad)


def test_every_fault_is_tested() -> None:
    assert set(Fault) == {*NAMED, Fault.LOST_INTERRUPT, Fault.STUCK_RESET}
