# SPDX-License-Identifier: Apache-2.0
"""Gain cells on emulated boards, unharmed by what is refused and empty after what fails."""

from dataclasses import replace

import numpy as np
import pytest
from dense_model import dense, make_design
from gaincells import (
    LAYERS,
    SMALL,
    WIDTH,
    Truth,
    agree,
    begun,
    draw,
    package,
    unharmed,
)

from hls4attn.models.errors import DeviceError, FormatError, InputError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.package import write_package

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import GainCellModel, load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.errors import StalledStreamError  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.fixture
def overlay(tmp_path):
    with load_overlay(package(tmp_path), EmulatedDevice("pynq-z2")) as overlay:
        yield overlay


@pytest.fixture
def model(overlay) -> GainCellModel:
    return overlay.model


Q, K, V = draw(SMALL, 3, 9)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: m.step(Q[..., :5], K, V), InputError, r"head_dim=6\), or \(tokens.*Received: \(3, 2, 5\)"),
        (lambda m: m.step(Q[None], K[None], V[None]), InputError, r"Received: \(1, 3, 2, 6\)"),
        (lambda m: m.step(Q[:0], K[:0], V[:0]), InputError, r"one token or more. Received: \(0, 2, 6\)"),
        (lambda m: m.step(Q, K[:2], V), InputError, r"k must be integer codes of shape \(3, 2, 6\).*\(2, 2, 6\)"),
        (lambda m: m.step(Q, K, V.astype(float)), InputError, "v must be integer codes .* Received: float64"),
        (lambda m: m.step([[1, 2], [3]], K, V), InputError, "Not an array"),
        (lambda m: m.step(Q + 16, K, V), FormatError, r"q outside ufixed<4,0,.*Received: \[1[6-9], 3"),
        (lambda m: m.step(Q, K + 8, V), FormatError, "k outside ufixed<3,0"),
        (lambda m: m.step(Q, K, V - 8), FormatError, "v outside ufixed<3,0"),
        (lambda m: m.step(Q, K, V, layer=3), InputError, "Layers are 0 to 2. Received: 3"),
        (lambda m: m.step(Q, K, V, layer=-1), InputError, "Layers are 0 to 2. Received: -1"),
        (lambda m: m.clear(1.0), InputError, "Layers are 0 to 2. Received: 1.0"),
        (lambda m: m.filled(True), InputError, "Layers are 0 to 2. Received: True"),
        (
            lambda m: m.load_table(np.zeros((8, 7), int)),
            InputError,
            r"shape \(8, 8\). Received: int64 of shape \(8, 7",
        ),
        (lambda m: m.load_table(np.zeros((7, 8), int)), InputError, r"Received: int64 of shape \(7, 8\)"),
        (lambda m: m.load_table(np.zeros((8, 8))), InputError, "keys must be integers .* Received: float64"),
        (lambda m: m.load_table(np.full((8, 8), 1 << 15)), FormatError, r"within \[-32768, 32767\].*current_width=16"),
        (lambda m: m.load_table(np.zeros((8, 8), int), np.ones((8, 8), int)), InputError, "share one table"),
        (lambda m: m.load_table([[1], [2, 3]]), InputError, "Not an array"),
        (lambda m: m.require(replace(SMALL, leak=0.5)), DeviceError, "not those of this spec"),
    ],
)
def test_refused_calls_leave_the_windows_alone(model, call, error: type, match: str) -> None:
    truth = begun(model)
    with pytest.raises(error, match=match):
        call(model)
    unharmed(model, truth)


def test_keys_and_values_of_different_levels_need_two_tables(tmp_path) -> None:
    spec = replace(SMALL, v_levels=4)
    with load_overlay(package(tmp_path, spec), EmulatedDevice("pynq-z2")) as overlay:
        with pytest.raises(InputError, match="Keys have 8 levels, values 4: give a table of values, too"):
            overlay.model.load_table(spec.tables[0])
        with pytest.raises(InputError, match=r"Currents of values .* \(8, 4\). Received: int64 of shape \(9, 8\)"):
            overlay.model.load_table(spec.tables[0], spec.tables[0])
        agree(overlay.model, Truth(spec), 20, 0)


def test_other_logic_is_refused(overlay) -> None:
    """Another leak is another table at power-up, and so another identity."""
    truth = begun(overlay.model)
    other = GainCellDesign.of(replace(SMALL, leak=0.5), board("pynq-z2"), layers=LAYERS, current_width=WIDTH)
    with pytest.raises(DeviceError, match=f"manifest of 'gaincell' describes {other.model_id[:16]}.*different models"):
        overlay.model.attach(other, overlay.axi_dma_0)
    unharmed(overlay.model, truth)


def test_each_driver_has_its_own_overlays(tmp_path) -> None:
    device = EmulatedDevice("pynq-z2")
    written = write_package(make_design(), tmp_path)
    with load_overlay(written, device, dense) as overlay:
        assert not isinstance(overlay.model, GainCellModel)
    with load_overlay(package(tmp_path), device) as overlay:
        assert isinstance(overlay.model, GainCellModel)
        bare = GainCellModel(overlay.ip_dict["gaincell_0"] | {"device": device})
        with pytest.raises(DeviceError, match="no DMA yet"):
            bare.step(Q, K, V)
        overlay.model.close()
        with pytest.raises(DeviceError, match="closed"):
            overlay.model.clear()
    assert device.board.ddr.live == {}


def test_plain_pynq_needs_the_heads_named(tmp_path) -> None:
    device, written = EmulatedDevice("pynq-z2"), package(tmp_path)
    with pytest.raises(DeviceError, match="has no kernel for model"):
        pynq.Overlay(str(written.bit), device=device)


# --- the board fails ---


def test_after_a_failure_the_windows_are_empty_and_it_says_so(overlay, monkeypatch) -> None:
    from hls4attn.host.emulated.cells import CellKernel

    model = overlay.model
    begun(model)
    take = CellKernel.take
    for broken, match in (
        (lambda self, limit: take(self, limit)[:-4], r"answered 108 bytes with 32, expected 36.*all windows are empty"),
        (lambda self, limit: b"\x7f" + take(self, limit)[1:], r"heads cannot give: Code 127.*all windows are empty"),
    ):
        monkeypatch.setattr(CellKernel, "take", broken)
        with pytest.raises(DeviceError, match=match):
            model.step(Q, K, V)
        monkeypatch.undo()
        assert model.tokens == 0
        unharmed(model, Truth(SMALL))


def test_a_dma_that_somebody_stopped(overlay) -> None:
    """Windows cannot survive the reset that is needed: it is said, and not answered from an empty window."""
    begun(overlay.model)
    overlay.axi_dma_0.mmio.write(reg.LENGTH, 0)
    with pytest.raises(DeviceError, match="begin again with the first token"):
        overlay.model.step(Q, K, V)
    unharmed(overlay.model, Truth(SMALL))


def test_logic_that_was_not_started(overlay) -> None:
    begun(overlay.model)
    overlay.model.write(reg.CTRL, 0)
    overlay.model.step(Q, K, V)  # the last packet
    with pytest.raises(StalledStreamError, match="gaincell_0 was not started.*all windows are empty"):
        overlay.model.step(Q, K, V)
    unharmed(overlay.model, Truth(SMALL))
