# SPDX-License-Identifier: Apache-2.0
"""What only a board's Linux does: refusals, names that say nothing, interrupts as files."""

import asyncio
import errno
import os

import pytest
from dense_model import dense, make_design, random_codes
from gaincells import package as cells_package

pynq = pytest.importorskip("pynq")
from fake_board import FakeBoard, built_package  # noqa: E402

from hls4attn.host.board.interrupts import BoundInterrupt  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.errors import DeviceGoneError, WrongPartError  # noqa: E402
from hls4attn.models.errors import DeviceError  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.fixture
def built(tmp_path):
    return built_package(make_design(), tmp_path)


@pytest.fixture
def board(built):
    return FakeBoard("pynq-z2", {built.design: dense})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "loaded.xclbin"), "current folder, and cannot: Permission"),
        (OSError("Root permissions required."), r"was not configured: Root permissions required\. On a board, run as"),
        (PermissionError(errno.EACCES, "Permission denied", "/sys/x"), "not configured: /sys/x: Permission denied"),
    ],
)
def test_what_linux_refuses_is_explained_and_gives_the_board_back(built, board, monkeypatch, error, said) -> None:
    def refuse(*_arguments):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(board, "download", refuse)
        with pytest.raises(DeviceError, match=said):
            load_overlay(built, board)
    load_overlay(built, board).close()


def test_the_part_is_compared_where_only_the_image_names_the_board(built, board, monkeypatch) -> None:
    """XRT calls every embedded device the same."""
    board.name = "edge"
    monkeypatch.setenv("BOARD", "ZCU104")
    with pytest.raises(WrongPartError, match="this ZCU104 has xczu7ev"):
        load_overlay(built, board)
    monkeypatch.setenv("BOARD", "Pynq-Z2")
    load_overlay(built, board).close()


@pytest.fixture
def silent_line(tmp_path, monkeypatch) -> None:
    """A pipe in place of /dev/uio, on which nothing ever comes."""
    os.mkfifo(tmp_path / "uio0")
    monkeypatch.setattr("pynq.interrupt.get_uio_irq", lambda _irq: str(tmp_path / "uio0"))
    monkeypatch.setattr("pynq.uio.UioController.add_event", lambda self, event, _number: self.wait_events.append(event))


@pytest.mark.usefixtures("silent_line")
def test_a_listener_of_an_interrupt_leaves_its_line(built, board) -> None:
    """Who goes on listening takes what comes from the next one, which then waits for ever."""

    async def go() -> None:
        loop = asyncio.get_running_loop()
        bound = BoundInterrupt(board, "axi_dma_0/s2mm_introut")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(bound.wait(), 0.02)
        line = bound._controller.parent
        assert line.wait_events and loop.remove_reader(line.uio)
        loop.add_reader(line.uio, lambda: None)
        bound.close()
        assert not line.wait_events and not loop.remove_reader(line.uio)

    with load_overlay(built, board):
        asyncio.run(go())


@pytest.mark.usefixtures("silent_line")
def test_each_call_that_loses_its_interrupt_leaves_no_listener(built, board, monkeypatch) -> None:
    monkeypatch.setattr("hls4attn.host.board.link.LOOK_S", 0.01)
    monkeypatch.setattr("hls4attn.host.board.link.GRACE_S", 0.01)
    closed = []
    close = BoundInterrupt.close
    monkeypatch.setattr(BoundInterrupt, "close", lambda self: (closed.append(self), close(self)))

    async def go(model) -> None:
        for _ in range(2):
            with pytest.raises(DeviceError, match="its interrupt did not come"):
                await model.predict_codes_async(random_codes(1))

    with load_overlay(built, board) as overlay:
        asyncio.run(go(overlay.model))
    assert len(closed) == len(set(map(id, closed))) == 2


def test_buffers_are_not_given_back_under_a_transfer(built, board) -> None:
    with load_overlay(built, board) as overlay:
        link, dma = overlay.model._link, board.inner.board.block("axi_dma_0")
        link._dma.recvchannel.transfer(link._receive, nbytes=4)
        assert dma._receive.busy
        link._under_way = True  # as after a transfer whose reset failed
    assert not dma._receive.busy


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.clear(),
        lambda model: model.filled(1),
        lambda model: model.load_table([[0] * model.design.spec.k_levels] * model.design.spec.window),
        lambda model: model.tokens,
    ],
)
def test_gain_cells_name_a_bus_that_fails(tmp_path, monkeypatch, use) -> None:
    def fail(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    with load_overlay(cells_package(tmp_path), EmulatedDevice("pynq-z2")) as overlay:
        with monkeypatch.context() as broken:
            for access in ("read", "write"):
                broken.setattr(overlay.model.mmio, access, fail)
            with pytest.raises(DeviceGoneError, match="does not answer: OSError"):
                use(overlay.model)
        overlay.model.clear()
