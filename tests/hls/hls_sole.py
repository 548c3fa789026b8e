# SPDX-License-Identifier: Apache-2.0
"""Operators of SOLE with every option, the rows they are compared on, and graphs of one operator each."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from hls4attn.hls.bench import context_graph, norm_graph, operator_graph
from hls4attn.models.export.graph import Graph, Tensor
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec, E2ContextSpec, E2SoftmaxSpec, IntegerLayerNormSpec, NormSpec
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER

EIGHT_WAY = tuple(round(65536 / (1.06 + n / 8)) for n in range(8))
X8 = Fixed(8, 4)
BASE = E2SoftmaxSpec(X8, (1.0, 0.5))

#: name, operator, rows, cols
SOFTMAX: list[tuple[str, E2SoftmaxSpec, int, int]] = [
    ("paper", replace(BASE, score_scale=(0.5, 0.5)), 4, 16),
    ("two_scales", BASE, 4, 8),
    ("causal", replace(BASE, causal=True), 7, 7),
    ("codes_of_3_bits", replace(BASE, code_width=3), 3, 12),
    ("codes_of_5_bits", replace(BASE, code_width=5, sum_frac=10), 3, 12),
    ("codes_of_6_bits", replace(BASE, code_width=6, sum_frac=31, out_width=16, out_frac=16), 3, 12),
    ("short_sum", replace(BASE, in_format=Fixed(8, 3), sum_frac=8), 3, 64),
    ("four_way", replace(BASE, divider=FOUR_WAY_DIVIDER, out_width=12, out_frac=12), 3, 9),
    ("eight_way_floor", replace(BASE, divider=EIGHT_WAY, divider_frac=16, out_rounding="floor", out_width=9), 3, 9),
    ("floor", replace(BASE, out_rounding="floor"), 3, 21),
    ("two_bits_out", replace(BASE, out_width=2, out_frac=3), 2, 5),
    ("two_bits_in", E2SoftmaxSpec(Fixed(2, 0), (1.0,)), 2, 3),
    ("twelve_bits_in", E2SoftmaxSpec(Fixed(12, 8), (1.0,), out_width=10, out_frac=10), 2, 17),
    ("steps_above_one", E2SoftmaxSpec(Fixed(5, -2), (0.25,)), 2, 6),
    ("tiny_steps", E2SoftmaxSpec(Fixed(12, 36), (1.0, 2.0**30)), 2, 6),
    ("symmetric", E2SoftmaxSpec(Fixed(6, 2, overflow="saturate_symmetric"), (1.0,), causal=True), 5, 5),
    ("folded", replace(BASE, log2e="folded", score_scale=(0.35, 0.29)), 3, 10),
    ("folded_12_bits", replace(BASE, log2e="folded", score_scale=(0.25, 1.7), scale_bits=12, slice_length=3), 3, 10),
    ("online_1", replace(BASE, slice_length=1), 3, 9),
    ("online_3_of_10", replace(BASE, slice_length=3), 3, 10),
    ("online_4_of_12", replace(BASE, slice_length=4, score_scale=(0.5, 0.5)), 3, 12),
    ("online_causal", replace(BASE, slice_length=3, causal=True), 8, 8),
    ("online_longer_than_row", replace(BASE, slice_length=32), 3, 10),
    ("online_32_of_100", replace(BASE, slice_length=32, sum_frac=12), 1, 100),
    ("one_column", BASE, 3, 1),
    ("one_column_online", replace(BASE, slice_length=1), 2, 1),
    ("longest", replace(BASE, out_width=10, out_frac=12), 1, 1024),
]

CONTEXT = E2ContextSpec(X8, (1.0, 0.5), v_format=Fixed(8, 5), out_format=Fixed(8, 5))

#: name, operator, rows, cols, head_dim
CONTEXTS: list[tuple[str, E2ContextSpec, int, int, int]] = [
    ("paper", replace(CONTEXT, score_scale=(0.5, 0.5)), 4, 16, 4),
    ("causal", replace(CONTEXT, causal=True), 7, 7, 3),
    ("online", replace(CONTEXT, slice_length=4), 3, 10, 3),
    ("online_causal", replace(CONTEXT, slice_length=3, causal=True), 8, 8, 2),
    ("one_element", CONTEXT, 1, 1, 1),
    ("codes_of_6_bits", replace(CONTEXT, code_width=6, sum_frac=24, max_length=64), 2, 9, 2),
    ("codes_of_3_bits", replace(CONTEXT, code_width=3, slice_length=5), 2, 12, 2),
    ("four_way", replace(CONTEXT, divider=FOUR_WAY_DIVIDER, out_format=Fixed(12, 9)), 2, 9, 2),
    ("unsigned_values", replace(CONTEXT, v_format=Fixed(8, 6, signed=False), out_format=Fixed(6, 3)), 2, 9, 2),
    ("wide_values", replace(CONTEXT, v_format=Fixed(16, 9), out_format=Fixed(16, 9), max_length=128), 2, 9, 2),
    ("symmetric", replace(CONTEXT, out_format=Fixed(5, 3, overflow="saturate_symmetric")), 2, 6, 2),
    ("folded_online", replace(CONTEXT, log2e="folded", score_scale=(0.35, 0.29), slice_length=2), 2, 7, 2),
]


def _vectors(channels: int, seed: int) -> dict[str, tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    gamma = rng.normal(1.0, 0.4, channels) * rng.choice([-1, 1], channels)
    return {"gamma": tuple(gamma), "beta": tuple(rng.normal(0.0, 0.6, channels))}


def ailayernorm(channels: int, seed: int = 0, **more: object) -> AILayerNormSpec:
    alpha = tuple(int(a) for a in np.random.default_rng(seed + 99).integers(0, 4, channels))
    values: dict[str, object] = {"in_format": Fixed(10, 5), "out_format": Fixed(8, 5), "alpha": alpha, "shift": 1}
    return AILayerNormSpec(**(values | _vectors(channels, seed) | more))  # type: ignore[arg-type]


def layernorm(channels: int, seed: int = 0, **more: object) -> IntegerLayerNormSpec:
    values: dict[str, object] = {"in_format": Fixed(10, 5), "out_format": Fixed(8, 5)}
    return IntegerLayerNormSpec(**(values | _vectors(channels, seed) | more))  # type: ignore[arg-type]


U16 = Fixed(16, 8, signed=False)
#: name, operator, rows
NORMS: list[tuple[str, NormSpec, int]] = [
    *((f"ai_{c}", ailayernorm(c, c), 2) for c in (1, 3, 32, 384)),
    ("ai_lut32", ailayernorm(32, 1, squares="lut32"), 2),
    ("ai_exact", ailayernorm(32, 2, squares="exact"), 2),
    ("ai_exact_384", ailayernorm(384, 3, squares="exact", mean_frac=7, rsqrt_entries=1024, rsqrt_bits=14), 1),
    ("ai_no_factors", ailayernorm(17, 4, alpha=(0,) * 17, shift=2, zero_point=0), 2),
    ("ai_zero_point_255", ailayernorm(16, 5, zero_point=255, mean_frac=0, bias_frac=0), 2),
    ("ai_small_table", ailayernorm(8, 6, rsqrt_entries=8, rsqrt_bits=6, gamma_bits=4, out_format=Fixed(8, 4)), 2),
    ("ai_bias_frac_6", ailayernorm(8, 10, bias_frac=6), 2),
    ("ai_multiplier", ailayernorm(9, 7, multiplier=40503, shift=17, gamma_bits=12, out_format=Fixed(16, 12)), 2),
    ("ai_24_bits", ailayernorm(5, 8, in_format=Fixed(24, 18), shift=15, multiplier=3), 2),
    ("ai_unsigned", ailayernorm(6, 9, in_format=Fixed(8, 4, signed=False), shift=0, alpha=(0,) * 6, zero_point=0), 2),
    *((f"integer_{c}", layernorm(c, c), 2) for c in (1, 3, 32, 384)),
    ("integer_widest", layernorm(1024, 1, in_format=U16, root_bits=20, rsqrt_bits=20, gamma_bits=12), 1),
    ("integer_16_bits", layernorm(64, 2, in_format=Fixed(16, 8), out_format=Fixed(16, 12), bias_frac=0), 1),
    ("integer_small", layernorm(6, 3, root_bits=8, rsqrt_bits=8, gamma_bits=4, bias_frac=3), 2),
    (
        "integer_narrow",
        layernorm(6, 4, in_format=Fixed(2, 0), out_format=Fixed(2, 0, overflow="saturate_symmetric")),
        2,
    ),
]


def graphs() -> list[Graph]:
    """One graph for each operator, in the order of the lists above."""
    return [
        *(operator_graph(spec, rows, cols) for _, spec, rows, cols in SOFTMAX),
        *(context_graph(spec, rows, cols, dim) for _, spec, rows, cols, dim in CONTEXTS),
        *(norm_graph(spec, rows) for _, spec, rows in NORMS),
    ]


NAMES = [
    *(f"softmax_{name}" for name, *_ in SOFTMAX),
    *(f"context_{name}" for name, *_ in CONTEXTS),
    *(name for name, *_ in NORMS),
]


def row_codes(port: Tensor, seed: int, samples: int = 60) -> Codes:
    """Rows all equal, at either end, rising, falling, one-hot, one above all others, the last one largest; random."""
    low, high = port.format.min, port.format.max
    rng = np.random.default_rng(seed)
    cols = port.shape[-1]
    ramp = np.linspace(low, high, cols).astype(np.int64)
    at = np.arange(cols)
    middle = (low + high) // 2
    last = np.where(at == cols - 1, high, np.maximum(middle - at % 3, low))
    hot = [np.where(at == n, high, low) for n in (0, cols // 2, cols - 1)]
    nearly = np.where(at == 0, middle + 1, middle)
    constant = [np.full(cols, v) for v in (low, high, 0, middle, high - 1)]
    peaks = [np.where(at == n, high, high - (high - low) * n // 9) for n in range(1, 7)]  # one above a plain
    special = [*constant, *peaks, ramp, ramp[::-1], last, *hot, nearly, np.where(at % 2, low, high)]
    count = 1 + samples // 4
    spread = max((high - low) // 12, 1)
    centres = rng.integers(low, high, (count, *port.shape[:-1], 1), endpoint=True)
    near = np.clip(np.rint(centres + rng.normal(0, spread, (count, *port.shape))), low, high).astype(np.int64)
    wide = rng.integers(low, high, (samples, *port.shape), endpoint=True)
    return np.concatenate([np.stack([np.broadcast_to(r, port.shape) for r in special]), near, wide])


def context_codes(spec: E2ContextSpec, rows: int, port: Tensor, seed: int) -> Codes:
    """Packed port codes for the special rows as scores and random, full-scale and constant values."""
    heads, cols, packed = port.shape
    x = row_codes(Tensor("", (heads, rows, cols), spec.in_format), seed)
    rng = np.random.default_rng(seed + 1)
    shape = (len(x), heads, cols, packed - rows)
    v = rng.integers(spec.v_format.min, spec.v_format.max, shape, endpoint=True)
    v[::5], v[1::5] = spec.v_format.max, spec.v_format.min
    return np.concatenate([x.swapaxes(-1, -2), v], axis=-1)


def port_codes(k: int, graph: Graph, seed: int) -> Codes:
    """Input codes for the k-th operator."""
    c = k - len(SOFTMAX)
    if 0 <= c < len(CONTEXTS):
        return context_codes(CONTEXTS[c][1], CONTEXTS[c][2], graph.input, seed)
    return row_codes(graph.input, seed, samples=20 if prod(graph.input.shape) > 300 else 60)
