# SPDX-License-Identifier: Apache-2.0
"""The rung of gain cells as a co-processor: tokens one packet after the other, into windows that stay on the board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hls4attn.models.errors import InputError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

if TYPE_CHECKING:
    from hls4attn.host.board.gaincell_model import GainCellModel

NAME = "coprocessor"


@contextmanager
def cells_on_board(spec: GainCellSpec, board: str, layers: int = 1) -> Iterator[GainCellModel]:
    """The gain cells of some layers on a board, whose overlay is written into the cache.

    Args:
        spec: the heads of each layer.
        board: its name.
        layers: windows.

    Raises:
        DeviceError: if the board is not there or refuses.
        ToolError: if PYNQ is missing, or the compiler of the C simulation.
    """
    from hls4attn.hls.compiler import cache_dir
    from hls4attn.host.connect import connect
    from hls4attn.host.driver import load_overlay
    from hls4attn.overlays.boards import board as find_board
    from hls4attn.overlays.gaincell import GainCellDesign
    from hls4attn.overlays.package import write_package

    design = GainCellDesign.of(spec, find_board(board), layers=layers)
    folder: Path = cache_dir() / "overlays" / f"{design.name}-{design.model_id[:12]}-{board}"
    package = write_package(design, folder)
    device = connect(board, emulated=package.emulation or None, quiet=True)
    with load_overlay(package, device) as overlay:
        overlay.model.require(spec)
        yield overlay.model


class CoprocessorStage:
    """Gain cells on a board, for a graph that ends with them; what leads to them comes from the reference."""

    name = NAME

    def __init__(self, graph: Graph, model: Any) -> None:
        self._reference, self._model = Reference(graph), model
        self._node = graph.nodes[-1]
        if self._node.cells is None:
            raise InputError(f"The graph does not end with gain cells but with {self._node.name}")
        remark = ", C simulation: there is no RTL of the co-processor"
        self.device_tag = f"{model.device_tag}{remark if getattr(model.device, 'computes', None) == 'rtl' else ''}"

    def run(self, codes: Codes) -> Codes:
        """Sums of each sequence, from an empty window on, in packets of 1, 2, 3, ... tokens."""
        values = self._reference.trace(codes)
        results = []
        for operands in zip(*(values[name].swapaxes(1, 2) for name in self._node.inputs), strict=True):
            self._model.clear()
            edges = np.cumsum(np.arange(len(operands[0])))[1:]
            packets = zip(*(np.split(a, edges[edges < len(a)]) for a in operands), strict=True)
            results.append(np.concatenate([self._model.step(*packet) for packet in packets]))
        return np.stack(results).swapaxes(1, 2)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """The sums: a board shows nothing else."""
        return {self._node.output: self.run(codes)}


@contextmanager
def coprocessor_stage(graph: Graph, spec: GainCellSpec, board: str) -> Iterator[CoprocessorStage]:
    """Open the rung."""
    with cells_on_board(spec, board) as model:
        yield CoprocessorStage(graph, model)
