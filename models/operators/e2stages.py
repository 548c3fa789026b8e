# SPDX-License-Identifier: Apache-2.0
r"""The stages of E2Softmax as pure integer functions, so that C++ and RTL can be compared stage by stage.

::

    codes --> [max] --d--> log2exp --k--> sum of 2**-k --S--> leading_one --ks, q--\
                                  \----------------k-------------------------------> divide --> output code

Reference: SOLE (ICCAD 2023, arXiv 2510.17189): Log2Exp is equations 7 and 8, the online form algorithm 1, the
divider equations 9 to 13 and 17, the widths figure 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.formats import Codes

#: 1/ln 2 as the paper builds it from shifts: 1 + 1/2 - 1/16 = 23/16 (equation 8).
LOG2E_NUMERATOR, LOG2E_FRAC = 23, 4

#: Numerators of the paper's two-way divider, of 256: 0.818 for q = 0, 0.568 for q = 1 (equation 17).
PAPER_DIVIDER = (209, 145)
#: Four-way divider, of 256: {.8926, .7293, .6166, .5341}; halves the divider's rms error.  Not in the paper.
FOUR_WAY_DIVIDER = (229, 187, 158, 137)

#: A shift that leaves nothing of any value this package holds, and is still defined for int64.
MAX_SHIFT = 62


class Unnormalised(NamedTuple):
    """Result of the first pass.

    Attributes:
        exponent: k of each element, ``2**-k`` being its unnormalised probability; same shape as the scores.
        total: S, the sum of a row with `sum_frac` fraction bits, shape ``(..., rows, 1)``; 0 for a masked row.
    """

    exponent: Codes
    total: Codes


def log2exp(d: Codes, multiplier: Codes | int, shift: Codes | int, max_exponent: int) -> Codes:
    """``k = min(max_exponent, round(d * multiplier / 2**shift))``, halves rounded up, so that exp(-x) ~ 2**-k.

    Args:
        d: distance below the maximum in score steps, not negative.
        multiplier: 23 for the paper's ``d + d/2 - d/16``; broadcasts against d.
        shift: fraction bits of the product, at least 1.
        max_exponent: saturation limit, 15 for the paper's 4-bit codes.
    """
    half = np.int64(1) << (np.asarray(shift, dtype=np.int64) - 1)
    return cast(Codes, np.minimum((d * multiplier + half) >> shift, max_exponent))


def leading_one(total: Codes, sum_frac: int, mux_bits: int) -> tuple[Codes, Codes]:
    """Position ks of the leading one of row sums ``S = 2**ks * (1 + s)``, and q, the `mux_bits` bits after it.

    A sum of zero (a row that is masked entirely) gives (0, 0); its numerators are zero anyway.
    """
    safe = np.maximum(total, np.int64(1) << sum_frac)
    position = np.frexp(safe.astype(np.float64))[1].astype(np.int64) - 1  # exact below 2**53
    return position - sum_frac, (safe >> (position - mux_bits)) & ((1 << mux_bits) - 1)


def divide(
    k: Codes | int,
    ks: Codes | int,
    q: Codes | int,
    divider: Sequence[int],
    divider_frac: int,
    out_frac: int,
    out_max: int,
    round_up: bool,
) -> Codes:
    """``2**-(k + ks) * divider[q] / 2**divider_frac`` as an output code with `out_frac` fraction bits.

    Args:
        k: exponent of an element, corrections included.
        ks: exponent of the row sum.
        q: index into `divider`.
        divider: mantissas of the reciprocal, one for each value of q.
        divider_frac: their fraction bits.
        out_frac: fraction bits of the result.
        out_max: largest output code.
        round_up: round halves up; false drops the bits that are shifted out, as the paper's figure 4 draws it.
    """
    mantissa = np.asarray(divider, dtype=np.int64)[q] << out_frac
    shift = np.minimum(np.asarray(k, dtype=np.int64) + ks + divider_frac, MAX_SHIFT)
    half = np.int64(round_up) << (shift - 1)
    return cast(Codes, np.minimum((mantissa + half) >> shift, out_max))


def two_pass(
    codes: Codes, keep: NDArray[np.bool_] | None, lowest: int, to_exponent: Callable[[Codes], Codes], sum_frac: int
) -> Unnormalised:
    """Exponents against the row's maximum, and their sum.

    Args:
        codes: scores of shape ``(..., heads, rows, cols)``.
        keep: True where an element counts, broadcast against codes; None for all.
        lowest: smallest score code.
        to_exponent: `log2exp` with its constants.
        sum_frac: fraction bits of the sum.
    """
    seen = codes if keep is None else np.where(keep, codes, lowest)
    k = to_exponent(seen.max(axis=-1, keepdims=True) - seen)
    return Unnormalised(k, _sum(k, keep, sum_frac))


def online(
    codes: Codes,
    keep: NDArray[np.bool_] | None,
    lowest: int,
    to_exponent: Callable[[Codes], Codes],
    sum_frac: int,
    slice_length: int,
    max_exponent: int,
) -> Unnormalised:
    """The same in one pass over slices of a row, with a running maximum (algorithm 1 of the paper).

    Stage 1, per slice: ``m' = max(m, slice)``, ``S = (S >> log2exp(m' - m)) + sum 2**-log2exp(m' - x)``.
    Stage 2: each slice's exponents get ``log2exp(m_final - m_slice)`` on top, saturating.

    Starting at the lowest code with an empty sum needs no exception for the first slice, nor for one that is
    masked entirely.  The last slice may be short.  Arguments as for `two_pass`.
    """
    seen = codes if keep is None else np.where(keep, codes, lowest)
    visible = None if keep is None else np.broadcast_to(keep, codes.shape)
    maximum = np.full((*codes.shape[:-1], 1), lowest, dtype=np.int64)
    total = np.zeros_like(maximum)
    exponents, maxima = [], []
    for start in range(0, codes.shape[-1], slice_length):
        part = seen[..., start : start + slice_length]
        risen = np.maximum(maximum, part.max(axis=-1, keepdims=True))
        k = to_exponent(risen - part)
        mask = None if visible is None else visible[..., start : start + slice_length]
        total = (total >> to_exponent(risen - maximum)) + _sum(k, mask, sum_frac)
        maximum = risen
        exponents.append(k)
        maxima.append(risen)
    corrected = [np.minimum(k + to_exponent(maximum - m), max_exponent) for k, m in zip(exponents, maxima, strict=True)]
    return Unnormalised(np.concatenate(corrected, axis=-1), total)


def numerators(sum_frac: int, max_exponent: int) -> Codes:
    """``2**-k`` for every exponent k, with `sum_frac` fraction bits; what is smaller is zero."""
    return cast(Codes, (np.int64(1) << sum_frac) >> np.arange(max_exponent + 1, dtype=np.int64))


def _sum(k: Codes, keep: NDArray[np.bool_] | None, sum_frac: int) -> Codes:
    terms = (np.int64(1) << sum_frac) >> k
    if keep is not None:
        terms = terms * keep
    return cast(Codes, terms.sum(axis=-1, keepdims=True))
