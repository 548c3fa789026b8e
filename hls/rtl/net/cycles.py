# SPDX-License-Identifier: Apache-2.0
"""The cycle model of a network in RTL: the clocks of its samples, without data and without simulating any Verilog."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.rtl.net.attention_machine import Attention
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.machines import Fifo, Machine, Pack, Permute, Pipeline, Unpack, tree_depth
from hls4attn.hls.rtl.net.norm_machine import Norm
from hls4attn.hls.rtl.net.streams import stream_depths
from hls4attn.hls.stream.cycles import ceil_div, is_attention, rows_of
from hls4attn.hls.stream.packets import flag_depth
from hls4attn.hls.stream.ports import PortRows, port_rows
from hls4attn.models.errors import InputError, SimulationError, UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes

#: Clocks without a word anywhere after which a network hangs.
_PATIENCE = 100_000


@dataclass(frozen=True, eq=False)
class NetworkCycles:
    """Clocks of samples back to back, through a network that is always given words and whose words are always taken.

    Attributes:
        starts: clock of the first word of each sample that goes in.
        ends: clock after the last word of each answer came out.
    """

    starts: Codes
    ends: Codes

    @property
    def latency(self) -> int:
        """Clocks of the first sample, from its first word in to its last word out, both included."""
        return int(self.ends[0] - self.starts[0])

    @property
    def interval(self) -> float:
        """Clocks between two samples, on average over the second half of them; 0 for one sample."""
        n = len(self.ends)
        half = (n - 1) // 2
        return float(self.ends[-1] - self.ends[half]) / (n - 1 - half) if n > 1 else 0.0

    def cycles(self, n: int) -> int:
        """Clocks of n samples: from the first word in to the last word out; beyond those counted, by the interval."""
        known = len(self.ends)
        if n <= known:
            return int(self.ends[n - 1])
        return round(int(self.ends[-1]) + (n - known) * self.interval)


def network_cycles(
    design: Design,
    graph: Graph,
    samples: int = 1,
    length: int | None = None,
    dsp: Collection[str] | None = None,
) -> NetworkCycles:
    """The clocks of samples in a network's RTL.

    Args:
        design: its io_stream design.
        graph: the typed graph that it was lowered from.
        samples: how many, one behind the other.
        length: tokens of every sample; all if not given.
        dsp: names of the nodes whose products may take DSP blocks, see `network_unit`; all if not given.

    Raises:
        InputError: for no sample, or a length that the design does not take.
        UnsupportedError: for a node without RTL.
    """
    if samples < 1:
        raise InputError(f"{design.name}: at least one sample. Received: {samples}")
    if length is not None and not (design.input_stream.tokens and 1 <= length <= design.input_stream.rows):
        raise InputError(f"{design.name}: no sequences of {length} tokens")
    return _Clocks(design, graph, length, dsp).run(samples)


class _Clocks:
    """Every machine of a design, and the streams between them."""

    def __init__(self, design: Design, graph: Graph, length: int | None, dsp: Collection[str] | None) -> None:
        self._design = design
        into, out = (_shorter(port, tokens, length) for port, tokens in zip(
            port_rows(design), (design.input_stream.tokens, design.output_stream.tokens), strict=True
        ))  # fmt: skip
        self._in_words, self._out_words = into.words, out.words
        self._flags = Fifo(flag_depth(design))
        self._unpack, self._pack = Unpack(into, self._flags), Pack(out, self._flags)
        self._fifos = {name: Fifo(depth) for name, depth in stream_depths(design).items() if depth}
        copies = {n.inputs[0]: n.outputs for n in design.nodes if n.copies}
        self._behind = {name: _ends(name, copies) for name in design.streams}
        self._nodes: list[tuple[HwNode, Machine]] = []
        for node in design.nodes:
            if not node.copies:
                stream = design.streams[node.output if node.op == "AttnPermute" else node.inputs[0]]
                rows = rows_of(node, length if stream.tokens else None)
                kernel = rtl_kernel(node, graph, dsp is None or node.name in dsp)
                self._nodes.append((node, machine(node, kernel, rows)))
        self._readers = {
            name: (node, kernel, port) for node, kernel in self._nodes for port, name in enumerate(node.inputs)
        }
        self._writers = {end: kernel for node, kernel in self._nodes for end in self._behind[node.output]}

    def run(self, samples: int) -> NetworkCycles:
        """Clock after clock, until all samples are out."""
        starts, ends = [], []
        sent = given = clock = idle = 0
        while given < samples * self._out_words:
            before = sent, given
            sent, given, moved = self._clock(sent, given, samples)
            if sent > before[0] and before[0] % self._in_words == 0:
                starts.append(clock)
            if given > before[1] and given % self._out_words == 0:
                ends.append(clock + 1)
            clock += 1
            idle = 0 if moved else idle + 1
            if idle > _PATIENCE:
                raise SimulationError(f"{self._design.name}: no word for {_PATIENCE} clocks; the network hangs")
        return NetworkCycles(np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64))

    def _shown(self, stream: str) -> bool:
        """Whether a stream's end shows a word, if its readers had room."""
        return (self._fifos[stream] if stream in self._fifos else self._writers[stream]).valid

    def _room(self, stream: str) -> bool:
        """Whether all ends of a stream take a word."""
        return all(
            self._fifos[end].ready[0] if end in self._fifos else self._takes(end) for end in self._behind[stream]
        )

    def _takes(self, end: str) -> bool:
        """Whether a kernel takes a word that comes without a FIFO."""
        node, kernel, port = self._readers[end]
        others = node.inputs if isinstance(kernel, Pipeline) else ()
        return kernel.ready[port] and all(self._shown(name) for name in others if name != end)

    def _clock(self, sent: int, given: int, samples: int) -> tuple[int, int, bool]:
        """One clock of all: who gives, who takes; then every edge."""
        design, fifos = self._design, self._fifos
        put: set[str] = set()
        got: set[str] = set()
        gave = []
        for node, kernel in self._nodes:
            gave.append(kernel.valid and self._room(node.output))
            if gave[-1]:
                put.update(self._behind[node.output])
        port = design.input.name
        unpack_gives = self._unpack.valid and self._room(port)
        if unpack_gives:
            put.update(self._behind[port])
        steps: list[tuple[Machine, tuple[bool, ...], bool]] = []
        for (node, kernel), gives in zip(self._nodes, gave, strict=True):
            here = [
                fifos[name].valid and ready if name in fifos else name in put
                for name, ready in zip(node.inputs, kernel.ready, strict=True)
            ]
            if isinstance(kernel, Pipeline):
                here = [all(here)] * len(here)
            got.update(name for name, taken in zip(node.inputs, here, strict=True) if taken)
            steps.append((kernel, tuple(here), gives))
        word = sent < samples * self._in_words and self._unpack.takes(unpack_gives)
        flag = word and self._unpack.ends_sample()
        leaves, flag_leaves = self._pack.gives(), self._pack.gives() and self._pack.last_word()
        row = fifos[design.result].valid and self._pack.takes()
        if row:
            got.add(design.result)
        for kernel, took, gives in steps:
            kernel.step(took, gives)
        for name, fifo in fifos.items():
            fifo.step((name in put,), name in got)
        self._unpack.step((word,), unpack_gives)
        self._pack.step((row,), leaves)
        self._flags.step((flag,), flag_leaves)
        return sent + word, given + leaves, bool(put or got or word or leaves)


def _ends(name: str, copies: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The FIFOs that a word of a stream goes to: its own, or those behind its forks."""
    if name not in copies:
        return (name,)
    return tuple(end for copy in copies[name] for end in _ends(copy, copies))


def _shorter(port: PortRows, tokens: bool, length: int | None) -> PortRows:
    return PortRows(length, port.channels, port.bits) if tokens and length is not None else port


# ---- machines of nodes -----------------------------------------------------------------------------------------------


def machine(node: HwNode, kernel: RtlKernel, rows: int) -> Machine:
    """The machine of a node.

    Args:
        node: the node; no fork, which has no clock of its own.
        kernel: its module.
        rows: that it reads a sequence.

    Raises:
        UnsupportedError: for a module without one.
    """
    ints = dict(kernel.parameters)
    if is_attention(node):
        return Attention(ints, rows)
    if node.op == "AttnPermute":
        return Permute(ints)
    if node.op == "AttnAILayerNorm" and ints["CHANNELS"] > 1:
        return Norm(ints)
    return _pipeline(node, kernel, rows)


def _pipeline(node: HwNode, kernel: RtlKernel, rows: int) -> Pipeline:
    """A machine of net_front, arithmetic and net_back."""
    ints = dict(kernel.parameters)
    tail = 2 if ints.get("SCALE_BY") else 1
    if node.op == "AttnDense":
        steps = ceil_div(ints["N_IN"], ints["IN_BLOCK"]) * ceil_div(ints["N_OUT"], ints["OUT_BLOCK"])
        chain = ints["CHAIN"]
        return Pipeline(steps, tree_depth(ceil_div(ints["IN_BLOCK"], chain)) + 1 + chain + tail)
    if "LANES" not in ints:
        raise UnsupportedError(
            f"{node.name}: no cycle model for {kernel.module}, whose clocks depend on the data, and so no whole model "
            "in Verilog; use AILayerNorm there"
        )
    steps = ceil_div(ints["CHANNELS"], ints["LANES"])
    if node.op == "AttnAffine":
        return Pipeline(steps, tail)
    if node.op in ("AttnAdd", "AttnMultiply"):
        return Pipeline(steps, 1 + tail, inputs=2)
    return Pipeline(steps, 1 + tail, count=rows)  # the sum over rows
