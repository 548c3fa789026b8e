# SPDX-License-Identifier: Apache-2.0
"""Streaming nodes made by hand, with the members that a schedule gives them."""

from __future__ import annotations

from math import prod

from hls4attn.hls.design import HwNode
from hls4attn.models.formats import Fixed

A8 = Fixed(8, 4)
TAIL = {"core_width": 20, "scaled_width": 20, "sum_width": 20, "sum_frac": 8}


def node(op: str, name: str, inputs: int, shape: tuple[int, ...], fmt: Fixed = A8, copies=(), **ints: int) -> HwNode:
    return HwNode(
        op=op,
        name=name,
        inputs=tuple(f"{name}_in{k}" for k in range(inputs)),
        in_formats=(A8,) * inputs,
        output=copies[0] if copies else f"{name}_out",
        shape=shape,
        format=fmt,
        sources=(name,),
        ints=TAIL | ints,
        roms={},
        copies=tuple(copies),
    )


def dense(rows: int, n_in: int, n_out: int, in_block: int, out_block: int, **ints: int) -> HwNode:
    ints = {"weight_width": 6} | ints
    return node(
        "AttnDense", "dense", 1, (rows, n_out), rows=rows, n_in=n_in, n_out=n_out, in_block=in_block,
        out_block=out_block, **ints,
    )  # fmt: skip


def elementwise(op: str, rows: int, channels: int, lanes: int, **ints: int) -> HwNode:
    inputs = 1 if op == "AttnAffine" else 2
    return node(op, "element", inputs, (rows, channels), rows=rows, channels=channels, lanes=lanes, **ints)


def layernorm(rows: int, channels: int, lanes: int, **ints: int) -> HwNode:
    members = {"root_bits": 16, "rsqrt_bits": 16, "gamma_bits": 8, "bias_width": 8, "in_width": 8}
    return node(
        "AttnIntegerLayerNorm", "norm", 1, (rows, channels), rows=rows, channels=channels, lanes=lanes,
        **(members | ints),
    )  # fmt: skip


def ailayernorm(rows: int, channels: int, lanes: int, **ints: int) -> HwNode:
    members = {
        "zero_point": 128, "multiplier": 5, "quant_shift": 3, "max_alpha": 3, "squares": 0, "mean_frac": 4,
        "rsqrt_bits": 9, "index_bits": 5, "gamma_bits": 8, "bias_width": 8, "in_width": 8,
    }  # fmt: skip
    return node(
        "AttnAILayerNorm", "norm", 1, (rows, channels), rows=rows, channels=channels, lanes=lanes, **(members | ints)
    )


def reduce_sum(count: int, channels: int, lanes: int) -> HwNode:
    return node(
        "AttnReduceSum", "pool", 1, (channels,), count=count, outer=1, inner=channels, channels=channels, lanes=lanes
    )


def permute(in_rows: int, in_channels: int, out_rows: int, out_channels: int) -> HwNode:
    sizes = {"in_rows": in_rows, "in_channels": in_channels, "out_rows": out_rows, "out_channels": out_channels}
    assert prod((in_rows, in_channels)) == prod((out_rows, out_channels))
    return node("AttnPermute", "permute", 1, (out_rows, out_channels), n3=out_channels, **sizes)


def fork(rows: int, channels: int, copies: int) -> HwNode:
    names = [f"fork__{k}" for k in range(copies)]
    return node("AttnFork", "fork", 1, (rows, channels), copies=names, rows=rows, channels=channels)


SCORE = {"score_core_width": 20, "score_scaled_width": 20, "score_sum_width": 20, "score_sum_frac": 8}
FUNCTION = {"in_width": 8, "p_width": 8, "p_signed": 0, "function_core_width": 9, "function_sum_width": 9}
MEMBERS = {
    "AttnAttentionConSmax": {"entries": 256, "code_min": -128},
    "AttnAttentionConSmaxSplit": {"nibbles": 2, "mantissa_bits": 8, "shift_width": 6, "max_shift": 17},
    "AttnAttentionSoftmax": {"exp_frac": 15, "out_frac": 8, "guard": 3},
    "AttnAttentionE2Softmax": {
        "code_width": 4, "numerator_frac": 15, "mux_bits": 1, "divider_frac": 8, "slice_length": 0, "folded": 0,
        "factor_width": 5, "exp_places": 8, "max_places": 8, "out_frac": 8,
    },
    "AttnAttentionE2Context": {
        "code_width": 4, "numerator_frac": 15, "mux_bits": 1, "divider_frac": 8, "slice_length": 0, "folded": 0,
        "factor_width": 5, "exp_places": 8, "max_places": 8, "out_shift": 15,
    },
}  # fmt: skip


def attention(op: str, rows: int, heads: int, head_dim: int, lanes=1, parallel_heads=1, width=1, **ints) -> HwNode:
    sizes = {
        "rows": rows,
        "heads": heads,
        "head_dim": head_dim,
        "lanes": lanes,
        "parallel_heads": parallel_heads,
        "width": width,
    }
    return node(op, "attention", 3, (rows, heads * head_dim), **(SCORE | FUNCTION | MEMBERS[op] | sizes | ints))
