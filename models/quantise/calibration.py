# SPDX-License-Identifier: Apache-2.0
"""Calibration data and the choice of a power-of-two step for a tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError
from hls4attn.models.formats import Fixed

#: How many finer steps than the one that covers every value are tried.
FINER_STEPS = 3
#: Integer norms have no epsilon; a larger share of it in the smallest variance would be a visible difference.
EPSILON_SHARE = 0.01


def check_calibration(values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The calibration set as float32.

    Raises:
        InputError: if it is empty, constant, of another shape than the model's input, or holds NaN or infinity.
    """
    a = np.asarray(values)
    if a.dtype.kind not in "fiu" or a.ndim == 0 or a.shape[1:] != shape:
        raise InputError(
            f"The calibration set must be numbers of shape (samples, {shape}). Received: {a.dtype} {a.shape}"
        )
    if len(a) == 0:
        raise InputError("The calibration set is empty; give representative inputs, 100 or more")
    with np.errstate(over="ignore"):
        values32 = a.astype(np.float32)
    if not np.all(np.isfinite(values32)):
        raise InputError("The calibration set holds NaN or infinity, or numbers that float32 does not hold")
    if np.ptp(values32) == 0:
        raise InputError(f"The calibration set is constant ({a.ravel()[0]}); give representative inputs")
    return values32


def visible_epsilon(values: NDArray[Any], epsilon: float) -> float | None:
    """The smallest variance over the last axis of what a LayerNorm reads, if epsilon is a visible share of it."""
    smallest = float(values.var(axis=-1).min())
    return smallest if epsilon > EPSILON_SHARE * smallest else None


def covering_frac(values: NDArray[np.floating], width: int, signed: bool) -> int:
    """The largest number of fraction bits with which `width` bits cover all values."""
    top = float(np.abs(values).max(initial=0.0))
    if top == 0:
        return width - signed
    return width - signed - math.floor(math.log2(top)) - 1


def choose_format(values: ArrayLike, width: int, signed: bool = True, cover: bool = False) -> Fixed:
    """The format of `width` bits with the smallest squared error on `values`.

    Args:
        values: representative values.
        width: bits.
        signed: whether the format is.
        cover: take the step that covers every value, without trying finer ones that clip.
    """
    a = np.asarray(values, dtype=np.float64).ravel()
    start = covering_frac(a, width, signed)
    candidates = [Fixed(width, start + k, signed) for k in range(1 if cover else FINER_STEPS + 1)]
    errors = [float(np.square(f.to_real(f.quantise(a)) - a).mean()) for f in candidates]
    return candidates[int(np.argmin(errors))]
