# SPDX-License-Identifier: Apache-2.0
"""The description of a kernel's IP in IP-XACT (IEEE 1685-2009, as Vivado reads it): ``component.xml``.

Bus interfaces and ports are those that the attributes in the Verilog name.  Every constant of the kernel is in its
Verilog and its tables, so the IP has no parameters of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from hls4attn.hls.interfaces import CLOCK, RESET, Port, ShellStream, clock_parameters, stream_ports

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
XILINX = "http://www.xilinx.com"
#: Views: name, what Vivado shows, what it is for.
_VIEWS = (
    ("xilinx_anylanguagesynthesis", "Synthesis", ":vivado.xilinx.com:synthesis"),
    ("xilinx_anylanguagebehavioralsimulation", "Simulation", ":vivado.xilinx.com:simulation"),
)
_GUI = ("xilinx_xpgui", "UI Layout", ":vivado.xilinx.com:xgui.ui")
_KINDS = {".v": "verilogSource", ".sv": "systemVerilogSource", ".tcl": "tclSource"}
#: Families of the boards, by Vivado's names.
_FAMILIES = ("zynq", "zynquplus")

Texts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Component:
    """What the description is about.

    Args:
        vlnv: vendor, library, name and version; the name is that of the top module.
        title: one line in words.
        streams: AXI4-Streams of the top module.
        sources: Verilog by path from the description, the top module last.
        tables: files that the Verilog reads with ``$readmemh``, likewise.
    """

    vlnv: str
    title: str
    streams: tuple[ShellStream, ...]
    sources: tuple[str, ...]
    tables: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the IP and of the top module."""
        return self.vlnv.split(":")[2]

    @property
    def gui(self) -> str:
        """Path of the Tcl of Vivado's dialogue, from the description."""
        return f"xgui/{self.name}_v{self.vlnv.split(':')[3].replace('.', '_')}.tcl"


def gui_tcl() -> str:
    """Tcl of the dialogue in which Vivado shows the IP: its name is all that can be set."""
    return (
        "# SPDX-License-Identifier: Apache-2.0\n"
        "proc init_gui {IPINST} {\n"
        '    ipgui::add_param $IPINST -name "Component_Name"\n'
        '    ipgui::add_page $IPINST -name "Page 0"\n'
        "}\n"
    )


def component_xml(component: Component) -> bytes:
    """The description.

    Args:
        component: what it is about.

    Returns:
        XML; the same for the same component.
    """
    ET.register_namespace("spirit", SPIRIT)
    ET.register_namespace("xilinx", XILINX)
    root = _node("component")
    for tag, text in zip(("vendor", "library", "name", "version"), component.vlnv.split(":"), strict=True):
        _add(root, tag, text)
    _bus_interfaces(_add(root, "busInterfaces"), component)
    model = _add(root, "model")
    _views(_add(model, "views"), component)
    _ports(_add(model, "ports"), component)
    _file_sets(_add(root, "fileSets"), component)
    _add(root, "description", component.title)
    value = _parameter(_add(root, "parameters"), "Component_Name", f"{component.name}_0", "PARAM_VALUE.Component_Name")
    value.set(f"{{{SPIRIT}}}resolve", "user")
    _extensions(_add(root, "vendorExtensions"), component)
    ET.indent(root)
    return ET.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _bus_interfaces(parent: ET.Element, component: Component) -> None:
    for stream in component.streams:
        ports = [(port.logical, port.name) for port in stream_ports(stream)]
        _bus_interface(parent, stream.name, ("interface", "axis"), stream.mode, ports, ())
    buses = clock_parameters([stream.name for stream in component.streams])
    _bus_interface(parent, CLOCK, ("signal", "clock"), "slave", [("CLK", CLOCK)], tuple(buses.items()))
    _bus_interface(parent, RESET, ("signal", "reset"), "slave", [("RST", RESET)], (("POLARITY", "ACTIVE_LOW"),))


def _bus_interface(
    parent: ET.Element, name: str, kind: tuple[str, str], mode: str, ports: Texts, parameters: Texts
) -> None:
    bus = _add(parent, "busInterface")
    _add(bus, "name", name)
    for tag, suffix in (("busType", ""), ("abstractionType", "_rtl")):
        values = {"vendor": "xilinx.com", "library": kind[0], "name": kind[1] + suffix, "version": "1.0"}
        _add(bus, tag).attrib.update({f"{{{SPIRIT}}}{key}": value for key, value in values.items()})
    _add(bus, mode)
    maps = _add(bus, "portMaps")
    for logical, physical in ports:
        one = _add(maps, "portMap")
        _add(_add(one, "logicalPort"), "name", logical)
        _add(_add(one, "physicalPort"), "name", physical)
    if parameters:
        group = _add(bus, "parameters")
        for key, value in parameters:
            _parameter(group, key, value, f"BUSIFPARAM_VALUE.{name.upper()}.{key}")


def _views(parent: ET.Element, component: Component) -> None:
    for name, title, use in (*_VIEWS, _GUI):
        view = _add(parent, "view")
        _add(view, "name", name)
        _add(view, "displayName", title)
        _add(view, "envIdentifier", use)
        if name != _GUI[0]:
            _add(view, "language", "Verilog")
            _add(view, "modelName", component.name)
        _add(_add(view, "fileSetRef"), "localName", f"{name}_view_fileset")


def _all_ports(component: Component) -> Iterator[Port]:
    for name, logical in ((CLOCK, "CLK"), (RESET, "RST")):
        yield Port(name, "input", 1, name, logical)
    for stream in component.streams:
        yield from stream_ports(stream)


def _ports(parent: ET.Element, component: Component) -> None:
    for port in _all_ports(component):
        one = _add(parent, "port")
        _add(one, "name", port.name)
        wire = _add(one, "wire")
        _add(wire, "direction", {"input": "in", "output": "out"}[port.direction])
        if port.bits > 1:
            vector = _add(wire, "vector")
            _add(vector, "left", str(port.bits - 1))
            _add(vector, "right", "0")
        kind = _add(_add(wire, "wireTypeDefs"), "wireTypeDef")
        _add(kind, "typeName", "wire")
        for view, _, _ in _VIEWS:
            _add(kind, "viewNameRef", view)


def _file_sets(parent: ET.Element, component: Component) -> None:
    for view, _, _ in _VIEWS:
        _file_set(parent, view, (*component.tables, *component.sources))
    _file_set(parent, _GUI[0], (component.gui,))


def _file_set(parent: ET.Element, view: str, files: Sequence[str]) -> None:
    group = _add(parent, "fileSet")
    _add(group, "name", f"{view}_view_fileset")
    for path in files:
        one = _add(group, "file")
        _add(one, "name", path)
        kind = _KINDS.get(path[path.rindex(".") :])
        if kind:
            _add(one, "fileType", kind)
        else:
            _add(one, "userFileType", "mem")  # so Vivado finds what $readmemh names, wherever it synthesises
        if view == _GUI[0]:
            _add(one, "userFileType", "XGUI_VERSION_2")


def _extensions(parent: ET.Element, component: Component) -> None:
    core = ET.SubElement(parent, f"{{{XILINX}}}coreExtensions")
    families = ET.SubElement(core, f"{{{XILINX}}}supportedFamilies")
    for name in _FAMILIES:
        family = ET.SubElement(families, f"{{{XILINX}}}family", {f"{{{XILINX}}}lifeCycle": "Production"})
        family.text = name
    taxonomies = ET.SubElement(core, f"{{{XILINX}}}taxonomies")
    ET.SubElement(taxonomies, f"{{{XILINX}}}taxonomy").text = "/UserIP"
    for tag, text in (("displayName", component.name), ("coreRevision", "1")):
        ET.SubElement(core, f"{{{XILINX}}}{tag}").text = text


def _parameter(parent: ET.Element, name: str, value: str, key: str) -> ET.Element:
    one = _add(parent, "parameter")
    _add(one, "name", name)
    found = _add(one, "value", value)
    found.set(f"{{{SPIRIT}}}id", key)
    return found


def _node(tag: str) -> ET.Element:
    return ET.Element(f"{{{SPIRIT}}}{tag}")


def _add(parent: ET.Element, tag: str, text: str | None = None) -> ET.Element:
    child = ET.SubElement(parent, f"{{{SPIRIT}}}{tag}")
    child.text = text
    return child
