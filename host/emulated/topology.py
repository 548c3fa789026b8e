# SPDX-License-Identifier: Apache-2.0
"""What a hardware handoff says about cells, streams and resets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree as ET

from hls4attn.models.errors import DeviceError


@dataclass(frozen=True)
class Cell:
    """A cell with registers that the processing system reaches."""

    instance: str
    vlnv: str
    base: int
    size: int
    parameters: dict[str, str]


def cells(hwh: ET.Element) -> list[Cell]:
    """All cells in the address map of the processing system, without its memory.

    Raises:
        DeviceError: if a range is malformed, has no module, or overlaps another.
    """
    modules = {module.get("INSTANCE", ""): module for module in hwh.iter("MODULE")}
    systems = [module for module in modules.values() if module.get("IS_PL") == "FALSE"]
    found = []
    for entry in (r for system in systems for r in system.iter("MEMRANGE") if r.get("MEMTYPE") == "REGISTER"):
        instance = entry.get("INSTANCE", "")
        try:
            base, high = (int(entry.get(key, ""), 16) for key in ("BASEVALUE", "HIGHVALUE"))
            module = modules[instance]
        except (ValueError, KeyError) as error:
            raise DeviceError(f"The handoff's address range of {instance!r} is malformed") from error
        parameters = {p.get("NAME", ""): p.get("VALUE", "") for p in module.iter("PARAMETER")}
        found.append(Cell(instance, module.get("VLNV", ""), base, high - base + 1, parameters))
    found.sort(key=lambda cell: cell.base)
    for low, high_cell in pairwise(found):
        if low.base + low.size > high_cell.base:
            raise DeviceError(f"The handoff's addresses of {low.instance} and {high_cell.instance} overlap")
    return found


def stream_sinks(hwh: ET.Element) -> dict[str, list[str]]:
    """For every instance, all instances that its AXI streams reach.

    The two ends of a stream carry the same BUSNAME.  Cells without registers of their own (converters,
    FIFOs, slices) are looked through.
    """
    drivers: dict[str, list[str]] = defaultdict(list)  # instance -> nets it drives
    readers: dict[str, list[str]] = defaultdict(list)  # net -> instances that read it
    for module in hwh.iter("MODULE"):
        instance = module.get("INSTANCE", "")
        for bus in module.iter("BUSINTERFACE"):
            if bus.get("VLNV", "").split(":")[2:3] != ["axis"]:
                continue
            net = bus.get("BUSNAME", "")
            if bus.get("TYPE") in ("MASTER", "INITIATOR"):
                drivers[instance].append(net)
            else:
                readers[net].append(instance)
    addressed = {entry.get("INSTANCE", "") for entry in hwh.iter("MEMRANGE")}

    def reached(instance: str, seen: frozenset[str]) -> list[str]:
        found = []
        for sink in (sink for net in drivers[instance] for sink in readers[net]):
            if sink in addressed:
                found.append(sink)
            elif sink not in seen:
                found.extend(reached(sink, seen | {sink}))
        return found

    return {instance: reached(instance, frozenset({instance})) for instance in list(drivers)}


def driver(hwh: ET.Element, instance: str, port: str) -> tuple[str, str] | None:
    """The instance and port that drive an input, if the handoff says so."""
    for module in hwh.iter("MODULE"):
        if module.get("INSTANCE") != instance:
            continue
        for element in (p for p in module.iter("PORT") if p.get("NAME") == port):
            found = next(element.iter("CONNECTION"), None)
            return None if found is None else (found.get("INSTANCE", ""), found.get("PORT", ""))
    return None


def reset_driver(hwh: ET.Element, instance: str) -> str | None:
    """The instance whose output drives `ap_rst_n` of `instance`, if the handoff says so."""
    found = driver(hwh, instance, "ap_rst_n")
    return found[0] if found else None


def interrupt_sources(hwh: ET.Element, controller: str) -> dict[int, tuple[str, str]]:
    """The instance and port behind each input of an interrupt controller, concatenations looked through."""
    concats = {
        module.get("INSTANCE", ""): sum(port.get("DIR") == "I" for port in module.iter("PORT"))
        for module in hwh.iter("MODULE")
        if module.get("VLNV", "").split(":")[2:3] in (["xlconcat"], ["ilconcat"])
    }

    def reached(instance: str, port: str) -> list[tuple[str, str] | None]:
        found = driver(hwh, instance, port)
        if found is None or found[0] not in concats:
            return [found]
        return [source for number in range(concats[found[0]]) for source in reached(found[0], f"In{number}")]

    return {number: source for number, source in enumerate(reached(controller, "intr")) if source is not None}
