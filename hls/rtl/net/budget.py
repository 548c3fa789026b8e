# SPDX-License-Identifier: Apache-2.0
"""Which products of a network become DSP blocks and which LUTs, and the fastest choice that fits a board."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.fit import Capacity, room
from hls4attn.hls.rtl.net.cycles import NetworkCycles, network_cycles
from hls4attn.hls.rtl.net.kernel import rtl_kernel
from hls4attn.hls.rtl.net.sizes import NodeSize, fifo_sizes, node_size
from hls4attn.hls.stream.cycles import ceil_div, is_attention
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.graph import Graph


@dataclass(frozen=True)
class Budget:
    """A choice of DSP blocks.

    Attributes:
        nodes: size of every node.
        chosen: names of the nodes whose products are DSP blocks.
        fifo_lut: LUTs of the FIFOs, estimated.
        fifo_bram18: halves of block RAMs of the FIFOs.
    """

    nodes: tuple[NodeSize, ...]
    chosen: frozenset[str]
    fifo_lut: int
    fifo_bram18: int = 0

    @property
    def dsp(self) -> int:
        """DSP blocks."""
        return sum(n.fixed + (n.name in self.chosen) * n.dsp for n in self.nodes)

    @property
    def lut(self) -> int:
        """LUTs, estimated."""
        return self.fifo_lut + sum(n.lut + (n.name not in self.chosen) * n.lut_products for n in self.nodes)

    @property
    def bram18(self) -> int:
        """Halves of block RAMs, estimated: those of score functions and norms are not counted."""
        return self.fifo_bram18 + sum(n.bram18 for n in self.nodes)


def budget(design: Design, graph: Graph, dsp: int, known: dict[tuple[object, ...], NodeSize] | None = None) -> Budget:
    """The choice that leaves the fewest LUTs with so many DSP blocks.

    Args:
        design: an io_stream design.
        graph: the typed graph that it was lowered from.
        dsp: DSP blocks that there are.
        known: sizes of nodes of designs of the same graph; those of this design are added.

    Raises:
        InputError: for a negative number of them.
        UnsupportedError: for a node without RTL.
    """
    if dsp < 0:
        raise InputError(f"{design.name}: no {dsp} DSP blocks")
    known = {} if known is None else known
    found = []
    for node in design.nodes:
        key = node.name, *sorted(node.ints.items())
        if key not in known:
            known[key] = node_size(node, rtl_kernel(node, graph, True), rtl_kernel(node, graph, False))
        found.append(known[key])
    sizes = tuple(found)
    return Budget(sizes, _most_saved(sizes, max(dsp - sum(s.fixed for s in sizes), 0)), *fifo_sizes(design))


def _most_saved(sizes: Iterable[NodeSize], dsp: int) -> frozenset[str]:
    """Knapsack: the nodes whose products take most LUTs together, within `dsp` blocks."""
    best: list[tuple[int, frozenset[str]]] = [(0, frozenset())] * (dsp + 1)
    for size in (s for s in sizes if 0 < s.dsp <= dsp):
        before = best
        best = [
            max(before[k], (before[k - size.dsp][0] + size.lut_products, before[k - size.dsp][1] | {size.name}),
                key=lambda pair: pair[0])
            if k >= size.dsp else before[k]
            for k in range(dsp + 1)
        ]  # fmt: skip
    return best[dsp][1]


# ---- the fastest choice ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fastest:
    """A configuration that fits.

    Attributes:
        config: the choices.
        design: what they make.
        budget: its DSP blocks and LUTs.
        clocks: its clocks.
    """

    config: HlsConfig
    design: Design
    budget: Budget
    clocks: NetworkCycles


def fits(found: Budget, capacity: Capacity) -> bool:
    """Whether a choice fits a board, with room for what is around it and some LUTs left."""
    left = room(capacity)
    used = (found.dsp, left.dsp), (found.lut, left.lut), (found.bram18 / 2, left.bram36)
    return all(limit is None or size <= limit for size, limit in used)


def fastest(make: Callable[[HlsConfig], Design], graph: Graph, config: HlsConfig, capacity: Capacity) -> Fastest:
    """The configuration of the least latency that fits a board.

    Chosen are heads at a time; clocks a row of the dense layers up to the first attention, which fill its memories,
    and of those behind it, which keep its pace; clocks of the dense layers of a single row, which wait for nobody.

    Args:
        make: makes the io_stream design of a configuration.
        graph: the typed graph of the model.
        config: the other choices, what is said of single layers among them; attention takes one key at a time.
        capacity: the board.

    Raises:
        UnsupportedError: if none fits, or a node has no RTL.
    """
    found: list[Fastest] = []
    for heads in _heads(make, config):
        for chosen, design, size in _fitting(make, graph, replace(config, lanes=1, parallel_heads=heads), capacity):
            found.append(Fastest(chosen, design, size, network_cycles(design, graph, dsp=size.chosen)))
    if not found:
        raise UnsupportedError(f"{graph.name}: no choice of the RTL fits {capacity.name}; use HLS with more reuse")
    return min(found, key=lambda f: (f.clocks.latency, f.budget.lut))


def _heads(make: Callable[[HlsConfig], Design], config: HlsConfig) -> list[int]:
    """Numbers of heads that every attention can take at a time."""
    nodes = [n for n in make(replace(config, lanes=1, parallel_heads=1)).nodes if is_attention(n)]
    most = min((n.ints["heads"] for n in nodes), default=1)
    return [p for p in range(1, most + 1) if all(n.ints["heads"] % p == 0 for n in nodes)]


def _fitting(
    make: Callable[[HlsConfig], Design], graph: Graph, config: HlsConfig, capacity: Capacity
) -> Iterator[tuple[HlsConfig, Design, Budget]]:
    """Designs that fit, of which none is the slower one in everything.

    The slower the first layers, the faster may the others be: a walk along that edge, once for layers of a single row
    that take as long as the others, once for half as long.
    """
    first, others, single = _layers(make(config))
    sizes: dict[tuple[object, ...], NodeSize] = {}
    pace = max((_clocks(n) for n in make(config).nodes if n.name in {*first, *others}), default=1)
    paces = [pace]
    while paces[-1] < 4 * pace:
        paces.append(paces[-1] + max(2, paces[-1] // 16 * 2))

    def try_it(ahead: int, behind: int, head: int) -> tuple[HlsConfig, Design, Budget] | None:
        layers = {**dict.fromkeys(first, ahead), **dict.fromkeys(others, behind)}
        layers |= dict.fromkeys(single, max(behind // head, 1))
        chosen = replace(config, layer_reuse_factor={**layers, **config.layer_reuse_factor})
        try:
            design = make(chosen)
        except UnsupportedError:  # a layer has no more products to spread
            return None
        size = budget(design, graph, capacity.dsp or 0, sizes)
        return (chosen, design, size) if fits(size, capacity) else None

    for head in (1, 2):
        ahead = behind = 0  # places in `paces`
        while ahead < len(paces) and behind < len(paces) and not try_it(paces[ahead], paces[behind], head):
            behind += 1
            if behind == len(paces) and first:
                ahead, behind = ahead + 1, len(paces) - 1
        found = try_it(paces[ahead], paces[behind], head) if max(ahead, behind) < len(paces) else None
        while found:
            yield found
            found = None
            while first and found is None and behind and ahead + 1 < len(paces):
                ahead += 1
                while behind and (better := try_it(paces[ahead], paces[behind - 1], head)):
                    found, behind = better, behind - 1


def _layers(design: Design) -> tuple[list[str], list[str], list[str]]:
    """Dense layers up to the first attention, those behind it, and those of a single row."""
    first: list[str] = []
    others: list[str] = []
    single: list[str] = []
    seen = False
    for node in design.nodes:
        seen = seen or is_attention(node)
        if node.op == "AttnDense":
            (single if node.ints["rows"] == 1 else others if seen else first).append(node.name)
    return first, others, single


def _clocks(node: HwNode) -> int:
    ints = node.ints
    return ceil_div(ints["n_in"], ints["in_block"]) * ceil_div(ints["n_out"], ints["out_block"])
