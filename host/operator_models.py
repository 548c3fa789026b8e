# SPDX-License-Identifier: Apache-2.0
"""One operator alone as a model, so that the whole ladder can be climbed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from hls4attn.models.errors import SpecError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.execute import random_codes
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import (
    AILayerNormSpec,
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2ContextSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    IntegerLayerNormSpec,
    SoftmaxSpec,
)
from hls4attn.models.operators.distance import Distance, distance, gain_distance, norm_distance
from hls4attn.models.operators.gain_curve import LINEAR_CELL, MeasuredCurve

HEADS, ROWS, CHANNELS, HEAD_DIM = 2, 16, 48, 8
#: q and k of the shift form's model, whose scores are quantised to the operator's input format.
_TOKEN = Fixed(8, 4)


@dataclass(frozen=True)
class OperatorCase:
    """An operator in a typical configuration.

    Args:
        name: short and unique among all operators, a C identifier.
        title: what is configured.
        spec: builds the spec.
    """

    name: str
    title: str
    spec: Callable[[], Any]


def _consmax(cls: type[ConSmaxSpec], fmt: Fixed, **kwargs: Any) -> ConSmaxSpec:
    return cls(fmt, (1.0, 0.5), (8.0, 11.0), (0.25, 0.3), (8, 7), **kwargs)


def _e2softmax(**kwargs: Any) -> E2SoftmaxSpec:
    return E2SoftmaxSpec(_NARROW, kwargs.pop("score_scale", (0.25, 0.5)), **kwargs)


def _affine() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Gamma and beta of both signs, in 64ths so that float32 weights hold them."""
    gamma, beta = (np.rint(np.linspace(*ends, CHANNELS) * 64) / 64 for ends in ((-1.0, 1.5), (0.5, -0.75)))
    return tuple(map(float, gamma)), tuple(map(float, beta))


def _ailayernorm(**kwargs: Any) -> AILayerNormSpec:
    alpha = tuple(k % 4 for k in range(CHANNELS))
    return AILayerNormSpec(_RESIDUAL, Fixed(8, 4), *_affine(), alpha, 120, 1, 2, **kwargs)


def _gaincell(**kwargs: Any) -> GainCellSpec:
    """A window that wraps within the model's 16 tokens; saturations for heads of this width."""
    small = {"window": 8, "tile": 4, "score_saturation": 30.0, "context_saturation": 8.0}
    return GainCellSpec(HEADS, HEAD_DIM, **{**small, **kwargs})


def _measured() -> MeasuredCurve:
    """Currents of the authors' circuit simulation at the eight stored voltages (their table, rounded)."""
    currents = (-10.149, -5.777, -2.413, -0.297, 1.238, 3.312, 6.364, 9.973)
    return MeasuredCurve(tuple(np.linspace(0.0, 0.9, 8)), currents)


_NARROW, _WIDE, _RESIDUAL = Fixed(8, 3), Fixed(16, 11), Fixed(12, 6)

OPERATORS: dict[str, tuple[OperatorCase, ...]] = {
    "consmax": (
        OperatorCase("consmax_direct", "direct table, 8-bit scores", lambda: _consmax(ConSmaxSpec, _NARROW)),
        OperatorCase(
            "consmax_direct_causal", "direct table, causal", lambda: _consmax(ConSmaxSpec, _NARROW, causal=True)
        ),
        OperatorCase("consmax_split", "split tables, 8-bit scores", lambda: _consmax(ConSmaxSplitSpec, _NARROW)),
        OperatorCase("consmax_split_wide", "split tables, 16-bit scores", lambda: _consmax(ConSmaxSplitSpec, _WIDE)),
    ),
    "softmax": (
        OperatorCase("softmax", "8-bit scores", lambda: SoftmaxSpec(_NARROW, (0.25, 0.3))),
        OperatorCase("softmax_causal", "8-bit scores, causal", lambda: SoftmaxSpec(_NARROW, (0.25, 0.3), causal=True)),
    ),
    "e2softmax": (
        OperatorCase("e2softmax", "two passes", _e2softmax),
        OperatorCase("e2softmax_causal", "two passes, causal", lambda: _e2softmax(causal=True)),
        OperatorCase(
            "e2softmax_any_scale", "any score scale", lambda: _e2softmax(score_scale=(0.25, 0.3), log2e="folded")
        ),
        OperatorCase("e2softmax_online", "online in slices of 4", lambda: _e2softmax(slice_length=4)),
        OperatorCase(
            "e2softmax_shift",
            "shift form, with the product by V",
            lambda: E2ContextSpec(_NARROW, (0.25, 0.5), v_format=_TOKEN, out_format=Fixed(8, 4)),
        ),
    ),
    "ailayernorm": (
        OperatorCase("ailayernorm", "squares as in the paper", _ailayernorm),
        OperatorCase("ailayernorm_lut32", "squares from 32 entries", lambda: _ailayernorm(squares="lut32")),
        OperatorCase("ailayernorm_exact", "exact squares", lambda: _ailayernorm(squares="exact")),
    ),
    "gaincell": (
        OperatorCase("gaincell", "the paper's cell", _gaincell),
        OperatorCase("gaincell_straight", "the paper's straight cell", lambda: _gaincell(cell=LINEAR_CELL)),
        OperatorCase("gaincell_measured", "measured cell, strong leak", lambda: _gaincell(cell=_measured(), leak=0.2)),
        OperatorCase("gaincell_absolute", "tiles by absolute position", lambda: _gaincell(tiling="absolute")),
        OperatorCase(
            "gaincell_levels", "other levels", lambda: _gaincell(q_levels=11, k_levels=16, v_levels=4, pulse_steps=100)
        ),
    ),
    "layernorm": (
        OperatorCase("layernorm", "12-bit input", lambda: IntegerLayerNormSpec(_RESIDUAL, Fixed(8, 4), *_affine())),
    ),
}


def operator_cases(name: str) -> tuple[OperatorCase, ...]:
    """The cases of an operator.

    Raises:
        SpecError: listing the known names.
    """
    if name not in OPERATORS:
        raise SpecError(f"Unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    return OPERATORS[name]


def is_norm(spec: Any) -> bool:
    """Whether a spec normalises the last axis (the others make or use probabilities)."""
    return isinstance(spec, AILayerNormSpec | IntegerLayerNormSpec)


def operator_model(spec: Any, rows: int = ROWS) -> onnx.ModelProto:
    """A file with nothing but the input quantiser and the operator.

    Scores come in as ``(heads, rows, rows)``, norms take ``(rows, 48)``; the shift form takes tokens
    ``(heads, rows, 8)`` that are q, k and v at once; gain cells take tokens ``(heads, rows, 3 head_dim)`` with q, k and
    v side by side.

    Args:
        spec: the operator.
        rows: tokens of a sample.
    """
    b = GraphBuilder(spec.op_type.lower())
    if isinstance(spec, GainCellSpec):
        return _cells_model(b, spec, rows)
    if is_norm(spec):
        x = b.quant(b.input("input", (rows, CHANNELS)), spec.in_format, "values", (rows, CHANNELS))
        return b.model(["input"], [b.norm(x, spec, "norm", (rows, CHANNELS))], {})
    if isinstance(spec, E2ContextSpec):
        shape = (HEADS, rows, HEAD_DIM)
        x = b.quant(b.input("input", shape), _TOKEN, "tokens", shape)
        products = b.node("MatMul", [x, b.transpose(x, (0, 2, 1), "keys")], "products", (HEADS, rows, rows))
        scores = b.quant(products, spec.in_format, "scores", (HEADS, rows, rows))
        return b.model(["input"], [b.context(scores, x, spec, "context", shape)], {})
    shape = (HEADS, rows, rows)
    scores = b.quant(b.input("input", shape), spec.in_format, "scores", shape)
    return b.model(["input"], [b.score(scores, spec, "score", shape)], {})


def _cells_model(b: GraphBuilder, spec: GainCellSpec, tokens: int) -> onnx.ModelProto:
    """q, k and v cut out of one input by products with constant selections.

    The input has the widest of their formats; narrower ones are reached by halving, so that every level occurs.
    """
    dim, shape = spec.head_dim, (spec.heads, tokens, 3 * spec.head_dim)
    fmt = max(spec.in_formats, key=lambda f: f.width)
    x = b.quant(b.input("input", shape), fmt, "tokens", shape)
    parts = []
    for number, (name, wanted) in enumerate(zip("qkv", spec.in_formats, strict=True)):
        selection = np.zeros((3 * dim, dim), dtype=np.int64)
        selection[number * dim + np.arange(dim), np.arange(dim)] = 1
        constant = b.quantised_constant(f"{name}_selection", selection, Fixed(2, fmt.width - wanted.width))
        cut = b.node("MatMul", [x, constant], f"{name}_cut", (spec.heads, tokens, dim))
        parts.append(b.quant(cut, wanted, name, (spec.heads, tokens, dim)))
    q, k, v = parts
    return b.model(["input"], [b.cells(q, k, v, spec, "cells", (spec.heads, tokens, dim))], {})


def operator_codes(graph: Graph, rows: int, seed: int) -> Codes:
    """Input codes for at least `rows` rows: every code once, the corner rows, then random ones.

    Corner rows: all equal, one-hot, ascending, descending, last element largest.  Half of the random samples
    keep to a narrow band, where probabilities are neither 0 nor saturated.
    """
    *outer, width = graph.input.shape
    heads = outer[0] if len(outer) == 2 else 1
    height = outer[-1]
    fmt = graph.input.format
    samples = max(-(-rows // prod(outer)), 1)
    codes = random_codes(graph.input, samples, seed)
    codes[1::2] >>= 3
    every = np.arange(fmt.min, fmt.max + 1)
    ramp = np.linspace(fmt.min, fmt.max, width).astype(np.int64)
    hot = np.where(np.arange(width) == width // 2, fmt.max, fmt.min)
    last = np.where(np.arange(width) == width - 1, fmt.max, 0)
    corners = np.stack([np.zeros(width, dtype=np.int64), hot, ramp, ramp[::-1], last])
    special = np.concatenate([np.resize(corners, (height, width)).ravel(), every])
    count = -(-special.size // (height * width))
    padded = np.resize(special, (count, 1, height, width))
    shown = np.broadcast_to(padded, (count, heads, height, width))[:samples]
    codes[: len(shown)] = shown.reshape(len(shown), *graph.input.shape)
    return codes


def operator_distance(spec: Any, codes: Codes) -> Distance | None:
    """Distance of an operator to its float function; the shift form, a part of a product, has none of its own.

    Scores are measured on `codes`.  Norms are measured on Gaussian rows of a sixth of the range, narrower in the
    channels with a smaller alpha, which is what calibration gives; on uniform or corner codes the figure says little.
    """
    if isinstance(spec, E2ContextSpec):
        return None
    if isinstance(spec, GainCellSpec):
        drop = [max(f.width for f in spec.in_formats) - f.width for f in spec.in_formats]
        parts = np.split(codes, 3, axis=-1)
        return gain_distance(spec, *(p >> n for p, n in zip(parts, drop, strict=True)))
    if not is_norm(spec):
        return distance(spec, codes)
    fmt = spec.in_format
    spread = 2.0 ** (np.array(spec.alpha) - max(spec.alpha)) if isinstance(spec, AILayerNormSpec) else 1.0
    rows = np.random.default_rng(0).normal(0, fmt.max / 6, codes.shape) * spread
    return norm_distance(spec, np.clip(np.rint(rows), fmt.min, fmt.max).astype(np.int64))
