# SPDX-License-Identifier: Apache-2.0
"""Depth of pipelines, a model since nothing is synthesised; and what follows from it for banks and FIFOs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hls4attn.hls.stream.iterations import (
    ceil_div,
    ceil_log2,
    chunks,
    interval,
    is_attention,
    is_gain_cell,
    is_norm,
    processes,
    row_interval,
    score_function,
)

if TYPE_CHECKING:
    from hls4attn.hls.design import HwNode

_READ = _WRITE = _ROM = _TAIL = 1
_MULTIPLY = 2


def _tail(ints: Mapping[str, int], prefix: str = "") -> int:
    """Cycles of a tail: 1, and 2 for a scale, 1 for an offset."""
    scale, offset = ints.get(f"{prefix}scale_by", 0), ints.get(f"{prefix}offset_by", 0)
    return _TAIL + (_MULTIPLY if scale else 0) + (1 if offset else 0)


def latencies(node: HwNode) -> dict[str, int]:
    """The member `latency` of a streaming kernel: cycles from reading to writing, of its deepest process.

    A model, since nothing is synthesised: reading 1, ROM or bank 1, a multiplier 2, an adder tree one a level, a tail
    1 (with a scale 3, with an offset 1 more), a root or division one a bit of its result or dividend, writing 1.
    """
    return {"latency": max(_READ + depth + _WRITE for depth in _depths(node))}


def _depths(node: HwNode) -> list[int]:
    """Cycles of each process of a kernel between reading and writing."""
    ints = node.ints
    tail = _tail(ints)
    if node.op == "AttnDense":
        several = ints.get("in_block", ints["n_in"]) < ints["n_in"]  # partial sums are added up
        return [_ROM + _MULTIPLY + ceil_log2(ints.get("in_block", ints["n_in"]) + several) + tail]
    if node.op == "AttnFork":
        return [0]
    if is_norm(node):
        return _norm_depths(node, ceil_log2(ints.get("lanes", ints["channels"]) + 1), tail)
    if is_attention(node):
        return _attention_depths(node, tail)
    if is_gain_cell(node):
        return [_gain_cell_depth(ints, tail)]
    return [tail + {"AttnAffine": 0, "AttnMultiply": _MULTIPLY, "AttnPermute": _ROM}.get(node.op, 1)]


def _norm_depths(node: HwNode, tree: int, tail: int) -> list[int]:
    """statistics, prepare, affine; shifts and comparisons count one."""
    ints = node.ints
    if node.op == "AttnIntegerLayerNorm":
        dividend = ints["rsqrt_bits"] + ints["root_bits"] + 2
        prepare = _MULTIPLY + 1 + 1 + 1 + ints["root_bits"] + dividend  # C Ex2, - Ex^2, leading one, shift
        return [_MULTIPLY + tree, prepare, 3 * _MULTIPLY + 1 + 1 + 1 + tail]
    return [_MULTIPLY + 1 + _ROM + 1 + tree, 2 * _MULTIPLY + 1 + 1 + _ROM, 1 + 1 + 2 * _MULTIPLY + 1 + 1 + 1 + tail]


def _gain_cell_depth(ints: Mapping[str, int], tail: int) -> int:
    """Word and current, level, score, pulse, product, level, sum, limit; then its code and the sum of codes."""
    scan = _ROM + 1 + _MULTIPLY + ceil_log2(ints["head_dim"]) + 1 + _MULTIPLY + 1 + 1 + 1
    return scan + (_MULTIPLY if ints["pulse_multiplier"] != 1 else 0) + _MULTIPLY + 1 + 1 + tail


def _attention_depths(node: HwNode, tail: int) -> list[int]:
    ints = node.ints
    several = chunks(node) > 1
    score = _ROM + _MULTIPLY + ceil_log2(ints["width"] + several) + _tail(ints, "score_")
    weigh = _ROM + _MULTIPLY + ceil_log2(ints.get("lanes", 1) + 1) + tail
    function = {
        "ConSmax": lambda: _ROM + 1,
        "ConSmaxSplit": lambda: _ROM + (ints["nibbles"] - 1) * _MULTIPLY + 2,
        "Softmax": lambda: ints["exp_frac"] + ints["out_frac"] + ints["guard"] + 2,  # the dividend's bits
        "E2Softmax": lambda: ceil_log2(ints.get("lanes", 1)) + 4,  # maximum, Log2Exp, shift, sum
        "E2Context": lambda: ceil_log2(ints.get("lanes", 1)) + 4,
    }[score_function(node)]()
    return [score, function, weigh]


def steady_interval(node: HwNode, length: int | None = None) -> int:
    """Cycles between two sequences of a streaming kernel, its banks included.

    Each half of a bank is filled, read latency + 1 cycles later, and filled again a cycle after that; two halves take
    turns:  max( interval, ceil((fill + drain + latency + 2) / 2) ).  Where banks limit, this is the mean of two
    sequences, one of which may take longer than the other.  FIFOs are taken to be deep enough.
    """
    busy = dict(processes(node, length))
    latency = node.ints.get("latency", latencies(node)["latency"])
    banks = (("load_keys", "score_slices"), ("load_values", "weigh_slices"), ("load", "emit"))
    turns = [busy[fill] + busy[drain] + latency + 2 for fill, drain in banks if fill in busy]
    return max([interval(node, length), *(ceil_div(cycles, 2) for cycles in turns)])


def waiting_rows(node: HwNode) -> int:
    """Rows that a normalisation's FIFO between statistics and affine must hold so that statistics never wait for it.

    Row r leaves row_interval + 2 * (latency + 1) cycles after it came, and its place is free one cycle later; row r + d
    wants it d * row_interval after row r, when its write arrives:  d = 1 + ceil((latency + 2) / row_interval).
    """
    latency = node.ints.get("latency", latencies(node)["latency"])
    return max(2, 1 + ceil_div(latency + 2, row_interval(node)))
