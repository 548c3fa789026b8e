# SPDX-License-Identifier: Apache-2.0
"""The block design of an overlay: cells, addresses, streams and nets, the same for every file made from it.

::

    PS --AXI4-Lite--> DMA | IP | GPIO | interrupt controller        DMA --AXI4--> memory of the PS
    DMA.M_AXIS_MM2S --> IP.in_r         IP.out_r --> DMA.S_AXIS_S2MM
    IP.kernel<k>_in --> kernel k        kernel k --> IP.kernel<k>_out
    DMA.mm2s_prmry_reset_out_n --> reset of the IP and of all kernels
    DMA.{mm2s,s2mm}_introut --> concat --> interrupt controller --> PS
    GPIO channel 1 --> GPIO channel 2

A soft reset of the DMA therefore also clears a packet that is under way.  The loop of the GPIO tests the register
path without any stream.  Interconnects between these cells are no part of the drawing: tools choose them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hls4attn.overlays.design import CONCAT, DMA_VLNV, GPIO, GPIO_VLNV, INTC, INTC_VLNV, RESET, OverlayDesign
from hls4attn.overlays.drawing_ps import ps_parameters
from hls4attn.overlays.ports import STREAM_BYTES
from hls4attn.overlays.registers import DMA_REGISTERS, GPIO_REGISTERS, INTC_REGISTERS, Register

CONCAT_VLNV = "xilinx.com:ip:xlconcat:2.1"
#: What joins the interrupts: an IP, or from Vivado 2024.2 the inline HDL that replaces it.  PYNQ follows the IP only.
CONCAT_KINDS = ("xilinx.com:ip:xlconcat", "xilinx.com:inline_hdl:ilconcat")
RESET_VLNV = "xilinx.com:ip:proc_sys_reset:5.0"
RESET_KIND = "xilinx.com:ip:proc_sys_reset"
STREAM_BITS = 8 * STREAM_BYTES
GPIO_BITS = 32
RESET_SOURCE = "mm2s_prmry_reset_out_n"  # of the DMA
INTERRUPTS = ("mm2s_introut", "s2mm_introut")  # of the DMA, in the order of their numbers


class Pin(NamedTuple):
    """A port or interface of a cell."""

    cell: str
    port: str

    def __str__(self) -> str:
        return f"{self.cell}.{self.port}"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        instance: its name.
        vlnv: its type.
        parameters: those that matter to this design; Vivado adds others.
        lite: AXI4-Lite interface, if it has registers.
        address: base address of that.
        registers: behind it.
        clocks: ports that the PL clock drives.
        resets: active-low ports that the reset of the PL drives.
    """

    instance: str
    vlnv: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    lite: str | None = None
    address: int | None = None
    registers: tuple[Register, ...] = ()
    clocks: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stream:
    """An AXI4-Stream of 32-bit words with TKEEP and TLAST, and `user_bits` of TUSER."""

    driver: Pin
    sink: Pin
    user_bits: int = 0


@dataclass(frozen=True)
class Net:
    """A signal of `bits` bits; `kind` is the SIGIS of a handoff: clk, rst, INTERRUPT or undef."""

    driver: Pin
    sinks: tuple[Pin, ...]
    kind: str
    bits: int = 1


@dataclass(frozen=True)
class Drawing:
    """All that an overlay is made of; the processing system is the last cell."""

    cells: tuple[Cell, ...]
    streams: tuple[Stream, ...]
    nets: tuple[Net, ...]
    memory_masters: tuple[Pin, ...]


def draw(design: OverlayDesign) -> Drawing:
    """The block design of an overlay."""
    cells = (
        _dma(design),
        _ip(design),
        *_kernels(design),
        _gpio(design),
        _intc(design),
        _concat(),
        _reset(),
        _ps(design),
    )
    dma = design.dma.instance
    return Drawing(cells, _streams(design), _nets(design, cells), (Pin(dma, "M_AXI_MM2S"), Pin(dma, "M_AXI_S2MM")))


def _streams(design: OverlayDesign) -> tuple[Stream, ...]:
    dma, ip = design.dma.instance, design.ip
    found = [Stream(Pin(dma, "M_AXIS_MM2S"), Pin(ip, "in_r")), Stream(Pin(ip, "out_r"), Pin(dma, "S_AXIS_S2MM"))]
    for number, kernel in enumerate(design.kernels):
        found.append(Stream(Pin(ip, f"kernel{number}_in"), Pin(kernel.instance, "in_r"), kernel.user_bits))
        found.append(Stream(Pin(kernel.instance, "out_r"), Pin(ip, f"kernel{number}_out")))
    return tuple(found)


def _nets(design: OverlayDesign, cells: tuple[Cell, ...]) -> tuple[Net, ...]:
    amap, dma = design.addresses, design.dma.instance
    clocked = tuple(Pin(cell.instance, port) for cell in cells for port in cell.clocks)
    reset = tuple(Pin(cell.instance, port) for cell in cells for port in cell.resets)
    streaming = tuple(Pin(instance, "ap_rst_n") for instance in (design.ip, *(k.instance for k in design.kernels)))
    to_concat = [Net(Pin(dma, p), (Pin(CONCAT, f"In{i}"),), "INTERRUPT") for i, p in enumerate(INTERRUPTS)]
    return (
        Net(Pin(amap.ps_instance, amap.clock_port), clocked, "clk"),
        Net(Pin(amap.ps_instance, amap.reset_port), (Pin(RESET, "ext_reset_in"),), "rst"),
        Net(Pin(RESET, "peripheral_aresetn"), reset, "rst"),
        Net(Pin(dma, RESET_SOURCE), streaming, "rst"),
        *to_concat,
        Net(Pin(CONCAT, "dout"), (Pin(INTC, "intr"),), "INTERRUPT", len(INTERRUPTS)),
        Net(Pin(INTC, "irq"), (Pin(amap.ps_instance, amap.interrupt_port),), "INTERRUPT"),
        Net(Pin(GPIO, "gpio_io_o"), (Pin(GPIO, "gpio2_io_i"),), "undef", GPIO_BITS),
    )


def _dma(design: OverlayDesign) -> Cell:
    directions = ("mm2s", "s2mm")
    return Cell(
        design.dma.instance,
        DMA_VLNV,
        {
            "c_include_sg": 0,
            "c_sg_length_width": design.dma.length_width,
            "c_micro_dma": 0,
            "c_addr_width": design.addresses.address_bits,
            "c_m_axis_mm2s_tdata_width": STREAM_BITS,
            "c_s_axis_s2mm_tdata_width": STREAM_BITS,
            **{f"c_include_{d}": 1 for d in directions},
            **{f"c_include_{d}_dre": 0 for d in directions},
            **{f"c_m_axi_{d}_data_width": STREAM_BITS for d in directions},
            **{f"c_{d}_burst_size": 16 for d in directions},
        },
        lite="S_AXI_LITE",
        address=design.addresses.dma,
        registers=DMA_REGISTERS,
        clocks=("s_axi_lite_aclk", "m_axi_mm2s_aclk", "m_axi_s2mm_aclk"),
        resets=("axi_resetn",),
    )


def _ip(design: OverlayDesign) -> Cell:
    return Cell(
        design.ip,
        design.ip_vlnv,
        lite="s_axi_control",
        address=design.addresses.ip,
        registers=design.ip_registers,
        clocks=("ap_clk",),
    )


def _kernels(design: OverlayDesign) -> list[Cell]:
    return [Cell(kernel.instance, kernel.vlnv, clocks=("ap_clk",)) for kernel in design.kernels]


def _gpio(design: OverlayDesign) -> Cell:
    return Cell(
        GPIO,
        GPIO_VLNV,
        {
            "C_IS_DUAL": 1,
            "C_GPIO_WIDTH": GPIO_BITS,
            "C_GPIO2_WIDTH": GPIO_BITS,
            "C_ALL_OUTPUTS": 1,
            "C_ALL_INPUTS": 0,
            "C_ALL_OUTPUTS_2": 0,
            "C_ALL_INPUTS_2": 1,
            "C_INTERRUPT_PRESENT": 0,
        },
        lite="S_AXI",
        address=design.addresses.gpio,
        registers=GPIO_REGISTERS,
        clocks=("s_axi_aclk",),
        resets=("s_axi_aresetn",),
    )


def _intc(design: OverlayDesign) -> Cell:
    return Cell(
        INTC,
        INTC_VLNV,
        {"C_NUM_INTR_INPUTS": len(INTERRUPTS), "C_IRQ_CONNECTION": 1, "C_HAS_FAST": 0},
        lite="s_axi",
        address=design.addresses.intc,
        registers=INTC_REGISTERS,
        clocks=("s_axi_aclk",),
        resets=("s_axi_aresetn",),
    )


def _concat() -> Cell:
    return Cell(CONCAT, CONCAT_VLNV, {"NUM_PORTS": len(INTERRUPTS)})


def _reset() -> Cell:
    return Cell(RESET, RESET_VLNV, clocks=("slowest_sync_clk",))


def _ps(design: OverlayDesign) -> Cell:
    amap = design.addresses
    return Cell(amap.ps_instance, amap.ps_vlnv, ps_parameters(design), clocks=amap.bus_clocks)
