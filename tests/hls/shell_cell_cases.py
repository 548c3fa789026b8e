# SPDX-License-Identifier: Apache-2.0
"""Inside the simulator: the shell of gain cells does what the emulated IP does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from shell_bench import Bench, Kernel
from shell_both import Both, maybe_cut, packet_cycles, random_steps
from shell_models import CELLS, LEAST, RememberingCells, random_packet, shell_of

from hls4attn.hls.shell import added_cycles
from hls4attn.host.emulated.cells import CellKernel
from hls4attn.models.formats import Codes
from hls4attn.overlays import registers as reg

SEEDS = [int(seed) for seed in os.environ["SHELL_SEEDS"].split()]
STEPS = int(os.environ["SHELL_STEPS"])
DESIGN = CELLS if os.environ["SHELL_DESIGN"] == "cells" else LEAST
OFFSETS = (*(r.offset for r in reg.CELL_REGISTERS), 0x04, 0x5C, 0x68, 0x80, 0x1000)
LIMIT = 1 << (DESIGN.current_width - 1)

TOKEN, CLEAR, CURRENT, TABLE = range(4)


class Heads(Kernel):
    """A gain-cell kernel: tokens and commands; what it remembers outlives a reset, as memories do.

    Args:
        packet: number of the packet under way, if there is one.
    """

    def __init__(self) -> None:
        self.layers = [RememberingCells(DESIGN) for _ in range(DESIGN.layers)]
        self.new: dict[int, int] = {}
        self.address = 0
        self.packet: Callable[[], int | None] = lambda: None
        self.answered: int | None = None
        self.user = 0
        super().__init__(DESIGN, self.step)

    def step(self, codes: Codes) -> Codes:
        return self.layers[self.user >> 2].step(*np.moveaxis(codes, 1, 0))

    def take(self, data: int, last: int, user: int) -> None:
        operation, layer = user & 3, user >> 2
        if operation == TOKEN:
            assert not self.sample or user == self.user, "TUSER changed inside a token"
            self.user, self.answered = user, self.packet()
            super().take(data, last, 0)
            assert not (last and self.sample), "a token was cut short"
            return
        assert last and not self.sample and not self.out
        assert self.packet() is None or self.packet() != self.answered, "a command inside a packet"
        if operation == CLEAR:
            assert data or layer < len(self.layers)
            for cells in self.layers if data else [self.layers[layer]]:
                cells.clear()
        elif operation == CURRENT:
            self.new[self.address] = data - (data >> 31 << 32)
            self.address += 1
        else:
            if data:
                table = np.array([self.new[i] for i in range(DESIGN.table.size)]).reshape(DESIGN.table.shape)
                for cells in self.layers:
                    cells.table = table
            self.address = 0


def make(dut: Any, seed: int, stall: float) -> tuple[Bench, Heads]:
    heads = Heads()
    bench = Bench(dut, [heads], seed, stall, drops=True)
    monitor = bench.monitor
    heads.packet = lambda: monitor.packets if monitor.under_way else None
    return bench, heads


@cocotb.test(timeout_time=5, timeout_unit="ms")
@cocotb.parametrize(seed=SEEDS)
async def does_what_the_model_does(dut: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench, heads = make(dut, seed, rng.choice([0.0, 0.2, 0.5]))
    model = CellKernel(DESIGN, lambda: RememberingCells(DESIGN), 0, 0x10000)
    both = Both(bench, model)
    await bench.start()

    def packet() -> bytes:
        return maybe_cut(random_packet(DESIGN, int(rng.integers(1, 6)), rng), rng)

    def current() -> int:
        return int(rng.integers(-LIMIT, LIMIT)) & 0xFFFFFFFF

    async def further() -> None:
        match rng.choice(["layer", "command", "command", "address", "word", "table", "too large", "error"]):
            case "layer":
                await both.write(reg.LAYER, int(rng.choice([0, 1, 2, 3, 64, 0xFFFFFFFF])))
            case "command":
                await both.write(reg.COMMAND, int(rng.integers(0, 9)))
            case "address":
                await both.write(reg.TABLE_ADDRESS, int(rng.choice([0, 0, 1])))
            case "word":
                await both.write(reg.TABLE_DATA, current())
            case "table":
                await both.write(reg.TABLE_ADDRESS, 0)
                for _ in range(DESIGN.table.size + int(rng.choice([0, 0, 0, 1, -1]))):
                    await both.write(reg.TABLE_DATA, current())
                await both.write(reg.COMMAND, reg.USE_TABLE)
            case "too large" if LIMIT < 1 << 31:
                await both.write(reg.TABLE_DATA, int(rng.choice([LIMIT, -LIMIT - 1, 1 << 31])) & 0xFFFFFFFF)
            case "error":
                await both.write(reg.ERROR, int(rng.integers(0, 32)))

    await random_steps(both, rng, STEPS, packet, OFFSETS, further)
    for cells, expected in zip(heads.layers, model._layers, strict=True):
        assert cells.tokens == expected.tokens
        assert (cells.table == expected.table).all()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def passes_a_word_a_clock(dut: Any) -> None:
    bench, _ = make(dut, 1, 0.0)
    await bench.start()
    words, answer = DESIGN.input.sample_bytes // 4, DESIGN.output.sample_bytes // 4
    first = await packet_cycles(bench, DESIGN, 1)
    assert await packet_cycles(bench, DESIGN, 64) - first == 63 * words
    assert first == words + answer + added_cycles(shell_of(DESIGN))


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def a_kernel_that_hangs_does_not_hang_the_processor(dut: Any) -> None:
    bench, heads = make(dut, 1, 0.0)
    await bench.start()
    heads.stuck = True
    await ClockCycles(dut.ap_clk, 4)
    bench.stop()  # so many clocks would take Python long
    while (write := cocotb.start_soon(bench.write(reg.COMMAND, reg.CLEAR_ALL, clocks=70_000))) is not None:
        await ClockCycles(dut.ap_clk, 50)
        if not write.done():
            break
    assert await bench.read(reg.ERROR) == 0
    await write
    assert await bench.read(reg.ERROR) == reg.BUSY_ERROR


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def drops_tokens_cut_short(dut: Any) -> None:
    bench, _ = make(dut, 1, 0.0)
    bench.source.set_pause_generator(itertools.cycle([True] * 9 + [False]))  # the kernel answers before TLAST comes
    model = CellKernel(DESIGN, lambda: RememberingCells(DESIGN), 0, 0x10000)
    both, rng, size = Both(bench, model), np.random.default_rng(1), DESIGN.input.sample_bytes
    await bench.start()
    for whole, part in itertools.product((0, 1, 2), {1, size - 1, max(size - 4, 1)}):
        await both.write(reg.CTRL, reg.AP_START)
        await both.send(random_packet(DESIGN, whole + 1, rng)[: whole * size + part])
        bench.taking = True
        await both.settle()
        await both.take()
        for offset in (reg.ERROR, reg.CTRL, reg.SAMPLES, reg.CYCLES_LO, reg.FILLED):
            await both.read(offset)
        await both.write(reg.ERROR, reg.PACKET_ERROR)
    assert bench.monitor.samples == 3 * len({1, size - 1, max(size - 4, 1)})


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def keeps_the_order_of_commands_and_tokens(dut: Any) -> None:
    bench, heads = make(dut, 1, 0.0)
    model = CellKernel(DESIGN, lambda: RememberingCells(DESIGN), 0, 0x10000)
    both, rng = Both(bench, model), np.random.default_rng(1)
    await bench.start()
    await both.write(reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
    for commands in (0, 1, 2, 3, 4):
        heads.stuck = True
        writes = [cocotb.start_soon(both.write(reg.COMMAND, reg.CLEAR)) for _ in range(commands)]
        await ClockCycles(dut.ap_clk, 60)
        await both.send(random_packet(DESIGN, 6, rng))  # more than the shell has room for
        await ClockCycles(dut.ap_clk, 60)
        heads.stuck = False
        await both.settle()
        for write in writes:
            await write
        await both.read(reg.ERROR)
        await both.take()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def takes_only_whole_tables_of_currents_that_fit(dut: Any) -> None:
    bench, heads = make(dut, 1, 0.2)
    model = CellKernel(DESIGN, lambda: RememberingCells(DESIGN), 0, 0x10000)
    both, rng = Both(bench, model), np.random.default_rng(1)
    await bench.start()

    async def load(words: list[int], command: int = reg.USE_TABLE) -> None:
        for word in words:
            await both.write(reg.TABLE_DATA, word & 0xFFFFFFFF)
        await both.read(reg.TABLE_ADDRESS)
        await both.write(reg.COMMAND, command)
        for offset in (reg.TABLE_ADDRESS, reg.ERROR):
            await both.read(offset)
        await both.write(reg.ERROR, reg.TABLE_ERROR)
        await both.settle()
        assert (heads.layers[0].table == model._layers[0].table).all()

    good = rng.integers(-LIMIT, LIMIT, DESIGN.table.size).tolist()
    good[0] = -LIMIT
    await load(good)
    await load(good[:-1])  # the rest comes later
    await load([LIMIT - 1])
    for large in (LIMIT, -LIMIT - 1) if LIMIT < 1 << 31 else ():
        await load([1, large], command=0)
    await load([*good, 1])
    await load(good[:3], command=0)
    await both.reset()
    await load(rng.permutation(good).tolist())


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def keeps_the_layer_of_a_packet(dut: Any) -> None:
    bench, _ = make(dut, 1, 0.0)
    bench.source.set_pause_generator(itertools.cycle([True] * 39 + [False]))
    model = CellKernel(DESIGN, lambda: RememberingCells(DESIGN), 0, 0x10000)
    both, rng = Both(bench, model), np.random.default_rng(1)
    await bench.start()
    await both.write(reg.CTRL, reg.AP_START | reg.AUTO_RESTART)
    for layer, other in ((1, 0), (0, 1), (1, 0)):
        await both.write(reg.LAYER, layer)
        await both.send(random_packet(DESIGN, 3, rng))
        while not bench.monitor.under_way:
            await ClockCycles(dut.ap_clk, 1)
        both.accept()
        await both.write(reg.LAYER, other)  # before the next word of the packet
        await ClockCycles(dut.ap_clk, 40 * 3 * DESIGN.input.sample_bytes // 4)
        await both.settle()
        for selected in (layer, other):
            await both.write(reg.LAYER, selected)
            await both.read(reg.FILLED)
        await both.take()
        await both.write(reg.COMMAND, reg.CLEAR)
