# SPDX-License-Identifier: Apache-2.0
"""GPIO and interrupt controller of the emulated board, by hand and by PYNQ."""

from xml.etree import ElementTree as ET

import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes

from hls4attn.host.emulated import intc
from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.faults import Fault, Faults
from hls4attn.host.emulated.gpio import AxiGpio
from hls4attn.host.emulated.topology import interrupt_sources
from hls4attn.overlays import registers as reg
from hls4attn.overlays.hwh import build_hwh, parse_hwh
from hls4attn.overlays.packing import pack

BOARDS = ("pynq-z2", "aup-zu3")


def program(on: str) -> EmulatedBoard:
    design = make_design(on=on)
    board = EmulatedBoard(design.board)
    board.program(design, parse_hwh(build_hwh(design)), dense)
    return board


# --- GPIO ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", BOARDS)
def test_the_loop_of_the_gpio_through_pynq(on: str, package, pynq_state: None) -> None:
    pynq = pytest.importorskip("pynq")
    from hls4attn.host.driver import load_overlay
    from hls4attn.host.emulated_device import EmulatedDevice

    with load_overlay(package(on=on), EmulatedDevice(on), dense) as overlay:
        gpio = overlay.axi_gpio_0
        assert isinstance(gpio, pynq.lib.AxiGPIO)
        for value in (0, 0xFFFFFFFF, 0xA5A50FF0):
            gpio.channel1.write(value, 0xFFFFFFFF)
            assert gpio.channel2.read() == value
        gpio.channel1[4:8].write(0b0101)
        assert gpio.channel2.read() == 0xA5A50F50
        assert int(gpio.channel2[4:8].read()) == 0b0101


def test_directions_that_the_design_fixes_stay() -> None:
    gpio = AxiGpio("gpio", 0, 0x10000, {1: 0}, {0: False, 1: True})
    for offset in (0x4, 0xC):
        before = gpio.read32(offset)
        gpio.write32(offset, 0x12345678)
        assert gpio.read32(offset) == before
    gpio.write32(0x8, 7)  # nothing listens to an input
    gpio.write32(0x0, 5)
    assert [gpio.read32(offset) for offset in (0x0, 0x4, 0x8, 0xC, 0x11C)] == [5, 0, 5, 0xFFFFFFFF, 0]


def test_free_directions_are_written() -> None:
    gpio = AxiGpio("gpio", 0, 0x10000, {0: 1}, {})
    gpio.write32(0xC, 0)
    gpio.write32(0x8, 0xFF)
    gpio.write32(0x0, 0xF000)
    gpio.write32(0x4, 0x0F)
    assert gpio.read32(0x0) == 0xF00F  # of channel 1, four wires are inputs


# --- interrupt controller ------------------------------------------------------------------------------------


class Lines:
    """A controller with two inputs that a test sets."""

    def __init__(self) -> None:
        self.levels = [False, False]
        self.intc = intc.AxiIntc("intc", 0, 0x10000, {n: lambda n=n: self.levels[n] for n in (0, 1)})

    def set(self, *levels: bool) -> bool:
        self.levels = list(levels)
        self.intc.tick()
        return self.intc.irq


def test_nothing_passes_before_it_is_enabled() -> None:
    lines = Lines()
    assert not lines.set(True, True)
    assert lines.intc.read32(intc.ISR) == 0
    lines.intc.write32(intc.MER, intc.HARDWARE_ENABLE)
    assert not lines.set(True, True)
    assert lines.intc.read32(intc.ISR) == 3
    lines.intc.write32(intc.SIE, 2)
    assert not lines.intc.irq
    lines.intc.write32(intc.MER, intc.MASTER_ENABLE)
    assert lines.intc.irq
    assert lines.intc.read32(intc.MER) == 3  # hardware interrupts stay enabled
    assert (lines.intc.read32(intc.IPR), lines.intc.read32(intc.IVR)) == (2, 1)
    lines.intc.write32(intc.CIE, 2)
    assert not lines.intc.irq
    assert lines.intc.read32(intc.IVR) == 0xFFFFFFFF


def test_a_level_that_stays_is_latched_again_and_one_that_went_is_remembered() -> None:
    lines = Lines()
    lines.intc.write32(intc.IER, 1)
    lines.intc.write32(intc.MER, 3)
    assert lines.set(True, False)
    lines.intc.write32(intc.IAR, 1)
    assert lines.set(True, False)
    assert lines.set(False, False)
    lines.intc.write32(intc.IAR, 1)
    assert not lines.set(False, False)


def test_interrupts_by_software_only_before_those_of_hardware() -> None:
    lines = Lines()
    lines.intc.write32(intc.IER, 3)
    lines.intc.write32(intc.ISR, 2)
    lines.intc.write32(intc.MER, 3)
    assert lines.intc.irq
    lines.intc.write32(intc.ISR, 0)
    assert lines.intc.irq


@pytest.mark.parametrize("on", BOARDS)
@pytest.mark.parametrize(("base", "number"), [(reg.MM2S, 0), (reg.S2MM, 1)])
def test_the_interrupts_of_the_dma_arrive(on: str, base: int, number: int) -> None:
    """Completion and error, if the channel lets them out, each at its own input."""
    board = program(on)
    amap = make_design(on=on).addresses

    def pending() -> int:
        return board.read32(amap.intc + intc.IPR)

    board.write32(amap.intc + intc.IER, 3)
    board.write32(amap.intc + intc.MER, 3)
    board.write32(amap.ip + reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
    for fault in (None, Fault.SEND_SLAVE if base == reg.MM2S else Fault.RECEIVE_SLAVE):
        board.write32(amap.dma + reg.MM2S + reg.DMACR, reg.CR_RESET)
        for channel in (reg.MM2S, reg.S2MM):
            enabled = reg.SR_COMPLETE_IRQ | reg.SR_ERROR_IRQ if channel == base else 0
            board.write32(amap.dma + channel + reg.DMACR, reg.CR_RUN | enabled)
        board.write32(amap.ip + reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
        board.write32(amap.intc + intc.IAR, 3)
        assert pending() == 0
        if fault is not None:
            board.faults.inject(fault)
        data = pack(random_codes(1), INPUT).tobytes()
        address, _ = board.ddr.allocate(len(data))
        board.ddr.write(address, data)
        for channel, nbytes in ((reg.S2MM, OUTPUT.sample_bytes), (reg.MM2S, len(data))):
            board.write32(amap.dma + channel + reg.ADDRESS, address)
            board.write32(amap.dma + channel + reg.LENGTH, nbytes)
        for _ in range(10):
            board.read32(amap.dma + reg.DMASR)
        assert pending() == 1 << number
        assert board.irq


def module(root: ET.Element, instance: str) -> ET.Element:
    return next(m for m in root.iter("MODULE") if m.get("INSTANCE") == instance)


def test_interrupt_sources_with_and_without_concatenation() -> None:
    root = parse_hwh(build_hwh(make_design()))
    both = {0: ("axi_dma_0", "mm2s_introut"), 1: ("axi_dma_0", "s2mm_introut")}
    assert interrupt_sources(root, "axi_intc_0") == both
    concat = next(m for m in root.iter("MODULE") if "concat" in m.get("VLNV", ""))
    concat.set("VLNV", "xilinx.com:inline_hdl:ilconcat:1.0")  # its name in new versions of Vivado
    assert interrupt_sources(root, "axi_intc_0") == both
    port = next(p for p in module(root, "axi_intc_0").iter("PORT") if p.get("NAME") == "intr")
    for connection in port.iter("CONNECTION"):
        connection.attrib.update(INSTANCE="axi_dma_0", PORT="s2mm_introut")
    assert interrupt_sources(root, "axi_intc_0") == {0: ("axi_dma_0", "s2mm_introut")}
    assert interrupt_sources(root, "nobody") == {}


def test_faults_wait_for_their_occasion() -> None:
    faults = Faults()
    assert not faults.take(Fault.NO_LAST)
    faults.inject(Fault.NO_LAST, times=2, after=1)
    assert [faults.take(Fault.NO_LAST) for _ in range(4)] == [False, True, True, False]
    faults.inject(Fault.NO_LAST, times=None)
    assert all(faults.take(Fault.NO_LAST) for _ in range(5))
    faults.clear()
    assert not faults.take(Fault.NO_LAST)
