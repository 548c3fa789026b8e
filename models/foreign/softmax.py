# SPDX-License-Identifier: Apache-2.0
"""Softmax of a file -> the chosen score operator, with formats from the quantisers before and behind it."""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from hls4attn.models.errors import FormatError, SpecError, UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.values import Operand, Step, Value, short
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec, ScoreSpec, SoftmaxSpec
from hls4attn.models.operators.base import float_softmax
from hls4attn.models.operators.e2core import ONLINE_SLICE

SCORE_BITS = 12


def _softmax(context: Context, step: Step, operands: list[Operand]) -> list[Operand]:
    x = operands[0]
    if not isinstance(x, Value):
        raise UnsupportedError(f"{step.where}: of integers; dequantise first")
    axis = step.attributes.get("axis", -1)
    if axis not in (-1, x.index.ndim - 1):
        raise UnsupportedError(
            f"{step.where}: axis={axis} of {x.index.ndim}; the last one (-1) is supported: transpose before it"
        )
    x = context.operand(x, step, SCORE_BITS)
    frame = context.frame(x, step)
    sample = frame.sample_shape(x.index.shape)
    if x.index.ndim < 3 or len(sample) < 2:
        raise UnsupportedError(
            f"{step.where}: of shape {x.index.shape}, no attention scores (batch, heads, rows, columns). A softmax "
            "behind the classifier: leave it out, the largest output stays the largest"
        )
    rows, cols = sample[-2:]
    if not x.expr.format.signed:
        raise UnsupportedError(f"{step.where}: takes signed scores. Received: {x.expr.format}; use a signed quantiser")
    scores = context.arranged(x, step, (prod(sample[:-2]), rows, cols))
    if x.causal and rows != cols:
        raise UnsupportedError(f"{step.where}: a causal mask of {rows} rows and {cols} columns")

    def resolve(fmt: Fixed) -> Expr:
        try:
            return _operator(context, step, scores, x.factor, x.causal, fmt)
        except (SpecError, FormatError) as error:
            raise UnsupportedError(f"{step.where}: {error}") from error

    def real(values: Any) -> Any:
        return float_softmax(np.asarray(values) * x.factor, x.causal)

    leak = {"leak": True} if x.leaks else {}
    pending = context.exprs.pending(scores.shape, step.name, (scores,), resolve, real, False, **leak)
    return [context.fresh(pending, x.index.shape, frame, step.proto.output[0])]


def _operator(context: Context, step: Step, scores: Expr, factor: float, causal: bool, fmt: Fixed) -> Expr:
    heads, _, cols = scores.shape
    scale = (factor,) * heads
    choice = context.choices.softmax
    width = fmt.width - fmt.signed  # no probability is negative
    common: dict[str, Any] = {"max_length": cols, "causal": causal}
    e2: dict[str, Any] = {"log2e": "shift" if math.frexp(factor)[0] == 0.5 else "folded"}
    described = f"scores {short(scores.format)}, scale {factor:.6g}"
    if choice == "e2softmax-shift":
        context.changed(step, f"E2Context, with the product that follows; {described}", False)
        details = {"common": common | e2, "scale": scale}
        return Expr("Probabilities", step.name, (scores,), Tensor(step.name, scores.shape, fmt), details)
    spec: ScoreSpec
    if choice == "softmax":
        spec = SoftmaxSpec(scores.format, scale, width, fmt.frac, **common)
    else:
        sliced = ONLINE_SLICE if choice == "e2softmax-online" else 0
        spec = E2SoftmaxSpec(
            scores.format, scale, out_width=width, out_frac=fmt.frac, slice_length=sliced, **common, **e2
        )
    context.changed(step, f"{spec.op_type}{' causal' if causal else ''}; {described}; {short(spec.out_format)}", False)
    return context.exprs.score(scores, spec, step.name)


def shift_product(context: Context, step: Step, left: Expr, right: Expr) -> Expr | None:
    """The product of probabilities and values as one operator, if the shift form was chosen."""
    if left.op != "Probabilities":
        return None
    scores = left.inputs[0]

    def resolve(fmt: Fixed) -> Expr:
        try:
            details = left.details
            spec = E2ContextSpec(
                scores.format, details["scale"], **details["common"], v_format=right.format, out_format=fmt
            )
        except (SpecError, FormatError) as error:
            raise UnsupportedError(f"{step.where}: {error}") from error
        context.changed(step, f"part of E2Context of {left.name}, which does not round probabilities", False)
        return context.exprs.context(scores, right, spec, left.name)

    shape = (*scores.shape[:-1], right.shape[-1])
    return context.exprs.pending(shape, step.name, (left, right), resolve, np.matmul, right.format.min < 0)


HANDLERS: dict[str, Handler] = {"Softmax": _softmax}
