# SPDX-License-Identifier: Apache-2.0
"""Normalisation specs -> kernel name, configuration members and tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hls4attn.hls.design import Parameters
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import AILayerNormSpec, IntegerLayerNormSpec, NormSpec
from hls4attn.models.operators.ailn_stages import dynamic_compress, reciprocal, square_table
from hls4attn.models.operators.norm_base import Affine

#: Enumerators of the kernel's squares_form.
_SQUARES = {"paper": 0, "lut32": 1, "exact": 2}


def norm_parameters(spec: NormSpec, rows: int, where: str) -> Parameters:
    """Hardware operator, configuration members and tables of a normalisation.

    Args:
        spec: the normalisation.
        rows: rows of its input.
        where: the node's name, for messages.

    Raises:
        UnsupportedError: for a normalisation without a kernel.
    """
    if type(spec) not in _RULES:
        known = ", ".join(sorted(rule.__name__.removesuffix("Spec") for rule in _RULES))
        raise UnsupportedError(f"{where}: no kernel for {spec.op_type}; there are kernels for {known}")
    op, ints, roms = _RULES[type(spec)](spec)
    return op, {"rows": rows, "channels": spec.channels} | ints, roms


def _affine(affine: Affine, gamma_bits: int, bias_frac: int) -> tuple[dict[str, int], dict[str, Codes]]:
    bias = affine.beta + ((1 << bias_frac) >> 1)  # the rounding constant of the last shift
    ints = {"gamma_bits": gamma_bits, "bias_frac": bias_frac, "bias_width": signed_bits(bias)}
    return ints, {"gamma": affine.gamma, "bias": bias}


def _ailayernorm(spec: AILayerNormSpec) -> Parameters:
    factor, frac = reciprocal(spec.channels)
    ints, roms = _affine(spec.affine, spec.gamma_bits, spec.bias_frac)
    ints |= {
        "affine_shift": spec.affine_shift,
        "zero_point": spec.zero_point,
        "multiplier": spec.multiplier,
        "quant_shift": spec.shift,
        "max_alpha": max(spec.alpha),
        "squares": _SQUARES[spec.squares],
        "mean_frac": spec.mean_frac,
        "reciprocal": factor,
        "reciprocal_frac": frac,
        "rsqrt_bits": spec.rsqrt_bits,
        "index_bits": (spec.rsqrt_entries // 2).bit_length() - 1,
    }
    roms |= {"alpha": spec.alpha_codes, "squares_rom": squares_rom(spec.squares), "rsqrt": spec.table}
    return "AttnAILayerNorm", ints, roms


def squares_rom(method: str) -> Codes:
    """What the hardware looks up: 16 squares by y, 32 bin means by (s, y), or the square of every magnitude.

    Args:
        method: "paper", "lut32" or "exact".
    """
    if method == "paper":
        return np.arange(16, dtype=np.int64) ** 2
    by_magnitude = np.array(square_table(method), dtype=np.int64)  # type: ignore[arg-type]
    if method == "exact":
        return by_magnitude
    y, s = dynamic_compress(np.arange(256, dtype=np.int64))
    rom = np.zeros(32, dtype=np.int64)  # codes that no magnitude has stay zero
    rom[16 * s + y] = by_magnitude
    return rom


def _layernorm(spec: IntegerLayerNormSpec) -> Parameters:
    ints, roms = _affine(spec.affine, spec.gamma_bits, spec.bias_frac)
    ints |= {"affine_shift": spec.affine_shift, "root_bits": spec.root_bits, "rsqrt_bits": spec.rsqrt_bits}
    return "AttnIntegerLayerNorm", ints, roms


_RULES: dict[type, Callable[..., Parameters]] = {
    AILayerNormSpec: _ailayernorm,
    IntegerLayerNormSpec: _layernorm,
}
