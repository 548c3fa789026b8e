# SPDX-License-Identifier: Apache-2.0
"""Inside the simulator: the shell of one kernel, or of a bank, does what the emulated IP does."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from shell_bench import Bench, Kernel
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


class Both:
    """The shell and its model, which are given the same, at times at which nothing moves."""

    def __init__(self, bench: Bench, model: StreamKernel) -> None:
        self.bench, self.model = bench, model
        self.waiting: deque[bytes] = deque()
        self.partial = False

    async def write(self, offset: int, value: int) -> None:
        self.model.write32(offset, value)
        await self.bench.write(offset, value)

    async def read(self, offset: int) -> None:
        """Read a register; the monitor knows the counters, the model all else."""
        monitor = self.bench.monitor
        expected = {
            reg.SAMPLES: monitor.samples,
            reg.CYCLES_LO: monitor.cycles & 0xFFFFFFFF,
            reg.CYCLES_HI: monitor.cycles >> 32,
        }
        model = self.model.read32(offset)
        if offset == reg.SAMPLES and not monitor.under_way:
            assert model == monitor.samples
        before = monitor.cycles
        value = await self.bench.read(offset)
        if offset == reg.CYCLES_LO and monitor.under_way:
            assert before <= value <= monitor.cycles
        else:
            assert value == expected.get(offset, model), f"0x{offset:02x}: 0x{value:x}"

    async def send(self, packet: bytes) -> None:
        self.bench.send(packet)
        self.waiting.append(packet)

    async def take(self) -> None:
        if self.model.output is None:
            self.bench.taking = True
            await self.settle()
            self.bench.taking = False
            assert self.bench.sink.empty()
        else:
            assert await self.bench.receive() == self.model.take()

    async def reset(self) -> None:
        await self.bench.reset()
        self.model.reset()
        self.waiting.clear()

    async def settle(self) -> None:
        await self.bench.monitor.settle()
        while self.waiting and self.model.accept(self.waiting[0]):
            self.waiting.popleft()


async def random_steps(both: Both, rng: np.random.Generator, packet: Any, offsets: tuple[int, ...]) -> None:
    """Whatever a host and a DMA may do, in any order."""
    for _ in range(STEPS):
        match rng.choice(["read", "read", "write", "start", "send", "take", "take", "reset", "interrupt", "bytes"]):
            case "read":
                await both.read(int(rng.choice(offsets)))
            case "write":
                await both.write(int(rng.choice(offsets[1:])), int(rng.choice([0, 1, 2, 3, 7, 0xFFFFFFFF])))
            case "start":
                await both.write(reg.CTRL, int(rng.choice([0, 1, 0x80, 0x81, 0x81])))
            case "send" if len(both.waiting) < 2:
                await both.send(packet())
            case "take":
                await both.take()
            case "reset" if rng.random() < 0.2:
                await both.reset()
            case "interrupt" if rng.random() < 0.2:  # a reset while anything moves, a write to the registers too
                both.bench.taking = True
                await both.send(packet())
                write = cocotb.start_soon(both.bench.write(reg.CTRL, 0))
                await ClockCycles(both.bench.dut.ap_clk, int(rng.integers(1, 60)))
                both.bench.taking = False
                await both.reset()
                await write
                both.model.write32(reg.CTRL, 0)
            case "bytes":  # less than a word is no write
                await both.bench.write(int(rng.choice(offsets)), 0xFFFFFFFF, size=int(rng.integers(1, 4)))
        await both.settle()
    for offset in offsets:
        await both.read(offset)
        await both.settle()


@cocotb.test()
@cocotb.parametrize(seed=SEEDS)
async def does_what_the_model_does(dut: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench = make(dut, seed, rng.choice([0.0, 0.2, 0.5]))
    both = Both(bench, emulated())
    await bench.start()

    def packet() -> bytes:
        design = designs()[both.model.read32(reg.SELECT)] if IS_BANK else DESIGNS[0]
        return maybe_cut(random_packet(design, int(rng.integers(1, 5)), rng), rng)

    await random_steps(both, rng, packet, OFFSETS)


@cocotb.test()
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
    while bench.sink.count() < len(packets):
        for offset, value in ((reg.MODEL_ID_LO, low), (reg.MODEL_ID_HI, high), (reg.CYCLES_HI, 0)):
            assert await bench.read(offset) == value
        for offset, name in ((reg.SAMPLES, "samples"), (reg.CYCLES_LO, "cycles")):
            before = getattr(monitor, name)
            assert before <= await bench.read(offset) <= getattr(monitor, name)
    assert await bench.read(reg.SAMPLES) == 41
    assert await bench.read(reg.CYCLES_LO) == monitor.cycles
    for packet in packets:
        codes = unpack(packet, DESIGNS[0].input)
        expected = pack(mixed(DESIGNS[0])(codes), DESIGNS[0].output).tobytes()
        assert bytes(bench.sink.recv_nowait().tdata) == expected


@cocotb.test()
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


async def packet_cycles(bench: Bench, design: OverlayDesign, samples: int) -> int:
    """What CYCLES grows by, of a packet that nobody stalls."""
    before = await bench.read(reg.CYCLES_LO)
    await bench.write(reg.CTRL, reg.AP_START)
    bench.taking = True
    bench.send(random_packet(design, samples, np.random.default_rng(samples)))
    await bench.receive()
    return await bench.read(reg.CYCLES_LO) - before


def maybe_cut(packet: bytes, rng: np.random.Generator) -> bytes:
    """Now and then, a packet that ends where it should not."""
    return packet if rng.random() < 0.8 else packet[: int(rng.integers(1, len(packet)))]
