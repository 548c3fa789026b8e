# SPDX-License-Identifier: Apache-2.0
"""A thousand predictions in one session: no wrong code, and not one buffer more than at the beginning."""

import asyncio
import gc

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, random_codes
from driven import SMALL

from hls4attn.host.emulated.faults import Fault
from hls4attn.models.errors import DeviceError

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")
CALLS = 1000


class Counted:
    """A board that counts what is allocated."""

    def __init__(self, name: str) -> None:
        self.device = EmulatedDevice(name)
        self.allocations = 0
        self._allocate, self.device.allocate = self.device.allocate, self.allocate

    def allocate(self, *args, **options):
        self.allocations += 1
        return self._allocate(*args, **options)


@pytest.mark.parametrize("on", ["pynq-z2", "kv260"])
def test_a_thousand_predictions(on: str, package) -> None:
    """Batches of 1 to 120 samples in any order, real values among them, from one load."""
    counted = Counted(on)
    device = counted.device
    rng = np.random.default_rng(42)
    with load_overlay(package(on=on), device, dense, buffer_bytes=SMALL) as overlay:
        buffers = dict(device.board.ddr.live)
        assert counted.allocations == len(buffers) == 2
        wrong = samples = 0
        for call in range(CALLS):
            codes = random_codes(int(rng.integers(1, 121)), call)
            if call % 5:
                wrong += int(np.count_nonzero(overlay.model.predict_codes(codes) != dense(codes)))
            else:
                real = overlay.model.predict(INPUT.format.to_real(codes))
                wrong += int(np.count_nonzero(real != OUTPUT.format.to_real(dense(codes))))
            samples += len(codes)
        assert wrong == 0
        assert overlay.model.samples == samples
        assert counted.allocations == 2
        assert device.board.ddr.live == buffers
    gc.collect()
    assert device.board.ddr.live == {}


def test_a_thousand_predictions_with_faults_between(package) -> None:
    """Any of the faults now and then, calls and tasks mixed: an answer is right, or there is none."""
    counted = Counted("pynq-z2")
    device = counted.device
    rng = np.random.default_rng(7)
    faults = [f for f in Fault if f not in (Fault.STUCK_RESET, Fault.LOST_INTERRUPT)]  # which take real time
    told = 0
    with load_overlay(package(), device, dense, buffer_bytes=SMALL, timeout_s=0.02) as overlay:
        buffers = dict(device.board.ddr.live)

        async def some(call: int) -> int:
            nonlocal told
            codes = random_codes(int(rng.integers(1, 90)), call)
            if call % 20 == 0:
                device.board.faults.inject(faults[call // 20 % len(faults)], after=int(rng.integers(0, 2)))
            try:
                predict = overlay.model.predict_codes_async(codes) if call % 3 else None
                answer = overlay.model.predict_codes(codes) if predict is None else await predict
            except DeviceError:
                told += 1
                return 0
            return int(np.count_nonzero(answer != dense(codes)))

        async def all_of_them() -> int:
            return sum([await some(call) for call in range(CALLS)])

        assert asyncio.run(all_of_them()) == 0
        assert 25 < told <= 50
        assert counted.allocations == 2
        assert device.board.ddr.live == buffers
