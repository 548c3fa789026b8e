# SPDX-License-Identifier: Apache-2.0
"""Inside the simulator: AXI masters with random stalls, kernels in Python, and a monitor that trusts nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamSink, AxiStreamSource
from shell_models import Compute, answer_words

from hls4attn.overlays.design import OverlayDesign

PERIOD_NS = 10
QUIET_CLOCKS = 48  # without any word moving, all that can happen has happened
PATIENCE = 4_000  # clocks, more than anything here takes


class Stream:
    """Signals of one stream, read once a clock."""

    def __init__(self, dut: Any, name: str) -> None:
        signals = [getattr(dut, f"{name}_{signal}") for signal in ("tvalid", "tready", "tlast", "tdata", "tkeep")]
        self.valid, self.ready, self.last, self.data, self.keep = signals
        self.user = getattr(dut, f"{name}_tuser", None)
        self.name = name

    @property
    def moves(self) -> bool:
        return bool(self.valid.value) and bool(self.ready.value)

    def word(self) -> tuple[int, int, int, int]:
        user = int(self.user.value) if self.user is not None else 0
        return int(self.data.value), int(self.last.value), int(self.keep.value), user


class Kernel:
    """A kernel of samples: answers each when it is complete; TLAST within a sample says nothing to it.

    Args:
        design: layout of samples.
        compute: the function.
    """

    def __init__(self, design: OverlayDesign, compute: Compute) -> None:
        self.design, self.compute = design, compute
        self.stuck = False  # whether it takes no words
        self.reset()

    def reset(self) -> None:
        self.sample: list[int] = []
        self.out: deque[tuple[int, int]] = deque()

    def take(self, data: int, last: int, user: int) -> None:
        assert user == 0
        self.sample.append(data)
        if len(self.sample) * 4 == self.design.input.sample_bytes:
            self.answer(self.compute, last)

    def answer(self, compute: Compute, last: int) -> None:
        words = answer_words(self.design, compute, self.sample)
        self.out.extend((word, last * (i == len(words) - 1)) for i, word in enumerate(words))
        self.sample = []


class Monitor:
    """Counts, independently of the shell, what its registers must say, and checks the rules of the streams."""

    def __init__(self, dut: Any, kernels: int, in_sample: int, out_words: Callable[[], int], drops: bool) -> None:
        self.dut, self.drops = dut, drops
        self.source, self.sink = Stream(dut, "in_r"), Stream(dut, "out_r")
        self.inputs = [Stream(dut, f"kernel{k}_in") for k in range(kernels)]
        self.outputs = [Stream(dut, f"kernel{k}_out") for k in range(kernels)]
        self.in_sample, self.out_words = in_sample, out_words
        self.held: dict[str, tuple[int, ...]] = {}
        self.quiet = self.packets = 0
        self.reset()

    def reset(self) -> None:
        self.samples = self.cycles = self.words_in = self.words_out = 0
        self.under_way = False
        self.held.clear()

    async def run(self) -> None:
        while True:
            await RisingEdge(self.dut.ap_clk)
            if not self.dut.ap_rst_n.value:
                self.reset()
                continue
            self.quiet += 1
            for stream in (self.sink, *self.inputs):
                self.check(stream)
            self.count()

    def check(self, stream: Stream) -> None:
        """An offered word stays until it is taken."""
        if stream.valid.value:
            word = stream.word()
            assert word[2] == 0xF, f"{stream.name}: TKEEP {word[2]:x}"
            assert self.held.get(stream.name, word) == word, f"{stream.name}: a word changed while it waited"
            self.held[stream.name] = word
        else:
            assert stream.name not in self.held, f"{stream.name}: a word was withdrawn"
        if stream.moves:
            del self.held[stream.name]
            self.quiet = 0

    def count(self) -> None:
        takes, gives = self.source.moves, self.sink.moves
        assert self.under_way or not gives, "an answer to nothing"
        if takes and not self.under_way:
            self.under_way, self.words_in, self.words_out = True, 0, 0
            self.packets += 1
        self.cycles += self.under_way
        ends = False
        if takes:
            self.quiet = 0
            _, last, keep, _ = self.source.word()
            self.words_in += keep == 0xF
            ends = bool(last) and self.drops and self.words_in < self.in_sample
        if gives:
            self.words_out += 1
            self.samples += self.words_out % self.out_words() == 0
            ends = bool(self.sink.last.value)
        self.under_way &= not ends

    async def settle(self) -> None:
        """Wait until nothing moves any more."""
        self.quiet = 0
        for _ in range(0, PATIENCE, QUIET_CLOCKS // 4):
            if self.quiet >= QUIET_CLOCKS:
                return
            await ClockCycles(self.dut.ap_clk, QUIET_CLOCKS // 4)
        raise AssertionError("words move without end")


class Bench:
    """A shell with its surroundings.

    Args:
        dut: the top.
        kernels: behind it.
        seed: of all stalls.
        stall: probability of a pause of any side in any clock.
        drops: whether the shell drops a sample that is cut short.
    """

    def __init__(self, dut: Any, kernels: list[Kernel], seed: int, stall: float, drops: bool = False) -> None:
        self.dut, self.kernels, self.stall = dut, kernels, stall
        self.rng = np.random.default_rng(seed)
        self.taking = False  # whether anybody receives answers
        self.target = 0  # kernel of the packet under way
        first = kernels[0].design.input.sample_bytes // 4
        self.monitor = Monitor(
            dut, len(kernels), first, lambda: kernels[self.target].design.output.sample_bytes // 4, drops
        )
        # the reset is the DMA's: the streams' other ends see it, the processor does not
        reset = {"reset": dut.ap_rst_n, "reset_active_level": False}
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), dut.ap_clk)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "in_r"), dut.ap_clk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "out_r"), dut.ap_clk, **reset)
        write, read = self.lite.write_if, self.lite.read_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel):
            if stall:
                channel.set_pause_generator(self.pauses())
        if stall:
            self.source.set_pause_generator(self.pauses())
        self.sink.set_pause_generator(self.pauses(lambda: not self.taking))

    def pauses(self, always: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        while True:
            for value in self.rng.random(256) < self.stall:
                yield bool(value) or always()

    async def start(self) -> None:
        cocotb.start_soon(Clock(self.dut.ap_clk, PERIOD_NS, unit="ns").start())
        self.tasks = [cocotb.start_soon(self.monitor.run())]
        self.tasks += [cocotb.start_soon(self.run_kernel(k)) for k in range(len(self.kernels))]
        await self.reset()

    def stop(self) -> None:
        """Let the kernels stand as they are, and watch nothing any more."""
        for task in self.tasks:
            task.cancel()

    async def reset(self) -> None:
        """Pulse the reset, as a soft reset of the DMA does; packets that wait are gone."""
        self.dut.ap_rst_n.value = 0
        await ClockCycles(self.dut.ap_clk, 3)
        self.source.clear()
        self.sink.clear()
        self.dut.ap_rst_n.value = 1
        await ClockCycles(self.dut.ap_clk, 3)

    async def run_kernel(self, number: int) -> None:
        kernel, rng = self.kernels[number], np.random.default_rng(self.rng.integers(1 << 30))
        source, sink = self.monitor.inputs[number], self.monitor.outputs[number]
        source.ready.value = sink.valid.value = sink.last.value = sink.data.value = 0
        sink.keep.value = 0xF
        while True:
            await RisingEdge(self.dut.ap_clk)
            if not self.dut.ap_rst_n.value:
                kernel.reset()
                source.ready.value = sink.valid.value = 0
                continue
            if source.moves:
                assert not any(other.valid.value for other in self.monitor.inputs if other is not source)
                data, last, _, user = source.word()
                self.target = number
                kernel.take(data, last, user)
            if sink.moves:
                kernel.out.popleft()
                self.monitor.quiet = 0
            stalls = rng.random(2) < self.stall
            source.ready.value = int(not stalls[0] and not kernel.stuck)
            waits = bool(sink.valid.value) and not sink.moves
            offers = bool(kernel.out) and (waits or not stalls[1])
            sink.valid.value = int(offers)
            if offers:
                sink.data.value, sink.last.value = kernel.out[0]

    # --- what a host does ----------------------------------------------------------------------------
    async def read(self, offset: int) -> int:
        word = await with_timeout(self.lite.read(offset, 4), PATIENCE * PERIOD_NS, "ns")
        assert int(word.resp) == 0
        return int.from_bytes(word.data, "little")

    async def write(self, offset: int, value: int, size: int = 4, clocks: int = PATIENCE) -> None:
        word = value.to_bytes(4, "little")[:size]
        done = await with_timeout(self.lite.write(offset, word), clocks * PERIOD_NS, "ns")
        assert int(done.resp) == 0

    def send(self, packet: bytes) -> None:
        self.source.send_nowait(packet)

    async def receive(self) -> bytes:
        self.taking = True
        frame = await with_timeout(self.sink.recv(), PATIENCE * PERIOD_NS, "ns")
        self.taking = False
        return bytes(frame.tdata)
