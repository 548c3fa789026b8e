# SPDX-License-Identifier: Apache-2.0
"""Streaming unit of the exact integer LayerNorm."""

from __future__ import annotations

import math

import numpy as np

from hls4attn.hls.rtl.unit import Rom, RtlUnit
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import IntegerLayerNormSpec


def unit(spec: IntegerLayerNormSpec, row_max: int) -> RtlUnit:
    """Module, constants and table of `op_layernorm`.

    Args:
        spec: the normalisation; its channels are the length of every row.
        row_max: longest row that is asked for.

    Raises:
        UnsupportedError: if the rows are longer than that.
    """
    if spec.channels > row_max:
        raise UnsupportedError(f"{spec.op_type}: rows of {spec.channels} channels, but row_max={row_max}")
    bias = spec.affine.beta + ((1 << spec.bias_frac) >> 1)  # the rounding constant of the last shift
    bias_width = signed_bits(bias)
    gamma = spec.affine.gamma & ((1 << spec.gamma_bits) - 1)
    return RtlUnit(
        module="op_layernorm",
        files=("op_layernorm.sv", "op_multiple.sv", "op_table.sv"),
        parameters={
            "IN_W": spec.in_format.width,
            "IN_SIGNED": int(spec.in_format.signed),
            "OUT_W": spec.out_format.width,
            "USER_W": 1,
            "CHANNELS": spec.channels,
            "ROOT_BITS": spec.root_bits,
            "RSQRT_BITS": spec.rsqrt_bits,
            "GAMMA_W": spec.gamma_bits,
            "BIAS_W": bias_width,
            "BIAS_FRAC": spec.bias_frac,
            "SHIFT": spec.affine_shift,
            "SCALED_W": scaled_width(spec),
        },
        roms={"ROM_FILE": Rom((bias << spec.gamma_bits) | gamma, bias_width + spec.gamma_bits)},
        in_width=spec.in_format.width,
        out_width=spec.out_format.width,
        user_width=1,
        in_signed=spec.in_format.signed,
        out_signed=True,
        row_max=spec.channels,
    )


def scaled_width(spec: IntegerLayerNormSpec) -> int:
    """Signed bits of any row's products behind the shift.

    A channel is at most ``sqrt(C - 1)`` standard deviations from the mean, and r exceeds the reciprocal root by less
    than one part in 64 for every `root_bits` and `rsqrt_bits` that a spec may have.
    """
    gamma = int(np.abs(spec.affine.gamma).max())
    limit = math.ldexp(gamma * math.sqrt(spec.channels), spec.bias_frac - spec.affine.frac) * (1 + 1 / 64)
    return max(min(math.ceil(limit + 1).bit_length() + 1, _product_width(spec)), 2)


def _product_width(spec: IntegerLayerNormSpec) -> int:
    """Signed bits of ``G (C x - T) r``."""
    return spec.gamma_bits + _total_width(spec) + spec.rsqrt_bits + 1


def _total_width(spec: IntegerLayerNormSpec) -> int:
    """Signed bits of a row's sum; unsigned codes are taken less half their range."""
    return spec.in_format.width + (spec.channels - 1).bit_length()


def root_steps(spec: IntegerLayerNormSpec, codes: Codes) -> Codes:
    """Clocks of the root of each row: two bits of V a clock, from the first that V may have.

    Args:
        spec: the normalisation.
        codes: shape ``(rows, channels)``.
    """
    total = codes.sum(axis=-1)
    variance = spec.channels * (codes * codes).sum(axis=-1) - total * total
    _, e = spec.reciprocal_root(np.maximum(variance, 1))
    return np.asarray(most_steps(spec) - e)


def most_steps(spec: IntegerLayerNormSpec) -> int:
    """Clocks of the root of a row of the smallest variance."""
    return max(_total_width(spec) - 1, 1) - 1 + spec.root_bits


def row_latency(spec: IntegerLayerNormSpec, steps: int) -> int:
    """Clocks from the first channel of a row to its last result, in a unit that has nothing else to do.

    Args:
        spec: the normalisation.
        steps: the row's `root_steps`.
    """
    return 2 * spec.channels + steps + spec.rsqrt_bits + 20


def row_interval(spec: IntegerLayerNormSpec, steps: int) -> int:
    """Clocks from one row to the next, for rows of the same `root_steps`."""
    return max(spec.channels, steps + 7, spec.rsqrt_bits + 5)
