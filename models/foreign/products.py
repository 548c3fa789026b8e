# SPDX-License-Identifier: Apache-2.0
"""Handlers of products of matrices."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.arithmetic import coded, pair, shifted
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.quantisers import power_of_two
from hls4attn.models.foreign.softmax import shift_product
from hls4attn.models.foreign.values import Const, Operand, Step, Value, moved, snapped


def _matmul(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b = pair(step, operands)
    if isinstance(a, Value) and isinstance(b, Const):
        return [dense(context, step, a, b)]
    if isinstance(a, Value) and isinstance(b, Value):
        return [product(context, step, a, b)]
    raise UnsupportedError(f"{step.where}: a constant left operand; transpose the product: x @ W, not W @ x")


def dense(context: Context, step: Step, x: Value, const: Const) -> Value:
    """A product with constant weights."""
    while const.value.ndim > 2 and const.value.shape[0] == 1:
        const = moved(const, lambda a: a[0])
    weights = const.value
    if weights.ndim != 2:
        raise UnsupportedError(f"{step.where}: weights of shape {weights.shape}; a matrix (in, out)")
    x = context.operand(x, step)
    factor = x.factor if power_of_two(x.factor) is not None else 1.0
    codes, fmt = coded(context, step, const, weights, 1.0, "weight")
    # A pending power of two moves into the step of the weights: no operation is left of it.
    fmt = replace(fmt, frac=fmt.frac + (power_of_two(factor) or 0))
    frame = context.frame(x, step)
    if frame.axis == x.index.ndim - 1:
        raise UnsupportedError(f"{step.where}: sums over the batch")
    left = context.arranged(x, step)
    given = weights.astype(np.float64) * (1.0 if factor == 1.0 else x.factor)
    constant = context.exprs.constant(codes, fmt, f"{step.name}_weight", given)
    made = context.exprs.matmul(left, constant, step.name)
    shape = (*x.index.shape[:-1], weights.shape[1])
    return context.fresh(made, shape, frame, step.proto.output[0], 1.0 if factor != 1.0 else x.factor)


def product(context: Context, step: Step, a: Value, b: Value) -> Value:
    """Scores, or probabilities and values."""
    a, b = context.operand(a, step), context.operand(b, step)
    frame = context.frame(a, step)
    if context.batch > 1 and max(frame.axis, context.frame(b, step).axis) >= a.index.ndim - 2:
        raise UnsupportedError(
            f"{step.where}: product of shapes {a.index.shape} and {b.index.shape} mixes samples: the input's axis 0 is "
            "the batch; export with an input of (batch, rows, channels)"
        )
    if a.index.shape[:-2] != b.index.shape[:-2] or (context.batch > 1 and frame != context.frame(b, step)):
        raise UnsupportedError(
            f"{step.where}: product of shapes {a.index.shape} and {b.index.shape}; leading axes (batch, heads) must be "
            "the same"
        )
    lead = prod(frame.sample_shape(a.index.shape)[:-2])
    left, right = (context.arranged(v, step, (lead, *v.index.shape[-2:])) for v in (a, b))
    shape = (*a.index.shape[:-1], b.index.shape[-1])
    factor = snapped(a.factor * b.factor)
    made = shift_product(context, step, left, right) or context.exprs.matmul(left, right, step.name)
    return context.fresh(made, shape, frame, step.proto.output[0], factor)


def _gemm(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, weight, *rest = operands
    a = step.attributes
    if not isinstance(x, Value) or not isinstance(weight, Const) or a.get("transA", 0):
        raise UnsupportedError(f"{step.where}: only x @ W + b with constant W, x not transposed")
    alpha, beta = (float(a.get(name, 1.0)) for name in ("alpha", "beta"))
    if alpha != 1.0 or beta != 1.0:
        raise UnsupportedError(f"{step.where}: alpha={alpha:g}, beta={beta:g}; 1 and 1 (nn.Linear)")
    if a.get("transB", 0):
        weight = moved(weight, lambda a: a.T)
    y = dense(context, step, x, weight)
    if rest and rest[0] is not None:
        if not isinstance(rest[0], Const):
            raise UnsupportedError(f"{step.where}: a bias that depends on the input; use MatMul and Add")
        y = shifted(context, step, y, rest[0], 1, "_sum")
    return [y]


HANDLERS: dict[str, Handler] = {"MatMul": _matmul, "Gemm": _gemm}
