# SPDX-License-Identifier: Apache-2.0
"""LayerNormalization of a file -> the chosen norm operator, its affine parameters as integers."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import FormatError, InputError, SpecError, UnsupportedError
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.values import Const, Operand, Step, Value, short
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, IntegerLayerNormSpec, NormSpec
from hls4attn.models.operators.ptf import calibrate_ptf
from hls4attn.models.quantise.calibration import visible_epsilon

Array = NDArray[Any]

_BITS = {"layernorm": 16, "ailayernorm": 24}


def _layer_norm(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x, *parameters = operands
    if not isinstance(x, Value) or any(isinstance(p, Value) for p in parameters):
        raise UnsupportedError(f"{step.where}: scale or bias depend on the input")
    axis = step.attributes.get("axis", -1)
    if axis not in (-1, x.index.ndim - 1):
        raise UnsupportedError(
            f"{step.where}: axis={axis} of a tensor with {x.index.ndim} axes, that is over several; only over the last "
            "one: nn.LayerNorm(channels)"
        )
    x = context.operand(x, step, _BITS[context.choices.layernorm])
    frame = context.frame(x, step)
    sample = frame.sample_shape(x.index.shape)
    channels = sample[-1] if frame.axis != x.index.ndim - 1 else 0
    gamma, beta = np.ones(channels), np.zeros(channels)
    for place, (parameter, target) in enumerate(zip(parameters, (gamma, beta), strict=False)):
        if isinstance(parameter, Const):
            if parameter.value.size not in (1, channels):
                name = ("scale", "bias")[place]
                raise UnsupportedError(f"{step.where}: {name} of shape {parameter.value.shape} for {channels} channels")
            target[:] = parameter.value.ravel()
    rows = context.arranged(x, step, (prod(sample[:-1]), channels))
    epsilon = float(step.attributes.get("epsilon", 1e-5))
    if not 0 <= epsilon < np.inf:
        raise UnsupportedError(f"{step.where}: epsilon {epsilon}; it must be a small positive number, such as 1e-5")
    _tell_epsilon(context, step, x, epsilon)
    made = _pending(context, step, rows, x, (gamma, beta, epsilon / x.factor**2))
    return [context.fresh(made, x.index.shape, frame, step.proto.output[0])]


def _tell_epsilon(context: Context, step: Step, x: Value, epsilon: float) -> None:
    smallest = visible_epsilon(context.values(x.tensor), epsilon)
    if smallest is not None:
        share = f"{epsilon / smallest:.0%}" if smallest else "all"
        context.changed(
            step,
            f"epsilon {epsilon:g} left out, though it is {share} of the smallest variance ({smallest:.3g}) of the "
            "inputs compared; integer norms have none",
            False,
        )


def _pending(context: Context, step: Step, rows: Expr, x: Value, affine: tuple[Array, Array, float]) -> Expr:
    """The normalisation, once its output format is known."""
    gamma, beta, epsilon = affine

    def real(values: Array) -> Array:
        centred = values - values.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon)
        return np.asarray(centred / scale * gamma + beta)

    def resolve(fmt: Fixed) -> Expr:
        try:
            spec = _spec(context, rows, x, fmt, gamma, beta)
        except (SpecError, FormatError, InputError) as error:
            raise UnsupportedError(f"{step.where}: {error}") from error
        became = (
            f"{spec.op_type}; input {short(rows.format)}, gamma {getattr(spec, 'gamma_bits', 8)} bits; {short(fmt)}"
        )
        context.changed(step, became, False)
        return context.exprs.norm(rows, spec, step.name)

    return context.exprs.pending(rows.shape, step.name, (rows,), resolve, real, norm=(rows, x, affine))


def _spec(context: Context, rows: Expr, x: Value, fmt: Fixed, gamma: Array, beta: Array) -> NormSpec:
    vectors = tuple(map(float, gamma)), tuple(map(float, beta))
    if context.choices.layernorm == "layernorm":
        return IntegerLayerNormSpec(rows.format, fmt, *vectors)
    found = calibrate_ptf(context.values(x.tensor) / x.factor, rows.format)
    return AILayerNormSpec(
        rows.format,
        fmt,
        *vectors,
        found.alpha,
        zero_point=found.zero_point,
        multiplier=found.multiplier,
        shift=found.shift,
    )


def affine_of_pending(context: Context, step: Step, x: Value, values: Array, sign: int) -> Value | None:
    """A Mul (sign 0) or Add of a constant a channel right behind a normalisation: its gamma or beta. Else None."""
    if x.expr.op != "Pending" or "norm" not in x.expr.details or x.factor != 1.0:
        return None
    rows, source, (gamma, beta, epsilon) = x.expr.details["norm"]
    channels = len(gamma)
    wide = np.broadcast_shapes(values.shape, x.index.shape)
    per_channel = values.size in (1, channels) and (values.size == 1 or values.shape[-1] == channels)
    in_place = x.index.shape[-1] == channels and bool(np.all(x.index % channels == np.arange(channels)))
    if wide != x.index.shape or not per_channel or not in_place:
        return None
    flat = np.broadcast_to(values.ravel(), channels).astype(np.float64)
    affine = (gamma * flat, beta * flat, epsilon) if sign == 0 else (gamma, beta + sign * flat, epsilon)
    context.changed(step, f"{'gamma' if sign == 0 else 'beta'} of {x.expr.name}", False)
    named = replace(step, proto=_named(step, x.expr.name))
    return replace(x, expr=_pending(context, named, rows, source, affine), tensor=step.proto.output[0])


def _named(step: Step, name: str) -> Any:
    proto = type(step.proto)()
    proto.CopyFrom(step.proto)
    proto.name, proto.op_type = name, "LayerNormalization"
    return proto


def _batch_norm(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    raise UnsupportedError(
        f"{step.where}: normalises over axis 1 with float constants; fold it into the Linear before it "
        "(brevitas.nn.utils.merge_bn, torch.nn.utils.fusion.fuse_linear_bn_eval), or use nn.LayerNorm"
    )


HANDLERS: dict[str, Handler] = {"LayerNormalization": _layer_norm, "BatchNormalization": _batch_norm}
