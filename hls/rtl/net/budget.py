# SPDX-License-Identifier: Apache-2.0
"""Which products of a network become DSP blocks and which LUTs, and the fastest choice that fits a board.

Counted, not synthesised: DSP blocks exactly, LUTs by rules that follow what Yosys makes of the modules:

* product of a and b bits in LUTs (net_product.sv): ceil(b / 2) rows of a + 1;  adder: one a bit;
* table of d words: ceil(d / 64) a bit;  choice among p parts: ceil((p - 1) / 3) a bit;
* memory: two thirds of a LUT a bit of 32 words;  tail: one a bit of its sum with a term, one a bit of its result and 2;
* block RAM: as few halves, of 18 Kibit, as hold its words in one of their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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

#: Part of a device's LUTs beyond which a placer is not trusted to finish.
FILLED = 0.9
#: LUTs and halves of block RAMs that DMA, interconnects and shell take beside a kernel: assumed, since no such overlay
#: was synthesised.
AROUND, AROUND_BRAM18 = 6000, 30
_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))  # of half a block RAM
_BANK_WORDS, _RING = 16, 16  # attention: more words of a bank lie in block RAM; rows of results that wait
_BLOCK_WORDS = 64  # FIFOs of more words lie in block RAM
_LIMITS = 2  # LUTs that find out whether a result is within its format
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
        bram18: halves of block RAMs.
    """

    name: str
    products: int
    dsp: int
    lut: int
    lut_products: int
    fixed: int = 0
    bram18: int = 0


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


def budget(
    design: Design, graph: Graph, dsp: int, known: dict[tuple[object, ...], NodeSize] | None = None
) -> Budget:
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
    return Budget(sizes, _most_saved(sizes, max(dsp - sum(s.fixed for s in sizes), 0)), *_fifos(design))


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
    return ceil_div(2 * bits * ceil_div(words, 32), 3) if words <= _BLOCK_WORDS else 0


def _blocks(words: int, bits: int) -> int:
    """Halves of block RAMs of a memory."""
    return min(ceil_div(bits, width) * ceil_div(words, depth) for width, depth in _SHAPES)


def _choice(parts: int, bits: int) -> int:
    """LUTs of a choice among parts."""
    return bits * ceil_div(parts - 1, 3)


def _tail(ints: dict[str, int], lanes: int, core: int, name: str = "") -> tuple[int, int, int, int]:
    """Products, DSP blocks, LUTs and LUTs of the products of tails side by side."""
    offset = ints.get(f"{name}OFFSET_BY", 0) or ints.get(f"{name}OFFSET", 0)
    below = max(ints["SCORE_DROPPED" if name else "DROPPED"], 0) if offset == 1 else 0  # half of the last place alone
    lut = lanes * ((ints[f"{name}SUM_W"] - below if offset else 0) + ints["SCORE_W" if name else "OUT_W"] + _LIMITS)
    if not (ints.get(f"{name}SCALE_BY") or ints.get(f"{name}SCALE")):
        return 0, 0, lut, 0
    width = ints[f"{name}SCALE_W"]
    return lanes, lanes * dsp_slices(core, width), lut, lanes * _product(core, width)


def _dense(node: HwNode, ints: dict[str, int], plain: dict[str, int]) -> NodeSize:
    outs = ints["OUT_BLOCK"]
    operand = ints["IN_W"] + (not ints["IN_SIGNED"])
    products, dsp, _, tail_products = _tail(ints, outs, ints["ACC_W"])
    lut = _sums(ints)
    in_luts = ints["IN_BLOCK"] * outs * _product(ints["WEIGHT_W"], operand) + tail_products + _sums(plain) - lut
    groups = ceil_div(outs, ints["PACK"])
    memory = _blocks(_steps(ints), _weight_bits(ints)) if ints["BLOCKS"] else 0
    multipliers = ints["IN_BLOCK"] * groups + dsp
    return NodeSize(node.name, ints["IN_BLOCK"] * outs + products, multipliers, lut, in_luts, bram18=memory)


def _steps(ints: dict[str, int]) -> int:
    return ceil_div(ints["N_IN"], ints["IN_BLOCK"]) * ceil_div(ints["N_OUT"], ints["OUT_BLOCK"])


def _weight_bits(ints: dict[str, int]) -> int:
    entry = 2 * ints["WEIGHT_W"] + 1 if ints["PACK"] == 2 else ints["WEIGHT_W"]
    return ceil_div(ints["OUT_BLOCK"], ints["PACK"]) * ints["IN_BLOCK"] * entry


def _sums(ints: dict[str, int]) -> int:
    """LUTs of a dense layer but for its products: sums of chains, the choice of inputs, tails."""
    lanes, groups = ints["IN_BLOCK"], ceil_div(ints["OUT_BLOCK"], ints["PACK"])
    adders = ceil_div(lanes, ints["CHAIN"]) * groups * ints["PACK"] * ints["ACC_W"]
    weights = 0 if ints["BLOCKS"] else _weight_bits(ints) * ceil_div(_steps(ints), 64)
    choice = _choice(ceil_div(ints["N_IN"], lanes), lanes * ints["IN_W"])
    return weights + adders + choice + _tail(ints, ints["OUT_BLOCK"], ints["ACC_W"])[2] + _CONTROL


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
    chunks, groups = ceil_div(ints["DIM"], ints["WIDTH"]), ints["HEADS"] // ints["PARALLEL"]
    words = 2 * ints["ROWS"] * chunks * groups
    bits = [lanes * ints[f"{n}_W"] for n in "KV"]
    in_blocks = words > _BANK_WORDS
    banks = 0 if in_blocks else sum(_memory(words, n) for n in bits)
    ring = _memory(_RING, ints["HEADS"] * ints["DIM"] * ints["OUT_W"])
    choice = _choice(chunks * groups, lanes * ints["Q_W"])
    pairs = ceil_div(ints["WIDTH"], 2 if ints["WIDTH"] > 2 else 1) * ints["PARALLEL"]  # sums of DSP blocks
    core = ints["SCORE_CORE_W"]
    lut = pairs * core + banks + ring + choice + score[2] + result[2] + 8 * _CONTROL
    dsp = lanes * (dsp_slices(q, k) + dsp_slices(p, v)) + score[1] + result[1]
    in_luts = lanes * (_product(q, k) + _product(p, v)) + (lanes - pairs) * core
    in_luts += lanes * ints["CORE_W"] + score[3] + result[3]  # DSP blocks add up P V
    memory = sum(_blocks(words, n) for n in bits) if in_blocks else 0
    return NodeSize(node.name, 2 * lanes + score[0] + result[0], dsp, lut, in_luts, bram18=memory)


def _fifos(design: Design) -> tuple[int, int]:
    """LUTs and halves of block RAMs of all FIFOs."""
    widths = stream_widths(design)
    sizes = [(depth, widths[name] + 1) for name, depth in stream_depths(design).items() if depth]
    luts = sum(_memory(*size) + _CONTROL // 2 for size in sizes)
    return luts, sum(_blocks(*size) for size in sizes if size[0] > _BLOCK_WORDS)


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
    return all(
        limit is None or used <= limit
        for used, limit in (
            (found.dsp, capacity.dsp),
            (found.lut + AROUND, None if capacity.lut is None else FILLED * capacity.lut),
            (found.bram18 + AROUND_BRAM18, None if capacity.bram36 is None else 2 * capacity.bram36),
        )
    )


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
            found.append(Fastest(chosen, design, size, network_cycles(design, graph)))
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
        ahead = pace
        behind = next((p for p in range(pace, 4 * pace + 1, 2) if try_it(ahead, p, head)), None)
        while behind is None and first and ahead < 4 * pace:
            ahead += 2
            behind = 4 * pace if try_it(ahead, 4 * pace, head) else None
        if behind is None:
            continue
        found = try_it(ahead, behind, head)
        while found:
            yield found
            found = None
            while first and found is None and behind > pace and ahead < 4 * pace:
                ahead += 2
                while behind > pace and (better := try_it(ahead, behind - 2, head)):
                    found, behind = better, behind - 2


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
