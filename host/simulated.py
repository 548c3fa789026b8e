# SPDX-License-Identifier: Apache-2.0
"""What an emulated board computes for an overlay that says itself what it is: C simulations, or simulated RTL."""

from __future__ import annotations

from functools import partial
from typing import Any

from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.models.errors import ToolError, UnsupportedError
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign


def simulated_kernel(design: OverlayDesign, model: str = "csim") -> MakeCells | MakeKernels | None:
    """The simulation of gain cells, or of a bank of the operators that this package knows; else None.

    Args:
        design: of the overlay.
        model: "csim" or "rtl", see `connect`.

    Raises:
        UnsupportedError: for the RTL of gain cells, whose unit does not keep its window from packet to packet here.
    """
    if isinstance(design, GainCellDesign):
        if model == "rtl":
            raise UnsupportedError(
                f"{design.name}: the co-processor of gain cells runs in C simulation only; connect(model='csim')"
            )
        return partial(_cells, design)
    if isinstance(design, OperatorsDesign):
        try:
            from hls4attn.host.operators_overlay import simulated_operators
        except ModuleNotFoundError:  # no ONNX, as on a board
            return None
        return simulated_operators(design, model)
    return None


def _cells(design: GainCellDesign) -> Any:
    """A layer's heads in C simulation; slowly, with the same codes, where its tools are not installed."""
    try:
        from hls4attn.hls.gaincell_sim import GainCellSim

        return GainCellSim(design.spec, design.current_width)
    except (ModuleNotFoundError, ToolError):  # no ONNX, headers or compiler, as on a board
        from hls4attn.host.emulated.reference_cells import ReferenceCells

        return ReferenceCells(design.spec)
