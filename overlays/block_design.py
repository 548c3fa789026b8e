# SPDX-License-Identifier: Apache-2.0
"""The drawing of an overlay as values for `tcl/design.tcl`: what Vivado is told beyond the drawing is added here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hls4attn.overlays.design import SEGMENT_BYTES, OverlayDesign
from hls4attn.overlays.drawing import CONCAT_KINDS, CONCAT_VLNV, Cell, Drawing, Net, draw
from hls4attn.overlays.drawing_ps import clock_parameter
from hls4attn.overlays.tcl_text import Value

#: SmartConnects: from the processing system to all registers, and from the DMA to the memory.
CONTROL_NET, MEMORY_NET = "axi_periph", "axi_smc"
SMARTCONNECT = "xilinx.com:ip:smartconnect"
#: Equal IPs in order of preference.  PYNQ finds interrupts behind the first; newer Vivados may only have the second.
EQUAL_IPS = {CONCAT_VLNV: CONCAT_KINDS}
#: Vivado derives these from what is connected, and ignores a value with a warning.
DERIVED = {"c_s_axis_s2mm_tdata_width", "C_NUM_INTR_INPUTS"}


def block_values(design: OverlayDesign) -> dict[str, Value]:
    """The variables that `tcl/design.tcl` reads, but for those of the project."""
    drawing = draw(design)
    return {
        "part": design.board.part,
        "board_part": design.board.board_part,
        "board_connections": design.board.board_connections or "",
        **_ps(design),
        "cells": [*(_cell(cell) for cell in _programmable(drawing, design)), *_interconnects(drawing)],
        "streams": [(_pin(*stream.driver), _pin(*stream.sink)) for stream in drawing.streams],
        **_control(design, drawing),
        **_memory(design, drawing),
        "nets": [_net(net, design) for net in drawing.nets],
    }


def _programmable(drawing: Drawing, design: OverlayDesign) -> list[Cell]:
    return [cell for cell in drawing.cells if cell.instance != design.addresses.ps_instance]


def _ps(design: OverlayDesign) -> dict[str, Value]:
    amap, plus = design.addresses, design.board.family == "zynquplus"
    name = amap.ps_vlnv.rpartition(":")[0]
    external = () if plus else (("make_external", "FIXED_IO, DDR"), ("Master", "Disable"), ("Slave", "Disable"))
    return {
        "ps": amap.ps_instance,
        "ps_ip": name,
        "ps_rule": "xilinx.com:bd_rule:" + name.rpartition(":")[2],
        "ps_automation": [*external, ("apply_board_preset", 1)],
        "ps_config": _config(_plus_ports(design) if plus else _zynq_ports(design)),
        "clock_property": f"CONFIG.{clock_parameter(design.board.family)}",
        "clock_mhz": design.clock.mhz,
    }


def _zynq_ports(design: OverlayDesign) -> dict[str, Value]:
    return {
        "PCW_USE_M_AXI_GP0": 1,
        "PCW_USE_M_AXI_GP1": 0,
        "PCW_USE_S_AXI_HP0": 1,
        "PCW_S_AXI_HP0_DATA_WIDTH": design.board.hp_width,
        "PCW_USE_FABRIC_INTERRUPT": 1,
        "PCW_IRQ_F2P_INTR": 1,
        "PCW_EN_CLK0_PORT": 1,
        **{f"PCW_EN_CLK{number}_PORT": 0 for number in (1, 2, 3)},
        "PCW_EN_RST0_PORT": 1,
        "PCW_FCLK0_PERIPHERAL_CLKSRC": "IO PLL",
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": _request(design),
    }


def _plus_ports(design: OverlayDesign) -> dict[str, Value]:
    return {
        **{f"PSU__USE__M_AXI_GP{number}": int(number == 0) for number in range(3)},
        **{f"PSU__USE__S_AXI_GP{number}": int(number == 2) for number in range(7)},  # 2 is S_AXI_HP0_FPD
        "PSU__SAXIGP2__DATA_WIDTH": design.board.hp_width,
        "PSU__USE__IRQ0": 1,
        "PSU__USE__IRQ1": 0,
        "PSU__USE__FABRIC__RST": 1,
        "PSU__NUM_FABRIC_RESETS": 1,
        **{f"PSU__FPGA_PL{number}_ENABLE": int(number == 0) for number in range(4)},
        "PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL",
        "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": _request(design),
    }


def _request(design: OverlayDesign) -> float:
    """Frequency in MHz to ask for: the clock's, up to the next 10 kHz.

    Presets round the crystal in another way than the table of boards, and tools take dividers that stay below the
    request: asked for 99.999 MHz, one that reckons with 33.3333 MHz instead of 33.333 would make 93.75 MHz.
    """
    return math.ceil(round(100 * design.clock.mhz, 3)) / 100


def _cell(cell: Cell) -> Value:
    """Instance, IPs that it may be, parameters."""
    names = EQUAL_IPS.get(cell.vlnv, (cell.vlnv.rpartition(":")[0],))
    values = {k: v for k, v in cell.parameters.items() if k not in DERIVED and isinstance(v, (int, str))}
    return cell.instance, names, _config(values)


def _interconnects(drawing: Drawing) -> list[Value]:
    found: list[Value] = []
    slaves = sum(cell.lite is not None for cell in drawing.cells)
    for name, masters, number in ((CONTROL_NET, 1, slaves), (MEMORY_NET, len(drawing.memory_masters), 1)):
        found.append((name, (SMARTCONNECT,), _config({"NUM_SI": masters, "NUM_MI": number, "NUM_CLKS": 1})))
    return found


def _control(design: OverlayDesign, drawing: Drawing) -> dict[str, Value]:
    amap = design.addresses
    slaves: list[Value] = []
    for cell in drawing.cells:
        if cell.lite is not None and cell.address is not None:
            slaves.append((cell.instance, cell.lite, f"0x{cell.address:08X}", f"0x{SEGMENT_BYTES:X}"))
    return {
        "control_net": CONTROL_NET,
        "control_master": _pin(amap.ps_instance, amap.master),
        "control_space": _pin(amap.ps_instance, "Data"),
        "control_slaves": slaves,
    }


def _memory(design: OverlayDesign, drawing: Drawing) -> dict[str, Value]:
    amap = design.addresses
    masters = [(_pin(*pin), _pin(pin.cell, pin.port.replace("M_AXI_", "Data_"))) for pin in drawing.memory_masters]
    # the segments of the newer processing system are named after its ports' numbers
    group = "SAXIGP2" if design.board.family == "zynquplus" else amap.memory
    return {
        "memory_net": MEMORY_NET,
        "memory_masters": masters,
        "memory_port": _pin(amap.ps_instance, amap.memory),
        "memory_segments": _pin(amap.ps_instance, group),
        "memory_segment": amap.memory_segment,
        "memory_range": f"0x{amap.memory_bytes:X}",
    }


def _net(net: Net, design: OverlayDesign) -> Value:
    """Driver and sinks; the interconnects' clocks and resets join the nets that the cells' are on."""
    sinks = [_pin(*sink) for sink in net.sinks]
    interconnects = (CONTROL_NET, MEMORY_NET)
    if net.driver.port == design.addresses.clock_port:
        sinks += [_pin(name, "aclk") for name in interconnects]
    if net.driver.port == "peripheral_aresetn":
        sinks += [_pin(name, "aresetn") for name in interconnects]
    return _pin(*net.driver), sinks


def _config(values: Mapping[str, Value]) -> list[Value]:
    return [(f"CONFIG.{name}", value) for name, value in values.items()]


def _pin(cell: str, port: str) -> str:
    return f"{cell}/{port}"
