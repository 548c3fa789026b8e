# SPDX-License-Identifier: Apache-2.0
r"""The stages of AILayerNorm as pure integer functions, so that C++ and RTL can be compared stage by stage.

Reference: SOLE (ICCAD 2023, arXiv 2510.17189): the quantiser is equation 6, dynamic compression equation 15 and
figure 5, the identity ``(x << a)**2 = x**2 << 2a`` equation 16, the whole algorithm 2.  The table of reciprocal
square roots and the 32-entry table of squares are this package's: the paper gives neither size nor contents.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, cast, get_args

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes
from hls4attn.models.operators.norm_base import leading_one_position

Squares = Literal["paper", "exact", "lut32"]

#: Squares of compressed magnitudes count in units of 16 (the paper's global ``<< 4``).
SQUARE_SHIFT = 4
#: Fraction bits of the factor 1/channels beyond those that make up for its size.
RECIPROCAL_BITS = 16

#: Largest code that AILayerNorm's input quantiser gives: one byte.
MAX_QUANTISED = 255


def ptf_quantise(codes: Codes, multiplier: int, shift: int, alpha: Codes, zero_point: int) -> Codes:
    """``XQ = clip(round(X / (2**alpha * s)) + zp, 0, 255)`` with ``1/s = multiplier / 2**shift`` of a code step.

    Halves are rounded up.

    Args:
        codes: input codes, shape ``(..., channels)``.
        multiplier: 1 if s is a power of two of at least an input step.
        shift: common right shift, not negative.
        alpha: power-of-two factor of each channel, shape ``(channels,)``.
        zero_point: 0 to 255.
    """
    total = shift + alpha
    half = (np.int64(1) << total) >> 1
    return cast(Codes, np.clip(((codes * multiplier + half) >> total) + zero_point, 0, MAX_QUANTISED))


def dynamic_compress(magnitude: Codes) -> tuple[Codes, Codes]:
    """4-bit code y and flag s of 8-bit magnitudes: ``x ~ y << (2 + 2 s)``, halves rounded up (figure 5)."""
    large = (magnitude >> 6) != 0
    y = np.where(large, ((magnitude >> 3) + 1) >> 1, ((magnitude >> 1) + 1) >> 1)
    return np.minimum(y, 15), large.astype(np.int64)


@cache
def square_table(method: Squares) -> tuple[int, ...]:
    """Contribution of each magnitude 0 to 255 to the sum of squares.

    "paper" squares the compressed code, ``y**2 << 4s`` in units of 16; "lut32" looks up the mean of ``x**2 / 16``
    over all magnitudes that compress to the same (s, y); "exact" is ``x**2`` in units of 1.

    Raises:
        SpecError: for an unknown method.
    """
    if method not in get_args(Squares):
        raise SpecError(f"Squares must be one of {get_args(Squares)}. Received: {method!r}")
    x = np.arange(256, dtype=np.int64)
    if method == "exact":
        return tuple(int(v) for v in x * x)
    y, s = dynamic_compress(x)
    if method == "paper":
        return tuple(int(v) for v in (y * y) << (4 * s))
    index = 16 * s + y
    # round(sum / (16 n)), halves up, in integers
    sums, counts = (np.bincount(index, w, minlength=32).astype(np.int64) for w in (x * x, np.ones_like(x)))
    means = (2 * sums + 16 * counts) // np.maximum(32 * counts, 1)
    return tuple(int(v) for v in means[index])


def square_scale(method: Squares) -> int:
    """Left shift from the table's units to squares of XQ - zp."""
    return 0 if method == "exact" else SQUARE_SHIFT


def reciprocal(channels: int) -> tuple[int, int]:
    """R and its fraction bits: ``R = round(2**(16 + n) / channels)``, ``n = ceil(log2 channels)``."""
    frac = RECIPROCAL_BITS + (channels - 1).bit_length()
    return ((1 << frac) + channels // 2) // channels, frac


def statistics(total: Codes, squares: Codes, channels: int, mean_frac: int, scale: int) -> tuple[Codes, Codes]:
    """Mean with `mean_frac` and variance with ``2 * mean_frac`` fraction bits; the variance is at least one LSB.

    Args:
        total: sum of ``(XQ - zp) << alpha``.
        squares: sum of table entries ``<< 2 alpha``.
        channels: number of terms.
        mean_frac: fraction bits of the mean.
        scale: `square_scale` of the table.
    """
    r, frac = reciprocal(channels)
    mean = (total * r + (1 << (frac - mean_frac - 1))) >> (frac - mean_frac)
    second = ((squares << scale) * r) >> (frac - 2 * mean_frac)
    return mean, np.maximum(second - mean * mean, 1)


@cache
def rsqrt_table(entries: int, bits: int) -> tuple[int, ...]:
    """``min(2**bits - 1, round(2**bits / sqrt(m)))`` at the middle of each bin; m in [1, 2), then [2, 4).

    Halves up.  The first half of the table is for even positions of the leading one, the second for odd ones.
    """
    n = entries // 2
    middle = 1 + (np.arange(n) + 0.5) / n
    exact = np.ldexp(1 / np.sqrt(np.concatenate([middle, 2 * middle])), bits)
    return tuple(int(v) for v in np.minimum(np.floor(exact + 0.5), (1 << bits) - 1))


def rsqrt(variance: Codes, table: Codes) -> tuple[Codes, Codes]:
    """Mantissa v and exponent e with ``1/sqrt(variance) ~ v * 2**-(bits + e)``, for variances of at least 1.

    With p the position of the leading one: ``e = p >> 1``; the index is p's last bit and the bits after the leading
    one.
    """
    index_bits = (len(table) // 2).bit_length() - 1
    p = leading_one_position(variance)
    after = np.where(
        p >= index_bits, variance >> np.maximum(p - index_bits, 0), variance << np.maximum(index_bits - p, 0)
    )
    index = ((p & 1) << index_bits) | (after & ((1 << index_bits) - 1))
    return table[index], p >> 1
