# SPDX-License-Identifier: Apache-2.0
"""Kernels in Verilog for the overlays that `build` makes: a whole model, and the bank of operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.models.errors import UnsupportedError

if TYPE_CHECKING:
    from hls4attn.hls.rtl.ip import RtlSource
    from hls4attn.hls.rtl.unit import RtlUnit
    from hls4attn.host.flow import Flow
    from hls4attn.host.operator_models import OperatorCase
    from hls4attn.overlays.operators import OperatorsDesign

    Sources = Callable[[Path], tuple[RtlSource, ...]]


def network_kernel(flow: Flow, fitted: bool) -> tuple[Sources, tuple[str, ...]]:
    """The kernel of a model; what has no RTL is refused at once.

    Args:
        flow: of the model, in io_stream.
        fitted: whether heads at a time and clocks a row are chosen here: the fastest that fit the board.

    Returns:
        The function that writes it, and what is known of it, in words.

    Raises:
        UnsupportedError: naming the node, or saying that nothing fits.
    """
    from hls4attn.hls.hwfile import lower_design
    from hls4attn.hls.rtl.ip import write_ip
    from hls4attn.hls.rtl.net.budget import AROUND, budget, fastest
    from hls4attn.hls.rtl.net.cycles import network_cycles
    from hls4attn.hls.rtl.net.network import network_unit
    from hls4attn.host.estimate import capacity
    from hls4attn.overlays.boards import board

    room = capacity(board(flow.board))
    if fitted:
        found = fastest(lambda config: lower_design(flow.graph, config), flow.graph, flow.settings, room)
        design, size, clocks = found.design, found.budget, found.clocks
        choice = f"{found.config.parallel_heads} heads at a time: the fastest that fits by count"
    else:
        design = lower_design(flow.graph, flow.settings)
        size, clocks = budget(design, flow.graph, room.dsp or 0), network_cycles(design, flow.graph)
        choice = f"reuse factor {flow.settings.reuse_factor}"
    unit = network_unit(design, flow.graph, size.chosen)
    notes = (
        f"Verilog, io_stream, {choice}",
        f"{clocks.latency:,} clocks from the first word of a sample to the last of its answer, by the model of the RTL",
        f"{size.dsp} DSP blocks, roughly {size.lut:,} LUT: counted, not synthesised; {AROUND:,} LUT are assumed around",
    )
    (kernel,) = flow.design.kernels
    title = f"{flow.name} between AXI streams, by hls4attn"
    return lambda folder: (write_ip(kernel.name, unit, folder / kernel.name, flow.settings.part, title),), notes


def rtl_operators(board: str) -> tuple[OperatorsDesign, Sources, tuple[str, ...]]:
    """The overlay with all operators that have a streaming unit.

    Args:
        board: name of the board that it is for.

    Returns:
        Its design, the function that writes its kernels, and a line for each operator that was left out.
    """
    from hls4attn.hls.rtl.ip import write_ip
    from hls4attn.host.operators_overlay import bank_cases, operators_overlay

    units: dict[OperatorCase, RtlUnit] = {}
    left_out = []
    for case in bank_cases():
        try:
            units[case] = _unit(case, board)
        except UnsupportedError as error:
            left_out.append(f"left out: {case.name}: {error}")
    design, _ = operators_overlay(board, cases=units)
    part = design.board.part

    def sources(folder: Path) -> tuple[RtlSource, ...]:
        return tuple(
            write_ip(kernel.name, unit, folder / kernel.name, part, f"{case.name} between AXI streams, by hls4attn")
            for (case, unit), kernel in zip(units.items(), design.kernels, strict=True)
        )

    return design, sources, tuple(left_out)


def _unit(case: OperatorCase, board: str) -> RtlUnit:
    """The unit of an operator, for the rows that it has in the bank.

    Raises:
        UnsupportedError: if there is none.
    """
    from hls4attn.hls.rtl.packed import packed_unit
    from hls4attn.hls.rtl.unit import rtl_unit
    from hls4attn.host.operators_overlay import operator_flow

    spec: Any = case.spec()
    graph = operator_flow(case, board).graph
    shape, formats = graph.input.shape, (graph.input.format, graph.output.format)
    unit = rtl_unit(spec, row_max=shape[-1])
    return packed_unit(f"{case.name}_words", unit, shape, formats, getattr(spec, "causal", False))
