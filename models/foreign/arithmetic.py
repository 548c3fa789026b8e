# SPDX-License-Identifier: Apache-2.0
"""Handlers of sums, factors and means."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.masks import is_mask, mask_constant
from hls4attn.models.foreign.normalisation import affine_of_pending
from hls4attn.models.foreign.quantisers import constant_codes, power_of_two
from hls4attn.models.foreign.values import Const, Operand, Step, Value, snapped
from hls4attn.models.foreign.views import Frame
from hls4attn.models.formats import Codes, Fixed

Array = NDArray[Any]

#: Sums that enter an Add may be as wide as that without a quantiser.
SUM_BITS = 20


def coded(context: Context, step: Step, const: Const, values: Array, factor: float, what: str) -> tuple[Codes, Fixed]:
    """Codes and format of a constant divided by a power of two."""
    n = power_of_two(factor) or 0
    if not np.all(np.isfinite(values)):
        raise UnsupportedError(
            f"{step.where}: its {what} {const.name!r} holds NaN or infinity; export a model whose training converged"
        )
    if const.quantiser is not None:
        codes, fmt, notes = constant_codes(const.quantiser, values, context.exact)
        for note in notes:
            context.changed(step, f"{what} {const.name}: {note}", "rounded" not in note)
    else:
        bits = context.choices.weight_bits if what == "weight" else context.choices.bias_bits
        fmt = context.constant_format(values, const, step, bits, what)
        codes = fmt.quantise(values)
    return codes, replace(fmt, frac=fmt.frac - n)


def pair(step: Step, operands: list[Operand]) -> tuple[Operand, Operand]:
    """The two operands of a node."""
    if len(operands) != 2:
        raise UnsupportedError(f"{step.where}: {len(operands)} operands; two")
    return operands[0], operands[1]


def _add(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b = pair(step, operands)
    if isinstance(a, Const) and isinstance(b, Value):
        a, b = b, a
    if isinstance(a, Value) and isinstance(b, Const):
        return [shifted(context, step, a, b, 1)]
    if not isinstance(a, Value) or not isinstance(b, Value):
        raise UnsupportedError(f"{step.where}: sum of integers; dequantise first")
    return [_sum(context, step, a, b)]


def _sub(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b = pair(step, operands)
    if isinstance(a, Value) and isinstance(b, Const):
        return [shifted(context, step, a, b, -1)]
    raise UnsupportedError(
        f"{step.where}: subtracts something that depends on the input (a LayerNorm written out over another axis, or "
        "with a quantiser inside?); constants only: use nn.LayerNorm over the last axis"
    )


def shifted(context: Context, step: Step, x: Value, const: Const, sign: int, suffix: str = "") -> Value:
    """A value plus a constant."""
    if is_mask(const.value):
        return mask_constant(context, step, x, const)
    pending = affine_of_pending(context, step, x, const.value, sign)
    if pending is not None:
        return pending
    if not np.any(const.value):
        context.changed(step, f"added zeros {const.name} left out")
        return x
    x = context.operand(x, step, 62)
    if power_of_two(x.factor) is None:
        x = context.applied(x, step)
    codes, fmt = coded(context, step, const, const.value, x.factor, "bias")
    given = sign * const.value.astype(np.float64) / x.factor
    return _elementwise(context, step, x, (sign * codes, given, _signed(fmt) if sign < 0 else fmt), "Add", suffix)


def _signed(fmt: Fixed) -> Fixed:
    """A format that holds the negatives of another's codes too."""
    return Fixed(fmt.width + 1, fmt.frac, True)


def _elementwise(
    context: Context, step: Step, x: Value, constant: tuple[Codes, Array, Fixed], op: str, suffix: str = ""
) -> Value:
    """Add or multiply a constant where the value is made, so that it need not be rearranged."""
    codes, given, fmt = constant
    shape = np.broadcast_shapes(x.index.shape, codes.shape)
    if shape != x.index.shape:
        raise UnsupportedError(
            f"{step.where}: {x.index.shape} and a constant {codes.shape}: would repeat the activation"
        )
    base, real = (_where_made(context, step, x, np.broadcast_to(a, shape)) for a in (codes, given))
    while base.ndim > 1 and all(np.array_equal(a, np.broadcast_to(a[:1], a.shape)) for a in (base, real)):
        base, real = base[0], real[0]
    kind = "bias" if op == "Add" else "factor"
    made = context.exprs.constant(base, fmt, f"{step.name}_{kind}", real)
    apply = context.exprs.add if op == "Add" else context.exprs.multiply
    return replace(x, expr=apply(x.expr, made, f"{step.name}{suffix}"), tensor=step.proto.output[0])


def _where_made(context: Context, step: Step, x: Value, constant: Array) -> Array:
    """A constant of a value's shape as one of the shape of a sample of its expression; zero where nothing is read."""
    size = prod(x.expr.shape)
    found = np.zeros(context.batch * size, dtype=constant.dtype)
    found[x.index.ravel()] = constant.ravel()
    if not np.array_equal(found[x.index], constant):
        raise UnsupportedError(
            f"{step.where}: elements that are there several times get different constants; add them before repeating"
        )
    read = np.zeros(context.batch * size, dtype=bool)
    read[x.index.ravel()] = True
    samples, reads = found.reshape(context.batch, size), read.reshape(context.batch, size)
    if np.any(samples != samples[:1]) or np.any(reads != reads[:1]):
        raise UnsupportedError(f"{step.where}: the constant {constant.shape} differs between samples of the batch")
    return np.asarray(samples[0].reshape(x.expr.shape))


def _sum(context: Context, step: Step, a: Value, b: Value) -> Value:
    """A sum of two tensors, a residual for instance."""
    if a.factor != b.factor:
        a, b = context.applied(a, step), context.applied(b, step)
    a, b = context.operand(a, step, SUM_BITS), context.operand(b, step, SUM_BITS)
    frame = context.frame(a, step)
    if a.index.shape != b.index.shape or frame != context.frame(b, step):
        raise UnsupportedError(f"{step.where}: sum of {a.index.shape} and {b.index.shape}; equal shapes only")
    left, right = context.arranged(a, step), context.arranged(b, step)
    made = context.exprs.add(left, right, step.name)
    return context.fresh(made, a.index.shape, frame, step.proto.output[0], a.factor)


def _mul(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b = pair(step, operands)
    if isinstance(a, Const) and isinstance(b, Value):
        a, b = b, a
    if isinstance(a, Value) and isinstance(b, Const):
        return [_scaled(context, step, a, b, b.value)]
    raise UnsupportedError(
        f"{step.where}: product of two activations, element by element (a gate?); only products with constants. "
        "Nearest: Relu instead of SiLU, GELU or GLU"
    )


def _div(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    a, b = pair(step, operands)
    if isinstance(a, Value) and isinstance(b, Const) and np.all(b.value != 0):
        return [_scaled(context, step, a, b, 1.0 / b.value.astype(np.float64))]
    if isinstance(b, Const):
        raise UnsupportedError(
            f"{step.where}: divides by {b.name!r}, which holds zeros; only by numbers that are not 0"
        )
    raise UnsupportedError(
        f"{step.where}: divides by something that depends on the input; only constants (a LayerNorm written out over "
        "other axes than the last?): use nn.LayerNorm over the last axis, and torch.softmax"
    )


def _scaled(context: Context, step: Step, x: Value, const: Const, values: Array) -> Value:
    """A value times a constant: one positive number waits for whoever can take it, others become a product."""
    pending = affine_of_pending(context, step, x, values, 0)
    if pending is not None:
        return pending
    flat = np.unique(values.astype(np.float64))
    if flat.size == 1 and 0 < flat[0] < np.inf:
        shape = np.broadcast_shapes(x.index.shape, values.shape)
        if shape != x.index.shape:
            raise UnsupportedError(f"{step.where}: {x.index.shape} would be repeated to {shape}")
        return replace(x, factor=snapped(x.factor * float(flat[0])), tensor=step.proto.output[0])
    x = context.operand(x, step)
    if values is const.value or const.quantiser is None:
        codes, fmt = coded(context, step, replace(const, value=values), values, 1.0, "factor")
    else:
        raise UnsupportedError(
            f"{step.where}: divides by {values.size} quantised constants; multiply by their reciprocals"
        )
    return _elementwise(context, step, x, (codes, values.astype(np.float64), fmt), "Mul")


def relu(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """Relu; factors are positive and may wait behind it."""
    x = operands[0]
    if not isinstance(x, Value):
        raise UnsupportedError(f"{step.where}: of integers")
    x = context.operand(x, step, 62)
    return [replace(x, expr=context.exprs.relu(x.expr, step.name), tensor=step.proto.output[0])]


def _mean(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """ReduceMean and ReduceSum; a mean's 1/n waits for whoever can take it."""
    x, given = operands[0], operands[1] if len(operands) > 1 else None
    axes = given.value if isinstance(given, Const) else step.attributes.get("axes")
    if not isinstance(x, Value) or axes is None or np.size(axes) == 0:
        raise UnsupportedError(f"{step.where}: over all axes, or over ones that depend on the input; name them")
    x = context.operand(x, step)
    frame = context.frame(x, step)
    reduced = sorted(int(a) % x.index.ndim for a in np.ravel(axes))
    if frame.axis in reduced and context.batch * frame.rest != frame.rest:
        raise UnsupportedError(f"{step.where}: over the batch (axes {reduced})")
    gone = tuple(reduced)
    reduced = [a for a in reduced if not (a == frame.axis and frame.rest == 1)]
    offset = 0 if frame.rest != 1 else 1
    inner = tuple(a - offset if a > frame.axis else a for a in reduced)
    shape = frame.sample_shape(x.index.shape)
    count = prod(shape[a] for a in inner)
    made = context.arranged(x, step)
    made = context.exprs.sum(made, inner, step.name) if inner else made
    kept = tuple(1 if a in reduced else n for a, n in enumerate(x.index.shape))
    full = context.fresh(made, kept, _without(frame, reduced), step.proto.output[0])
    index = full.index if step.attributes.get("keepdims", 1) else full.index.squeeze(gone)
    factor = x.factor / count if step.op == "ReduceMean" else x.factor
    return [replace(full, index=index, factor=snapped(factor))]


def _without(frame: Frame, reduced: list[int]) -> Frame:
    return Frame(frame.axis, 1) if frame.axis in reduced else frame


HANDLERS: dict[str, Handler] = {
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Relu": relu,
    "ReduceMean": _mean,
    "ReduceSum": _mean,
}
