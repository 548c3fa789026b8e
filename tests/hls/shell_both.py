# SPDX-License-Identifier: Apache-2.0
"""Inside the simulator: the shell and the emulated IP are given the same, and must answer the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from shell_bench import Bench
from shell_models import random_packet

from hls4attn.host.emulated.kernel import StreamKernel
from hls4attn.overlays import registers as reg
from hls4attn.overlays.design import OverlayDesign


class Both:
    """The shell and its model, which are given the same, at times at which nothing moves."""

    def __init__(self, bench: Bench, model: StreamKernel) -> None:
        self.bench, self.model = bench, model
        self.waiting: deque[bytes] = deque()

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
        self.accept()

    def accept(self) -> None:
        """Let the model take what it can."""
        while self.waiting and self.model.accept(self.waiting[0]):
            self.waiting.popleft()


async def random_steps(
    both: Both,
    rng: np.random.Generator,
    steps: int,
    packet: Callable[[], bytes],
    offsets: tuple[int, ...],
    further: Callable[[], Awaitable[None]],
) -> None:
    """Whatever a host and a DMA may do, in any order; `further` is what only some shells know."""
    kinds = [
        "read",
        "read",
        "write",
        "start",
        "send",
        "send",
        "take",
        "take",
        "reset",
        "interrupt",
        "bytes",
        "further",
        "further",
    ]
    for _ in range(steps):
        match rng.choice(kinds):
            case "further":
                await further()
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
                offset = int(rng.choice([reg.CTRL, rng.choice(offsets)]))
                await both.bench.write(offset, 0xFFFFFFFF, size=int(rng.integers(1, 4)))
        await both.settle()
    for offset in offsets:
        await both.read(offset)
        await both.settle()


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
    end = len(packet) - int(rng.integers(1, 4)) if rng.random() < 0.5 else int(rng.integers(1, len(packet)))
    return packet if rng.random() < 0.7 else packet[:end]
