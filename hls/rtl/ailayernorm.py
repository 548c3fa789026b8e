# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of AILayerNorm."""

from __future__ import annotations

import numpy as np

from hls4attn.hls.norms import norm_parameters, squares_rom
from hls4attn.hls.rtl.unit import Rom, RtlUnit
from hls4attn.models.errors import SpecError
from hls4attn.models.operators import AILayerNormSpec

#: Bits of an entry of the table of squares, by kind; exact ones are shifted in the table.
_SQUARE_BITS = {"paper": 8, "lut32": 12, "exact": 16}

#: Clocks from the first element that comes to the first result that is taken, beyond the row's length.
LATENCY = 25
#: Fewest clocks from row to row: what the once-a-row stage takes.
ROW_CLOCKS = 23


def row_clocks(channels: int, rows: int) -> int:
    """Clocks from the first element of the first row to the last result of the last, with both sides always ready."""
    return channels + LATENCY + (rows - 1) * max(channels, ROW_CLOCKS) + channels


def unit(spec: AILayerNormSpec, row_max: int) -> RtlUnit:
    """The unit of an AILayerNorm: rows of `spec.channels` elements, one element a clock.

    Args:
        spec: the normalisation; every option has hardware.
        row_max: longest row that is asked for.

    Raises:
        SpecError: if the spec's rows are longer than `row_max`.
    """
    if spec.channels > row_max:
        raise SpecError(f"{spec.op_type}: rows have {spec.channels} elements. Received: row_max={row_max}")
    _, ints, roms = norm_parameters(spec, 1, spec.op_type)
    gamma, bias, alpha = (roms[name] for name in ("gamma", "bias", "alpha"))
    alpha_bits = 2 if ints["max_alpha"] > 1 else 1
    # one word a channel: {bias, gamma, alpha}
    words = (bias << (spec.gamma_bits + alpha_bits)) + ((gamma & ((1 << spec.gamma_bits) - 1)) << alpha_bits) + alpha
    squares, square_bits = squares_rom(spec.squares), _SQUARE_BITS[spec.squares]
    if spec.squares == "exact":
        factors = 4 ** np.minimum(np.arange(1 << alpha_bits), ints["max_alpha"])
        squares, square_bits = (factors[:, None] * squares).ravel(), square_bits + 2 * ints["max_alpha"]
    padded = np.zeros(1024 if spec.channels > 64 else 1 << max(1, (spec.channels - 1).bit_length()), dtype=np.int64)
    padded[: spec.channels] = words
    bias_bits = ints["bias_width"]
    return RtlUnit(
        module="op_ailayernorm",
        files=("op_ailayernorm.sv", "op_ailn_stats.sv", "op_ailn_row.sv", "op_ailn_affine.sv"),
        parameters={
            "IN_W": spec.in_format.width,
            "IN_SIGNED": int(spec.in_format.signed),
            "OUT_W": spec.out_format.width,
            "SYMMETRIC": int(spec.out_format.overflow == "saturate_symmetric"),
            "CHANNELS": spec.channels,
            "ZERO_POINT": spec.zero_point,
            "MULTIPLIER": spec.multiplier,
            "QUANT_SHIFT": spec.shift,
            "MAX_ALPHA": ints["max_alpha"],
            "SQUARES": ints["squares"],
            "MEAN_FRAC": spec.mean_frac,
            "RECIPROCAL": ints["reciprocal"],
            "RECIPROCAL_FRAC": ints["reciprocal_frac"],
            "RSQRT_BITS": spec.rsqrt_bits,
            "INDEX_BITS": ints["index_bits"],
            "GAMMA_BITS": spec.gamma_bits,
            "BIAS_BITS": bias_bits,
            "BIAS_FRAC": spec.bias_frac,
            "AFFINE_SHIFT": spec.affine_shift,
        },
        roms={
            "CHANNEL_ROM": Rom(padded, bias_bits + spec.gamma_bits + alpha_bits),
            "SQUARE_ROM": Rom(squares, square_bits),
            "RSQRT_ROM": Rom(spec.table, spec.rsqrt_bits),
        },
        in_width=spec.in_format.width,
        out_width=spec.out_format.width,
        user_width=1,
        in_signed=spec.in_format.signed,
        out_signed=True,
        row_max=spec.channels,
    )
