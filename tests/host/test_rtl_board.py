# SPDX-License-Identifier: Apache-2.0
"""Emulated boards that compute with Verilog: the same codes, and cycles that were counted."""

import numpy as np
import pytest

from hls4attn.host.cycle_kernel import CountedKernel
from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_model
from hls4attn.host.operators_overlay import bank_cases, operator_flow, operators_overlay
from hls4attn.host.rtl_stage import RtlOperatorStage, RtlPacketStage
from hls4attn.models.export.execute import Reference
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.overlays.boards import board
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.package import write_package

pynq = pytest.importorskip("pynq")
from hls4attn.host.connect import connect  # noqa: E402
from hls4attn.host.driver import load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")

BOARD = "pynq-z2"
CASES = {case.name: case for case in bank_cases()}
SHELL_CYCLES = 2  # a register each way


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", "rtl")
    design, _ = operators_overlay(BOARD)
    with load_overlay(write_package(design, tmp_path), EmulatedDevice(BOARD)) as overlay:
        yield overlay.model


def inputs(name: str, rows: int) -> Codes:
    return operator_codes(operator_flow(CASES[name], BOARD).graph, rows, 3)


@pytest.mark.compile
def test_operators_of_the_bank_run_on_their_units(bank) -> None:
    """Also one without a unit, whose cycles are of a model, which the text says."""
    assert bank.cycles_are == (
        "counted in simulated RTL; of an operator without a streaming unit by the cycle model, not measured"
    )
    counted = 0
    for name in ("consmax_direct_causal", "layernorm", "e2softmax_shift"):
        graph = operator_flow(CASES[name], BOARD).graph
        codes = inputs(name, 300)
        assert np.array_equal(bank.run(name, codes), Reference(graph).run(codes)), name
        if name == "layernorm":
            stage = RtlPacketStage(graph)
            stage.run(codes)
            assert bank.cycles == counted + stage.cycles + SHELL_CYCLES
            assert 0 < stage.cycles - codes.size < 200  # an element a clock, and what lies before the first answer
        assert bank.cycles > counted
        counted = bank.cycles


@pytest.mark.compile
def test_the_rung_of_an_operator_on_such_a_board() -> None:
    from hls4attn.host.flow import Flow

    case = OPERATORS["e2softmax"][1]
    flow = Flow(case.name, operator_model(case.spec()), board=BOARD, rtl=RtlOperatorStage)
    codes = operator_codes(flow.graph, 64, 0)
    before = connect(BOARD, emulated=True, quiet=True).computes
    try:
        with flow.on_board("rtl") as overlay:
            assert np.array_equal(overlay.model.predict_codes(codes), Reference(flow.graph).run(codes))
            stage = RtlPacketStage(flow.graph)
            stage.run(codes)
            assert overlay.model.cycles == stage.cycles + SHELL_CYCLES
            assert overlay.model.cycles_are == "counted in simulated RTL"
    finally:
        connect(BOARD, emulated=True, quiet=True, model=before)


@pytest.mark.compile
@pytest.mark.parametrize("model", ["csim", "rtl"])
def test_the_co_processor_of_gain_cells_stays_in_c_and_says_so(tmp_path, model: str, monkeypatch) -> None:
    monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", model)
    design = GainCellDesign.of(GainCellSpec(1, 4, 4, 2), board(BOARD))
    with load_overlay(write_package(design, tmp_path), EmulatedDevice(BOARD)) as overlay:
        sums = overlay.model.step(*(np.ones((2, 1, 4), dtype=np.int64) for _ in "qkv"))
        assert sums.shape == (2, 1, 4)
        assert overlay.model.cycles_are == "by the heads' formula, not measured" + (
            "; C simulation: there is no RTL of the co-processor" if model == "rtl" else ""
        )


def test_cycles_are_those_of_the_last_packet_and_the_stage_opens_late() -> None:
    class Stage:
        cycles: int | None = None
        cycles_are = "counted"

        def run(self, codes: Codes) -> Codes:
            self.cycles = 7 * len(codes) + int(codes.sum())
            return codes + 1

    made: list[Stage] = []
    kernel = CountedKernel(lambda: made.append(Stage()) or made[-1], "counted")
    assert made == []
    for packet in (np.array([1, 2]), np.array([5])):
        assert np.array_equal(kernel(packet), packet + 1)
        assert kernel.cycles(len(packet)) == 7 * len(packet) + packet.sum()
    assert len(made) == 1
