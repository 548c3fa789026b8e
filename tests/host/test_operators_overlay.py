# SPDX-License-Identifier: Apache-2.0
"""The bank of operators on the emulated board: every operator exact, none answering for another."""

from pathlib import Path

import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS, operator_codes
from hls4attn.host.operators_overlay import REUSE, ROWS, bank_cases, operator_flow, operators_overlay
from hls4attn.models.errors import DeviceError
from hls4attn.models.export.stages import ReferenceEvaluatorStage
from hls4attn.models.formats import Codes
from hls4attn.overlays.boards import board
from hls4attn.overlays.operators import Operator, OperatorsDesign
from hls4attn.overlays.package import write_package
from hls4attn.overlays.packing import pack, unpack

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

BOARD = "pynq-z2"
CASES = {case.name: case for case in bank_cases()}

SHELL_CYCLES = 2  # a register each way, as tests/hls/test_shell.py counts them


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
    assert bank.cycles == model("consmax_direct", 3) + model("layernorm", 5) + 2 * SHELL_CYCLES


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


def test_another_form_of_a_known_operator_needs_functions_too(tmp_path) -> None:
    design, _ = operators_overlay(BOARD)
    first = design.operators[0]
    changed = Operator(first.name, first.title, "0" * 64, first.input, first.output)
    package = write_package(OperatorsDesign.of([changed], board(BOARD)), tmp_path)
    with pytest.raises(DeviceError, match="pass kernel="):
        load_overlay(package, EmulatedDevice(BOARD))


def test_rows_are_those_of_the_models() -> None:
    shapes = {operator.name: operator.input.shape for operator in operators_overlay(BOARD)[0].operators}
    assert shapes["softmax"] == (2, ROWS, ROWS)
    assert shapes["layernorm"] == (ROWS, 48)
