# SPDX-License-Identifier: Apache-2.0
"""Interrupts and event loops: PYNQ's own, and the driver's tasks and threads in turns."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, random_codes
from driven import SMALL, Flaky, works

from hls4attn.host.emulated.faults import Fault
from hls4attn.host.errors import DeviceBusyError
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.overlays.packing import pack, unpack

pynq = pytest.importorskip("pynq")
from hls4attn.host.board import link  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.fixture
def bare(device: EmulatedDevice, package):
    """An overlay as plain PYNQ loads it, on the active device."""
    pynq.Device.active_device = device
    written = package(on=device.name)
    device.register_kernel(written.design, dense)
    overlay = pynq.Overlay(str(written.bit), device=device)
    overlay.stream_model_0.write(0, 0x81)
    return overlay


def test_pynq_knows_the_interrupts(bare) -> None:
    pins = {f"axi_dma_0/{name}": index for index, name in enumerate(("mm2s_introut", "s2mm_introut"))}
    found = {pin: bare.interrupt_pins[pin]["index"] for pin in pins}
    assert found == pins
    assert bare.interrupt_controllers["axi_intc_0"]["parent"] == ""
    assert isinstance(bare.axi_dma_0.s2mm_introut, pynq.Interrupt)


def test_plain_pynq_waits_for_interrupts(bare) -> None:
    """DMA.wait_async, unmodified, over and over in one event loop."""

    async def go() -> None:
        dma = bare.axi_dma_0
        for samples in (1, 9, 400):
            codes = random_codes(samples, samples)
            x = pynq.allocate((samples, INPUT.sample_bytes), np.uint8)
            y = pynq.allocate((samples, OUTPUT.sample_bytes), np.uint8)
            x[:] = pack(codes, INPUT)
            dma.recvchannel.transfer(y)
            dma.sendchannel.transfer(x)
            await asyncio.wait_for(asyncio.gather(dma.sendchannel.wait_async(), dma.recvchannel.wait_async()), 5)
            assert dma.recvchannel.transferred == samples * OUTPUT.sample_bytes
            assert np.array_equal(unpack(np.array(y), OUTPUT), dense(codes))

    asyncio.run(go())


def test_an_interrupt_waits_for_what_another_thread_does(bare) -> None:
    """Between two interrupts the event loop rests; a write from elsewhere wakes it up."""
    dma = bare.axi_dma_0
    x = pynq.allocate((2, INPUT.sample_bytes), np.uint8)
    y = pynq.allocate((2, OUTPUT.sample_bytes), np.uint8)
    x[:] = pack(random_codes(2), INPUT)
    dma.recvchannel.transfer(y)

    async def go() -> None:
        waiting = asyncio.ensure_future(dma.recvchannel.wait_async())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await asyncio.get_running_loop().run_in_executor(None, dma.sendchannel.transfer, x)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(go())
    assert np.array_equal(unpack(np.array(y), OUTPUT), dense(random_codes(2)))


def test_the_driver_in_one_event_loop_after_the_other(overlay) -> None:
    """Each asyncio.run has a loop of its own, to which PYNQ's interrupts would not come."""

    async def go(seed: int) -> None:
        codes = random_codes(90, seed)
        assert np.array_equal(await overlay.model.predict_codes_async(codes), dense(codes))
        values = codes * 2.0**-INPUT.format.frac
        assert np.array_equal(await overlay.model.predict_async(values), dense(codes) * 2.0**-OUTPUT.format.frac)

    for seed in range(3):
        asyncio.run(go(seed))
        works(overlay)
    assert overlay.model.last.samples == 5


def test_the_interrupt_is_what_ends_the_wait(overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no look at the status for ten seconds, the answer is there at once."""
    monkeypatch.setattr(link, "LOOK_S", 10.0)
    begun = time.monotonic()
    asyncio.run(overlay.model.predict_codes_async(random_codes(200)))
    assert time.monotonic() - begun < 5


def test_an_overlay_without_interrupts(overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overlay.axi_dma_0.description, "interrupts", {})
    codes = random_codes(100)
    assert np.array_equal(asyncio.run(overlay.model.predict_codes_async(codes)), dense(codes))


def test_tasks_take_turns_and_others_run_meanwhile(overlay) -> None:
    ticks = 0

    async def clock() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def go() -> list[np.ndarray]:
        ticking = asyncio.ensure_future(clock())
        answers = await asyncio.gather(*(overlay.model.predict_codes_async(random_codes(70, n)) for n in range(8)))
        ticking.cancel()
        return answers

    for n, answer in enumerate(asyncio.run(go())):
        assert np.array_equal(answer, dense(random_codes(70, n)))
    assert ticks > 20


def test_tasks_and_threads_together(device: EmulatedDevice, package) -> None:
    def slow(codes: np.ndarray) -> np.ndarray:
        time.sleep(0.001)  # lets the others run in the middle of a transfer
        return dense(codes)

    async def tasks() -> bool:
        found = await asyncio.gather(*(overlay.model.predict_codes_async(random_codes(60, n)) for n in range(6)))
        return all(np.array_equal(a, dense(random_codes(60, n))) for n, a in enumerate(found))

    def thread(n: int) -> bool:
        codes = random_codes(50, n)
        return all(np.array_equal(overlay.model.predict_codes(codes), dense(codes)) for _ in range(5))

    with (
        load_overlay(package(on=device.name), device, slow, buffer_bytes=SMALL) as overlay,
        ThreadPoolExecutor(4) as pool,
    ):
        threads = [pool.submit(thread, n) for n in range(2)]
        loops = [pool.submit(lambda: asyncio.run(tasks())) for _ in range(2)]
        assert all(future.result(timeout=30) for future in (*threads, *loops))
        assert overlay.model.samples == 2 * 5 * 50 + 2 * 6 * 60


def test_a_blocking_call_beside_a_task_is_refused_instead_of_hanging(overlay, device: EmulatedDevice) -> None:
    async def go() -> None:
        device.board.faults.inject(Fault.NO_ANSWER)
        task = asyncio.ensure_future(overlay.model.predict_codes_async(random_codes(3)))
        await asyncio.sleep(0.01)
        with pytest.raises(DeviceBusyError, match="await it first, or await the _async method"):
            overlay.model.predict_codes(random_codes(3))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        works(overlay)

    asyncio.run(go())


def test_a_cancelled_task_leaves_a_model_that_works(overlay, device: EmulatedDevice) -> None:
    async def go() -> None:
        for _ in range(3):
            device.board.faults.inject(Fault.NO_ANSWER)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(overlay.model.predict_codes_async(random_codes(3)), 0.02)
            codes = random_codes(50)
            assert np.array_equal(await overlay.model.predict_codes_async(codes), dense(codes))

    asyncio.run(go())
    works(overlay)


def test_what_a_task_gets_wrong_is_said_before_anything_is_sent(overlay, kernel: Flaky) -> None:
    with pytest.raises(InputError, match="dtype int64"):
        asyncio.run(overlay.model.predict_async(np.zeros((1, 7), int)))
    kernel.error = ValueError("boom")
    with pytest.raises(DeviceError, match="kernel function of stream_model_0 failed: ValueError: boom"):
        asyncio.run(overlay.model.predict_codes_async(random_codes(2)))
    kernel.error = None
    works(overlay)


def test_a_model_that_is_closed_while_threads_wait(package) -> None:
    """They find it closed when it is their turn, rather than using freed memory."""
    begun, go_on = threading.Event(), threading.Event()

    def held(codes: np.ndarray) -> np.ndarray:
        begun.set()
        assert go_on.wait(10)
        return dense(codes)

    overlay = load_overlay(package(), EmulatedDevice("pynq-z2"), held)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(overlay.model.predict_codes, random_codes(2))
        assert begun.wait(10)
        closing = pool.submit(overlay.close)
        time.sleep(0.05)  # until close waits for its turn
        second = pool.submit(overlay.model.predict_codes, random_codes(2))
        time.sleep(0.05)
        go_on.set()
        assert np.array_equal(first.result(10), dense(random_codes(2)))
        closing.result(10)
        error = second.exception(10)
        if error is not None:  # the turns of threads have no order
            assert "closed; load the overlay again" in str(error)
