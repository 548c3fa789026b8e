# SPDX-License-Identifier: Apache-2.0
"""Calibration of AILayerNorm's input quantiser: one step and zero point, a power-of-two factor a channel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import InputError
from hls4attn.models.formats import Fixed, Reals
from hls4attn.models.operators.ailayernorm import AILayerNormSpec

#: Largest alpha; 255 steps of ``s << MAX_ALPHA`` cover the whole range.
MAX_ALPHA = 3


class PtfQuantiser(NamedTuple):
    """Parameters of `AILayerNormSpec` that depend on data."""

    multiplier: int
    shift: int
    alpha: tuple[int, ...]
    zero_point: int


def calibrate_ptf(values: ArrayLike, in_format: Fixed, power_of_two: bool = True) -> PtfQuantiser:
    """Quantiser parameters for representative values.

    The step at alpha = 3 lets 256 codes cover all values; each channel takes the alpha with the smallest squared
    error.  Of the powers of two next to that step the one with the smaller error wins: the upper one covers more
    than all values, the lower one clips the largest.

    Args:
        values: real inputs of shape ``(..., channels)``.
        in_format: format of the operator's input codes.
        power_of_two: make the step a power of two, so that the quantiser only shifts.

    Raises:
        InputError: if values are missing, NaN, infinite or all equal to zero.

    Reference: the factors are FQ-ViT's, which SOLE (ICCAD 2023, arXiv 2510.17189, equation 6) takes over.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim < 2 or x.size == 0 or not np.all(np.isfinite(x)) or not np.any(x):
        raise InputError(
            f"Calibration needs finite values of shape (..., channels) that are not all zero. Received: shape {x.shape}"
        )
    x = x.reshape(-1, x.shape[-1])
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    coarsest = (high - low) / 255
    steps = [coarsest]
    if power_of_two:
        upper = 2.0 ** math.ceil(math.log2(coarsest))
        steps = [upper, upper / 2]
    return min((_fit(x, low, step, in_format) for step in steps), key=lambda found: found[0])[1]


def _fit(x: Reals, low: float, coarsest: float, in_format: Fixed) -> tuple[float, PtfQuantiser]:
    """Squared error and quantiser for a step at the largest alpha."""
    zero_point = int(np.clip(-math.floor(low / coarsest + 0.5), 0, 255))
    multiplier, shift = AILayerNormSpec.step_constants(coarsest / (1 << MAX_ALPHA), in_format)
    step = in_format.step * math.ldexp(1.0, shift) / multiplier
    errors = []
    for alpha in range(MAX_ALPHA + 1):
        s = step * (1 << alpha)
        codes = np.clip(np.floor(x / s + 0.5) + zero_point, 0, 255)
        errors.append((((codes - zero_point) * s - x) ** 2).sum(axis=0))
    chosen = tuple(int(a) for a in np.argmin(errors, axis=0))
    return float(np.min(errors, axis=0).sum()), PtfQuantiser(multiplier, shift, chosen, zero_point)
