# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff of an overlay: written for the emulated board, read for any.

The emulated file uses the elements and attributes that Vivado writes for the same block design and that PYNQ reads;
interconnect cells, which neither reads, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays.design import SEGMENT_BYTES, OverlayDesign
from hls4attn.overlays.drawing import Cell, Drawing, Net, Pin, draw
from hls4attn.overlays.hwh_module import HwhModule

MAX_BYTES = 32 << 20


def build_hwh(design: OverlayDesign) -> bytes:
    """The Vivado-shaped `.hwh` of a design; equal designs give equal bytes."""
    board = design.board
    root = ET.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="hls4attn emulation", VIVADOVERSION="none")
    ET.SubElement(
        root,
        "SYSTEMINFO",
        ARCH=board.family,
        BOARD=board.board_part,
        DEVICE=board.device if board.family == "zynquplus" else board.device.removeprefix("xc"),
        NAME=design.name,
        PACKAGE=board.package,
        SPEEDGRADE=board.speed_grade,
    )
    ET.SubElement(root, "EXTERNALPORTS")
    ET.SubElement(root, "EXTERNALINTERFACES")
    drawing = draw(design)
    ET.SubElement(root, "MODULES").extend(_module(cell, drawing, design).element() for cell in drawing.cells)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def parse_hwh(data: bytes, where: str = ".hwh") -> ET.Element:
    """The root element of an `.hwh`.

    Raises:
        ModelFileError: if it is too large, declares entities, is not XML or no `.hwh`.
    """
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"{where}: {len(data)} bytes; at most {MAX_BYTES} are accepted")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ModelFileError(f"{where}: declares a document type or entities, which no .hwh does; refused")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise ModelFileError(f"{where}: not valid XML (truncated?): {error}") from error
    if root.tag != "EDKSYSTEM" or root.find("MODULES") is None:
        raise ModelFileError(f"{where}: not a hardware handoff (root element {root.tag!r})")
    return root


def _module(cell: Cell, drawing: Drawing, design: OverlayDesign) -> HwhModule:
    amap = design.addresses
    module = HwhModule(cell.instance, cell.vlnv, programmable_logic=cell.instance != amap.ps_instance)
    module.parameters(cell.parameters)
    if cell.lite is not None and cell.address is not None:
        module.parameters(_address_parameters(cell.address))
        module.registers(cell.lite, cell.registers)
        module.lite_slave(cell.lite, _lite_net(cell))
    for stream in drawing.streams:
        for pin, peer, drives in ((stream.driver, stream.sink, True), (stream.sink, stream.driver, False)):
            if pin.cell == cell.instance:
                module.stream(pin.port, _net_name(stream.driver), drives, peer, stream.user_bits)
    for name, driver, peers, net in _ports(cell, drawing):
        module.port(name, "O" if driver else "I", net.kind, _net_name(net.driver), peers, bits=net.bits)
    for pin in drawing.memory_masters:
        if pin.cell == cell.instance:
            module.memory_master(pin.port, amap)
    if cell.instance == amap.ps_instance:
        module.bus(amap.master, "MASTER", "aximm", f"{amap.ps_instance}_{amap.master}")
        module.bus(amap.memory, "SLAVE", "aximm", f"{amap.memory}_net")
        for slave in drawing.cells:
            if slave.lite is not None and slave.address is not None:
                module.range(slave.instance, slave.address, SEGMENT_BYTES, master=amap.master, slave=slave.lite)
    return module


def _ports(cell: Cell, drawing: Drawing) -> Iterator[tuple[str, bool, list[Pin], Net]]:
    """Signals of a cell: name, whether it drives, the pins at the other end, the net."""
    for net in drawing.nets:
        if net.driver.cell == cell.instance:
            yield net.driver.port, True, list(net.sinks), net
        yield from ((pin.port, False, [net.driver], net) for pin in net.sinks if pin.cell == cell.instance)


def _net_name(driver: Pin) -> str:
    """Vivado names a net after its driver."""
    return f"{driver.cell}_{driver.port}"


def _lite_net(cell: Cell) -> str:
    return f"axi_periph_{cell.instance}"


def _address_parameters(base: int) -> dict[str, object]:
    high = base + SEGMENT_BYTES - 1
    return {"EDK_IPTYPE": "PERIPHERAL", "C_BASEADDR": f"0x{base:08X}", "C_HIGHADDR": f"0x{high:08X}"}
