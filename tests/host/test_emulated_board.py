# SPDX-License-Identifier: Apache-2.0
"""The board model on its own: registers, DMA, kernel, memory and topology, without PYNQ."""

import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes

from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.ddr import PAGE, Ddr
from hls4attn.host.emulated.dma import FIFO_BYTES, HOPELESS_POLLS
from hls4attn.host.emulated.errors import BusError, EmulationDeadlock
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.hwh import build_hwh, parse_hwh
from hls4attn.overlays.packing import pack, unpack

RUN = reg.AP_START | reg.AUTO_RESTART


class Bench:
    """A programmed board and the register sequences of a host, spelt out."""

    def __init__(self, kernel=dense, start: bool = True, **changes: object) -> None:
        self.design = make_design(**changes)
        self.board = EmulatedBoard(self.design.board)
        self.board.program(self.design, parse_hwh(build_hwh(self.design)), kernel)
        self.dma, self.ip = self.design.addresses.dma, self.design.addresses.ip
        for base in (reg.MM2S, reg.S2MM):
            self.write(base + reg.DMACR, reg.CR_RUN)
        if start:
            self.board.write32(self.ip + reg.CTRL, RUN)

    def read(self, offset: int) -> int:
        return self.board.read32(self.dma + offset)

    def write(self, offset: int, value: int) -> None:
        self.board.write32(self.dma + offset, value)

    def transfer(self, base: int, address: int, nbytes: int) -> None:
        self.write(base + reg.ADDRESS, address & 0xFFFFFFFF)
        self.write(base + reg.ADDRESS_MSB, address >> 32)
        self.write(base + reg.LENGTH, nbytes)

    def send(self, data: bytes) -> int:
        address, _ = self.board.ddr.allocate(len(data))
        self.board.ddr.write(address, data)
        self.transfer(reg.MM2S, address, len(data))
        return address

    def receive(self, nbytes: int) -> int:
        address, _ = self.board.ddr.allocate(nbytes)
        self.transfer(reg.S2MM, address, nbytes)
        return address

    def poll(self, base: int) -> int:
        while not (status := self.read(base + reg.DMASR)) & (reg.SR_IDLE | reg.SR_HALTED):
            pass
        return status

    def run(self, codes: np.ndarray) -> np.ndarray:
        out = self.receive(len(codes) * OUTPUT.sample_bytes)
        self.send(pack(codes, INPUT).tobytes())
        assert self.poll(reg.MM2S) & reg.SR_IDLE
        assert self.poll(reg.S2MM) & reg.SR_IDLE
        received = self.read(reg.S2MM + reg.LENGTH)
        return unpack(self.board.ddr.read(out, received), OUTPUT)

    def reset(self) -> None:
        self.write(reg.MM2S + reg.DMACR, reg.CR_RESET)
        for base in (reg.MM2S, reg.S2MM):
            self.write(base + reg.DMACR, reg.CR_RUN)
        self.board.write32(self.ip + reg.CTRL, RUN)


def test_the_model_does_not_import_pynq() -> None:
    code = "import sys, hls4attn.host.emulated.board, hls4attn.host.emulated.regarray; print('pynq' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["pynq-z1", "pynq-z2", "aup-zu3", "kv260", "zcu104"])
def test_round_trip(name: str) -> None:
    bench = Bench(on=name)
    for n in (1, 64, 3):
        codes = random_codes(n, n)
        assert np.count_nonzero(bench.run(codes) != dense(codes)) == 0
    assert bench.board.read32(bench.ip + reg.SAMPLES) == 68
    low, high = bench.design.model_id_words
    assert bench.board.read32(bench.ip + reg.MODEL_ID_LO) == low
    assert bench.board.read32(bench.ip + reg.MODEL_ID_HI) == high


# --- DMA ---------------------------------------------------------------------------------------------------


def test_reset_state_and_start() -> None:
    bench = Bench()
    bench.write(reg.DMACR, reg.CR_RESET)
    for base in (reg.MM2S, reg.S2MM):
        assert bench.read(base + reg.DMASR) & 0x7F == reg.SR_HALTED
        assert not bench.read(base + reg.DMACR) & reg.CR_RESET  # clears itself
        bench.write(base + reg.DMACR, reg.CR_RUN)
        assert not bench.read(base + reg.DMASR) & reg.SR_HALTED
        bench.write(base + reg.DMACR, 0)
        assert bench.read(base + reg.DMASR) & reg.SR_HALTED


def test_completion_takes_polls_and_its_interrupt_bit_clears() -> None:
    bench = Bench()
    bench.receive(OUTPUT.sample_bytes)
    assert not bench.read(reg.S2MM + reg.DMASR) & reg.SR_IDLE
    bench.send(pack(random_codes(1), INPUT).tobytes())
    status = bench.poll(reg.S2MM)
    assert status & reg.SR_COMPLETE_IRQ
    bench.write(reg.S2MM + reg.DMASR, reg.SR_COMPLETE_IRQ)
    assert not bench.read(reg.S2MM + reg.DMASR) & reg.SR_COMPLETE_IRQ
    assert bench.read(reg.S2MM + reg.DMASR) & reg.SR_IDLE


def test_received_length_is_what_came_not_what_was_asked_for() -> None:
    bench = Bench()
    out = bench.receive(10 * OUTPUT.sample_bytes)
    codes = random_codes(4)
    bench.send(pack(codes, INPUT).tobytes())
    bench.poll(reg.S2MM)
    assert bench.read(reg.S2MM + reg.LENGTH) == 4 * OUTPUT.sample_bytes
    assert np.array_equal(unpack(bench.board.ddr.read(out, 4 * OUTPUT.sample_bytes), OUTPUT), dense(codes))


def test_a_length_of_a_halted_channel_is_ignored() -> None:
    bench = Bench()
    bench.write(reg.DMACR, 0)
    bench.send(pack(random_codes(1), INPUT).tobytes())
    for _ in range(10):
        bench.read(reg.DMASR)
    assert bench.board.read32(bench.ip + reg.SAMPLES) == 0


def test_length_zero_is_an_internal_error() -> None:
    bench = Bench()
    bench.transfer(reg.MM2S, 0x10000000, 0)
    status = bench.read(reg.DMASR)
    assert status & reg.SR_ERRORS == reg.SR_INTERNAL_ERROR
    assert status & reg.SR_HALTED
    assert status & reg.SR_ERROR_IRQ
    assert not bench.read(reg.DMACR) & reg.CR_RUN


def test_bits_above_the_length_register_do_not_exist() -> None:
    from hls4attn.overlays.design import DmaSpec

    bench = Bench(dma=DmaSpec(length_width=10))
    bench.transfer(reg.MM2S, 0x10000000, 1 << 10)
    assert bench.read(reg.LENGTH) == 0
    assert bench.read(reg.DMASR) & reg.SR_INTERNAL_ERROR


@pytest.mark.parametrize("base", [reg.MM2S, reg.S2MM])
def test_an_address_outside_buffers_is_a_decode_error_until_a_reset(base: int) -> None:
    bench = Bench()
    if base == reg.MM2S:
        bench.transfer(reg.MM2S, 0x30000000, INPUT.sample_bytes)
    else:
        bench.transfer(reg.S2MM, 0x30000000, OUTPUT.sample_bytes)
        bench.send(pack(random_codes(1), INPUT).tobytes())
    assert bench.poll(base) & reg.SR_ERRORS == reg.SR_DECODE_ERROR
    bench.write(base + reg.DMACR, reg.CR_RUN)
    assert bench.read(base + reg.DMASR) & reg.SR_HALTED  # running again needs a reset
    bench.reset()
    codes = random_codes(3)
    assert np.array_equal(bench.run(codes), dense(codes))


def test_a_packet_longer_than_the_buffer_halts_and_leaves_its_rest_in_the_stream() -> None:
    bench = Bench()
    bench.receive(OUTPUT.sample_bytes)
    bench.send(pack(random_codes(3), INPUT).tobytes())
    status = bench.poll(reg.S2MM)
    assert status & reg.SR_ERRORS == reg.SR_INTERNAL_ERROR
    assert status & reg.SR_HALTED
    bench.reset()
    codes = random_codes(3, 1)
    assert np.array_equal(bench.run(codes), dense(codes))


def test_a_soft_reset_clears_the_kernel_with_the_dma() -> None:
    bench = Bench()
    bench.run(random_codes(2))
    bench.write(reg.S2MM + reg.DMACR, reg.CR_RESET)
    assert bench.board.read32(bench.ip + reg.SAMPLES) == 0
    assert bench.board.read32(bench.ip + reg.CTRL) == reg.AP_IDLE


def test_without_the_reset_wire_the_kernel_keeps_what_it_holds() -> None:
    """An overlay that leaves out the wire is emulated as it would behave: the old answer comes first."""
    design = make_design()
    data = build_hwh(design).replace(b'NAME="ap_rst_n"', b'NAME="other_rst_n"')
    bench = Bench()
    bench.board.program(design, parse_hwh(data), dense)
    bench.board.write32(bench.ip + reg.CTRL, RUN)
    bench.write(reg.DMACR, reg.CR_RUN)
    bench.write(reg.S2MM + reg.DMACR, reg.CR_RUN)
    old = random_codes(3, 1)
    bench.receive(OUTPUT.sample_bytes)  # too short: the rest stays in the stream
    bench.send(pack(old, INPUT).tobytes())
    assert bench.poll(reg.S2MM) & reg.SR_INTERNAL_ERROR
    bench.reset()
    out = bench.receive(2 * OUTPUT.sample_bytes)
    bench.poll(reg.S2MM)
    rest = bench.board.ddr.read(out, 2 * OUTPUT.sample_bytes)
    assert np.array_equal(unpack(rest, OUTPUT), dense(old)[1:])


# --- deadlocks ---------------------------------------------------------------------------------------------


def hopeless(bench: Bench, base: int) -> str:
    with pytest.raises(EmulationDeadlock) as error:
        bench.poll(base)
    assert isinstance(error.value, DeviceError)
    return str(error.value)


def test_deadlock_kernel_not_started() -> None:
    bench = Bench(start=False)
    bench.receive(OUTPUT.sample_bytes)
    bench.send(pack(random_codes(1), INPUT).tobytes())
    for base in (reg.MM2S, reg.S2MM):
        assert "stream_model_0 was not started: write 0x81" in hopeless(bench, base)
        bench.write(base + reg.DMASR, 0)  # a write starts the count of polls afresh


def test_deadlock_nothing_sent() -> None:
    bench = Bench()
    bench.receive(OUTPUT.sample_bytes)
    assert "nothing was sent" in hopeless(bench, reg.S2MM)


def test_deadlock_receive_not_armed() -> None:
    """A small output waits in the stream; a large one holds the input up as well."""
    bench = Bench()
    bench.send(pack(random_codes(1), INPUT).tobytes())
    assert bench.poll(reg.MM2S) & reg.SR_IDLE
    bench.send(pack(random_codes(1), INPUT).tobytes())
    assert "holds 12 bytes of output that nobody receives" in hopeless(bench, reg.MM2S)
    bench = Bench()
    bench.send(pack(random_codes(FIFO_BYTES // OUTPUT.sample_bytes + 1), INPUT).tobytes())
    assert "arm the receive channel before" in hopeless(bench, reg.MM2S)
    bench.receive(FIFO_BYTES * 2)
    assert bench.poll(reg.MM2S) & reg.SR_IDLE
    assert bench.poll(reg.S2MM) & reg.SR_IDLE


def test_deadlock_fraction_of_a_sample() -> None:
    bench = Bench()
    bench.receive(OUTPUT.sample_bytes)
    bench.send(bytes(INPUT.sample_bytes + 4))
    assert bench.poll(reg.MM2S) & reg.SR_IDLE
    assert "ended 4 bytes into a sample of 8" in hopeless(bench, reg.S2MM)
    bench.reset()
    codes = random_codes(2)
    assert np.array_equal(bench.run(codes), dense(codes))


def test_deadlock_waiting_for_a_halted_channel_to_run() -> None:
    bench = Bench()
    bench.transfer(reg.MM2S, 0x30000000, 8)
    bench.poll(reg.MM2S)
    with pytest.raises(EmulationDeadlock, match=r"decode error.*only a reset"):
        while bench.read(reg.DMASR) & reg.SR_HALTED:
            pass


def test_polling_an_idle_channel_is_no_deadlock() -> None:
    bench = Bench()
    bench.run(random_codes(1))
    for _ in range(HOPELESS_POLLS + 10):
        assert bench.read(reg.DMASR) & reg.SR_IDLE


# --- kernel ------------------------------------------------------------------------------------------------


def test_without_auto_restart_one_start_is_one_packet() -> None:
    bench = Bench(start=False)
    bench.board.write32(bench.ip + reg.CTRL, reg.AP_START)
    codes = random_codes(2)
    assert np.array_equal(bench.run(codes), dense(codes))
    assert bench.board.read32(bench.ip + reg.CTRL) == reg.AP_DONE | reg.AP_READY | reg.AP_IDLE
    assert bench.board.read32(bench.ip + reg.CTRL) == reg.AP_IDLE  # reading clears AP_DONE
    bench.receive(OUTPUT.sample_bytes)
    bench.send(pack(codes, INPUT).tobytes())
    assert "was not started" in hopeless(bench, reg.MM2S)


def test_read_only_registers_stay() -> None:
    bench = Bench()
    for offset in (reg.MODEL_ID_LO, reg.MODEL_ID_HI, reg.SAMPLES):
        before = bench.board.read32(bench.ip + offset)
        bench.board.write32(bench.ip + offset, 0xDEADBEEF)
        assert bench.board.read32(bench.ip + offset) == before


@pytest.mark.parametrize(
    ("kernel", "match"),
    [
        (lambda c: dense(c)[:-1], r"returned shape \(1, 5\), expected \(2, 5\)"),
        (lambda c: dense(c) * 0 + 4000, r"Code 4000 at index \(0, 0\) is outside -2048\.\.2047"),
        (lambda c: dense(c) * 0.5, "dtype float64"),
        (lambda c: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda c: None, "returned shape"),
    ],
)
def test_a_failing_kernel_is_named(kernel, match: str) -> None:
    bench = Bench(kernel)
    bench.receive(2 * OUTPUT.sample_bytes)
    bench.send(pack(random_codes(2), INPUT).tobytes())
    with pytest.raises(DeviceError, match=f"kernel function of stream_model_0 failed: .*{match}"):
        bench.poll(reg.MM2S)


def test_codes_outside_the_format_on_the_stream_are_refused() -> None:
    bench = Bench()
    bench.receive(OUTPUT.sample_bytes)
    bench.send(b"\x7f" * 7 + b"\0")
    with pytest.raises(DeviceError, match=r"sent to stream_model_0 holds no input.*Code 127 .* outside -32\.\.31"):
        bench.poll(reg.MM2S)


# --- address map and memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [0x0, 0x70000000, 0x40410000, 0x43C00000])
def test_an_address_nobody_decodes(address: int) -> None:
    bench = Bench()
    with pytest.raises(BusError, match=rf"0x{address:08x} \(emulated pynq-z2, overlay nn\)"):
        bench.board.read32(address)
    with pytest.raises(BusError, match="Nothing answers"):
        bench.board.write32(address, 1)


def test_no_logic_answers_before_an_overlay_is_loaded() -> None:
    with pytest.raises(BusError, match="no overlay loaded"):
        EmulatedBoard(board("pynq-z2")).read32(0x40400000)


def handoff(old: str, new: str, count: int = 1) -> ET.Element:
    text = build_hwh(make_design()).decode()
    assert old in text
    return parse_hwh(text.replace(old, new, count).encode())


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("hls4attn:hls:stream_model:1.0", "acme:hls:thing:2.0", "no model of acme:hls:thing:2.0"),
        ('NAME="c_include_sg" VALUE="0"', 'NAME="c_include_sg" VALUE="1"', "scatter-gather"),
        ('NAME="c_sg_length_width" VALUE="26"', 'NAME="x" VALUE="26"', "c_sg_length_width of axi_dma_0"),
        ('BASEVALUE="0x40000000"', 'BASEVALUE="0x40400000"', "malformed|overlap"),
        ('BASEVALUE="0x40000000"', 'BASEVALUE="here"', "address range of 'stream_model_0' is malformed"),
        ('BUSNAME="stream_model_0_out_r"', 'BUSNAME="cut"', "do not lead through a model IP and back"),
        ('BUSNAME="axi_dma_0_M_AXIS_MM2S"', 'BUSNAME="cut"', "do not lead through a model IP and back"),
    ],
)
def test_a_handoff_that_cannot_be_emulated_leaves_the_old_overlay(old: str, new: str, match: str) -> None:
    bench = Bench()
    with pytest.raises(DeviceError, match=match):
        bench.board.program(bench.design, handoff(old, new), dense)
    codes = random_codes(2)
    assert np.array_equal(bench.run(codes), dense(codes))


def test_cells_without_registers_are_looked_through() -> None:
    """Vivado puts width converters and FIFOs between; the stream is followed through them."""
    root = handoff('BUSNAME="stream_model_0_out_r" NAME="S_AXIS_S2MM"', 'BUSNAME="fifo_out" NAME="S_AXIS_S2MM"')
    modules = root.find("MODULES")
    assert modules is not None
    fifo = ET.SubElement(modules, "MODULE", INSTANCE="fifo", VLNV="xilinx.com:ip:axis_data_fifo:2.0")
    for net, kind in (("stream_model_0_out_r", "TARGET"), ("fifo_out", "INITIATOR")):
        vlnv = "xilinx.com:interface:axis:1.0"
        ET.SubElement(fifo, "BUSINTERFACE", BUSNAME=net, NAME="x", TYPE=kind, VLNV=vlnv)
    bench = Bench()
    bench.board.program(bench.design, root, dense)
    bench.reset()
    codes = random_codes(2)
    assert np.array_equal(bench.run(codes), dense(codes))


def test_memory_is_page_aligned_reused_and_finite() -> None:
    ddr = Ddr(0x1000_0000, 4 * PAGE)
    a, b, c = (ddr.allocate(n)[0] for n in (1, PAGE + 1, PAGE))
    assert (a, b, c) == (0x1000_0000, 0x1000_0000 + PAGE, 0x1000_0000 + 3 * PAGE)
    with pytest.raises(DeviceError, match=r"No contiguous memory for 1 bytes: 16384 of 16384 are in 3 buffers"):
        ddr.allocate(1)
    ddr.free(b)
    ddr.free(b)
    assert ddr.allocate(2 * PAGE)[0] == b
    ddr.free(a)
    ddr.free(c)
    with pytest.raises(DeviceError, match="No contiguous memory"):
        ddr.allocate(2 * PAGE)  # two pages are free, but apart
    assert ddr.live == {b: 2 * PAGE}


def test_memory_answers_only_within_live_buffers() -> None:
    ddr = Ddr(0x1000_0000, 8 * PAGE)
    a, _ = ddr.allocate(PAGE)
    ddr.allocate(PAGE)
    ddr.write(a + PAGE - 2, b"xy")
    assert ddr.read(a + PAGE - 2, 2) == b"xy"
    for address, n in ((a - 1, 1), (a + PAGE - 1, 2), (0x1000_0000 + 2 * PAGE, 1)):
        with pytest.raises(BusError, match="not within an allocated buffer"):
            ddr.read(address, n)
    with pytest.raises(BusError):
        ddr.write(a + PAGE - 1, b"xy")
    ddr.free(a)
    with pytest.raises(BusError):
        ddr.read(a, 1)
