# SPDX-License-Identifier: Apache-2.0
"""What an emulated board computes for an overlay that says itself what it is: C simulations, or simulated RTL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hls4attn.host.emulated.cells import MakeCells
from hls4attn.host.emulated.operators import MakeKernels
from hls4attn.models.errors import ToolError
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign


def simulated_kernel(design: OverlayDesign, model: str = "csim") -> MakeCells | MakeKernels | None:
    """The simulation of gain cells, or of a bank of the operators that this package knows; else None.

    Args:
        design: of the overlay.
        model: "csim" or "rtl", see `connect`.  The co-processor of gain cells is C++ alone, which its cycles say.
    """
    if isinstance(design, GainCellDesign):
        return _Cells(design, "; C simulation: there is no RTL of the co-processor" if model == "rtl" else "")
    if isinstance(design, OperatorsDesign):
        try:
            from hls4attn.host.operators_overlay import simulated_operators
        except ModuleNotFoundError:  # no ONNX, as on a board
            return None
        return simulated_operators(design, model)
    return None


@dataclass(frozen=True)
class _Cells:
    """A layer's heads in C simulation; slowly, with the same codes, where its tools are not installed.

    Attributes:
        design: of the overlay.
        remark: on where its cycles come from.
    """

    design: GainCellDesign
    remark: str

    def __call__(self) -> Any:
        try:
            from hls4attn.hls.gaincell_sim import GainCellSim

            return GainCellSim(self.design.spec, self.design.current_width)
        except (ModuleNotFoundError, ToolError):  # no ONNX, headers or compiler, as on a board
            from hls4attn.host.emulated.reference_cells import ReferenceCells

            return ReferenceCells(self.design.spec)
