# SPDX-License-Identifier: Apache-2.0
"""Gain-cell specs, codes and models for the hardware's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from hls4attn.hls.gaincell import current_rows, structure
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import GainCellSpec

#: Saturations at which heads as narrow as those of the tests clip now and then, but not always.
SMALL = {"score_saturation": 30.0, "context_saturation": 15.0}

#: Name, spec and tokens: what can differ between two heads.
SPECS: dict[str, tuple[GainCellSpec, int]] = {
    "wraps": (GainCellSpec(2, 8, 16, 8, **SMALL), 5000),
    "paper": (GainCellSpec(1, 64, 128, 64, pulse_steps=600), 600),
    "one tile, never full": (GainCellSpec(1, 16, 64, 64), 40),
    "strong leak": (GainCellSpec(1, 16, 32, 8, leak=0.2, **SMALL), 120),
    "saturates": (GainCellSpec(1, 64, 64, 16, score_saturation=8.0, context_saturation=2.0), 150),
    "levels of no power of two": (GainCellSpec(3, 12, 15, 5, q_levels=11, k_levels=5, v_levels=13, **SMALL), 70),
    "levels of keys and values differ": (GainCellSpec(2, 8, 16, 4, k_levels=16, v_levels=4, pulse_steps=150), 1800),
    "more elements than slots of a tile": (GainCellSpec(2, 24, 12, 3, pulse_steps=15, out_levels=16, **SMALL), 1200),
    "a tile is a slot": (GainCellSpec(1, 9, 5, 1, **SMALL), 40),
    "a window is a slot": (GainCellSpec(2, 8, 1, 1, **SMALL), 20),
    "coarse currents": (GainCellSpec(1, 32, 32, 16, current_frac=2, **SMALL), 90),
    "fine currents": (GainCellSpec(1, 32, 32, 16, current_frac=16, pulse_steps=2400, **SMALL), 90),
    "split tiles": (GainCellSpec(2, 8, 12, 4, tiling="absolute", **SMALL), 1800),
    "split tiles, more elements than slots": (GainCellSpec(1, 10, 9, 3, tiling="absolute", **SMALL), 50),
}


def random_codes(spec: GainCellSpec, tokens: int, seed: int, batch: tuple[int, ...] = ()) -> tuple[Codes, Codes, Codes]:
    """q, k and v of shape ``(*batch, tokens, heads, head_dim)``.

    Half of the tokens are random over their whole formats, which hold codes beyond the last level, too; the others
    stay near one level a token, so that charges add up and tiles saturate.
    """
    rng = np.random.default_rng(seed)
    found = []
    for fmt in spec.in_formats:
        shape = (*batch, tokens, spec.heads, spec.head_dim)
        wild = rng.integers(0, fmt.max, shape, endpoint=True)
        near = rng.integers(0, fmt.max, (*shape[:-1], 1), endpoint=True) + rng.integers(-1, 2, shape)
        mild = rng.random((*shape[:-2], 1, 1)) < 0.5
        found.append(np.clip(np.where(mild, near, wild), 0, fmt.max))
    return found[0], found[1], found[2]


def reference(spec: GainCellSpec, q: Codes, k: Codes, v: Codes) -> Codes:
    """The operator's integers for codes of shape ``(..., tokens, heads, head_dim)``."""
    return spec.reference(*(a.swapaxes(-3, -2) for a in (q, k, v))).swapaxes(-3, -2)


def cells_model(
    spec: GainCellSpec, tokens: int, seed: int = 0, channels: int = 12, tail: str = "channel", out: Fixed | None = None
) -> onnx.ModelProto:
    """Tokens ``(tokens, channels)``, dense layers, gain cells with a scale and an offset, a dense layer, a residual.

    Args:
        spec: the cells.
        tokens: of the longest sequence.
        seed: of the weights.
        channels: of the input.
        tail: what the scale and the offset belong to: "none", "channel" (of a head), "head", or "token".
        out: format of the cells' requantised result.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder("gain")
    wide, heads, dim = spec.heads * spec.head_dim, spec.heads, spec.head_dim
    now = b.quant(b.input("tokens", (tokens, channels)), Fixed(8, 4), "input_quant", (tokens, channels))
    parts: list[Any] = []
    for name, fmt in zip("qkv", spec.in_formats, strict=True):
        weights = b.quantised_constant(f"{name}_w", rng.integers(-15, 16, (channels, wide)), Fixed(5, 3))
        offset = b.quantised_constant(f"{name}_b", np.full((wide,), 2 << fmt.width), Fixed(fmt.width + 4, 3))
        y = b.node("MatMul", [now, weights], f"{name}_dense", (tokens, wide))
        y = b.node("Add", [y, offset], f"{name}_bias", (tokens, wide))
        y = b.quant(y, fmt, f"{name}_q", (tokens, wide))
        parts.append(b.transpose(b.reshape(y, (tokens, heads, dim), f"{name}_heads"), (1, 0, 2), f"{name}_split"))
    shape = (heads, tokens, dim)
    y = b.cells(*parts, spec, "cells", shape)
    if tail != "none":
        of = {"channel": (dim,), "head": (heads, 1, 1), "token": (tokens, 1)}[tail]
        y = b.node("Mul", [y, b.quantised_constant("o_scale", rng.integers(9, 32, of), Fixed(6, 5))], "o_mul", shape)
        y = b.node("Add", [y, b.quantised_constant("o_shift", rng.integers(-9, 9, of), Fixed(6, 3))], "o_add", shape)
        y = b.quant(y, out or Fixed(8, 3), "o_quant", shape)
    y = b.reshape(b.transpose(y, (1, 0, 2), "merge"), (tokens, wide), "merged")
    weights = b.quantised_constant("out_w", rng.integers(-15, 16, (wide, channels)), Fixed(5, 4))
    y = b.quant(b.node("MatMul", [y, weights], "out", (tokens, channels)), Fixed(10, 4), "out_q", (tokens, channels))
    y = b.node("Add", [y, now], "residual", (tokens, channels))
    return b.model(["tokens"], [y], {})


def token_source(spec: GainCellSpec) -> str:
    """A top function that takes one token, or forgets them all; its state is the caller's."""
    ints = structure(spec, 12)
    members = "".join(
        f"    static const {'long long' if name == 'charge_limit' else 'int'} {name} = {value};\n"
        for name, value in ints.items()
    )
    channels, entries = spec.heads * spec.head_dim, current_rows(spec).size
    codes = ", ".join(f"const ap_uint<8> (&{name})[{channels}]" for name in "qkv")
    return f"""#include "attn_gaincell.h"
struct config : hls4attn::gaincell_config {{
{members}}};
void top(hls4attn::gaincell_state<config> &state, const short (&currents)[{entries}], {codes},
         ap_int<16> (&sums)[{channels}], bool clear) {{
    if (clear) {{
        hls4attn::gaincell_clear(state);
    }}
    hls4attn::gaincell_token<config>(state, currents, q, k, v, sums);
}}
"""
