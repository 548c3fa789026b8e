# SPDX-License-Identifier: Apache-2.0
"""One MODULE of an `.hwh`: parameters, registers, ports and bus interfaces, consistent by construction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from hls4attn.overlays.design import SEGMENT_BYTES, AddressMap
from hls4attn.overlays.ports import STREAM_BYTES
from hls4attn.overlays.registers import Register

_LITE = {  # AXI4-Lite signal -> (direction at the slave, bits)
    "AWADDR": ("I", 32),
    "AWVALID": ("I", 1),
    "AWREADY": ("O", 1),
    "WDATA": ("I", 32),
    "WVALID": ("I", 1),
    "WREADY": ("O", 1),
    "BVALID": ("O", 1),
    "BREADY": ("I", 1),
    "ARADDR": ("I", 32),
    "ARVALID": ("I", 1),
    "ARREADY": ("O", 1),
    "RDATA": ("O", 32),
    "RVALID": ("O", 1),
    "RREADY": ("I", 1),
}
_STREAM = {"TDATA": 8 * STREAM_BYTES, "TKEEP": STREAM_BYTES, "TLAST": 1, "TREADY": 1, "TVALID": 1}


class HwhModule:
    """Collects what an `.hwh` says about one cell.

    PYNQ's parser needs a PORT for every PORTMAP and both ends of every CONNECTION; `lite_slave` and
    `stream` add the ports together with the bus.

    Args:
        instance: name of the cell.
        vlnv: its type.
        programmable_logic: false for the processing system.
    """

    def __init__(self, instance: str, vlnv: str, programmable_logic: bool = True) -> None:
        self.instance = instance
        self._root = ET.Element(
            "MODULE",
            COREREVISION="1",
            FULLNAME=f"/{instance}",
            HWVERSION=vlnv.rsplit(":", 1)[1],
            INSTANCE=instance,
            IPTYPE="PERIPHERAL",
            IS_ENABLE="1",
            MODCLASS="PERIPHERAL",
            MODTYPE=vlnv.split(":")[2],
            VLNV=vlnv,
        )
        if not programmable_logic:
            self._root.set("IS_PL", "FALSE")
        ET.SubElement(self._root, "DOCUMENTS")
        self._blocks = ET.Element("ADDRESSBLOCKS")
        self._parameters = ET.Element("PARAMETERS")
        self._ports = ET.Element("PORTS")
        self._buses = ET.Element("BUSINTERFACES")
        self._map = ET.Element("MEMORYMAP")

    def element(self) -> ET.Element:
        """The MODULE element; call once, at the end."""
        parts = (self._blocks, self._parameters, self._ports, self._buses, self._map)
        always = (self._parameters, self._ports, self._buses)
        self._root.extend(part for part in parts if len(part) or any(part is a for a in always))
        return self._root

    def parameters(self, values: Mapping[str, object]) -> None:
        """Add IP parameters."""
        for name, value in values.items():
            ET.SubElement(self._parameters, "PARAMETER", NAME=name, VALUE=str(value))

    def registers(self, interface: str, registers: Iterable[Register]) -> None:
        """Describe the registers behind an AXI-Lite interface."""
        block = ET.SubElement(
            self._blocks,
            "ADDRESSBLOCK",
            ACCESS="read-write",
            INTERFACE=interface,
            NAME="Reg",
            RANGE=str(SEGMENT_BYTES),
            USAGE="register",
        )
        parent = ET.SubElement(block, "REGISTERS")
        for register in registers:
            element = ET.SubElement(parent, "REGISTER", NAME=register.name)
            _properties(
                element,
                DESCRIPTION=register.name,
                ADDRESS_OFFSET=f"0x{register.offset:X}",
                SIZE=32,
                ACCESS=register.access,
                IS_ENABLED="true",
                RESET_VALUE="0x0",
            )
            fields = ET.SubElement(element, "FIELDS")
            for field in register.fields:
                _properties(
                    ET.SubElement(fields, "FIELD", NAME=field.name),
                    DESCRIPTION=field.name,
                    ACCESS=field.access,
                    BIT_OFFSET=field.offset,
                    BIT_WIDTH=field.width,
                )

    def port(
        self,
        name: str,
        direction: str,
        kind: str = "undef",
        signal: str = "",
        peers: Iterable[tuple[str, str]] = (),
        *,
        bits: int = 1,
    ) -> None:
        """Add a port with the (instance, port) pairs at the other end of its net."""
        port = ET.SubElement(self._ports, "PORT", DIR=direction, NAME=name, SIGIS=kind)
        if bits > 1:
            port.attrib |= {"LEFT": str(bits - 1), "RIGHT": "0"}
        if signal:
            port.set("SIGNAME", signal)
        connections = [ET.Element("CONNECTION", INSTANCE=i, PORT=p) for i, p in peers]
        if connections:
            ET.SubElement(port, "CONNECTIONS").extend(connections)

    def bus(self, name: str, kind: str, interface: str, net: str, signals: Iterable[str] = ()) -> None:
        """Add a bus interface; its signals map onto ports named after the interface."""
        attributes = {"BUSNAME": net, "NAME": name, "TYPE": kind}
        attributes["VLNV"] = f"xilinx.com:interface:{interface}:1.0"
        maps = ET.SubElement(ET.SubElement(self._buses, "BUSINTERFACE", attributes), "PORTMAPS")
        for signal in signals:
            physical = f"{name.lower()}_{signal.lower()}"
            ET.SubElement(maps, "PORTMAP", LOGICAL=signal, PHYSICAL=physical)

    def lite_slave(self, name: str, net: str) -> None:
        """Add an AXI4-Lite slave with its ports."""
        for signal, (direction, bits) in _LITE.items():
            self.port(f"{name.lower()}_{signal.lower()}", direction, bits=bits)
        self.bus(name, "SLAVE", "aximm", net, _LITE)

    def stream(self, name: str, net: str, drives: bool, peer: tuple[str, str], user_bits: int = 0) -> None:
        """Add one end of an AXI4-Stream; `peer` is the (instance, interface) of the other."""
        instance, interface = peer
        signals = _STREAM | ({"TUSER": user_bits} if user_bits else {})
        for signal, bits in signals.items():
            direction = "O" if (signal != "TREADY") == drives else "I"
            low = signal.lower()
            far = [(instance, f"{interface.lower()}_{low}")]
            self.port(f"{name.lower()}_{low}", direction, "undef", f"{net}_{low}", far, bits=bits)
        self.bus(name, "INITIATOR" if drives else "TARGET", "axis", net, signals)

    def memory_master(self, name: str, amap: AddressMap) -> None:
        """Add an AXI4 master that reaches the DDR of the processing system."""
        self.bus(name, "MASTER", "aximm", f"{self.instance}_{name}")
        self.range(
            amap.ps_instance,
            0,
            amap.memory_bytes,
            master=name,
            slave=amap.memory,
            block=amap.memory_segment,
        )

    def range(self, instance: str, base: int, size: int, *, master: str, slave: str, block: str = "Reg") -> None:
        """Add an entry of the address map of this module."""
        ET.SubElement(
            self._map,
            "MEMRANGE",
            ADDRESSBLOCK=block,
            BASENAME="C_BASEADDR",
            BASEVALUE=f"0x{base:08X}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"0x{base + size - 1:08X}",
            INSTANCE=instance,
            IS_DATA="TRUE",
            IS_INSTRUCTION="TRUE",
            MASTERBUSINTERFACE=master,
            MEMTYPE="REGISTER" if block == "Reg" else "MEMORY",
            SLAVEBUSINTERFACE=slave,
        )


def _properties(element: ET.Element, **values: object) -> None:
    for name, value in values.items():
        ET.SubElement(element, "PROPERTY", NAME=name, VALUE=str(value))
