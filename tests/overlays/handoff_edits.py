# SPDX-License-Identifier: Apache-2.0
"""Edits of a handoff: faults, and what tools do differently."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.hwh import build_hwh, parse_hwh

Edit = Callable[[ET.Element], None]


def handoff(design: OverlayDesign, *edits: Edit) -> ET.Element:
    """The edited handoff of a design, as read from a file."""
    root = parse_hwh(build_hwh(design))
    for edit in edits:
        edit(root)
    return parse_hwh(ET.tostring(root))


def module(root: ET.Element, instance: str) -> ET.Element:
    return next(m for m in root.iter("MODULE") if m.get("INSTANCE") == instance)


def _port(root: ET.Element, instance: str, name: str) -> ET.Element:
    return next(p for p in module(root, instance).iter("PORT") if p.get("NAME") == name)


def rename(old: str, new: str) -> Edit:
    """Another instance name, everywhere."""

    def edit(root: ET.Element) -> None:
        for element in root.iter():
            if element.get("INSTANCE") == old:
                element.set("INSTANCE", new)

    return edit


def parameter(instance: str, name: str, value: str | None) -> Edit:
    """Another value of a parameter; none removes it."""

    def edit(root: ET.Element) -> None:
        parameters = next(module(root, instance).iter("PARAMETERS"))
        found = next((p for p in parameters if p.get("NAME") == name), None)
        if value is None:
            assert found is not None
            parameters.remove(found)
        elif found is None:
            ET.SubElement(parameters, "PARAMETER", NAME=name, VALUE=value)
        else:
            found.set("VALUE", value)

    return edit


def port(instance: str, name: str, **attributes: str) -> Edit:
    """Other attributes of a port."""

    def edit(root: ET.Element) -> None:
        _port(root, instance, name).attrib.update({"RIGHT": "0", **attributes} if "LEFT" in attributes else attributes)

    return edit


def disconnect(instance: str, name: str) -> Edit:
    """Take a port off its net, at both ends."""

    def edit(root: ET.Element) -> None:
        for cell in root.iter("MODULE"):
            for found in cell.iter("PORT"):
                own = (cell.get("INSTANCE"), found.get("NAME")) == (instance, name)
                for connections in found.findall("CONNECTIONS"):
                    for far in list(connections):
                        if own or (far.get("INSTANCE"), far.get("PORT")) == (instance, name):
                            connections.remove(far)

    return edit


def connect(driver: str, output: str, sink: str, name: str) -> Edit:
    """Put an input on the net of an output, as Vivado writes it: at both ends, where the driver is a cell."""

    def edit(root: ET.Element) -> None:
        ends = [(sink, name, driver, output)]
        if driver != "External_Ports":
            ends.append((driver, output, sink, name))
        for here, own, there, far in ends:
            found = _port(root, here, own)
            connections = found.find("CONNECTIONS")
            if connections is None:
                connections = ET.SubElement(found, "CONNECTIONS")
            ET.SubElement(connections, "CONNECTION", INSTANCE=there, PORT=far)

    return edit


def insert_fifo(driver: str, output: str, sink: str, name: str) -> Edit:
    """A FIFO in a stream, with signals named in capitals as many IPs have them."""

    def edit(root: ET.Element) -> None:
        fifo = f"axis_data_fifo_{len(list(root.iter('MODULE')))}"
        cell = _cell(root, fifo, "xilinx.com:ip:axis_data_fifo:2.0")
        for interface, direction, kind in (("S_AXIS", "I", "TARGET"), ("M_AXIS", "O", "INITIATOR")):
            _stream(cell, interface, direction, kind)
        disconnect(sink, f"{name.lower()}_tvalid")(root)
        connect(driver, f"{output.lower()}_tvalid", fifo, "S_AXIS_TVALID")(root)
        connect(fifo, "M_AXIS_TVALID", sink, f"{name.lower()}_tvalid")(root)

    return edit


def watch(driver: str, output: str) -> Edit:
    """A logic analyser at a stream: Vivado then gives no BUSNAME to its ends."""

    def edit(root: ET.Element) -> None:
        cell = _cell(root, "system_ila_0", "xilinx.com:ip:system_ila:1.1")
        _stream(cell, "SLOT_0_AXIS", "I", "TARGET")
        connect(driver, f"{output.lower()}_tvalid", "system_ila_0", "SLOT_0_AXIS_TVALID")(root)
        for bus in root.iter("BUSINTERFACE"):
            if bus.get("BUSNAME") == f"{driver}_{output}":
                bus.set("BUSNAME", "__NOC__")

    return edit


def _cell(root: ET.Element, instance: str, vlnv: str) -> ET.Element:
    cell = ET.SubElement(next(root.iter("MODULES")), "MODULE", INSTANCE=instance, VLNV=vlnv)
    ET.SubElement(cell, "PORTS")
    ET.SubElement(cell, "BUSINTERFACES")
    return cell


def _stream(cell: ET.Element, interface: str, direction: str, kind: str) -> None:
    name = f"{interface}_TVALID"
    ET.SubElement(next(cell.iter("PORTS")), "PORT", DIR=direction, NAME=name)
    vlnv = "xilinx.com:interface:axis:1.0"
    bus = ET.SubElement(next(cell.iter("BUSINTERFACES")), "BUSINTERFACE", NAME=interface, TYPE=kind, VLNV=vlnv)
    ET.SubElement(ET.SubElement(bus, "PORTMAPS"), "PORTMAP", LOGICAL="TVALID", PHYSICAL=name)
