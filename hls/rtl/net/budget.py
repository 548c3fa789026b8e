# SPDX-License-Identifier: Apache-2.0
"""Which products of a network become DSP blocks and which LUTs, and the fastest choice that fits a board.

Counted, not synthesised: DSP blocks exactly, LUTs by rules that follow what Yosys makes of the modules:

* product of a and b bits in LUTs (net_product.sv): ceil(b / 2) rows of a + 1;  adder: one a bit;
* table of d words: ceil(d / 64) a bit;  choice among p parts: ceil((p - 1) / 3) a bit;
* memory: two thirds of a LUT a bit of 32 words;  tail: one a bit of its sum and one a bit of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.fit import Capacity
from hls4attn.hls.rtl.net.cycles import NetworkCycles, network_cycles
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.network import stream_depths, stream_widths
from hls4attn.hls.stream.cycles import ceil_div, is_attention
from hls4attn.hls.stream.resources import dsp_slices
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.graph import Graph

#: LUTs of a part beyond which a placer is not trusted to finish.
FILLED = 0.97
_CONTROL = 40  # LUTs of counters and handshakes of a module
_NORM_LUT, _NORM_DSP = 450, 2  # of a norm's unit, as Yosys has them for AILayerNorm


@dataclass(frozen=True)
class NodeSize:
    """What a node takes.

    Attributes:
        name: of the node.
        products: how many.
        dsp: DSP blocks, if it may take them.
        lut: LUTs, estimated, if it takes these DSP blocks.
        lut_products: LUTs that its products take in their place.
        fixed: DSP blocks that it takes in any case: those of a norm's units.
    """

    name: str
    products: int
    dsp: int
    lut: int
    lut_products: int
    fixed: int = 0


@dataclass(frozen=True)
class Budget:
    """A choice of DSP blocks.

    Attributes:
        nodes: size of every node.
        chosen: names of the nodes whose products are DSP blocks.
        fifo_lut: LUTs of the FIFOs, estimated.
    """

    nodes: tuple[NodeSize, ...]
    chosen: frozenset[str]
    fifo_lut: int

    @property
    def dsp(self) -> int:
        """DSP blocks."""
        return sum(n.fixed + (n.name in self.chosen) * n.dsp for n in self.nodes)

    @property
    def lut(self) -> int:
        """LUTs, estimated."""
        return self.fifo_lut + sum(n.lut + (n.name not in self.chosen) * n.lut_products for n in self.nodes)


def budget(design: Design, graph: Graph, dsp: int) -> Budget:
    """The choice that leaves the fewest LUTs with so many DSP blocks.

    Args:
        design: an io_stream design.
        graph: the typed graph that it was lowered from.
        dsp: DSP blocks that there are.

    Raises:
        InputError: for a negative number of them.
        UnsupportedError: for a node without RTL.
    """
    if dsp < 0:
        raise InputError(f"{design.name}: no {dsp} DSP blocks")
    sizes = tuple(node_size(n, rtl_kernel(n, graph, True), rtl_kernel(n, graph, False)) for n in design.nodes)
    return Budget(sizes, _most_saved(sizes, max(dsp - sum(s.fixed for s in sizes), 0)), _fifo_lut(design))


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


# ---- sizes -----------------------------------------------------------------------------------------------------------


def node_size(node: HwNode, kernel: RtlKernel, plain: RtlKernel) -> NodeSize:
    """What a node takes.

    Args:
        node: the node.
        kernel: its module with DSP blocks.
        plain: and without.
    """
    ints = dict(kernel.parameters)
    if is_attention(node):
        return _attention(node, ints)
    if node.op == "AttnDense":
        return _dense(node, ints, dict(plain.parameters))
    if "LANES" in ints:
        return _by_lanes(node, ints)
    if "UNITS" in ints:
        products, dsp, tail, in_luts = _tail(ints, ints["UNITS"], ints["CORE_W"])
        rows = _choice(ints["CHANNELS"], ints["UNITS"] * ints["IN_W"])
        lut = ints["UNITS"] * (_NORM_LUT + 2 * _CONTROL) + rows + tail
        return NodeSize(node.name, products, dsp, lut, in_luts, _NORM_DSP * ints["UNITS"])
    bits = sum(rom.width * ceil_div(len(rom.words), 64) for rom in kernel.roms.values())
    moved = 2 * kernel.output if node.op == "AttnPermute" else 0
    return NodeSize(node.name, 0, 0, bits + moved + (0 if node.copies else _CONTROL), 0)


def _product(a: int, b: int) -> int:
    """LUTs of a product."""
    return ceil_div(b, 2) * (a + 1)


def _memory(words: int, bits: int) -> int:
    """LUTs of a memory; larger ones are block RAMs."""
    return ceil_div(2 * bits * ceil_div(words, 32), 3) if words <= 64 else 0


def _choice(parts: int, bits: int) -> int:
    """LUTs of a choice among parts."""
    return bits * ceil_div(parts - 1, 3)


def _tail(ints: dict[str, int], lanes: int, core: int, name: str = "") -> tuple[int, int, int, int]:
    """Products, DSP blocks, LUTs and LUTs of the products of tails side by side."""
    lut = lanes * (ints.get(f"{name}SUM_W", 0) + ints["SCORE_W" if name else "OUT_W"])
    if not (ints.get(f"{name}SCALE_BY") or ints.get(f"{name}SCALE")):
        return 0, 0, lut, 0
    width = ints[f"{name}SCALE_W"]
    return lanes, lanes * dsp_slices(core, width), lut, lanes * _product(core, width)


def _dense(node: HwNode, ints: dict[str, int], plain: dict[str, int]) -> NodeSize:
    ins, outs = ceil_div(ints["N_IN"], ints["IN_BLOCK"]), ceil_div(ints["N_OUT"], ints["OUT_BLOCK"])
    lanes, pack = ints["IN_BLOCK"], ints["PACK"]
    groups = ceil_div(ints["OUT_BLOCK"], pack)
    operand = ints["IN_W"] + (not ints["IN_SIGNED"])
    products, dsp, tail, tail_products = _tail(ints, ints["OUT_BLOCK"], ints["ACC_W"])
    weights = ints["OUT_BLOCK"] * lanes * ints["WEIGHT_W"] * ceil_div(ins * outs, 64)
    adders = lanes * groups * pack * ints["ACC_W"]
    lut = weights + adders + _choice(ins, lanes * ints["IN_W"]) + tail + _CONTROL
    in_luts = (
        lanes * ints["OUT_BLOCK"] * (_product(ints["WEIGHT_W"], operand) - (ints["ACC_W"] - plain["ACC_W"]))
    )  # of the sums, which are narrower
    return NodeSize(node.name, lanes * ints["OUT_BLOCK"] + products, lanes * groups + dsp, lut, in_luts + tail_products)


def _by_lanes(node: HwNode, ints: dict[str, int]) -> NodeSize:
    lanes, parts = ints["LANES"], ceil_div(ints["CHANNELS"], ints["LANES"])
    products, dsp, lut, in_luts = _tail(ints, lanes, ints["CORE_W"])
    if ints.get("PRODUCT"):
        products, dsp = products + lanes, dsp + lanes * dsp_slices(ints["A_W"], ints["B_W"])
        in_luts += lanes * _product(ints["A_W"], ints["B_W"])
    width = sum(ints.get(name, 0) for name in ("IN_W", "A_W", "B_W"))
    lut += _choice(parts, lanes * width) + lanes * ints["CORE_W"] + _CONTROL
    return NodeSize(node.name, products, dsp, lut, in_luts)


def _attention(node: HwNode, ints: dict[str, int]) -> NodeSize:
    lanes = ints["PARALLEL"] * ints["WIDTH"]
    score = _tail(ints, ints["PARALLEL"], ints["SCORE_CORE_W"], "SCORE_")
    result = _tail(ints, lanes, ints["CORE_W"])
    q, k, v = (ints[f"{n}_W"] + (not ints.get(f"{n}_SIGNED", 1)) for n in "QKV")
    p = ints.get("P_W", 8) + (not ints.get("P_SIGNED", 0))
    words = ints["HEADS"] * ints["DIM"] // lanes if lanes <= ints["HEADS"] * ints["DIM"] else 1
    banks = _memory(2 * ints["ROWS"] * words, lanes * ints["K_W"]) + _memory(
        2 * ints["ROWS"] * words, lanes * ints["V_W"]
    )
    choice = _choice(words, lanes * ints["Q_W"])
    lut = lanes * (ints["SCORE_CORE_W"] + ints["CORE_W"]) + banks + choice + score[2] + result[2] + 8 * _CONTROL
    dsp = lanes * (dsp_slices(q, k) + dsp_slices(p, v)) + score[1] + result[1]
    in_luts = lanes * (_product(q, k) + _product(p, v)) + score[3] + result[3]
    return NodeSize(node.name, 2 * lanes + score[0] + result[0], dsp, lut, in_luts)


def _fifo_lut(design: Design) -> int:
    widths = stream_widths(design)
    return sum(
        _memory(depth, widths[name] + 1) + _CONTROL // 2 for name, depth in stream_depths(design).items() if depth
    )


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
    """Whether a choice fits a board, some LUTs left."""
    return (capacity.dsp is None or found.dsp <= capacity.dsp) and (
        capacity.lut is None or found.lut <= FILLED * capacity.lut
    )


def fastest(make: Callable[[HlsConfig], Design], graph: Graph, config: HlsConfig, capacity: Capacity) -> Fastest:
    """The configuration of the least latency that fits a board: heads at a time, clocks a row of the dense layers.

    Args:
        make: makes the io_stream design of a configuration.
        graph: the typed graph of the model.
        config: the other choices; attention takes one key at a time.
        capacity: the board.

    Raises:
        UnsupportedError: if none fits, or a node has no RTL.
    """
    found: list[Fastest] = []
    for heads in _heads(make, config):
        for chosen, design in _slower(make, replace(config, lanes=1, parallel_heads=heads)):
            size = budget(design, graph, capacity.dsp or 0)
            if fits(size, capacity):
                found.append(Fastest(chosen, design, size, network_cycles(design, graph)))
                break
    if not found:
        raise UnsupportedError(f"{graph.name}: no choice of the RTL fits {capacity.name}; use HLS with more reuse")
    return min(found, key=lambda f: f.clocks.latency)


def _heads(make: Callable[[HlsConfig], Design], config: HlsConfig) -> list[int]:
    """Numbers of heads that every attention can take at a time."""
    nodes = [n for n in make(replace(config, lanes=1, parallel_heads=1)).nodes if is_attention(n)]
    most = min((n.ints["heads"] for n in nodes), default=1)
    return [p for p in range(1, most + 1) if all(n.ints["heads"] % p == 0 for n in nodes)]


def _slower(make: Callable[[HlsConfig], Design], config: HlsConfig) -> Iterable[tuple[HlsConfig, Design]]:
    """Designs whose dense layers take more and more clocks a row, from the attention's pace on."""
    plain = make(config)
    yield config, plain
    dense = _names(plain)
    pace = max((_clocks(n) for n in plain.nodes if n.name in dense), default=0)
    for clocks in range(pace + 2, 4 * pace + 1, 2):
        chosen = replace(config, layer_reuse_factor={**dict.fromkeys(dense, clocks), **config.layer_reuse_factor})
        try:
            yield chosen, make(chosen)
        except UnsupportedError:  # a layer has no more products to spread
            return


def _names(design: Design) -> Collection[str]:
    """Dense layers that are worked on row by row; a last one of a single row waits for nobody."""
    return [n.name for n in design.nodes if n.op == "AttnDense" and n.ints["rows"] > 1]


def _clocks(node: HwNode) -> int:
    ints = node.ints
    return ceil_div(ints["n_in"], ints["in_block"]) * ceil_div(ints["n_out"], ints["out_block"])
