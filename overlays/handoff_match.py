# SPDX-License-Identifier: Apache-2.0
"""Compares what build scripts draw with the handoff that the emulated board is made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hls4attn.overlays.block_design import CONTROL_NET, EQUAL_IPS, MEMORY_NET
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.hwh import build_hwh, parse_hwh

if TYPE_CHECKING:
    from hls4attn.overlays.dryrun import DryRunReport

SIGNALS = ("clk", "rst", "INTERRUPT")


def differences(report: DryRunReport, design: OverlayDesign) -> list[str]:
    """What a dry run drew otherwise than the handoff of the design says.

    Returns:
        One line for every cell, address, stream, signal or parameter that differs; empty if none does.
    """
    modules = {module.get("INSTANCE", ""): module for module in parse_hwh(build_hwh(design)).iter("MODULE")}
    return [
        *_cells(report, modules),
        *_addresses(report, modules, design),
        *_streams(report, modules),
        *_signals(report, modules),
        *_parameters(report, modules),
    ]


def _cells(report: DryRunReport, modules: dict[str, ET.Element]) -> Iterator[str]:
    for instance, module in modules.items():
        vlnv = module.get("VLNV", "")
        names = EQUAL_IPS.get(vlnv, (vlnv.rpartition(":")[0],))
        drawn = report.cells.get(instance, "nothing")
        if drawn.rpartition(":")[0] not in names:
            yield f"cell {instance} is drawn as {drawn}; the handoff says {vlnv}"
    for instance in report.cells.keys() - modules.keys() - {CONTROL_NET, MEMORY_NET}:
        yield f"cell {instance} is drawn; the handoff has none of that name"


def _addresses(report: DryRunReport, modules: dict[str, ET.Element], design: OverlayDesign) -> Iterator[str]:
    ps = design.addresses.ps_instance
    wanted = {}
    for element in modules[ps].iter("MEMRANGE"):
        base, high = (int(element.get(key, "0"), 16) for key in ("BASEVALUE", "HIGHVALUE"))
        wanted[element.get("INSTANCE", "")] = (base, high - base + 1)
    drawn = {a.segment.split("/")[0]: (a.base, a.size) for a in report.addresses if a.space == f"{ps}/Data"}
    for instance in sorted(wanted.keys() | drawn.keys()):
        if wanted.get(instance) != drawn.get(instance):
            yield f"{instance} is at {_range(drawn.get(instance))}; the handoff says {_range(wanted.get(instance))}"


def _range(found: tuple[int, int] | None) -> str:
    return "no address" if found is None else f"0x{found[0]:08X} with {found[1]} bytes"


def _streams(report: DryRunReport, modules: dict[str, ET.Element]) -> Iterator[str]:
    ends: dict[str, dict[str, str]] = {}
    for instance, module in modules.items():
        for bus in module.iter("BUSINTERFACE"):
            if bus.get("TYPE") in ("INITIATOR", "TARGET"):
                pin = f"{instance}/{bus.get('NAME')}"
                ends.setdefault(bus.get("BUSNAME", ""), {})[bus.get("TYPE", "")] = pin
    wanted = {(both.get("INITIATOR", ""), both.get("TARGET", "")) for both in ends.values()}
    for driver, sink in sorted(wanted ^ set(report.streams)):
        which = "only in the handoff" if (driver, sink) in wanted else "only drawn"
        yield f"stream {driver} to {sink} is {which}"


def _signals(report: DryRunReport, modules: dict[str, ET.Element]) -> Iterator[str]:
    for instance, module in modules.items():
        for port in module.iter("PORT"):
            if port.get("DIR") != "I" or port.get("SIGIS") not in SIGNALS:
                continue
            sink = f"{instance}/{port.get('NAME')}"
            wanted = {f"{c.get('INSTANCE')}/{c.get('PORT')}" for c in port.iter("CONNECTION")}
            drawn = report.nets.get(sink, "nothing")
            if drawn not in wanted:
                yield f"{sink} is driven by {drawn}; the handoff says {', '.join(sorted(wanted))}"


def _parameters(report: DryRunReport, modules: dict[str, ET.Element]) -> Iterator[str]:
    for instance, values in report.parameters.items():
        if instance not in modules:
            continue
        wanted = {p.get("NAME", ""): p.get("VALUE", "") for p in modules[instance].iter("PARAMETER")}
        for name in sorted(values.keys() & wanted.keys()):
            if values[name] != wanted[name]:
                yield f"{instance} has {name}={values[name]}; the handoff says {wanted[name]}"
