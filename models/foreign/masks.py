# SPDX-License-Identifier: Apache-2.0
"""Masks on scores: a causal one becomes part of the score operator, others are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.values import Const, Operand, Step, Value

Array = NDArray[Any]

#: Anything added that is at most this is meant to be minus infinity.
_MASKED = -1e4


def is_mask(values: Array) -> bool:
    """Whether a constant is added to mask entries."""
    return values.dtype.kind == "f" and bool(np.any(values <= _MASKED))


def mask_constant(context: Context, step: Step, x: Value, const: Const) -> Value:
    """Scores plus a constant of zeros and minus infinity."""
    masked = const.value <= _MASKED
    if np.any(const.value[~masked] != 0):
        raise UnsupportedError(
            f"{step.where}: adds a mask and other numbers in one constant; add them one after the other"
        )
    return _causal(context, step, x, masked)


def _where(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """Where with a constant condition: scores or minus infinity; or one operand everywhere."""
    condition, x, other = operands
    if isinstance(condition, Const):
        hidden = ~condition.value.astype(bool)
        if isinstance(other, Value):
            hidden, x, other = ~hidden, other, x
        if isinstance(x, Value) and isinstance(other, Const):
            hidden, shown = np.broadcast_arrays(hidden, other.value)
            if not np.any(hidden) and np.broadcast_shapes(hidden.shape, x.index.shape) == x.index.shape:
                context.changed(step, f"left out, {other.name} is chosen nowhere")
                return [x]
            if np.all(shown[hidden] <= _MASKED):
                return [_causal(context, step, x, hidden)]
    raise UnsupportedError(
        f"{step.where}: a choice that is no constant mask of scores. Masks given at run time (padding) have no "
        "hardware here; a causal mask as a constant (is_causal=True, or torch.triu) does"
    )


def _is_nan(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """Exporters guard softmax against rows that are masked as a whole; a causal mask leaves none."""
    (x,) = operands
    if not isinstance(x, Value):
        raise UnsupportedError(f"{step.where}: of integers; dequantise first")
    return [Const(np.zeros(x.index.shape, dtype=bool), step.name)]


def _causal(context: Context, step: Step, x: Value, masked: Array) -> Value:
    if masked.ndim < 2 or masked.shape[-1] != masked.shape[-2]:
        raise UnsupportedError(
            f"{step.where}: a mask of shape {masked.shape}; a causal one of (rows, rows) is supported"
        )
    wanted = np.broadcast_to(np.triu(np.ones(masked.shape[-2:], dtype=bool), 1), masked.shape)
    if not np.array_equal(masked, wanted):
        raise UnsupportedError(
            f"{step.where}: a mask (shape {masked.shape}, {int(masked.sum())} of {masked.size} entries masked) that is "
            "not causal; supported: none, or exactly the entries with column > row"
        )
    if np.broadcast_shapes(masked.shape, x.index.shape) != x.index.shape:
        raise UnsupportedError(f"{step.where}: a mask of shape {masked.shape} on scores of shape {x.index.shape}")
    context.changed(step, "causal mask, made part of the score operator")
    return replace(x, causal=True, tensor=step.proto.output[0])


HANDLERS: dict[str, Handler] = {"Where": _where, "IsNaN": _is_nan}
