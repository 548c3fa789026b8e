# SPDX-License-Identifier: Apache-2.0
"""The RTL kernel of a dense layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hls4attn.hls.design import HwNode
from hls4attn.hls.layout import carrier
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.hls.rtl.net.tail import NOTHING, TAIL_FILES, RtlTail, by_parts, tail_constants, tail_of
from hls4attn.hls.rtl.unit import Rom
from hls4attn.hls.stream.blocks import block_order
from hls4attn.hls.stream.iterations import ceil_div, row_interval
from hls4attn.hls.tail import signed_bits
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Fixed

_FILES = (
    "net/net_dense.sv",
    "net/net_front.sv",
    "net/net_chain.sv",
    "net/net_tree.sv",
    "net/net_back.sv",
    *TAIL_FILES,
    "op_delay.sv",
    "op_hold.sv",
)
#: Signed bits of the operands of a DSP48E1.
_WIDE, _NARROW = 25, 18
#: Products of a chain of DSP blocks: one more is a clock more, and a third of the adders less.
_CHAIN = 3
#: Weights of as many steps lie in block RAM, which holds 512 words of 36 bits; fewer are cheap as LUTs.
_BLOCK_STEPS = 8


@dataclass(frozen=True)
class DenseBlocks:
    """What a dense layer multiplies a clock.

    Attributes:
        in_block: inputs.
        out_block: outputs.
        pack: outputs of a product: 2 where a DSP block works for two.
    """

    in_block: int
    out_block: int
    pack: int

    @property
    def products(self) -> int:
        """Multipliers."""
        return self.in_block * ceil_div(self.out_block, self.pack)


def dense_blocks(node: HwNode, dsp: bool = True) -> DenseBlocks:
    """The block of a dense layer: of all that take the clocks of the node's own, one with the fewest multipliers.

    C++ kernels prefer few outputs a cycle; where a DSP block works for two outputs, even numbers of them are cheaper.
    Of equals the one with fewer outputs, which has fewer accumulators and tails.
    """
    n_in, n_out, source = node.ints["n_in"], node.ints["n_out"], node.in_formats[0]
    clocks = row_interval(node)
    width = signed_bits(node.roms["weights"])
    fits = 2 * width + 1 + source.width <= _WIDE and carrier(source) <= _NARROW
    found = []
    for outs in (n for n in range(1, min(clocks, n_out) + 1) if clocks % n == 0):
        out_block, in_block = ceil_div(n_out, outs), ceil_div(n_in, clocks // outs)
        if ceil_div(n_out, out_block) * ceil_div(n_in, in_block) == clocks:
            found.append(DenseBlocks(in_block, out_block, 2 if dsp and fits and out_block > 1 else 1))
    return min(found, key=lambda b: (b.products, b.out_block))


def _matrix(node: HwNode) -> Codes:
    """Weights row by row: the inverse of `block_order`."""
    n_in, n_out = node.ints["n_in"], node.ints["n_out"]
    order = block_order(np.arange(1, n_in * n_out + 1), n_in, n_out, node.ints["in_block"], node.ints["out_block"])
    weights = np.zeros(n_in * n_out, dtype=np.int64)
    weights[order[order > 0] - 1] = node.roms["weights"][order > 0]
    return weights


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """`net_dense` for a node.

    Args:
        node: a dense layer with its blocks.
        graph: not needed.
        dsp: whether products take DSP blocks: one for two outputs, if both fit.
    """
    del graph
    ints, source = node.ints, node.in_formats[0]
    n_in, n_out = ints["n_in"], ints["n_out"]
    blocks = dense_blocks(node, dsp)
    in_block, out_block, pack = blocks.in_block, blocks.out_block, blocks.pack
    ins, outs = ceil_div(n_in, in_block), ceil_div(n_out, out_block)
    weights = block_order(_matrix(node), n_in, n_out, in_block, out_block).reshape(outs * ins, in_block, out_block)
    weight_width = signed_bits(weights)
    chain, space = _chain(weights, pack, source, weight_width) if dsp else (1, weight_width + source.width)
    tail, start = _fold(tail_of(ints, node.roms, node.format))
    acc = ints["core_width"]
    if start is not None:
        acc = max(acc, tail.parameters["SUM_W"])
    if pack == 2:
        acc = max(acc + 1, space)
    parameters, roms = tail_constants(tail, ints["rows"], n_out, out_block)
    parameters |= {"START_BY": NOTHING}
    if start is not None:
        words = by_parts(start.offset, start.offset_by, ints["rows"], n_out, out_block)
        roms["STARTS"] = _starts(words, pack, acc)
        parameters["START_BY"] = start.offset_by
    if not tail.scale_by:
        parameters["SCALED_W"] = acc
    roms["WEIGHTS"] = _weights(weights, pack, weight_width)
    return RtlKernel(
        module="net_dense",
        files=_FILES,
        parameters={
            "N_IN": n_in,
            "N_OUT": n_out,
            "IN_BLOCK": in_block,
            "OUT_BLOCK": out_block,
            "IN_W": source.width,
            "IN_SIGNED": int(source.signed),
            "WEIGHT_W": weight_width,
            "PACK": pack,
            "SPACE": space,
            "CHAIN": chain,
            "BLOCKS": int(ins * outs >= _BLOCK_STEPS),
            "ACC_W": acc,
            "ROWS": ints["rows"],
            "STEP_W": max((ins * outs - 1).bit_length(), 1),
            "DSP": int(dsp),
            **parameters,
        },
        roms=roms,
        inputs=(n_in * source.width,),
        output=n_out * node.format.width,
    )


def _chain(weights: Codes, pack: int, source: Fixed, width: int) -> tuple[int, int]:
    """Products of a chain, and bits of the sum of its lower ones: as many as the wide operand has room for."""
    in_block, most = weights.shape[1], -source.min if source.signed else source.max
    longest = min(_CHAIN, in_block)
    if pack == 1:
        return longest, width + source.width
    low = np.abs(weights[..., ::2])
    sums = {n: int(np.add.reduceat(low, np.arange(0, in_block, n), axis=1).max()) for n in range(1, longest + 1)}
    spaces = {n: max((total * most).bit_length(), width) + 1 for n, total in sums.items()}
    length = max(n for n, space in spaces.items() if n == 1 or width + 1 + space <= _WIDE)
    return length, spaces[length]


def _fold(tail: RtlTail) -> tuple[RtlTail, RtlTail | None]:
    """A tail without the term that sums can start with, and that term; none if the tail has to add it.

    In front of a shift of the sum the term loses its low bits: floor((s 2^SHIFT + t) / 2^DROPPED) is
    floor((s + floor(t / 2^SHIFT)) / 2^(DROPPED - SHIFT)), but whether that is a tie can be seen only if they are 0.
    """
    shift, dropped = tail.parameters["SHIFT"], tail.parameters["DROPPED"]
    if not tail.offset_by or tail.scale_by or (shift and dropped < shift):
        return tail, None
    if tail.parameters["EVEN"] and (dropped == shift or np.any(tail.offset & ((1 << shift) - 1))):
        return tail, None
    sums = {"SHIFT": 0, "DROPPED": dropped - shift, "SUM_W": max(tail.parameters["SUM_W"] - shift, 2)}
    bare = replace(tail, parameters={**tail.parameters, **sums}, offset_by=NOTHING)
    return bare, replace(tail, offset=tail.offset >> shift, parameters=bare.parameters)


def _starts(words: Codes, pack: int, width: int) -> Rom:
    """What sums start with; of two, what the lower one's sign takes from the upper one is taken."""
    if pack == 2:
        words = np.pad(words, ((0, 0), (0, words.shape[1] % 2)))
        words[:, 1::2] -= words[:, ::2] < 0
    return Rom(words, width, words.shape[1])


def _weights(weights: Codes, pack: int, width: int) -> Rom:
    """A word a step: outputs outside, inputs inside; with two outputs {w1 less w0's borrow, w0}."""
    steps, in_block, out_block = weights.shape
    if pack == 1:
        return Rom(weights.transpose(0, 2, 1), width, in_block * out_block)
    pairs = np.pad(weights, ((0, 0), (0, 0), (0, out_block % 2))).reshape(steps, in_block, -1, 2)
    entries = pairs[..., 1] * (1 << width) + pairs[..., 0]
    return Rom(entries.transpose(0, 2, 1), 2 * width + 1, in_block * ceil_div(out_block, 2))
