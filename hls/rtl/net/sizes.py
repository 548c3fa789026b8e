# SPDX-License-Identifier: Apache-2.0
"""What the modules of a network take.

Counted, not synthesised: DSP blocks exactly, LUTs by rules that follow what Yosys makes of the modules:

* product of a and b bits in LUTs (net_product.sv): ceil(b / 2) rows of a + 1;  adder: one a bit;
* table of d words: ceil(d / 64) a bit;  choice among p parts: ceil((p - 1) / 3) a bit;
* memory: two thirds of a LUT a bit of 32 words;  tail: one a bit of its sum with a term, one a bit of its result and 2;
* block RAM: as few halves, of 18 Kibit, as hold its words in one of their shapes.

Against Yosys 0.70, LUTs for memory among them: the digits' whole network at 16 and 22 clocks a row 40,679 LUT, 220 DSP
and 214 BRAM18 here, 40,161, 220 and 211 there.  Its parts are less exact: a dense layer of 32 x 32 at 24 clocks in DSP
blocks 504 here, 565 there; attention of 2 heads of 16 elements in DSP blocks 1,587 and 1,029.
"""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.hls.rtl.net.streams import stream_depths, stream_widths
from hls4attn.hls.stream.cycles import ceil_div, is_attention
from hls4attn.hls.stream.resources import dsp_slices

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


def fifo_sizes(design: Design) -> tuple[int, int]:
    """LUTs and halves of block RAMs of all FIFOs.

    Args:
        design: an io_stream design.
    """
    widths = stream_widths(design)
    sizes = [(depth, widths[name] + 1) for name, depth in stream_depths(design).items() if depth]
    luts = sum(_memory(*size) + _CONTROL // 2 for size in sizes)
    return luts, sum(_blocks(*size) for size in sizes if size[0] > _BLOCK_WORDS)
