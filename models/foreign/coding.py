# SPDX-License-Identifier: Apache-2.0
"""Handlers of quantiser nodes: Quant, and QuantizeLinear, Clip, DequantizeLinear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.arithmetic import relu
from hls4attn.models.foreign.context import RAW, Context, Handler
from hls4attn.models.foreign.quantisers import Quantiser, better_format, checked, clipped, power_of_two, refuse_scale
from hls4attn.models.foreign.values import Coded, Const, Operand, Step, Value, short
from hls4attn.models.formats import Fixed

Array = NDArray[Any]

_TYPE = onnx.TensorProto
#: ONNX element type -> bits, signed.
_TYPES: dict[int, tuple[int, bool]] = {
    _TYPE.INT8: (8, True),
    _TYPE.UINT8: (8, False),
    _TYPE.INT16: (16, True),
    _TYPE.UINT16: (16, False),
    _TYPE.INT32: (32, True),
    _TYPE.INT4: (4, True),
    _TYPE.UINT4: (4, False),
}


def _parameter(step: Step, operands: list[Operand], place: int, what: str) -> Array:
    found = operands[place] if place < len(operands) else None
    if found is None:
        raise UnsupportedError(f"{step.where}: has no {what} (operand {place}); export the model again")
    if not isinstance(found, Const):
        raise UnsupportedError(
            f"{step.where}: its {what} depends on the input (dynamic quantisation); use static scales"
        )
    return np.asarray(found.value)


def _quant(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """A QONNX Quant node."""
    scale, zero_point, bits = (
        _parameter(step, operands, n, what) for n, what in ((1, "scale"), (2, "zero point"), (3, "bit width"))
    )
    if bits.size != 1:
        raise UnsupportedError(f"{step.where}: {bits.size} bit widths; one for the whole tensor")
    a = step.attributes
    quantiser = checked(
        step.where,
        scale.astype(np.float64),
        zero_point,
        float(bits.ravel()[0]),
        bool(a.get("signed", 1)),
        bool(a.get("narrow", 0)),
        str(a.get("rounding_mode", "ROUND")),
    )
    return [apply(context, step, operands[0], quantiser)]


def _quantize_linear(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """QuantizeLinear: nothing is final before its DequantizeLinear."""
    source = operands[0]
    if not isinstance(source, Value | Const):
        raise UnsupportedError(f"{step.where}: quantises integers")
    quantiser = _linear(step, operands)
    return [Coded(source, replace(quantiser, scale=_along(quantiser.scale, step, _axes(source))))]


def _clip(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """A Clip of codes makes fewer bits of them; one of real values is a Relu or nothing."""
    bounds = []
    for place, name, other in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = place < len(operands) and operands[place] is not None
        found = _parameter(step, operands, place, name) if given else np.asarray(step.attributes.get(name, other))
        bounds.append(float(found.ravel()[0]))
    x = operands[0]
    if isinstance(x, Coded):
        return [replace(x, quantiser=clipped(x.quantiser, *(b - x.quantiser.zero_point for b in bounds)))]
    if isinstance(x, Value) and bounds == [-np.inf, np.inf]:
        return [x]
    if isinstance(x, Value) and bounds == [0.0, np.inf]:
        return relu(context, step, [x])
    raise UnsupportedError(
        f"{step.where}: limits values to {bounds}; use Relu and a quantiser, whose range does the same (QuantReLU)"
    )


def _dequantize_linear(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    """DequantizeLinear: with what came before it, a quantiser; of integer constants, their values."""
    x = operands[0]
    if isinstance(x, Const):
        kind = onnx.helper.np_dtype_to_tensor_dtype(x.value.dtype)
        quantiser = _linear(step, operands, int(kind))
        scale = _along(quantiser.scale, step, x.value.ndim)
        quantiser = replace(quantiser, scale=scale)
        values = (x.value.astype(np.float64) - quantiser.zero_point) * scale
        return [Const(values, x.name, quantiser)]
    if not isinstance(x, Coded):
        raise UnsupportedError(f"{step.where}: no QuantizeLinear before it (or something between them)")
    scale, zero_point = _scale_and_zero_point(step, operands)
    scale = _along(scale, step, _axes(x.source))
    if np.any((0 if zero_point is None else zero_point) != x.quantiser.zero_point):
        raise UnsupportedError(
            f"{step.where}: dequantises with another zero point than {x.quantiser.zero_point}, with which it was "
            "quantised; both must be the same"
        )
    if not np.array_equal(scale, x.quantiser.scale):
        raise UnsupportedError(
            f"{step.where}: dequantises with the scale {scale.ravel()[:3]} (shape {scale.shape}) what was quantised "
            f"with {x.quantiser.scale.ravel()[:3]} (shape {x.quantiser.scale.shape}); both must be the same, along the "
            "same axis"
        )
    return [apply(context, step, x.source, x.quantiser)]


def _scale_and_zero_point(step: Step, operands: list[Operand]) -> tuple[Array, Array | None]:
    if step.attributes.get("block_size", 0):
        raise UnsupportedError(f"{step.where}: block quantisation (block_size); per tensor or per channel only")
    given = len(operands) > 2 and operands[2] is not None
    scale = _parameter(step, operands, 1, "scale").astype(np.float64)
    return scale, _parameter(step, operands, 2, "zero point") if given else None


def _linear(step: Step, operands: list[Operand], kind: int | None = None) -> Quantiser:
    """The quantiser of scale and zero point; the type is the zero point's, the codes', or uint8 by ONNX's default."""
    scale, zero_point = _scale_and_zero_point(step, operands)
    if zero_point is not None:
        kind = int(onnx.helper.np_dtype_to_tensor_dtype(zero_point.dtype))
    kind = kind or step.attributes.get("output_dtype", 0) or _TYPE.UINT8
    if kind not in _TYPES:
        raise UnsupportedError(f"{step.where}: codes of type {_TYPE.DataType.Name(kind)}; 4, 8, 16 or 32-bit integers")
    zeros = np.zeros(()) if zero_point is None else zero_point.astype(np.float64)
    bits, signed = _TYPES[kind]
    return checked(step.where, scale, zeros, bits, signed, False, "ROUND")


def _axes(x: Value | Const) -> int:
    return x.value.ndim if isinstance(x, Const) else x.index.ndim


def _along(scale: Array, step: Step, ndim: int) -> Array:
    """A vector of scales shaped to broadcast along the node's axis."""
    if scale.size == 1 or scale.ndim != 1:
        return scale.reshape(()) if scale.size == 1 else scale
    axis = step.attributes.get("axis", 1)
    if not -ndim <= axis < ndim:
        raise UnsupportedError(f"{step.where}: axis={axis} of {ndim} for {scale.size} scales; an axis of the tensor")
    shape = [1] * ndim
    shape[axis] = scale.size
    return scale.reshape(shape)


def apply(context: Context, step: Step, x: Operand, quantiser: Quantiser) -> Operand:
    """A quantiser on a constant or on a value."""
    if isinstance(x, Const):
        fitted = replace(quantiser, scale=np.asarray(np.broadcast_to(quantiser.scale, x.value.shape)))
        if quantiser.scale.size == 1:
            fitted = replace(quantiser, scale=quantiser.scale.reshape(()))
        return Const(fitted.codes(x.value) * fitted.scale, x.name, fitted)
    if not isinstance(x, Value):
        raise UnsupportedError(f"{step.where}: quantises integers")
    if x.causal:
        context.changed(
            step, "masked entries give no probability at all; in the file they have the smallest code", False
        )
        x = replace(x, leaks=True)
    n = power_of_two(quantiser.step)
    if n is None and context.exact:
        raise refuse_scale(step.where, quantiser.step)
    fmt = _rounded(context, step, x, quantiser) if n is None else quantiser.fixed(n)
    raw = x.expr.op in RAW
    if power_of_two(x.factor) is None and x.expr.op != "ReduceSum" and not (raw and context.exact):
        return _regridded(context, step, x, fmt, quantiser)
    return context.quantised(x, fmt, step.name, step)


def _rounded(context: Context, step: Step, x: Value, quantiser: Quantiser) -> Fixed:
    """The power-of-two format beside a quantiser's, with the smaller error on the data."""
    if x.expr.op == "Input":  # the random inputs cover the file's own range
        context.covers(quantiser.fixed(0), quantiser.step / x.factor)
    fmt = better_format(quantiser, context.values(x.tensor))
    context.changed(step, f"scale {quantiser.step:.6g} rounded to {fmt.step:g} = 2**{-fmt.frac}", False)
    return fmt


def _regridded(context: Context, step: Step, x: Value, fmt: Fixed, quantiser: Quantiser) -> Value:
    """Quantise before a factor that is no power of two, on the nearest grid; the factor stays for a softmax."""
    if context.exact:
        raise UnsupportedError(
            f"{step.where}: quantises {x.tensor!r} after the factor {x.factor:.6g} (1/sqrt(head_dim)?), which is no "
            "power of two. Put the quantiser before the division (then the softmax takes the factor exactly), use a "
            "head_dim that is a power of four, or import with --scales power-of-two"
        )
    if x.expr.op == "Input":
        context.covers(fmt, fmt.step / x.factor)
    values = context.values(x.tensor) / x.factor
    grid = better_format(replace(quantiser, scale=np.asarray(fmt.step / x.factor)), values)
    inner = context.quantised(replace(x, factor=1.0), grid, step.name, step)
    context.changed(step, f"quantised before the factor {x.factor:.6g}, {short(inner.expr.format)}", False)
    inner = replace(inner, factor=x.factor)
    # Between the input and its first bias there is no softmax that could take the factor.
    return context.quantised(inner, fmt, step.name, step) if x.expr.op == "Input" else inner


HANDLERS: dict[str, Handler] = {
    "Quant": _quant,
    "QuantizeLinear": _quantize_linear,
    "Clip": _clip,
    "DequantizeLinear": _dequantize_linear,
}
