# SPDX-License-Identifier: Apache-2.0
"""Whether an `.hwh`, Vivado's or ours, is one of a design: cell by cell, net by net, with the difference named.

What tools choose is not compared: names of the reset and concat cells, revisions of vendor IPs, interconnects,
converters and FIFOs in between, further cells, and the dividers of the PL clock (its frequency is).
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays.design import CONCAT, RESET, SEGMENT_BYTES, OverlayDesign
from hls4attn.overlays.drawing import (
    CONCAT_KINDS,
    INTERRUPTS,
    RESET_KIND,
    STREAM_BITS,
    Cell,
    Drawing,
    Net,
    Pin,
    Stream,
    draw,
)
from hls4attn.overlays.drawing_ps import clock_parameter, port_width
from hls4attn.overlays.hwh_netlist import Netlist

_ANY_NAME = (CONCAT, RESET)  # instances that tools may name otherwise
_OUR_VENDOR = "hls4attn:"
MAX_WORDS = 600  # characters of a difference: names and values in it are the file's
CLOCK_TOLERANCE = 1e-4  # relative: board files round the crystal, 33.333 or 33.333333 MHz


def check_hwh(root: ET.Element, design: OverlayDesign, where: str = ".hwh") -> None:
    """Check that a parsed `.hwh` is one of this design.

    Args:
        root: from `hwh.parse_hwh`.
        design: what it must be.
        where: names the file in errors.

    Raises:
        ModelFileError: naming the first part, cell, address, parameter, clock, reset, stream or interrupt that differs.
    """
    try:
        _Check(Netlist(root), design).run()
    except _DifferenceError as difference:
        raise ModelFileError(
            f"{where}: not the block design of overlay {design.name!r}: {difference!s:.{MAX_WORDS}}. "
            "Build the overlay again, or load it with its own design"
        ) from None


class _DifferenceError(Exception):
    """What differs, in words."""


class _Check:
    def __init__(self, netlist: Netlist, design: OverlayDesign) -> None:
        self.netlist = netlist
        self.design = design
        self.drawing: Drawing = draw(design)

    def run(self) -> None:
        """Compare everything; the first difference is raised."""
        self._part()
        for cell in self.drawing.cells:
            if cell.instance not in _ANY_NAME:
                self._cell(cell)
        self._addresses()
        self._memory()
        self._processing_system()
        for stream in self.drawing.streams:
            self._stream(stream)
        self._further_streams()
        for net in self.drawing.nets:
            for pin in net.sinks:
                if not {net.driver.cell, pin.cell} & set(_ANY_NAME):
                    self._driven(pin, net.driver)
        self._resets()
        self._interrupts()

    def _part(self) -> None:
        system, board = self.netlist.system, self.design.board
        if system is None:
            raise _DifferenceError("it has no SYSTEMINFO")
        for key, expected in (("DEVICE", board.device), ("PACKAGE", board.package), ("SPEEDGRADE", board.speed_grade)):
            found = system.get(key, "")
            if found.removeprefix("xc") != expected.removeprefix("xc"):
                raise _DifferenceError(f"{key} is {found!r}, {board.name} ({board.part}) has {expected!r}")

    def _cell(self, cell: Cell) -> None:
        if cell.instance not in self.netlist.modules:
            raise _DifferenceError(f"it has no {cell.instance}. Found: {', '.join(sorted(self.netlist.modules))}")
        found = self.netlist.modules[cell.instance].get("VLNV", "")
        same = found == cell.vlnv if cell.vlnv.startswith(_OUR_VENDOR) else _kind(found) == _kind(cell.vlnv)
        if not same:
            raise _DifferenceError(f"{cell.instance} is a {found!r}, not a {cell.vlnv}")
        if cell.instance != self.design.addresses.ps_instance:
            self._parameters(cell)
        self._registers(cell)

    def _parameters(self, cell: Cell) -> None:
        found = self.netlist.parameters(cell.instance)
        for name, expected in cell.parameters.items():
            if name not in found:
                raise _DifferenceError(f"{cell.instance} has no parameter {name}, which must be {expected}")
            if _number(found[name]) != expected:
                raise _DifferenceError(f"{cell.instance} has {name}={found[name]}, not {expected}")

    def _registers(self, cell: Cell) -> None:
        """Of our own IPs, where the file describes any: another map is another revision of the logic."""
        found = self.netlist.registers(cell.instance)
        if not cell.vlnv.startswith(_OUR_VENDOR) or not found:
            return
        offsets = {name: _number(value) for name, value in found.items()}
        expected = {register.name: register.offset for register in cell.registers}
        for name in sorted(offsets.keys() | expected.keys()):
            if offsets.get(name) != expected.get(name):
                raise _DifferenceError(
                    f"register {name} of {cell.instance} is {_place(offsets.get(name))}, "
                    f"must be {_place(expected.get(name))}"
                )

    def _addresses(self) -> None:
        system = self.design.addresses.ps_instance
        ranges = [r for r in self.netlist.ranges() if r.owner == system and r.kind == "REGISTER"]
        for cell in self.drawing.cells:
            if cell.address is None:
                continue
            own = [r for r in ranges if r.instance == cell.instance]
            if not any(r.covers(cell.address, SEGMENT_BYTES, exactly=True) and r.slave == cell.lite for r in own):
                found = ", ".join(f"{r.base}..{r.high} ({r.slave})" for r in own) or "no address"
                raise _DifferenceError(
                    f"{cell.instance} is at {found}, not at 0x{cell.address:08X}.."
                    f"0x{cell.address + SEGMENT_BYTES - 1:08X} ({cell.lite})"
                )

    def _memory(self) -> None:
        amap = self.design.addresses
        for pin in self.drawing.memory_masters:
            reached = [r for r in self.netlist.ranges() if (r.owner, r.master, r.kind) == (*pin, "MEMORY")]
            own = [r for r in reached if (r.instance, r.slave) == (amap.ps_instance, amap.memory)]
            if not any(r.covers(0, amap.memory_bytes) for r in own):
                found = ", ".join(f"{r.base}..{r.high} of {r.instance}.{r.slave}" for r in reached) or "no memory"
                raise _DifferenceError(
                    f"{pin} reaches {found}, not 0x0..0x{amap.memory_bytes - 1:X} of {amap.ps_instance}.{amap.memory}"
                )

    def _processing_system(self) -> None:
        """Frequency of the PL clock, and width of the port to the memory."""
        instance, family = self.design.addresses.ps_instance, self.design.board.family
        parameters = self.netlist.parameters(instance)
        name, mhz = clock_parameter(family), self.design.clock.mhz
        try:
            same = abs(float(parameters.get(name, "")) - mhz) <= CLOCK_TOLERANCE * mhz
        except ValueError:
            same = False
        if not same:
            raise _DifferenceError(f"{instance} has {name}={parameters.get(name)}, the PL clock is {mhz:g} MHz")
        name, width = port_width(family), self.design.board.hp_width
        if _number(parameters.get(name, "")) != width:
            raise _DifferenceError(f"{instance} has {name}={parameters.get(name)}, not {width}")

    def _stream(self, stream: Stream) -> None:
        for pin, drives in ((stream.driver, True), (stream.sink, False)):
            interface = self.netlist.stream(pin)
            if interface is None or interface.drives != drives:
                raise _DifferenceError(f"{pin} is no AXI4-Stream {'output' if drives else 'input'}")
            signals = {"TDATA": STREAM_BITS, "TKEEP": STREAM_BITS // 8, "TLAST": 1}
            signals |= {"TUSER": stream.user_bits} if stream.user_bits else {}
            for signal, bits in signals.items():
                found = self.netlist.bits(pin.cell, interface.ports.get(signal, ""))
                if found != bits:
                    raise _DifferenceError(f"{signal} of {pin} has {found} bits, not {bits}")
        sinks = self.netlist.stream_sinks(stream.driver, frozenset(cell.instance for cell in self.drawing.cells))
        if sinks != [stream.sink]:
            raise _DifferenceError(f"stream {stream.driver} goes to {_list(sinks)}, not to {stream.sink}")

    def _further_streams(self) -> None:
        """Of our own IPs: logic for more kernels is of another design."""
        drawn = {pin for stream in self.drawing.streams for pin in (stream.driver, stream.sink)}
        for cell in self.drawing.cells:
            further = [pin for pin in self.netlist.streams_of(cell.instance) if pin not in drawn]
            if cell.vlnv.startswith(_OUR_VENDOR) and further:
                raise _DifferenceError(f"{cell.instance} has further streams: {_list(further)}")

    def _drivers(self, pin: Pin) -> list[Pin]:
        if not self.netlist.has(pin):
            raise _DifferenceError(f"{pin.cell} has no port {pin.port}")
        return self.netlist.drivers(pin)

    def _driven(self, pin: Pin, driver: Pin) -> None:
        found = self._drivers(pin)
        if found != [driver]:
            raise _DifferenceError(f"{pin} is driven by {_list(found)}, not by {driver}")

    def _resets(self) -> None:
        """Those from a reset cell, which has any name, and what drives that."""
        for net in self._nets(RESET):
            for pin in net.sinks:
                found = self._drivers(pin)
                kinds = [(self.netlist.kind(f.cell), f.port) for f in found]
                if kinds != [(RESET_KIND, net.driver.port)]:
                    raise _DifferenceError(
                        f"{pin} is driven by {_list(found)}, not by {net.driver.port} of a {RESET_KIND}"
                    )
                amap = self.design.addresses
                self._driven(Pin(found[0].cell, "ext_reset_in"), Pin(amap.ps_instance, amap.reset_port))
                self._driven(Pin(found[0].cell, "slowest_sync_clk"), Pin(amap.ps_instance, amap.clock_port))

    def _interrupts(self) -> None:
        """From the DMA through a concat cell, which has any name, to the interrupt controller."""
        for net in self._nets(CONCAT):
            for pin in net.sinks:
                found = self._drivers(pin)
                kinds = [(self.netlist.kind(f.cell), f.port) for f in found]
                if kinds not in [[(kind, net.driver.port)] for kind in CONCAT_KINDS]:
                    raise _DifferenceError(f"{pin} is driven by {_list(found)}, not by a {CONCAT_KINDS[0]}")
                if self.netlist.bits(*pin) != net.bits:
                    raise _DifferenceError(f"{pin} has {self.netlist.bits(*pin)} bits, not {net.bits}")
                for number, interrupt in enumerate(INTERRUPTS):
                    self._driven(Pin(found[0].cell, f"In{number}"), Pin(self.design.dma.instance, interrupt))

    def _nets(self, driver: str) -> list[Net]:
        return [net for net in self.drawing.nets if net.driver.cell == driver]


def _kind(vlnv: str) -> str:
    return vlnv.rpartition(":")[0]


def _number(text: str) -> int | str:
    """A parameter's value: Vivado writes numbers in decimal or, with 0x, in hexadecimal."""
    try:
        return int(text, 0)
    except ValueError:
        return text


def _place(offset: int | str | None) -> str:
    return "absent" if offset is None else f"at 0x{offset:02X}" if isinstance(offset, int) else f"at {offset!r}"


def _list(pins: list[Pin]) -> str:
    return ", ".join(map(str, pins)) or "nothing"
