# SPDX-License-Identifier: Apache-2.0
"""The overlay `operators`: every score function and norm of this package, each alone in hardware.

Score functions have no streaming form of their own, so all kernels are arrays (`io_parallel`).  Sizes are small enough
for all of them together on a PYNQ-Z2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.host.cycle_kernel import CountedKernel, CycleKernel
from hls4attn.host.emulated.kernel import Kernel
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.host.flow import Flow
from hls4attn.host.operator_models import OPERATORS, OperatorCase, operator_model
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.overlays.boards import board as find_board
from hls4attn.overlays.operators import Operator, OperatorsDesign
from hls4attn.overlays.ports import StreamPort

if TYPE_CHECKING:
    from hls4attn.hls.axis import KernelSource

ROWS = 8  # tokens of a sample: as many rows of scores, of as many elements each
REUSE = 8
_ELSEWHERE = ("gaincell",)  # has an overlay of its own, which remembers

Sources = Callable[[Path], tuple["KernelSource", ...]]
"""Writes every kernel's sources into ``<folder>/<kernel>``, in the order of their numbers."""


def bank_cases() -> tuple[OperatorCase, ...]:
    """The operators of the bank, in the order of their numbers."""
    return tuple(case for family, cases in OPERATORS.items() if family not in _ELSEWHERE for case in cases)


def operator_flow(case: OperatorCase, board: str) -> Flow:
    """An operator of the bank on its way to a board."""
    from hls4attn.hls.config import HlsConfig

    config = HlsConfig(part=find_board(board).part, io_type="io_parallel", reuse_factor=REUSE, project_name=case.name)
    return Flow(case.name, operator_model(case.spec(), ROWS), board=board, config=config)


def operators_overlay(
    board: str, name: str = "operators", cases: Iterable[OperatorCase] | None = None
) -> tuple[OperatorsDesign, Sources]:
    """The overlay with all operators.

    Args:
        board: name of the board that it is for.
        name: of the overlay.
        cases: those that it has; all of `bank_cases` if not given.

    Returns:
        Its design, and the function that writes its kernels.

    Raises:
        UnsupportedError: for an unknown board.
    """
    flows = {case: operator_flow(case, board) for case in (bank_cases() if cases is None else cases)}
    clock_mhz = min(1000 / flow.settings.clock_period_ns for flow in flows.values())
    operators = [_operator(case, flow) for case, flow in flows.items()]
    design = OperatorsDesign.of(operators, find_board(board), name=name, clock_mhz=clock_mhz)

    def sources(folder: Path) -> tuple[KernelSource, ...]:
        from hls4attn.hls.axis import kernel_source

        return tuple(
            kernel_source(flow.project, kernel.name, folder / kernel.name)
            for flow, kernel in zip(flows.values(), design.kernels, strict=True)
        )

    return design, sources


def simulated_operators(design: OperatorsDesign, model: str = "csim") -> MakeKernels | None:
    """What an emulated board computes for a bank: the simulation of each operator, compiled when it is first used.

    Args:
        design: of the bank.
        model: "csim", or "rtl": the streaming unit of each operator that has one, and C simulation for the others.

    Returns:
        Makes the functions; None if the bank holds an operator that this package does not know in this form.
    """
    cases = {case.name: case for case in bank_cases()}
    flows = []
    for operator in design.operators:
        if operator.name not in cases:
            return None
        flow = operator_flow(cases[operator.name], design.board.name)
        if flow.model_id != operator.model_id:
            return None
        flows.append(flow)
    if model == "rtl":
        return lambda: [_unit_or_simulated(flow) for flow in flows]
    return lambda: [_Simulated(flow) for flow in flows]


def _unit_or_simulated(flow: Flow) -> Kernel:
    """The unit of an operator; without one, C simulation and the cycle model, in words that hold for both."""
    from hls4attn.hls.rtl.unit import rtl_unit
    from hls4attn.host.rtl_stage import RtlPacketStage, operator_of

    words = "counted in simulated RTL; of an operator without a streaming unit by the cycle model, not measured"
    try:
        rtl_unit(operator_of(flow.graph))
    except UnsupportedError:
        simulated = _Simulated(flow)
        return CycleKernel(simulated, simulated.cycles, words)
    return CountedKernel(lambda: RtlPacketStage(flow.graph), words)


class _Simulated:
    """The C simulation of an operator, compiled when it is first used, and the cycle model of its kernel."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def __call__(self, codes: Codes) -> Codes:
        return self._flow.csim.run(codes)

    def cycles(self, samples: int) -> int:
        """Cycles of a packet."""
        return self._model(samples)

    @cached_property
    def _model(self) -> Callable[[int], int]:
        from hls4attn.hls.hwfile import lower_design
        from hls4attn.hls.stream.packets import cycles_of

        return cycles_of(lower_design(self._flow.graph, self._flow.settings), self._flow.settings)


def _operator(case: OperatorCase, flow: Flow) -> Operator:
    graph = flow.graph
    source, answer = (StreamPort(side.shape, side.format) for side in (graph.input, graph.output))
    return Operator(case.name, case.title, flow.model_id, source, answer)
