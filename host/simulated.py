# SPDX-License-Identifier: Apache-2.0
"""What an emulated board computes for an overlay that says itself what it is: C simulations."""

from __future__ import annotations

from functools import partial
from typing import Any

from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.models.errors import ToolError
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign


def simulated_kernel(design: OverlayDesign) -> MakeCells | MakeKernels | None:
    """The C simulation of gain cells, or of a bank of the operators that this package knows; else None."""
    if isinstance(design, GainCellDesign):
        return partial(_cells, design)
    if isinstance(design, OperatorsDesign):
        try:
            from hls4attn.host.operators_overlay import simulated_operators
        except ModuleNotFoundError:  # no ONNX, as on a board
            return None
        return simulated_operators(design)
    return None


def _cells(design: GainCellDesign) -> Any:
    """A layer's heads in C simulation; slowly, with the same codes, where its tools are not installed."""
    try:
        from hls4attn.hls.gaincell_sim import GainCellSim

        return GainCellSim(design.spec, design.current_width)
    except (ModuleNotFoundError, ToolError):  # no ONNX, headers or compiler, as on a board
        from hls4attn.host.emulated.reference_cells import ReferenceCells

        return ReferenceCells(design.spec)
