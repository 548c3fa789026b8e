# SPDX-License-Identifier: Apache-2.0
"""The DMA of the board model without PYNQ: status, errors, resets and waits that never end."""

import numpy as np
import pytest
from dense_model import INPUT, OUTPUT, dense, make_design, random_codes
from wired import RUN, Bench, hopeless

from hls4attn.host.emulated.dma import FIFO_BYTES, HOPELESS_POLLS
from hls4attn.host.emulated.errors import EmulationDeadlock
from hls4attn.overlays import registers as reg
from hls4attn.overlays.hwh import build_hwh, parse_hwh
from hls4attn.overlays.packing import pack, unpack


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
