# SPDX-License-Identifier: Apache-2.0
"""The board model without PYNQ: kernel, address map, memory and topology."""

import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes
from wired import Bench, hopeless

from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.ddr import PAGE, Ddr
from hls4attn.host.emulated.errors import BusError
from hls4attn.models.errors import DeviceError
from hls4attn.overlays import registers as reg
from hls4attn.overlays.boards import board
from hls4attn.overlays.hwh import build_hwh, parse_hwh
from hls4attn.overlays.packing import pack


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
