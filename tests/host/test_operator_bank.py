# SPDX-License-Identifier: Apache-2.0
"""A bank of three functions that differ in everything: each packet goes to the one selected, and no error spreads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.operators import Operator, OperatorsDesign
from hls4attn.overlays.package import Package, write_package
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

pynq = pytest.importorskip("pynq")
from hls4attn.host.board.operator_bank import OperatorBank  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated.errors import EmulationDeadlock  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

BOARD = "pynq-z2"
_BYTE, _WORD = Fixed(8, 8), Fixed(16, 16)
_NEGATE = Operator("negate", "x -> -x", "1" * 64, StreamPort((3,), _BYTE), StreamPort((3,), _WORD))
_TOTAL = Operator("total", "sum of a row", "2" * 64, StreamPort((2, 7), _BYTE), StreamPort((2,), _WORD))
_TWICE = Operator("twice", "x -> (x, x)", "3" * 64, StreamPort((5,), _WORD), StreamPort((10,), _WORD))
FUNCTIONS: dict[str, Callable[[Codes], Codes]] = {
    "negate": lambda x: -x,
    "total": lambda x: x.sum(axis=-1),
    "twice": lambda x: np.concatenate([x, x], axis=-1),
}


def three(folder: Path, *operators: Operator) -> Package:
    return write_package(OperatorsDesign.of(operators or (_NEGATE, _TOTAL, _TWICE), board(BOARD)), folder)


def functions(package: Package) -> list[Callable[[Codes], Codes]]:
    design = package.design
    assert isinstance(design, OperatorsDesign)
    return [FUNCTIONS[operator.name] for operator in design.operators]


@pytest.fixture
def small(tmp_path):
    package = three(tmp_path)
    with load_overlay(package, EmulatedDevice(BOARD), lambda: functions(package), buffer_bytes=64) as overlay:
        yield overlay


def draw(operator: Operator, samples: int, seed: int = 0) -> Codes:
    fmt = operator.input.format
    return np.random.default_rng(seed).integers(fmt.min // 8, fmt.max // 8, (samples, *operator.input.shape))


def agree(bank: OperatorBank, name: str, samples: int, seed: int = 0) -> None:
    codes = draw(bank.operator(name), samples, seed)
    assert np.array_equal(bank.run(name, codes), FUNCTIONS[name](codes))


def test_each_packet_goes_to_the_operator_named(small) -> None:
    bank, counted = small.model, 0
    assert bank.names == ("negate", "total", "twice")
    for seed, (name, samples) in enumerate([("twice", 9), ("negate", 1), ("total", 20), ("negate", 40), ("twice", 1)]):
        agree(bank, name, samples, seed)
        counted += samples
        assert (bank.selected, bank.samples) == (name, counted)
    assert bank.last is not None
    assert bank.last.transfers == 1


def test_the_order_of_operators_in_the_logic_is_that_of_the_design(tmp_path) -> None:
    package = three(tmp_path, _TWICE, _NEGATE)
    with load_overlay(package, EmulatedDevice(BOARD), lambda: functions(package)) as overlay:
        for name in ("negate", "twice"):
            agree(overlay.model, name, 3)


def test_reset_selects_the_first(small) -> None:
    small.model.select("twice")
    assert small.model.selected == "twice"
    small.model.reset()
    assert (small.model.selected, small.model.samples) == ("negate", 0)


def test_a_number_beyond_the_last_operator_is_not_written(small) -> None:
    small.model.select("total")
    small.model.write(reg.SELECT, 3)
    assert small.model.selected == "total"
    small.model.write(reg.SELECT, 0xFFFFFFFF)
    assert small.model.selected == "total"


def test_select_is_for_the_next_packet_not_for_the_one_under_way(small) -> None:
    """The second operator is selected, and its packet offered, while the first one's answer has not left."""
    bank, dma, allocate = small.model, small.axi_dma_0, small.device.allocate
    codes = draw(_NEGATE, 3)
    with allocate((12,), "u1") as send, allocate((12,), "u1") as more, allocate((24,), "u1") as receive:
        send[:] = pack(codes, _NEGATE.input).ravel()
        more[:] = pack(np.ones((1, 5), dtype=int), _TWICE.input).ravel()
        for buffer in (send, more):
            buffer.flush()
        bank.select("negate")
        dma.sendchannel.transfer(send)
        dma.sendchannel.wait()
        bank.select("twice")
        dma.sendchannel.transfer(more)  # must wait, and must not count as a packet of another size
        dma.recvchannel.transfer(receive)
        dma.recvchannel.wait()
        receive.invalidate()
        assert np.array_equal(unpack(np.array(receive), _NEGATE.output), -codes)
        assert bank.samples == 3
        dma.recvchannel.transfer(receive, nbytes=20)
        dma.recvchannel.wait()
        receive.invalidate()
        assert np.array_equal(unpack(np.array(receive)[:20], _TWICE.output), np.ones((1, 10)))
        assert bank.samples == 4
    agree(bank, "twice", 2)


def test_a_packet_of_another_operators_size_is_diagnosed_and_survived(small) -> None:
    bank, dma = small.model, small.axi_dma_0
    bank.select("total")  # samples of 16 bytes
    with small.device.allocate((12,), "u1") as send, small.device.allocate((64,), "u1") as receive:
        dma.recvchannel.transfer(receive)
        dma.sendchannel.transfer(send)
        with pytest.raises(EmulationDeadlock, match="12 bytes into a sample of 16"):
            dma.recvchannel.wait()
    bank.reset()
    agree(bank, "total", 5)
    agree(bank, "negate", 5)


@pytest.mark.parametrize("name", ["softmax", "", None, 1])
def test_unknown_names_are_refused_and_nothing_is_sent(small, name: object) -> None:
    for call in (lambda: small.model.run(name, draw(_NEGATE, 1)), lambda: small.model.select(name)):
        with pytest.raises(InputError, match="negate, total, twice"):
            call()
    assert small.model.samples == 0


def test_codes_are_checked_against_the_operator_named(small) -> None:
    with pytest.raises(InputError, match=r"Expected shape \(N, 2, 7\)"):
        small.model.run("total", draw(_NEGATE, 1))
    with pytest.raises(InputError, match="300 .*outside"):
        small.model.run("negate", np.full((1, 3), 300))
    assert np.array_equal(small.model.run("twice", np.full((1, 5), 300)), np.full((1, 10), 300))


def test_logic_that_selects_another_operator_is_found(small, monkeypatch) -> None:
    model = small.device.board.block("operators_0")
    monkeypatch.setattr(model, "_bank", model._bank[:2])  # as if fewer operators had been built
    with pytest.raises(DeviceError, match="selects operator 0 instead of 2.*not built for this manifest"):
        small.model.run("twice", draw(_TWICE, 1))
    agree(small.model, "negate", 2)


def test_wrong_number_of_functions_is_refused(tmp_path) -> None:
    with pytest.raises(DeviceError, match="has 3 operators. Received: 2 kernels"):
        load_overlay(three(tmp_path), EmulatedDevice(BOARD), lambda: [FUNCTIONS["negate"]] * 2)


def test_a_failing_function_is_an_error_of_the_device_and_the_next_call_works(tmp_path) -> None:
    def fail(codes: Codes) -> Codes:
        raise ZeroDivisionError("no")

    made = [fail, FUNCTIONS["total"], FUNCTIONS["twice"]]
    with load_overlay(three(tmp_path), EmulatedDevice(BOARD), lambda: made) as overlay:
        with pytest.raises(DeviceError, match="ZeroDivisionError: no"):
            overlay.model.run("negate", draw(_NEGATE, 1))
        agree(overlay.model, "total", 4)


def test_operators_that_this_package_does_not_know_need_functions(tmp_path) -> None:
    with pytest.raises(DeviceError, match="pass kernel="):
        load_overlay(three(tmp_path), EmulatedDevice(BOARD))


def test_cycles_are_summed_if_every_operator_has_a_model(tmp_path) -> None:
    class Counted:
        def __init__(self, name: str, per_sample: int) -> None:
            self.run, self.per_sample = FUNCTIONS[name], per_sample

        def __call__(self, codes: Codes) -> Codes:
            return self.run(codes)

        def cycles(self, samples: int) -> int:
            return 8 + self.per_sample * samples  # the shell adds 2

    package = three(tmp_path)
    made = [Counted("negate", 1), Counted("total", 100), Counted("twice", 1000)]
    with load_overlay(package, EmulatedDevice(BOARD), lambda: made) as overlay:
        agree(overlay.model, "total", 3)
        agree(overlay.model, "negate", 5)
        assert overlay.model.cycles == 310 + 15
    made = [*made[:2], FUNCTIONS["twice"]]
    with load_overlay(package, EmulatedDevice("pynq-z1"), lambda: made) as overlay:
        assert overlay.model.cycles is None
