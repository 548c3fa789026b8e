# SPDX-License-Identifier: Apache-2.0
"""The driver after errors of the board: usable again after every one."""

import numpy as np
import pytest
from dense_model import dense, make_design, random_codes
from driven import Flaky, works

from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.errors import DmaDecodeError, DmaInternalError, ShortPacketError, StalledStreamError, WrongModelError  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


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
    with pytest.raises(DmaInternalError, match=r"S2MM: halted, internal error \(length 0, or a packet longer"):
        overlay.model.predict_codes(random_codes(3))
    device.register_kernel(overlay.package.design, kernel)
    overlay.download()
    works(overlay)


def test_a_freed_buffer_is_a_decode_error(overlay, device: EmulatedDevice) -> None:
    live = dict(device.board.ddr.live)
    saved = dict(device.board.ddr._live)
    device.board.ddr._live.pop(max(live))  # the receive buffer, allocated second
    with pytest.raises(DmaDecodeError, match="S2MM: halted, decode error"):
        overlay.model.predict_codes(random_codes(2))
    device.board.ddr._live.update(saved)
    works(overlay)


def test_a_stopped_model_is_a_deadlock_and_starts_again(overlay) -> None:
    works(overlay)
    overlay.model.write(reg.CTRL, 0)  # clears AUTO_RESTART: one more packet, then no more
    works(overlay)
    with pytest.raises(StalledStreamError, match="stream_model_0 was not started"):
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
    monkeypatch.setattr(StreamKernel, "take", lambda self, limit: take(self, limit)[:-4])
    with pytest.raises(ShortPacketError, match="answered 16 bytes with 20, expected 24"):
        overlay.model.predict_codes(random_codes(2))
    monkeypatch.undo()
    works(overlay)


def test_an_impossible_code_from_the_board_is_refused(overlay, monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.host.emulated.kernel import StreamKernel

    take = StreamKernel.take
    monkeypatch.setattr(StreamKernel, "take", lambda self, limit: b"\xff\x7f" + take(self, limit)[2:])
    with pytest.raises(DeviceError, match=r"cannot give: Code 32767 at index \(0, 0\)"):
        overlay.model.predict_codes(random_codes(2))


def test_another_model_in_the_logic_is_refused(overlay) -> None:
    other = make_design(on=overlay.package.design.board.name, model=b"other")
    with pytest.raises(WrongModelError, match=f"manifest of 'nn' describes {other.model_id[:16]}"):
        overlay.model.attach(other, overlay.axi_dma_0)
    works(overlay)
