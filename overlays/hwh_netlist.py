# SPDX-License-Identifier: Apache-2.0
"""An `.hwh` as cells, parameters, address ranges, nets and streams.

Nets and streams are followed along the CONNECTIONs of ports.  The BUSNAMEs of interfaces are no help: Vivado writes
`__NOC__` for both ends of a stream that a logic analyser watches.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from hls4attn.overlays.drawing import Pin


@dataclass(frozen=True)
class Range:
    """An entry of the address map of `owner`: what of `instance` its `master` reaches, from where to where."""

    owner: str
    instance: str
    master: str
    slave: str
    kind: str
    base: str
    high: str

    def covers(self, base: int, size: int, *, exactly: bool = False) -> bool:
        """Whether it holds these bytes, and no others if `exactly`; a malformed range holds none."""
        try:
            low, high = int(self.base, 16), int(self.high, 16)
        except ValueError:
            return False
        last = base + size - 1
        return (low, high) == (base, last) if exactly else low <= base and last <= high


@dataclass(frozen=True)
class Interface:
    """An AXI4-Stream interface of a cell: its ports by their logical names."""

    drives: bool
    ports: dict[str, str]


class Netlist:
    """What an `.hwh` says of the block design.

    Args:
        root: root element of the file.
    """

    def __init__(self, root: ET.Element) -> None:
        self.modules = {module.get("INSTANCE", ""): module for module in root.iter("MODULE")}
        self.system = root.find("SYSTEMINFO")
        self._ports: dict[Pin, ET.Element] = {}
        self._drivers: dict[Pin, set[Pin]] = defaultdict(set)
        self._loads: dict[Pin, set[Pin]] = defaultdict(set)
        self._interfaces: dict[Pin, Interface] = {}
        for instance, module in self.modules.items():
            self._ports |= {Pin(instance, port.get("NAME", "")): port for port in module.iter("PORT")}
            self._interfaces |= _streams(instance, module)
        for pin, port in self._ports.items():
            for far in port.iter("CONNECTION"):
                self._join(pin, Pin(far.get("INSTANCE", ""), far.get("PORT", "")))

    def kind(self, instance: str) -> str:
        """Type of a cell without its version, such as `xilinx.com:ip:axi_dma`; empty if there is no such cell."""
        module = self.modules.get(instance)
        return "" if module is None else module.get("VLNV", "").rpartition(":")[0]

    def parameters(self, instance: str) -> dict[str, str]:
        """Parameters of a cell; those of its interfaces are not among them."""
        module = self.modules[instance]
        return {p.get("NAME", ""): p.get("VALUE", "") for p in module.findall("PARAMETERS/PARAMETER")}

    def registers(self, instance: str) -> dict[str, str]:
        """Offsets of the registers that a cell describes, by name."""
        return {
            register.get("NAME", ""): prop.get("VALUE", "")
            for register in self.modules[instance].iter("REGISTER")
            for prop in register.findall("PROPERTY")
            if prop.get("NAME") == "ADDRESS_OFFSET"
        }

    def ranges(self) -> list[Range]:
        """All address maps."""
        keys = ("INSTANCE", "MASTERBUSINTERFACE", "SLAVEBUSINTERFACE", "MEMTYPE", "BASEVALUE", "HIGHVALUE")
        return [
            Range(owner, *(entry.get(key, "") for key in keys))
            for owner, module in self.modules.items()
            for entry in module.iter("MEMRANGE")
        ]

    def has(self, pin: Pin) -> bool:
        """Whether the cell has such a port."""
        return pin in self._ports

    def drivers(self, pin: Pin) -> list[Pin]:
        """The outputs on the net of an input, in order of name."""
        return sorted(self._drivers.get(pin, ()))

    def bits(self, instance: str, port: str) -> int:
        """Width of a port; 0 if there is none, or its range is malformed."""
        found = self._ports.get(Pin(instance, port))
        if found is None:
            return 0
        try:
            return int(found.get("LEFT", "0")) - int(found.get("RIGHT", "0")) + 1
        except ValueError:
            return 0

    def stream(self, pin: Pin) -> Interface | None:
        """The AXI4-Stream interface of that name."""
        return self._interfaces.get(pin)

    def streams_of(self, instance: str) -> list[Pin]:
        """All AXI4-Stream interfaces of a cell."""
        return sorted(pin for pin in self._interfaces if pin.cell == instance)

    def stream_sinks(self, driver: Pin, ends: frozenset[str]) -> list[Pin]:
        """Where a stream goes: the interfaces of the cells `ends`, looking through all other cells.

        Converters, FIFOs and register slices are passed; a cell without an outgoing stream, such as a logic
        analyser, is no end.
        """
        found: set[Pin] = set()
        open_, seen = [driver], {driver}
        while open_:
            for sink in self._reads(open_.pop()):
                if sink.cell in ends:
                    found.add(sink)
                    continue
                onward = {p for p, i in self._interfaces.items() if p.cell == sink.cell and i.drives} - seen
                seen |= onward
                open_.extend(onward)
        return sorted(found)

    def _reads(self, driver: Pin) -> list[Pin]:
        """The interfaces directly behind one that drives."""
        interface = self._interfaces.get(driver)
        if interface is None:
            return []
        loads = self._loads.get(Pin(driver.cell, interface.ports.get("TVALID", "")), set())
        return [
            p for p, i in self._interfaces.items() if not i.drives and Pin(p.cell, i.ports.get("TVALID", "")) in loads
        ]

    def _join(self, a: Pin, b: Pin) -> None:
        """Note a connection; a port that is on no cell is one of the whole design, and drives an input."""
        for here, there in ((a, b), (b, a)):
            port, far = self._ports.get(here), self._ports.get(there)
            drives = port.get("DIR") == "O" if port is not None else far is not None and far.get("DIR") == "I"
            if drives:
                self._drivers[there].add(here)
                self._loads[here].add(there)


def _streams(instance: str, module: ET.Element) -> dict[Pin, Interface]:
    found = {}
    for bus in module.iter("BUSINTERFACE"):
        if bus.get("VLNV", "").split(":")[2:3] == ["axis"] and bus.get("TYPE") != "MONITOR":
            ports = {p.get("LOGICAL", ""): p.get("PHYSICAL", "") for p in bus.iter("PORTMAP")}
            drives = bus.get("TYPE") in ("MASTER", "INITIATOR")
            found[Pin(instance, bus.get("NAME", ""))] = Interface(drives, ports)
    return found
