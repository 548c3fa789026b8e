# SPDX-License-Identifier: Apache-2.0
"""Einsum of two operands as a product of matrices: axes are moved, multiplied, and moved back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.products import dense, product
from hls4attn.models.foreign.values import Const, Operand, Step, Value, moved

Array = NDArray[Any]


def _einsum(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b, out = _letters(step)
    x, y = operands
    if isinstance(x, Const):
        x, y, a, b = y, x, b, a
    if not isinstance(x, Value) or not isinstance(y, Value | Const):
        raise UnsupportedError(f"{step.where}: of integers; dequantise first")
    shared = [c for c in a if c in b and c in out]
    summed = [c for c in a if c in b and c not in out]
    left, right = ([c for c in part if c not in (*shared, *summed)] for part in (a, b))
    length = {c: n for part, v in ((a, _shape(x)), (b, _shape(y))) for c, n in zip(part, v, strict=True)}
    if isinstance(y, Const):
        if shared:
            raise UnsupportedError(f"{step.where}: weights of their own for each of {shared}; one matrix for all")
        matrix = moved(y, lambda v: _view(v, b, [summed, right]))
        x = replace(x, index=_view(x.index, a, [*map(list, left), summed]))
        made = dense(context, step, x, matrix)
    else:
        x = replace(x, index=_view(x.index, a, [*map(list, shared), left, summed]))
        y = replace(y, index=_view(y.index, b, [*map(list, shared), summed, right]))
        made = product(context, step, x, y)
    found = [*shared, *left, *right]
    index = made.index.reshape([length[c] for c in found]).transpose([found.index(c) for c in out])
    return [replace(made, index=np.ascontiguousarray(index))]


def _letters(step: Step) -> tuple[str, str, str]:
    """The letters of both operands and of the result.

    Raises:
        UnsupportedError: for anything but two operands whose letters all stand in two of the three.
    """
    equation = "".join(str(step.attributes.get("equation", "")).split())
    inputs, arrow, out = equation.partition("->")
    a, comma, b = inputs.partition(",")
    parts = (a, b, out)
    alone = [c for c in set("".join(parts)) if sum(c in part for part in parts) < 2]
    twice = any(len(set(part)) != len(part) for part in parts)
    if not (arrow and comma) or not "".join(parts).isalpha() or alone or twice or len(step.proto.input) != 2:
        raise UnsupportedError(
            f"{step.where}: equation {equation!r}; supported: two operands and a result, every letter in two of the "
            "three, as in 'bhid,bhjd->bhij'. Write sums, diagonals and '...' out before it"
        )
    return parts


def _shape(x: Value | Const) -> tuple[int, ...]:
    return x.index.shape if isinstance(x, Value) else x.value.shape


def _view(array: Array, letters: str, groups: Sequence[Sequence[str]]) -> Array:
    """An array with one axis for each group of letters."""
    lengths = [prod(array.shape[letters.index(c)] for c in group) for group in groups]
    return np.ascontiguousarray(array.transpose([letters.index(c) for g in groups for c in g]).reshape(lengths))


HANDLERS: dict[str, Handler] = {"Einsum": _einsum}
