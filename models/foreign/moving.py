# SPDX-License-Identifier: Apache-2.0
"""Operators that only move elements: they act on index arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.values import MOST_ELEMENTS, Const, Operand, Step, Value
from hls4attn.models.foreign.views import Index


class FixedBatchError(UnsupportedError):
    """A file that leaves the batch of its input open but fixes it in a Reshape."""


def _moving(step: Step, operands: list[Operand]) -> tuple[Value, list[Const | None]]:
    first, *rest = operands
    if not isinstance(first, Value) or any(isinstance(o, Value) for o in rest):
        raise UnsupportedError(f"{step.where}: positions that depend on the input; only constant ones are supported")
    return first, [o if isinstance(o, Const) else None for o in rest]


def _numbers(step: Step, rest: Sequence[Const | None], place: int, attribute: str) -> list[int] | None:
    """Integers from an input or, before they were inputs, an attribute."""
    if place < len(rest) and rest[place] is not None:
        return [int(v) for v in np.ravel(rest[place].value)]  # type: ignore[union-attr]  # checked
    found = step.attributes.get(attribute)
    return None if found is None else [int(v) for v in np.ravel(found)]


def _view(x: Value, index: Index, step: Step) -> Value:
    if x.causal and (index.shape[-2:] != x.index.shape[-2:] or step.op in ("Transpose", "Slice", "Gather")):
        raise UnsupportedError(f"{step.where}: rearranges masked scores; put the softmax right behind the mask")
    if not index.size:
        raise UnsupportedError(f"{step.where}: nothing is left of {x.index.shape} (shape {index.shape}); choose some")
    return replace(x, index=np.ascontiguousarray(index), tensor=step.proto.output[0])


def _reshape(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    target = _numbers(step, rest, 0, "shape") or []
    if not step.attributes.get("allowzero", 0):
        target = [x.index.shape[n] if d == 0 and n < x.index.ndim else d for n, d in enumerate(target)]
    try:
        return [_view(x, x.index.reshape(target), step)]
    except ValueError as error:
        raise FixedBatchError(
            f"{step.where}: reshapes {x.index.shape} to {tuple(target)}; the file fixes another batch than its input "
            "has: export with dynamic_axes, or with the batch as -1"
        ) from error


def _transpose(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, _ = _moving(step, operands)
    return [_view(x, x.index.transpose(step.attributes.get("perm")), step)]


def _flatten(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, _ = _moving(step, operands)
    rows = int(np.prod(x.index.shape[: step.attributes.get("axis", 1)]))  # from the back if it is negative
    return [_view(x, x.index.reshape(rows, -1), step)]


def _squeeze(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    axes = _numbers(step, rest, 0, "axes")
    return [_view(x, x.index.squeeze(tuple(axes) if axes is not None else None), step)]


def _unsqueeze(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    return [_view(x, np.expand_dims(x.index, tuple(_numbers(step, rest, 0, "axes") or ())), step)]


def _split(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    axis, outputs = step.attributes.get("axis", 0), len(step.proto.output)
    sizes = _numbers(step, rest, 0, "split")
    if sizes is None:  # all as long as the first, the last may be shorter
        length = -(-x.index.shape[axis] // outputs)
        sizes = [length] * (outputs - 1) + [x.index.shape[axis] - length * (outputs - 1)]
    if len(sizes) != outputs or min(sizes) < 1 or sum(sizes) != x.index.shape[axis]:
        raise UnsupportedError(f"{step.where}: {outputs} parts of the lengths {sizes} from {x.index.shape}")
    return [_view(x, part, step) for part in np.split(x.index, np.cumsum(sizes)[:-1], axis)]


def _slice(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    starts, ends = (_numbers(step, rest, n, "") or [] for n in (0, 1))
    axes = _numbers(step, rest, 2, "") or list(range(len(starts)))
    steps = _numbers(step, rest, 3, "") or [1] * len(starts)
    cut = [slice(None)] * x.index.ndim
    for start, end, axis, stride in zip(starts, ends, axes, steps, strict=True):
        if stride < 0:
            raise UnsupportedError(f"{step.where}: a negative step ({stride}); slice forwards")
        cut[axis] = slice(start, end, stride)
    return [_view(x, x.index[tuple(cut)], step)]


def _gather(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    if not rest or rest[0] is None:
        raise UnsupportedError(f"{step.where}: positions that depend on the input")
    if rest[0].value.size * x.index.size > MOST_ELEMENTS:
        raise UnsupportedError(f"{step.where}: {rest[0].value.size} positions of {x.index.shape}; choose fewer")
    return [_view(x, np.take(x.index, rest[0].value.astype(np.int64), axis=step.attributes.get("axis", 0)), step)]


def _expand(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, rest = _moving(step, operands)
    target = tuple(_numbers(step, rest, 0, "") or ())
    shape = np.broadcast_shapes(x.index.shape, target)
    if np.prod(shape) != x.index.size:
        raise UnsupportedError(f"{step.where}: repeats {x.index.shape} to {shape}; no hardware here repeats elements")
    return [_view(x, x.index.reshape(shape), step)]


def _concat(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    values = [o for o in operands if isinstance(o, Value)]
    same = len(values) == len(operands) and all(
        v.expr is values[0].expr and v.factor == values[0].factor for v in values
    )
    if not same:
        raise UnsupportedError(
            f"{step.where}: joins different tensors ({len(values)} of {len(operands)} depend on the input); nothing "
            "here does. A class token: take the mean over the rows, x.mean(1), or a row that is there, x[:, 0]; heads: "
            "reshape instead of joining"
        )
    if sum(v.index.size for v in values) > MOST_ELEMENTS:
        raise UnsupportedError(f"{step.where}: {len(values)} times {values[0].index.shape}; {MOST_ELEMENTS} at most")
    return [_view(values[0], np.concatenate([v.index for v in values], step.attributes["axis"]), step)]


def _same(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    return [operands[0]]


def _dropout(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    training = operands[2] if len(operands) > 2 else None
    if isinstance(training, Const) and bool(np.any(training.value)):
        raise UnsupportedError(f"{step.where}: in training mode; call model.eval() before the export")
    return _same(context, step, operands)


def _cast(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    if step.attributes.get("to") != 1:
        raise UnsupportedError(f"{step.where}: casts activations to type {step.attributes.get('to')}; float32 (1) only")
    return _same(context, step, operands)


HANDLERS: dict[str, Handler] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Concat": _concat,
    "Identity": _same,
    "Dropout": _dropout,
    "Cast": _cast,
}
