# SPDX-License-Identifier: Apache-2.0
"""Shapes and exact formats of results: accumulator widths are derived from the operands, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Constant, Node, Tensor
from hls4attn.models.formats import (
    Codes,
    Fixed,
    covering,
    exact_product_format,
    exact_sum_format,
    shift_round,
)
from hls4attn.models.operators import E2ContextSpec, ScoreSpec

Shape = tuple[int, ...]


def infer(node: Node, operands: list[Tensor], target: Tensor | None = None) -> Tensor:
    """Shape and format of a node's result.

    Args:
        node: the node.
        operands: its inputs.
        target: for Quant the wanted format, for Reshape the wanted shape.

    Raises:
        UnsupportedError: if the operands do not fit together.
    """
    if node.op in ("Quant", "Reshape"):
        return _retyped(node, operands[0], target)
    return _RULES[node.op](node, *operands)


def _retyped(node: Node, x: Tensor, target: Tensor | None) -> Tensor:
    if target is None:
        raise UnsupportedError(f"{node.name}: {node.op} without a target")
    if node.op == "Quant":
        return Tensor(node.output, x.shape, target.format)
    if prod(target.shape) != prod(x.shape):
        raise UnsupportedError(f"{node.name}: cannot reshape {x.shape} to {target.shape}")
    return Tensor(node.output, target.shape, x.format)


def _matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    if isinstance(a, Constant):
        raise UnsupportedError(
            f"{node.name}: a constant left operand of MatMul is not supported; transpose the product"
        )
    if len(a.shape) < 1 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise UnsupportedError(f"{node.name}: MatMul of shapes {a.shape} and {b.shape} does not fit")
    if isinstance(b, Constant):
        if len(b.shape) != 2:
            raise UnsupportedError(f"{node.name}: constant MatMul operand must have rank 2. Received: {b.shape}")
        low, high = dense_bounds(a.format, b.codes)
        fmt = covering(int(low.min()), int(high.max()), a.format.frac + b.format.frac)
        return Tensor(node.output, (*a.shape[:-1], b.shape[-1]), fmt)
    if a.shape[:-2] != b.shape[:-2] or len(a.shape) < 2:
        raise UnsupportedError(f"{node.name}: MatMul of shapes {a.shape} and {b.shape}: leading axes must be equal")
    fmt = exact_sum_format(a.shape[-1], exact_product_format(a.format, b.format))
    return Tensor(node.output, (*a.shape[:-1], b.shape[-1]), fmt)


def dense_bounds(x: Fixed, weights: Codes) -> tuple[Codes, Codes]:
    """Smallest and largest sum of products for each output channel.

    Zero is a code of every format, so each term's bounds enclose zero and the two sums also bound every partial
    sum, whatever the order of summation.
    """
    at_min, at_max = weights * x.min, weights * x.max
    return np.minimum(at_min, at_max).sum(axis=0), np.maximum(at_min, at_max).sum(axis=0)


def _broadcast(node: Node, a: Tensor, b: Tensor) -> Shape:
    try:
        shape: Shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError as error:
        raise UnsupportedError(f"{node.name}: shapes {a.shape} and {b.shape} do not broadcast") from error
    for t in (a, b):
        if not isinstance(t, Constant) and t.shape != shape:
            raise UnsupportedError(f"{node.name}: {t.name} of shape {t.shape} would be broadcast to {shape}")
    return shape


def _range(t: Tensor) -> tuple[Codes, Codes]:
    if isinstance(t, Constant):
        return t.codes, t.codes
    return np.int64(t.format.min), np.int64(t.format.max)  # type: ignore[return-value]  # scalars broadcast alike


def _add(node: Node, a: Tensor, b: Tensor) -> Tensor:
    shape = _broadcast(node, a, b)
    frac = max(a.format.frac, b.format.frac)
    (a_low, a_high), (b_low, b_high) = ([shift_round(v, t.format.frac - frac) for v in _range(t)] for t in (a, b))
    return Tensor(node.output, shape, covering(int(np.min(a_low + b_low)), int(np.max(a_high + b_high)), frac))


def _mul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    shape = _broadcast(node, a, b)
    corners = [np.multiply(x, y) for x in _range(a) for y in _range(b)]
    low, high = min(int(c.min()) for c in corners), max(int(c.max()) for c in corners)
    return Tensor(node.output, shape, covering(min(low, 0), high, a.format.frac + b.format.frac))


def _relu(node: Node, x: Tensor) -> Tensor:
    return Tensor(node.output, x.shape, covering(0, max(x.format.max, 1), x.format.frac))


def _transpose(node: Node, x: Tensor) -> Tensor:
    if sorted(node.permutation) != list(range(len(x.shape))):
        raise UnsupportedError(f"{node.name}: permutation {node.permutation} does not fit shape {x.shape}")
    return Tensor(node.output, tuple(x.shape[p] for p in node.permutation), x.format)


def _reduce_sum(node: Node, x: Tensor) -> Tensor:
    if not node.axes or any(not 0 <= a < len(x.shape) for a in node.axes):
        raise UnsupportedError(f"{node.name}: axes {node.axes} do not fit shape {x.shape}")
    kept = tuple(n for axis, n in enumerate(x.shape) if axis not in node.axes)
    return Tensor(node.output, kept, exact_sum_format(prod(x.shape[a] for a in node.axes), x.format))


def _score(node: Node, x: Tensor) -> Tensor:
    spec = node.spec
    if spec is None:
        raise UnsupportedError(f"{node.name}: a score node without a spec")
    if len(x.shape) != 3 or x.shape[0] != spec.heads:
        raise UnsupportedError(
            f"{node.name}: {spec.op_type} takes (heads={spec.heads}, rows, cols). Received: {x.shape}"
        )
    _check_grid(node, spec.op_type, "scores", x, spec.in_format)
    _check_length(node, spec, x.shape[-1])
    return Tensor(node.output, x.shape, spec.out_format)


def _check_length(node: Node, spec: ScoreSpec | E2ContextSpec, cols: int) -> None:
    """Refuse rows longer than the operator's adders are made for."""
    longest = getattr(spec, "max_length", cols)
    if cols > longest:
        raise UnsupportedError(
            f"{node.name}: {spec.op_type} takes rows of at most max_length={longest}. Received: {cols}"
        )


def _check_grid(node: Node, op_type: str, what: str, x: Tensor, wanted: Fixed) -> None:
    """Refuse codes of another width, step or signedness than an operator was made for."""
    if (x.format.width, x.format.frac, x.format.signed) != (wanted.width, wanted.frac, wanted.signed):
        raise UnsupportedError(f"{node.name}: {op_type} takes {what} in {wanted}. Received: {x.format}")


def _context(node: Node, x: Tensor, v: Tensor) -> Tensor:
    spec = node.context
    if spec is None:
        raise UnsupportedError(f"{node.name}: a context node without a spec")
    if isinstance(x, Constant) or isinstance(v, Constant):
        raise UnsupportedError(f"{node.name}: {spec.op_type} takes computed scores and values, not constants")
    heads, cols = x.shape[0], x.shape[-1]
    if len(x.shape) != 3 or heads != spec.heads or len(v.shape) != 3 or v.shape[:2] != (heads, cols):
        raise UnsupportedError(
            f"{node.name}: {spec.op_type} takes (heads={spec.heads}, rows, cols) and (heads, cols, head_dim). "
            f"Received: {x.shape} and {v.shape}"
        )
    _check_grid(node, spec.op_type, "scores", x, spec.in_format)
    _check_grid(node, spec.op_type, "values", v, spec.v_format)
    _check_length(node, spec, cols)
    return Tensor(node.output, (*x.shape[:-1], v.shape[-1]), spec.out_format)


def _norm(node: Node, x: Tensor) -> Tensor:
    spec = node.norm
    if spec is None:
        raise UnsupportedError(f"{node.name}: a normalisation node without a spec")
    if len(x.shape) != 2 or x.shape[-1] != spec.channels:
        raise UnsupportedError(
            f"{node.name}: {spec.op_type} takes (rows, channels={spec.channels}). Received: {x.shape}"
        )
    _check_grid(node, spec.op_type, "codes", x, spec.in_format)
    return Tensor(node.output, x.shape, spec.out_format)


def _cells(node: Node, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    spec = node.cells
    if spec is None:
        raise UnsupportedError(f"{node.name}: a gain-cell node without a spec")
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{node.name}: {spec.op_type} with noise or spread has no exact integer meaning")
    if any(isinstance(t, Constant) for t in (q, k, v)):
        raise UnsupportedError(f"{node.name}: {spec.op_type} takes computed q, k and v, not constants")
    shape = q.shape
    if len(shape) != 3 or (shape[0], shape[2]) != (spec.heads, spec.head_dim) or not shape == k.shape == v.shape:
        raise UnsupportedError(
            f"{node.name}: {spec.op_type} takes q, k and v of shape (heads={spec.heads}, tokens, "
            f"head_dim={spec.head_dim}). Received: {q.shape}, {k.shape} and {v.shape}"
        )
    for what, tensor, wanted in zip(("queries", "keys", "values"), (q, k, v), spec.in_formats, strict=True):
        _check_grid(node, spec.op_type, what, tensor, wanted)
    return Tensor(node.output, shape, spec.out_format)


_RULES: dict[str, Callable[..., Tensor]] = {
    "MatMul": _matmul,
    "Add": _add,
    "Mul": _mul,
    "Relu": _relu,
    "Transpose": _transpose,
    "ReduceSum": _reduce_sum,
    "Score": _score,
    "Context": _context,
    "Norm": _norm,
    "Cells": _cells,
}
