# SPDX-License-Identifier: Apache-2.0
"""The driver on emulated boards: exact for any batch, and usable again after every error."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hls4attn.models.errors import DeviceError, InputError, ModelFileError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.bitfile import MARK

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import RunStats, load_overlay  # noqa: E402
from hls4attn.host.emulated.errors import EmulationDeadlock  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")
SMALL = 40 * OUTPUT.sample_bytes  # buffers of 40 samples


class Flaky:
    """A kernel that can be told to fail."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls: list[int] = []

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.calls.append(len(codes))
        if self.error is not None:
            raise self.error
        return dense(codes)


@pytest.fixture(params=["pynq-z2", "aup-zu3"])
def device(request: pytest.FixtureRequest) -> EmulatedDevice:
    return EmulatedDevice(request.param)


@pytest.fixture
def kernel() -> Flaky:
    return Flaky()


@pytest.fixture
def overlay(device: EmulatedDevice, kernel: Flaky, package):
    with load_overlay(package(on=device.name), device, kernel, buffer_bytes=SMALL) as overlay:
        yield overlay


def works(overlay, samples: int = 5) -> None:
    codes = random_codes(samples, samples)
    assert np.count_nonzero(overlay.model.predict_codes(codes) != dense(codes)) == 0


# --- exactness ---------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 130), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_any_sequence_of_batches_is_exact(overlay, kernel: Flaky, sizes: list[int], seed: int) -> None:
    before = overlay.model.samples
    for size in sizes:
        codes = random_codes(size, seed)
        kernel.calls.clear()
        answer = overlay.model.predict_codes(codes)
        assert type(answer) is np.ndarray
        assert answer.dtype == np.int64
        assert np.count_nonzero(answer != dense(codes)) == 0
        transfers = -(-size // 40)
        assert overlay.model.last == RunStats(size, transfers, size * 8, size * 12)
        assert kernel.calls == [40] * (size // 40) + [size % 40] * (size % 40 > 0)
    assert overlay.model.samples == before + sum(sizes)


def test_ten_thousand_samples_without_a_mismatch(overlay) -> None:
    codes = random_codes(10_000, 3)
    assert np.count_nonzero(overlay.model.predict_codes(codes) != dense(codes)) == 0


def test_real_values_are_quantised_by_the_port_and_returned_exactly(overlay) -> None:
    values = np.random.default_rng(1).normal(0, 2, (30, 7))
    expected = dense(INPUT.format.quantise(values)) * 2.0**-OUTPUT.format.frac
    for dtype in (np.float64, np.float32):
        batch = values.astype(dtype)
        answer = overlay.model.predict(batch)
        assert answer.dtype == np.float64
        assert np.array_equal(answer, dense(INPUT.format.quantise(batch)) * 2.0**-6)
    assert np.array_equal(overlay.model.predict(values.tolist()), expected)


def test_answers_are_copies(overlay) -> None:
    first, second = random_codes(3, 1), random_codes(3, 2)
    answer = overlay.model.predict_codes(first)
    overlay.model.predict_codes(second)
    assert np.array_equal(answer, dense(first))
    answer[:] = 0
    assert np.array_equal(overlay.model.predict_codes(first), dense(first))


def test_multidimensional_samples_and_one_sample_above_the_buffer(package) -> None:
    from hls4attn.models.formats import Fixed
    from hls4attn.overlays.ports import StreamPort

    big = StreamPort((3, 5, 7), Fixed(20, 3))
    device = EmulatedDevice("kv260")
    written = package(on="kv260", input=big, output=StreamPort((7, 3), Fixed(24, 3)))
    codes = np.random.default_rng(0).integers(big.format.min, big.format.max + 1, (9, 3, 5, 7))

    def total(x: np.ndarray) -> np.ndarray:
        return x.sum(axis=2).swapaxes(1, 2)

    with load_overlay(written, device, total, buffer_bytes=1) as overlay:
        assert np.array_equal(overlay.model.predict_codes(codes), total(codes))
        assert overlay.model.last.transfers == 9


def test_chunks_respect_the_length_register(package) -> None:
    from hls4attn.overlays.design import DmaSpec

    device = EmulatedDevice("pynq-z2")
    with load_overlay(package(dma=DmaSpec(length_width=8)), device, dense) as overlay:
        works(overlay, 100)
        assert overlay.model.last.transfers == -(-100 // (255 // 12))


def test_threads_take_turns(package) -> None:
    def slow(codes: np.ndarray) -> np.ndarray:
        time.sleep(0.002)  # lets the other threads run in the middle of a transfer
        return dense(codes)

    batches = [random_codes(50, seed) for seed in range(8)]
    with load_overlay(package(), EmulatedDevice("pynq-z2"), slow, buffer_bytes=SMALL) as overlay:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(overlay.model.predict_codes, batches))
        assert overlay.model.samples == 400
    assert all(np.array_equal(a, dense(b)) for a, b in zip(answers, batches, strict=True))


def test_results_name_the_device(overlay, device: EmulatedDevice) -> None:
    assert overlay.model.device_tag == f"emulated:{device.name}"
    assert overlay.model.design == overlay.package.design


# --- refused input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (np.zeros((2, 8)), r"Expected shape \(N, 7\). Received: \(2, 8\)"),
        (np.zeros(7), r"add a batch axis: batch\[None\] has shape \(1, 7\)"),
        (np.zeros((0, 7)), "batch is empty"),
        (np.zeros((1, 7), int), "dtype int64. For integer codes there is predict_codes"),
        (np.zeros((1, 7), complex), "dtype complex128"),
        (np.full((1, 7), "a"), "Received: dtype"),
        (np.array([[0, 0, 0, 0, 0, 0, np.nan]]), r"Value nan at index \(0, 6\)"),
        (np.array([[0, -np.inf, 0, 0, 0, 0, np.nan]]), r"Value -inf at index \(0, 1\) has no code \(2 of 7"),
        ([[1.0], [1.0, 2.0]], "Not an array"),
    ],
)
def test_what_is_no_batch_of_reals_is_refused(overlay, batch, match: str) -> None:
    with pytest.raises(InputError, match=match):
        overlay.model.predict(batch)
    assert overlay.model.last is None
    works(overlay)


def test_codes_outside_the_format_are_refused_before_anything_is_sent(overlay, kernel: Flaky) -> None:
    codes = random_codes(100)
    codes[77, 3] = 32
    with pytest.raises(InputError, match=r"Code 32 at index \(77, 3\) is outside -32\.\.31"):
        overlay.model.predict_codes(codes)
    with pytest.raises(InputError, match="Codes must be integers"):
        overlay.model.predict_codes(np.zeros((1, 7)))
    assert kernel.calls == []


def test_impossible_settings_are_refused(package) -> None:
    device = EmulatedDevice("pynq-z2")
    for settings_ in ({"buffer_bytes": 0}, {"timeout_s": 0}, {"timeout_s": float("nan")}):
        with pytest.raises(InputError, match="must be positive"):
            load_overlay(package(), device, dense, **settings_)
    assert device.board.ddr.live == {}
    load_overlay(package(), device, dense).close()  # the refusals gave the device back


# --- errors of the board, and recovery ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("boom"), DeviceError("boom")])
def test_a_failing_kernel_and_the_next_call(overlay, kernel: Flaky, error: Exception) -> None:
    kernel.error = error
    with pytest.raises(DeviceError, match=r"kernel function of stream_model_0 failed: .*boom"):
        overlay.model.predict_codes(random_codes(3))
    kernel.error = None
    works(overlay, 90)


def test_an_interrupt_and_the_next_call(overlay, kernel: Flaky) -> None:
    kernel.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        overlay.model.predict_codes(random_codes(3))
    kernel.error = None
    works(overlay, 90)


def test_an_error_left_behind_by_somebody_else_is_cleared(overlay) -> None:
    dma = overlay.axi_dma_0
    dma.mmio.write(reg.LENGTH, 0)
    assert dma.sendchannel.error
    works(overlay)


def test_a_dma_error_is_reported_in_words(overlay, device: EmulatedDevice, kernel: Flaky) -> None:
    def too_long(codes: np.ndarray) -> np.ndarray:
        """While the model computes, somebody shortens the receive buffer."""
        board = device.board
        base = overlay.ip_dict["axi_dma_0"]["phys_addr"] + reg.S2MM
        for block in board._pl:
            if block.base == base - reg.S2MM:
                block._receive.length = 4
        return dense(codes)

    device.register_kernel(overlay.package.design, too_long)
    overlay.download()
    with pytest.raises(DeviceError, match=r"S2MM: halted, internal error \(length 0, or a packet longer"):
        overlay.model.predict_codes(random_codes(3))
    device.register_kernel(overlay.package.design, kernel)
    overlay.download()
    works(overlay)


def test_a_freed_buffer_is_a_decode_error(overlay, device: EmulatedDevice) -> None:
    live = dict(device.board.ddr.live)
    saved = dict(device.board.ddr._live)
    device.board.ddr._live.pop(max(live))  # the receive buffer, allocated second
    with pytest.raises(DeviceError, match="S2MM: halted, decode error"):
        overlay.model.predict_codes(random_codes(2))
    device.board.ddr._live.update(saved)
    works(overlay)


def test_a_stopped_model_is_a_deadlock_and_starts_again(overlay) -> None:
    works(overlay)
    overlay.model.write(reg.CTRL, 0)  # clears AUTO_RESTART: one more packet, then no more
    works(overlay)
    with pytest.raises(EmulationDeadlock, match="was not started"):
        overlay.model.predict_codes(random_codes(2))
    works(overlay)


def test_a_timeout_reports_the_status_and_the_next_call_works(package, monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.host.emulated import dma

    monkeypatch.setattr(dma, "HOPELESS_POLLS", 10**9)  # as a board: it never says so
    with load_overlay(package(), EmulatedDevice("pynq-z2"), dense, timeout_s=0.05) as overlay:
        works(overlay)
        overlay.model.write(reg.CTRL, 0)
        works(overlay)
        with pytest.raises(DeviceError, match=r"No answer within 0\.05 s\. MM2S: running \(DMASR 0x0001"):
            overlay.model.predict_codes(random_codes(1))
        works(overlay)


def test_a_short_answer_is_refused(overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.host.emulated.kernel import StreamKernel

    take = StreamKernel.take
    monkeypatch.setattr(StreamKernel, "take", lambda self: take(self)[:-4])
    with pytest.raises(DeviceError, match="answered 16 bytes with 20, expected 24"):
        overlay.model.predict_codes(random_codes(2))
    monkeypatch.undo()
    works(overlay)


def test_an_impossible_code_from_the_board_is_refused(overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.host.emulated.kernel import StreamKernel

    take = StreamKernel.take
    monkeypatch.setattr(StreamKernel, "take", lambda self: b"\xff\x7f" + take(self)[2:])
    with pytest.raises(DeviceError, match=r"cannot give: Code 32767 at index \(0, 0\)"):
        overlay.model.predict_codes(random_codes(2))


def test_another_model_in_the_logic_is_refused(overlay) -> None:
    other = make_design(on=overlay.package.design.board.name, model=b"other")
    with pytest.raises(DeviceError, match=f"manifest of 'nn' describes {other.model_id[:16]}"):
        overlay.model.attach(other, overlay.axi_dma_0)
    works(overlay)


# --- ownership, memory, files ------------------------------------------------------------------------------


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


def test_an_emulation_file_is_refused_by_a_real_device(package) -> None:
    class RealDevice(pynq.Device):
        def __init__(self) -> None:
            super().__init__("real")

    written = package()
    assert MARK.encode() in written.bit.read_bytes()
    with pytest.raises(DeviceError, match="only serves the emulated board and configures no device"):
        load_overlay(written, RealDevice(), dense)


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
