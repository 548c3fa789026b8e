# SPDX-License-Identifier: Apache-2.0
"""Gain cells as a co-processor on emulated boards: exact over any conversation, and unharmed by what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from dense_model import dense, make_design

from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.host import operator_models
from hls4attn.host.cli import main
from hls4attn.models.errors import DeviceError, FormatError, InputError
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL, MeasuredCurve
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.gaincell import GainCellDesign, table_of
from hls4attn.overlays.package import write_package
from hls4attn.overlays.packing import pack, unpack

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import GainCellModel, RunStats, load_overlay  # noqa: E402
from hls4attn.host.emulated.errors import EmulationDeadlock  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.errors import StalledStreamError  # noqa: E402

pytestmark = [pytest.mark.usefixtures("pynq_state"), pytest.mark.compile]

SATURATIONS = {"score_saturation": 30.0, "context_saturation": 8.0}
SMALL = GainCellSpec(heads=2, head_dim=6, window=8, tile=4, **SATURATIONS)
SPECS = {
    "the paper's cell": SMALL,
    "tiles by position, uneven levels": replace(SMALL, tiling="absolute", q_levels=11, k_levels=16, v_levels=4),
    "one head, padded words": GainCellSpec(heads=1, head_dim=5, window=6, tile=2, leak=0.2, **SATURATIONS),
}
LAYERS, WIDTH = 3, 16


def other_cells(spec: GainCellSpec) -> GainCellSpec:
    """The same structure with other currents."""
    return replace(spec, cell=LINEAR_CELL, leak=0.05)


def draw(spec: GainCellSpec, tokens: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, n, (tokens, spec.heads, spec.head_dim)) for n in (spec.q_levels, spec.k_levels, spec.v_levels)
    ]


def sequence(spec: GainCellSpec, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    return spec.reference(*(a.swapaxes(0, 1) for a in (q, k, v))).swapaxes(0, 1)


class Truth:
    """What each layer saw since it was cleared, and the integer reference of that."""

    def __init__(self, spec: GainCellSpec, layers: int = LAYERS) -> None:
        self.spec = spec
        self.seen = [draw(spec, 0, 0) for _ in range(layers)]
        self.cycles = self.tokens = 0

    def step(self, operands: list[np.ndarray], layer: int) -> np.ndarray:
        spec, before = self.spec, len(self.seen[layer][0])
        self.seen[layer] = [np.concatenate(pair) for pair in zip(self.seen[layer], operands, strict=True)]
        after = len(self.seen[layer][0])
        lanes = -(-spec.head_dim // spec.tile)
        for n in range(before + 1, after + 1):  # the formula of the documentation, spelt out
            filled = min(n, spec.window)
            tiles = -(-filled // spec.tile) + (spec.tiling == "absolute" and filled == spec.window)
            self.cycles += spec.heads * spec.tile * tiles + -(-spec.head_dim // lanes)
        self.tokens += after - before
        return sequence(spec, *self.seen[layer])[before:]

    def clear(self, layer: int | None) -> None:
        for n in range(len(self.seen)) if layer is None else [layer]:
            self.seen[n] = draw(self.spec, 0, 0)

    def filled(self, layer: int) -> int:
        return min(len(self.seen[layer][0]), self.spec.window)


def package(folder, spec: GainCellSpec = SMALL, on: str = "pynq-z2", **options):
    design = GainCellDesign.of(spec, board(on), **{"layers": LAYERS, "current_width": WIDTH, **options})
    return write_package(design, folder)


@pytest.fixture
def overlay(tmp_path):
    with load_overlay(package(tmp_path), EmulatedDevice("pynq-z2")) as overlay:
        yield overlay


@pytest.fixture
def model(overlay) -> GainCellModel:
    return overlay.model


def agree(model, truth: Truth, tokens: int, seed: int, layer: int = 0) -> None:
    operands = draw(truth.spec, tokens, seed)
    assert np.count_nonzero(model.step(*operands, layer=layer) != truth.step(operands, layer)) == 0


def unharmed(model, truth: Truth) -> None:
    """Every layer holds what it held, and goes on from there."""
    for layer in range(LAYERS):
        assert model.filled(layer) == truth.filled(layer)
        agree(model, truth, 2, 1000 + layer, layer)


def begun(model) -> Truth:
    """Layers 0 and 1 hold tokens, 2 none."""
    truth = Truth(SMALL)
    agree(model, truth, 5, 1, 0)
    agree(model, truth, 11, 2, 1)
    return truth


# --- exactness -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["pynq-z2", "kv260"])
@pytest.mark.parametrize("case", SPECS)
def test_any_conversation_is_exact(tmp_path, case: str, on: str) -> None:
    """Packets of 1 to 20 tokens to any layer, clearing and other tables, several times around the window."""
    spec = SPECS[case]
    rng = np.random.default_rng(len(case))
    with load_overlay(package(tmp_path, spec, on), EmulatedDevice(on), buffer_bytes=300) as overlay:
        model, truth = overlay.model, Truth(spec)
        model.require(spec)
        assert model.layers == LAYERS
        for number in range(150):
            layer, what = int(rng.integers(LAYERS)), rng.random()
            if what < 0.08:
                which = None if what < 0.02 else layer
                model.clear(which)
                truth.clear(which)
            elif what < 0.14:
                truth.spec = spec if what < 0.1 else other_cells(spec)
                model.load_table(*truth.spec.tables[: 1 + (spec.k_levels != spec.v_levels)])
            else:
                agree(model, truth, int(rng.integers(1, 21)), number, layer)
            assert [model.filled(n) for n in range(LAYERS)] == [truth.filled(n) for n in range(LAYERS)]
        assert truth.tokens > 500
        assert (model.tokens, model.cycles) == (truth.tokens, truth.cycles)
        assert model.cycles_are == "by the heads' formula, not measured"


def test_one_packet_or_many_give_the_same(model) -> None:
    operands = draw(SMALL, 30, 5)
    expected = sequence(SMALL, *operands)
    assert np.unique(expected).size > 5
    whole = model.step(*operands, layer=1)
    one = [model.step(*(a[n] for a in operands), layer=2) for n in range(30)]
    for found in (whole, np.stack(one)):
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)
    assert (model.filled(0), model.filled(1), model.filled(2)) == (0, 8, 8)
    assert model.last == RunStats(1, 1, 36, 12)


def test_ten_thousand_tokens_without_a_mismatch(tmp_path) -> None:
    """A head as in the paper but for its window, more than 80 times around it."""
    spec = GainCellSpec(heads=1, head_dim=64, window=128)
    operands = draw(spec, 10_240, 11)
    with load_overlay(package(tmp_path, spec), EmulatedDevice("pynq-z2")) as overlay:
        found = overlay.model.step(*operands, layer=2)
        assert np.count_nonzero(found != sequence(spec, *operands)) == 0
        assert overlay.model.last == RunStats(10_240, 2, 10_240 * 192, 10_240 * 64)


def test_a_token_may_be_any_integers(model) -> None:
    operands = draw(SMALL, 1, 3)
    expected = sequence(SMALL, *operands)[0]
    for kind in (np.uint8, np.int16, np.uint64, list):
        model.clear()
        given = [a[0].tolist() if kind is list else a[0].astype(kind) for a in operands]
        assert np.array_equal(model.step(*given), expected)


def test_a_measured_table_of_more_bits(model) -> None:
    loud = replace(SMALL, cell=MeasuredCurve((0.0, 0.3, 0.6, 0.9), (-120.0, -20.0, 5.0, 130.0)))
    truth = begun(model)
    model.load_table(loud.tables[0][:-1])
    assert np.abs(loud.tables[0]).max() > 1 << 13
    truth.spec = loud
    unharmed(model, truth)


def test_two_devices_at_once(tmp_path) -> None:
    """The same overlay on two boards: neither windows nor tables have anything in common."""
    places = (tmp_path / "a", "pynq-z2"), (tmp_path / "b", "aup-zu3")
    one, two = (load_overlay(package(folder, on=on), EmulatedDevice(on)) for folder, on in places)
    with one, two, ThreadPoolExecutor() as pool:
        truths = Truth(SMALL), Truth(other_cells(SMALL))
        two.model.load_table(truths[1].spec.tables[0])

        def talk(n: int) -> None:
            for number in range(40):
                agree((one, two)[n].model, truths[n], 1 + number % 5, 100 * n + number, number % LAYERS)

        list(pool.map(talk, range(2)))
        one.model.clear()
        truths[0].clear(None)
        for n, overlay in enumerate((one, two)):
            unharmed(overlay.model, truths[n])
        assert {o.model.device_tag for o in (one, two)} == {"emulated:pynq-z2", "emulated:aup-zu3"}


def test_threads_share_a_device_token_by_token(model) -> None:
    """Each thread has a layer; selecting it and sending are one step."""

    def talk(layer: int) -> bool:
        operands = draw(SMALL, 25, layer)
        found = [model.step(*(a[n : n + 1] for a in operands), layer=layer) for n in range(25)]
        return bool(np.array_equal(np.concatenate(found), sequence(SMALL, *operands)))

    with ThreadPoolExecutor(LAYERS) as pool:
        assert list(pool.map(talk, range(LAYERS))) == [True] * LAYERS


def test_downloading_again_begins_anew(overlay) -> None:
    begun(overlay.model)
    overlay.model.load_table(other_cells(SMALL).tables[0])
    overlay.download()
    assert overlay.model.cycles == overlay.model.tokens == 0
    unharmed(overlay.model, Truth(SMALL))


# --- what the driver refuses -----------------------------------------------------------------------------------

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


# --- the board fails ---------------------------------------------------------------------------------------------


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


# --- registers and packets, by hand --------------------------------------------------------------------------------


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


# --- the rung of `verify` --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [False, True])
def test_the_rung_of_the_ladder(monkeypatch, tmp_path, capsys, broken: bool) -> None:
    """It passes, and it finds a board that keeps a token too long."""
    step = GainCellSim.step

    def late(self, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        return step(self, q, k, v) if self.count < 4 else step(self, q, k[::-1], v)

    if broken:
        monkeypatch.setattr(GainCellSim, "step", late)
    monkeypatch.setattr(operator_models, "OPERATORS", {"gaincell": operator_models.OPERATORS["gaincell"][:1]})
    path = tmp_path / "rungs.json"
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--operator", "gaincell", "--samples", "320", "--stages", "board", "--json", str(path)])
    assert stopped.value.code == broken
    rows = {r["stage"]: r for r in json.loads(path.read_text())}
    assert set(rows) == {"board", "coprocessor"}
    assert rows["coprocessor"]["samples"] == 320
    assert rows["board"]["mismatches"] == 0
    assert (rows["coprocessor"]["mismatches"] > 0) == broken
    assert ("stages that differ from the reference: coprocessor" in capsys.readouterr().err) == broken
