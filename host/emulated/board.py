# SPDX-License-Identifier: Apache-2.0
"""A whole board: processing-system registers, memory, and the logic that an overlay configures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from xml.etree import ElementTree as ET

from hls4attn.host.emulated.blocks import RegisterBlock, clock_blocks
from hls4attn.host.emulated.cells import CellKernel, MakeCells
from hls4attn.host.emulated.ddr import Ddr
from hls4attn.host.emulated.dma import AxiDma
from hls4attn.host.emulated.errors import BusError
from hls4attn.host.emulated.kernel import Kernel, StreamKernel
from hls4attn.host.emulated.operators import MakeKernels, OperatorKernel
from hls4attn.host.emulated.topology import Cell, cells, reset_driver, stream_sinks
from hls4attn.models.errors import DeviceError
from hls4attn.overlays.boards import Board
from hls4attn.overlays.design import DMA_VLNV, IP_VLNV, OverlayDesign
from hls4attn.overlays.gaincell import CELLS_VLNV, GainCellDesign
from hls4attn.overlays.operators import OPERATORS_VLNV, OperatorsDesign

CMA_BASE = {"zynq": 0x10000000, "zynquplus": 0x20000000}


class EmulatedBoard:
    """Address map and behaviour of a board.

    Args:
        board: which one.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.ddr = Ddr(CMA_BASE[board.family], board.cma_mb << 20)
        self._ps = clock_blocks(board)
        self._pl: list[RegisterBlock] = []
        self.programmed: str | None = None

    def read32(self, address: int) -> int:
        """Read a register, after the logic has moved on by one step.

        Raises:
            BusError: if nothing answers at the address.
            EmulationDeadlock: if the host polls for what can never happen.
            DeviceError: if the kernel function fails.
        """
        self._tick()
        block = self._at(address)
        return block.read32(address - block.base) & 0xFFFFFFFF

    def write32(self, address: int, value: int) -> None:
        """Write a register; raises as `read32`."""
        block = self._at(address)
        block.write32(address - block.base, value & 0xFFFFFFFF)
        self._tick()

    def program(self, design: OverlayDesign, hwh: ET.Element, kernel: Kernel | MakeCells | MakeKernels) -> None:
        """Configure the logic from a hardware handoff; a failure leaves the old configuration.

        Args:
            design: ports and model id of the IP.
            hwh: root element of the handoff; instances, addresses and streams are taken from it.
            kernel: what the model IP computes, or what makes the heads of a gain-cell IP or the functions of a bank.

        Raises:
            DeviceError: if the handoff holds an IP without a model, or no complete loop of streams.
        """
        found = cells(hwh)
        blocks = {cell.instance: self._model(cell, design, kernel) for cell in found}
        _connect(hwh, blocks)
        self._pl = list(blocks.values())
        self.programmed = design.name

    def block(self, instance: str) -> RegisterBlock | None:
        """The model of a cell of the overlay that is loaded."""
        return next((block for block in self._pl if block.name == instance), None)

    def _model(self, cell: Cell, design: OverlayDesign, kernel: Kernel | MakeCells | MakeKernels) -> RegisterBlock:
        kind = cell.vlnv.rpartition(":")[0]
        if kind == design.ip_vlnv.rpartition(":")[0]:
            if isinstance(design, GainCellDesign):
                return CellKernel(design, cast(MakeCells, kernel), cell.base, cell.size)
            if isinstance(design, OperatorsDesign):
                return OperatorKernel(design, cast(MakeKernels, kernel), cell.base, cell.size)
            return StreamKernel(design, cast(Kernel, kernel), cell.base, cell.size)
        if kind != DMA_VLNV.rpartition(":")[0]:
            raise DeviceError(
                f"The emulated board has no model of {cell.vlnv} ({cell.instance} at 0x{cell.base:08x}). "
                f"It knows {DMA_VLNV}, {IP_VLNV}, {CELLS_VLNV} and {OPERATORS_VLNV}"
            )
        if _parameter(cell.parameters, "c_include_sg", cell.instance):
            raise DeviceError(f"{cell.instance} is in scatter-gather mode; only direct mode is emulated")
        return AxiDma(
            cell.instance,
            cell.base,
            cell.size,
            self.ddr,
            length_width=_parameter(cell.parameters, "c_sg_length_width", cell.instance),
            realign=bool(_parameter(cell.parameters, "c_include_mm2s_dre", cell.instance)),
        )

    def _tick(self) -> None:
        for block in self._pl:
            block.tick()

    def _at(self, address: int) -> RegisterBlock:
        for block in (*self._pl, *self._ps):
            if block.base <= address < block.base + block.size:
                return block
        design = f"overlay {self.programmed}" if self.programmed else "no overlay loaded"
        raise BusError(f"Nothing answers at 0x{address:08x} (emulated {self.board.name}, {design})")


def _parameter(parameters: Mapping[str, str], name: str, instance: str) -> int:
    try:
        return int(parameters[name])
    except (KeyError, ValueError) as error:
        raise DeviceError(f"The handoff gives no whole number for {name} of {instance}") from error


def _connect(hwh: ET.Element, blocks: Mapping[str, RegisterBlock]) -> None:
    """Join every DMA with the kernel that is both sink and source of its streams."""
    sinks = stream_sinks(hwh)
    for name, dma in blocks.items():
        if not isinstance(dma, AxiDma):
            continue
        reached = [blocks[i] for i in sinks.get(name, []) if i in blocks]
        kernel = next((block for block in reached if isinstance(block, StreamKernel)), None)
        if kernel is None or name not in sinks.get(kernel.name, []):
            raise DeviceError(f"The streams of {name} do not lead through a model IP and back")
        dma.kernel = kernel
        dma.resets_kernel = reset_driver(hwh, kernel.name) == name
