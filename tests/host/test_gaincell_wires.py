# SPDX-License-Identifier: Apache-2.0
"""The gain cells' registers and packets, by hand."""

import numpy as np
import pytest
from gaincells import (
    LAYERS,
    SMALL,
    Truth,
    agree,
    begun,
    draw,
    other_cells,
    package,
    unharmed,
)

from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.gaincell import table_of
from hls4attn.overlays.packing import pack, unpack

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import GainCellModel, load_overlay  # noqa: E402
from hls4attn.host.emulated.errors import EmulationDeadlock  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.fixture
def overlay(tmp_path):
    with load_overlay(package(tmp_path), EmulatedDevice("pynq-z2")) as overlay:
        yield overlay


@pytest.fixture
def model(overlay) -> GainCellModel:
    return overlay.model


class Wires:
    """An overlay's registers and streams without the driver."""

    def __init__(self, overlay) -> None:
        self.overlay, self.ip, self.dma = overlay, overlay.gaincell_0, overlay.axi_dma_0
        self.design = overlay.package.design

    def error(self) -> int:
        """Bits of ERROR, which are then cleared."""
        found = int(self.ip.read(reg.ERROR))
        self.ip.write(reg.ERROR, found)
        assert self.ip.read(reg.ERROR) == 0
        return found

    def send(self, data: bytes) -> None:
        buffer = self.overlay.device.allocate((len(data),), np.uint8)
        buffer[:] = np.frombuffer(data, np.uint8)
        self.dma.sendchannel.transfer(buffer)

    def receive(self, nbytes: int = 400):
        buffer = self.overlay.device.allocate((nbytes,), np.uint8)
        self.dma.recvchannel.transfer(buffer)
        return buffer

    def sums(self, buffer) -> np.ndarray:
        self.dma.recvchannel.wait()
        return unpack(np.array(buffer)[: self.dma.recvchannel.transferred], self.design.output)

    def restart(self) -> None:
        """Stop and start the channels, without a reset."""
        for channel in (self.dma.sendchannel, self.dma.recvchannel):
            channel.stop()
            channel.start()

    def pack(self, operands: list[np.ndarray]) -> bytes:
        return pack(np.stack(operands, axis=1), self.design.input).tobytes()


@pytest.fixture
def wires(overlay) -> Wires:
    return Wires(overlay)


def test_a_packet_that_ends_inside_a_token(wires, model) -> None:
    """Whole tokens count, the piece of one is dropped."""
    truth, operands = begun(model), draw(SMALL, 3, 4)
    wires.ip.write(reg.LAYER, 2)
    answer = wires.receive()
    wires.send(wires.pack(operands)[:-4])
    expected = truth.step([a[:2] for a in operands], 2)
    assert np.array_equal(wires.sums(answer), expected)
    assert wires.error() == reg.PACKET_ERROR
    assert reg.error_words(reg.PACKET_ERROR) == "a packet ended inside a token, which was dropped"
    unharmed(model, truth)
    assert wires.error() == 0


def test_a_packet_of_less_than_a_token(wires, model) -> None:
    truth = begun(model)
    wires.receive()
    wires.send(wires.pack(draw(SMALL, 1, 4))[:8])
    with pytest.raises(EmulationDeadlock, match="ended 8 bytes into a token of 36, which gaincell_0 dropped"):
        wires.dma.recvchannel.wait()
    wires.restart()
    assert wires.error() == reg.PACKET_ERROR
    unharmed(model, truth)


@pytest.mark.parametrize(
    ("operand", "code", "match"),
    [(0, 16, "Code 16 at index"), (1, 8, "k outside ufixed<3,0"), (2, 15, "v outside ufixed<3,0")],
)
def test_a_packet_with_codes_of_no_level(wires, model, operand: int, code: int, match: str) -> None:
    truth, data = begun(model), bytearray(wires.pack(draw(SMALL, 2, 4)))
    data[36 + 12 * operand] = code
    wires.receive()
    with pytest.raises(DeviceError, match=match):
        wires.send(bytes(data))
        wires.dma.recvchannel.wait()
    with pytest.raises(DeviceError, match=match):
        wires.dma.mmio.read(0)
    wires.restart()
    unharmed(model, truth)


def test_nothing_changes_while_a_packet_is_under_way(wires, model) -> None:
    truth, operands = begun(model), draw(SMALL, 4, 6)
    wires.ip.write(reg.LAYER, 1)
    wires.send(wires.pack(operands))
    for _ in range(10):  # the packet arrives; nobody takes its sums
        wires.ip.read(reg.CTRL)
    expected = truth.step(operands, 1)
    for refused in (model.clear, lambda: model.clear(1), lambda: model.load_table(other_cells(SMALL).tables[0])):
        with pytest.raises(DeviceError, match="refused: a command came while a packet was under way.* as they were"):
            refused()
        assert wires.error() == 0
    wires.ip.write(reg.LAYER, 0)  # for the next packet
    assert np.array_equal(wires.sums(wires.receive()), expected)
    unharmed(model, truth)


def test_layers_beyond_the_last(wires, model) -> None:
    truth = begun(model)
    wires.ip.write(reg.LAYER, 1)
    for layer in (LAYERS, 0xFFFFFFFF):
        wires.ip.write(reg.LAYER, layer)
        assert wires.error() == reg.LAYER_ERROR
        assert wires.ip.read(reg.LAYER) == 1
    unharmed(model, truth)


def test_tables_that_are_not_whole(wires, model) -> None:
    truth, words = begun(model), [int(w) & 0xFFFFFFFF for w in table_of(other_cells(SMALL)).ravel()]

    def write(*given: int) -> None:
        for word in given:
            wires.ip.write(reg.TABLE_DATA, word)

    def use() -> int:
        wires.ip.write(reg.COMMAND, reg.USE_TABLE)
        return wires.error()

    wires.ip.write(reg.TABLE_ADDRESS, 0)
    assert use() == reg.TABLE_ERROR  # nothing
    write(*words[:-1])
    assert wires.ip.read(reg.TABLE_ADDRESS) == len(words) - 1
    assert use() == reg.TABLE_ERROR  # one word is missing
    write(words[-1], 0)  # one too many: void
    assert wires.error() == reg.TABLE_ERROR
    assert wires.ip.read(reg.TABLE_ADDRESS) == 0
    for wrong in (1 << 15, (-(1 << 15) - 1) & 0xFFFFFFFF):  # a bit too wide
        write(*words[:5], wrong)
        assert wires.error() == reg.TABLE_ERROR
        assert wires.ip.read(reg.TABLE_ADDRESS) == 0
    wires.ip.write(reg.TABLE_ADDRESS, 7)  # no place to begin
    assert wires.error() == reg.TABLE_ERROR
    write(*words[:30])
    unharmed(model, truth)  # tokens pass while a table is half written
    wires.ip.write(reg.TABLE_ADDRESS, 0)
    write(*words)
    unharmed(model, truth)
    assert use() == 0
    truth.spec = other_cells(SMALL)
    unharmed(model, truth)


def test_reset_empties_windows_and_counters_but_not_the_table(wires, model) -> None:
    begun(model)
    model.load_table(other_cells(SMALL).tables[0])
    wires.ip.write(reg.LAYER, 2)
    wires.ip.write(reg.LAYER, 9)
    wires.ip.write(reg.TABLE_DATA, 1)
    model.reset()
    for offset in (reg.LAYER, reg.ERROR, reg.FILLED, reg.SAMPLES, reg.CYCLES_LO, reg.CYCLES_HI, reg.TABLE_ADDRESS):
        assert wires.ip.read(offset) == 0
    unharmed(model, Truth(other_cells(SMALL)))


def test_registers_that_only_read_or_only_write(wires, model) -> None:
    truth = begun(model)
    kept = {o: wires.ip.read(o) for o in (reg.MODEL_ID_LO, reg.SAMPLES, reg.CYCLES_LO, reg.CYCLES_HI, reg.FILLED)}
    for offset, value in kept.items():
        wires.ip.write(offset, 0x55)
        assert wires.ip.read(offset) == value
    assert wires.ip.read(reg.COMMAND) == wires.ip.read(reg.TABLE_DATA) == 0
    assert int(wires.ip.register_map.TOKENS) == model.tokens == 16
    unharmed(model, truth)


def test_cycles_of_more_than_32_bits(wires, model) -> None:
    kernel = next(block for block in wires.overlay.device.board._pl if block.name == "gaincell_0")
    kernel._cycles = (7 << 32) - 1
    assert model.cycles == (7 << 32) - 1
    truth = Truth(SMALL)
    agree(model, truth, 3, 0)
    assert model.cycles == (7 << 32) - 1 + truth.cycles
