# SPDX-License-Identifier: Apache-2.0
"""Calibration of AILayerNorm's input quantiser: one step and zero point, a power-of-two factor a channel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import InputError
from hls4attn.models.formats import Fixed
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

    The step at alpha = 3 lets 256 codes cover all values (rounded up to a power of two unless told otherwise); each
    channel takes the alpha with the smallest squared error.

    Args:
        values: real inputs of shape ``(..., channels)``.
        in_format: format of the operator's input codes.
        power_of_two: round the step up to a power of two, so that the quantiser only shifts.

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
    if power_of_two:
        coarsest = 2.0 ** math.ceil(math.log2(coarsest))
    zero_point = int(np.clip(-math.floor(low / coarsest + 0.5), 0, 255))
    multiplier, shift = AILayerNormSpec.step_constants(coarsest / (1 << MAX_ALPHA), in_format)
    step = in_format.step * math.ldexp(1.0, shift) / multiplier
    errors = []
    for alpha in range(MAX_ALPHA + 1):
        s = step * (1 << alpha)
        codes = np.clip(np.floor(x / s + 0.5) + zero_point, 0, 255)
        errors.append((((codes - zero_point) * s - x) ** 2).sum(axis=0))
    chosen = np.argmin(errors, axis=0)
    return PtfQuantiser(multiplier, shift, tuple(int(a) for a in chosen), zero_point)
