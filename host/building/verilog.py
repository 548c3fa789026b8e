# SPDX-License-Identifier: Apache-2.0
"""Kernels in Verilog for the overlays that `build` makes: a whole model, and the bank of operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.models.errors import UnsupportedError

if TYPE_CHECKING:
    from hls4attn.hls.rtl.ip import RtlSource
    from hls4attn.hls.rtl.unit import RtlUnit
    from hls4attn.host.flow import Flow
    from hls4attn.host.operator_models import OperatorCase
    from hls4attn.overlays.operators import OperatorsDesign

    Sources = Callable[[Path], tuple[RtlSource, ...]]


def network_kernel(flow: Flow) -> tuple[Sources, tuple[str, ...]]:
    """The kernel of a model; what has no RTL is refused at once.

    Args:
        flow: of the model, `for_rtl`.

    Returns:
        The function that writes it, and what is known of it, in words.

    Raises:
        UnsupportedError: naming the node, or saying that nothing fits.
    """
    from hls4attn.hls.rtl.ip import write_ip
    from hls4attn.hls.rtl.net.network import network_unit

    choice = flow.rtl_choice
    unit = network_unit(choice.design, flow.graph, choice.budget.chosen)
    (kernel,) = flow.design.kernels
    title = f"{flow.name} between AXI streams, by hls4attn"
    return lambda folder: (write_ip(kernel.name, unit, folder / kernel.name, flow.settings.part, title),), choice.notes


def rtl_operators(board: str) -> tuple[OperatorsDesign, Sources, tuple[str, ...]]:
    """The overlay with all operators that have a streaming unit.

    Args:
        board: name of the board that it is for.

    Returns:
        Its design, the function that writes its kernels, and a line for each operator that was left out.
    """
    from hls4attn.hls.rtl.ip import write_ip
    from hls4attn.host.operators_overlay import bank_cases, operator_flow, operators_overlay
    from hls4attn.host.rtl_stage import unit_in_words

    units: dict[OperatorCase, RtlUnit] = {}
    left_out = []
    for case in bank_cases():
        try:
            units[case] = unit_in_words(operator_flow(case, board).graph, case.name)
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
