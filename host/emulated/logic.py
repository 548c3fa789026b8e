# SPDX-License-Identifier: Apache-2.0
"""The models behind a hardware handoff, and the streams, resets and interrupts between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from xml.etree import ElementTree as ET

from hls4attn.host.emulated.blocks import RegisterBlock
from hls4attn.host.emulated.cells import CellKernel, MakeCells
from hls4attn.host.emulated.ddr import Ddr
from hls4attn.host.emulated.dma import AxiDma
from hls4attn.host.emulated.gpio import AxiGpio
from hls4attn.host.emulated.intc import AxiIntc
from hls4attn.host.emulated.kernel import Kernel, StreamKernel
from hls4attn.host.emulated.operators import MakeKernels, OperatorKernel
from hls4attn.host.emulated.topology import Cell, cells, driver, interrupt_sources, reset_driver, stream_sinks
from hls4attn.models.errors import DeviceError
from hls4attn.overlays.design import DMA_VLNV, GPIO_VLNV, INTC_VLNV, OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.operators import OperatorsDesign

Computes = Kernel | MakeCells | MakeKernels
"""What the IP computes, or what makes the heads of gain cells or the functions of a bank."""

_GPIO_PORTS = (("gpio_io_i", "gpio_io_o"), ("gpio2_io_i", "gpio2_io_o"))  # inputs and outputs of each channel


def build_logic(design: OverlayDesign, hwh: ET.Element, kernel: Computes, ddr: Ddr) -> list[RegisterBlock]:
    """Models of all cells with registers, joined as the handoff says.

    Raises:
        DeviceError: if a cell has no model, or there is no complete loop of streams.
    """
    blocks: dict[str, RegisterBlock] = {}
    controllers = []
    for cell in cells(hwh):
        if _kind(cell.vlnv) == _kind(INTC_VLNV):
            controllers.append(cell)  # needs the others
        else:
            blocks[cell.instance] = _model(cell, design, hwh, kernel, ddr)
    _connect(hwh, blocks)
    return [*blocks.values(), *(_intc(cell, hwh, blocks) for cell in controllers)]


def _model(cell: Cell, design: OverlayDesign, hwh: ET.Element, kernel: Computes, ddr: Ddr) -> RegisterBlock:
    kind = _kind(cell.vlnv)
    if kind == _kind(design.ip_vlnv):
        return _ip(cell, design, kernel)
    if kind == _kind(GPIO_VLNV):
        return _gpio(cell, hwh)
    if kind == _kind(DMA_VLNV):
        return _dma(cell, ddr)
    raise DeviceError(
        f"The emulated board has no model of {cell.vlnv} ({cell.instance} at 0x{cell.base:08x}). "
        f"It knows {design.ip_vlnv}, {DMA_VLNV}, {GPIO_VLNV} and {INTC_VLNV}"
    )


def _ip(cell: Cell, design: OverlayDesign, kernel: Computes) -> StreamKernel:
    """The IP that holds the streams: its kind follows from the design."""
    if isinstance(design, GainCellDesign):
        return CellKernel(design, cast(MakeCells, kernel), cell.base, cell.size)
    if isinstance(design, OperatorsDesign):
        return OperatorKernel(design, cast(MakeKernels, kernel), cell.base, cell.size)
    return StreamKernel(design, cast(Kernel, kernel), cell.base, cell.size)


def _dma(cell: Cell, ddr: Ddr) -> AxiDma:
    if _parameter(cell, "c_include_sg"):
        raise DeviceError(f"{cell.instance} is in scatter-gather mode; only direct mode is emulated")
    return AxiDma(
        cell.instance,
        cell.base,
        cell.size,
        ddr,
        length_width=_parameter(cell, "c_sg_length_width"),
        realign=bool(_parameter(cell, "c_include_mm2s_dre")),
    )


def _gpio(cell: Cell, hwh: ET.Element) -> AxiGpio:
    loops, fixed = {}, {}
    for channel, (wire_in, _) in enumerate(_GPIO_PORTS):
        source = driver(hwh, cell.instance, wire_in)
        for other, (_, wire_out) in enumerate(_GPIO_PORTS):
            if source == (cell.instance, wire_out):
                loops[channel] = other
        for name, inputs in (("C_ALL_INPUTS", True), ("C_ALL_OUTPUTS", False)):
            if cell.parameters.get(name + "_2" * channel) == "1":
                fixed[channel] = inputs
    return AxiGpio(cell.instance, cell.base, cell.size, loops, fixed)


def _intc(cell: Cell, hwh: ET.Element, blocks: Mapping[str, RegisterBlock]) -> AxiIntc:
    def level(instance: str, pin: str) -> bool:
        return instance in blocks and blocks[instance].level(pin)

    sources = interrupt_sources(hwh, cell.instance)
    inputs = {number: lambda source=source: level(*source) for number, source in sources.items()}
    return AxiIntc(cell.instance, cell.base, cell.size, inputs)


def _connect(hwh: ET.Element, blocks: Mapping[str, RegisterBlock]) -> None:
    """Join every DMA with the IP that is both sink and source of its streams."""
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


def _parameter(cell: Cell, name: str) -> int:
    try:
        return int(cell.parameters[name])
    except (KeyError, ValueError) as error:
        raise DeviceError(f"The handoff gives no whole number for {name} of {cell.instance}") from error


def _kind(vlnv: str) -> str:
    """A type without its version."""
    return vlnv.rpartition(":")[0]
