# SPDX-License-Identifier: Apache-2.0
"""The driver on emulated boards: exact for any batch, and what it refuses."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, random_codes
from driven import SMALL, Flaky, works
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hls4attn.models.errors import InputError

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import RunStats, load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


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
