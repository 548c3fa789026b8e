# SPDX-License-Identifier: Apache-2.0
"""The bank of operators on the emulated board: every operator exact, none answering for another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS, operator_codes
from hls4attn.host.operators_overlay import REUSE, ROWS, bank_cases, operator_flow, operators_overlay
from hls4attn.models.errors import DeviceError, InputError
from hls4attn.models.export.stages import ReferenceEvaluatorStage
from hls4attn.models.formats import Codes, Fixed
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.operators import Operator, OperatorsDesign
from hls4attn.overlays.package import Package, write_package
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated.errors import EmulationDeadlock  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402
from hls4attn.host.operator_bank import OperatorBank  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

BOARD = "pynq-z2"
CASES = {case.name: case for case in bank_cases()}


def reference(name: str, codes: Codes) -> Codes:
    """The graph's own meaning, node by node, without the simulation that the emulated board runs."""
    flow = operator_flow(CASES[name], BOARD)
    return ReferenceEvaluatorStage(flow.graph, flow.model).run(codes)


def inputs(name: str, rows: int, seed: int) -> Codes:
    return operator_codes(operator_flow(CASES[name], BOARD).graph, rows, seed)


@pytest.fixture
def bank(tmp_path):
    design, _ = operators_overlay(BOARD)
    with load_overlay(write_package(design, tmp_path), EmulatedDevice(BOARD)) as overlay:
        yield overlay.model


def test_the_bank_has_every_operator_but_the_cells() -> None:
    titles = {case.title for name, cases in OPERATORS.items() if name != "gaincell" for case in cases}
    design, _ = operators_overlay(BOARD)
    assert {operator.title for operator in design.operators} == titles
    assert len({case.name for cases in OPERATORS.values() for case in cases}) == sum(map(len, OPERATORS.values()))


@pytest.mark.compile
@pytest.mark.parametrize("name", ["consmax_direct_causal", "e2softmax_shift", "layernorm"])
def test_operators_are_exact(bank, name: str) -> None:
    codes = inputs(name, 300, 3)
    assert np.count_nonzero(bank.run(name, codes) != reference(name, codes)) == 0


@pytest.mark.compile
@pytest.mark.slow
def test_every_operator_is_exact_in_any_order(bank) -> None:
    rng = np.random.default_rng(0)
    codes = {name: inputs(name, 4000, seed) for seed, name in enumerate(bank.names)}
    wanted = {name: reference(name, x) for name, x in codes.items()}
    for name in [*bank.names, *rng.choice(bank.names, 60)]:
        first, count = (int(n) for n in rng.integers(1, len(codes[name]) // 2, 2))
        part = slice(first, first + count)
        assert np.count_nonzero(bank.run(str(name), codes[name][part]) != wanted[name][part]) == 0, name


def exact_on_words(folder: Path, names: tuple[str, ...]) -> int:
    """Kernels as they are built for the board, from stream words to stream words, in packets of different sizes."""
    from hls4attn.hls.axis_sim import AxisSim

    design, sources = operators_overlay(BOARD)
    written = sources(folder)
    assert [(s.name, s.vlnv) for s in written] == [(k.name, k.vlnv) for k in design.kernels]
    tried = 0
    for operator, source in zip(design.operators, written, strict=True):
        if operator.name not in names:
            continue
        assert source.folder == folder / operator.kernel.name
        codes = inputs(operator.name, 120, 5)
        n = len(codes)
        packets = [pack(part, operator.input).tobytes() for part in (codes[:1], codes[1 : n - 2], codes[n - 2 :])]
        answers = AxisSim(source).run(packets, n, n * operator.output.sample_bytes // 4)
        assert [len(a) // operator.output.sample_bytes for a in answers] == [1, n - 3, 2]
        found = np.concatenate([unpack(answer, operator.output) for answer in answers])
        assert np.count_nonzero(found != reference(operator.name, codes)) == 0, operator.name
        tried += 1
    return tried


@pytest.mark.compile
def test_a_kernel_as_it_is_built_is_exact_on_stream_words(tmp_path) -> None:
    assert exact_on_words(tmp_path, ("ailayernorm",)) == 1


@pytest.mark.compile
@pytest.mark.slow
def test_every_kernel_as_it_is_built_is_exact_on_stream_words(tmp_path) -> None:
    assert exact_on_words(tmp_path, tuple(CASES)) == len(CASES)


@pytest.mark.compile
def test_cycles_are_those_of_the_kernels_model(bank) -> None:
    from hls4attn.hls.stream.packets import packet_cycles

    def model(name: str, samples: int) -> int:
        return packet_cycles(operator_flow(CASES[name], BOARD).project, samples)

    assert "not measured" in bank.cycles_are
    bank.run("consmax_direct", inputs("consmax_direct", 100, 0)[:3])
    bank.run("layernorm", inputs("layernorm", 100, 0)[:5])
    assert bank.cycles == model("consmax_direct", 3) + model("layernorm", 5) > 0


@pytest.mark.parametrize("target", ["pynq-z2", "aup-zu3"])
def test_the_bank_fits_the_smallest_boards(target: str) -> None:
    from hls4attn.hls.estimate import estimate
    from hls4attn.hls.fit import fit
    from hls4attn.hls.hwfile import lower_design
    from hls4attn.host.estimate import capacity

    used = dict.fromkeys(("dsp", "bram36", "lut", "ff"), 0.0)
    room = capacity(board(target))
    for case in bank_cases():
        flow = operator_flow(case, target)
        assert flow.settings.reuse_factor == REUSE
        assert flow.settings.part == board(target).part
        found = estimate(lower_design(flow.graph, flow.settings), flow.settings)
        assert not found.limits, case.name
        for kind, amount in fit(found.resources, room).used.items():
            used[kind] += amount
    for kind, amount in used.items():
        assert amount <= 0.8 * getattr(room, kind), f"{kind}: nothing left for DMA and shell"


# --- a bank of three functions that differ in everything: no compiler needed -----------------------------

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


def test_another_form_of_a_known_operator_needs_functions_too(tmp_path) -> None:
    design, _ = operators_overlay(BOARD)
    first = design.operators[0]
    changed = Operator(first.name, first.title, "0" * 64, first.input, first.output)
    package = write_package(OperatorsDesign.of([changed], board(BOARD)), tmp_path)
    with pytest.raises(DeviceError, match="pass kernel="):
        load_overlay(package, EmulatedDevice(BOARD))


def test_cycles_are_summed_if_every_operator_has_a_model(tmp_path) -> None:
    class Counted:
        def __init__(self, name: str, per_sample: int) -> None:
            self.run, self.per_sample = FUNCTIONS[name], per_sample

        def __call__(self, codes: Codes) -> Codes:
            return self.run(codes)

        def cycles(self, samples: int) -> int:
            return 10 + self.per_sample * samples

    package = three(tmp_path)
    made = [Counted("negate", 1), Counted("total", 100), Counted("twice", 1000)]
    with load_overlay(package, EmulatedDevice(BOARD), lambda: made) as overlay:
        agree(overlay.model, "total", 3)
        agree(overlay.model, "negate", 5)
        assert overlay.model.cycles == 310 + 15
    made = [*made[:2], FUNCTIONS["twice"]]
    with load_overlay(package, EmulatedDevice("pynq-z1"), lambda: made) as overlay:
        assert overlay.model.cycles is None


def test_rows_are_those_of_the_models() -> None:
    shapes = {operator.name: operator.input.shape for operator in operators_overlay(BOARD)[0].operators}
    assert shapes["softmax"] == (2, ROWS, ROWS)
    assert shapes["layernorm"] == (ROWS, 48)
