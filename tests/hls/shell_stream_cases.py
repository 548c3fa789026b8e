# SPDX-License-Identifier: Apache-2.0
"""Inside the simulator: the shell of one kernel, or of a bank, does what the emulated IP does."""

from __future__ import annotations

import os
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from shell_bench import PATIENCE, Bench, Kernel
from shell_both import Both, maybe_cut, packet_cycles, random_steps
from shell_models import BANK, DESIGNS, mixed, random_packet, shell_of

from hls4attn.hls.shell import added_cycles
from hls4attn.host.emulated.kernel import StreamKernel
from hls4attn.host.emulated.operators import OperatorKernel
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.packing import pack, unpack

SEEDS = [int(seed) for seed in os.environ["SHELL_SEEDS"].split()]
STEPS = int(os.environ["SHELL_STEPS"])
IS_BANK = os.environ["SHELL_DESIGN"] == "bank"
#: Registers, and addresses between, beyond and far beyond them.
OFFSETS = (*(r.offset for r in reg.OPERATOR_REGISTERS), 0x04, 0x40, 0x7C, 0x80, 0x1000, 0xFFFC)


def designs() -> tuple[OverlayDesign, ...]:
    return DESIGNS if IS_BANK else DESIGNS[:1]


def emulated() -> StreamKernel:
    functions = [mixed(design) for design in designs()]
    if IS_BANK:
        return OperatorKernel(BANK, lambda: functions, 0, 0x10000)
    return StreamKernel(DESIGNS[0], functions[0], 0, 0x10000)


def make(dut: Any, seed: int, stall: float) -> Bench:
    return Bench(dut, [Kernel(design, mixed(design)) for design in designs()], seed, stall)


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(seed=SEEDS)
async def does_what_the_model_does(dut: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench = make(dut, seed, rng.choice([0.0, 0.2, 0.5]))
    both = Both(bench, emulated())
    await bench.start()

    def packet() -> bytes:
        design = designs()[both.model.read32(reg.SELECT)] if IS_BANK else DESIGNS[0]
        return maybe_cut(random_packet(design, int(rng.integers(1, 5)), rng), rng)

    async def select() -> None:
        await both.write(reg.SELECT, int(rng.choice([0, 1, 2, 3, 64, 0xFFFFFFFF])))

    await random_steps(both, rng, STEPS, packet, OFFSETS, select)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def counts_while_words_move(dut: Any) -> None:
    bench = make(dut, 1, 0.3)
    monitor, rng = bench.monitor, np.random.default_rng(1)
    await bench.start()
    await bench.write(reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
    packets = [random_packet(DESIGNS[0], samples, rng) for samples in (20, 1, 20)]
    for packet in packets:
        bench.send(packet)
    bench.taking = True
    low, high = DESIGNS[0].model_id_words if not IS_BANK else BANK.model_id_words
    for _ in range(PATIENCE // 10):
        if bench.sink.count() == len(packets):
            break
        for offset, value in ((reg.MODEL_ID_LO, low), (reg.MODEL_ID_HI, high), (reg.CYCLES_HI, 0)):
            assert await bench.read(offset) == value
        for offset, name in ((reg.SAMPLES, "samples"), (reg.CYCLES_LO, "cycles")):
            before = getattr(monitor, name)
            assert before <= await bench.read(offset) <= getattr(monitor, name)
    assert await bench.read(reg.SAMPLES) == 41
    assert await bench.read(reg.CYCLES_LO) == monitor.cycles
    assert bench.sink.count() == len(packets)
    for packet in packets:
        codes = unpack(packet, DESIGNS[0].input)
        expected = pack(mixed(DESIGNS[0])(codes), DESIGNS[0].output).tobytes()
        assert bytes(bench.sink.recv_nowait().tdata) == expected


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def passes_a_word_a_clock(dut: Any) -> None:
    bench = make(dut, 1, 0.0)
    await bench.start()
    for number, design in enumerate(designs()):
        await bench.write(reg.SELECT, number)
        words = max(design.input.sample_bytes, design.output.sample_bytes) // 4
        first = await packet_cycles(bench, design, 1)
        assert await packet_cycles(bench, design, 64) - first == 63 * words
        # the kernel alone: from its first word in to its last word out
        alone = design.input.sample_bytes // 4 + design.output.sample_bytes // 4
        assert first == alone + added_cycles(shell_of(BANK if IS_BANK else design))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def answers_the_processor_over_a_reset(dut: Any) -> None:
    bench = make(dut, 1, 0.6)
    await bench.start()
    for clocks in (*range(1, 16), *range(1, 16)):
        accesses = [cocotb.start_soon(bench.write(0x7C, 1)), cocotb.start_soon(bench.read(reg.MODEL_ID_LO))]
        await ClockCycles(dut.ap_clk, clocks)
        await bench.reset()
        for access in accesses:
            await access


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def waits_for_the_rest_of_a_word(dut: Any) -> None:
    bench, packet = make(dut, 1, 0.2), random_packet(DESIGNS[0], 1, np.random.default_rng(1))
    await bench.start()
    bench.taking = True
    for missing in (1, 2, 3):
        await bench.write(reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
        bench.send(packet[:-missing])
        bench.send(packet)  # not taken: the first one is under way
        await bench.monitor.settle()
        assert bench.monitor.under_way
        assert bench.monitor.packets == missing
        assert bench.sink.empty()
        await bench.reset()


@cocotb.test(timeout_time=5, timeout_unit="ms", skip=not IS_BANK)
async def selects_for_the_next_packet(dut: Any) -> None:
    bench, rng = make(dut, 1, 0.2), np.random.default_rng(1)
    both = Both(bench, emulated())
    await bench.start()
    await both.write(reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
    for number in (2, 1, 0, 1):
        await both.send(random_packet(designs()[(await bench.read(reg.SELECT))], 3, rng))
        await both.settle()
        await both.write(reg.SELECT, number)
        await both.take()
        await both.read(reg.SAMPLES)
