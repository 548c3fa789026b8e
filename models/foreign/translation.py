# SPDX-License-Identifier: Apache-2.0
"""The translation checked against the file, node by node, in real arithmetic.

Every node's translation is computed from the numbers that the file itself has before that node: so nothing adds up, and
what remains is float32's rounding.  Constants are the file's own and formats that the import chose do not round, so
that the same holds where scales are rounded; what that costs is measured at the end, as the distance.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import MismatchError
from hls4attn.models.export.graph import Constant
from hls4attn.models.foreign.context import Context
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.values import Step, Value
from hls4attn.models.formats import Fixed
from hls4attn.models.operators.base import causal_mask

Array = NDArray[Any]

#: Share of a tensor's largest value by which an element may be off: float32 sums and exponentials.
FLOAT_TOLERANCE = 1e-4
#: Quantisers of the same step: steps that the elements may be off on average, for ties after float32's rounding.
TIES = 0.01
#: Quantisers whose step was rounded to a power of two: steps that an element may be off within the limits of both
#: formats, for half a step of each; the file's is at most twice as long.
OTHER_GRID = 1.6
#: Probabilities of masked scores that the file quantises: it leaves a little there, the score operator nothing.
LEAK = 0.02
#: Samples that it is done on.
SAMPLES = 16
QUANTISERS = ("Quant", "DequantizeLinear")


def check_translation(context: Context) -> int:
    """Compare every step's result, computed with the real functions, with the file's own.

    Returns:
        How many tensors were compared.

    Raises:
        MismatchError: naming the first node whose translation computes something else.
    """
    inputs = compared_inputs(context)
    found = context.original.run(inputs, [value.tensor for _, value in context.trace])
    real = _Real(context, inputs)
    for step, value in context.trace:
        real.check(step, value, found[value.tensor].reshape(-1, *value.index.shape).astype(np.float64))
    return len(context.trace)


def compared_inputs(context: Context) -> Array:
    """The first samples of the calibration data or of the random inputs, in whole batches."""
    count = -(-min(SAMPLES, len(context.inputs)) // context.batch) * context.batch
    return context.inputs[:count]


def of_value(value: Value, flat: Array, batch: int) -> Array:
    """The ONNX tensor, batches first, of its expression's numbers, samples first."""
    rows = flat.reshape(-1, batch * prod(value.expr.shape))
    return np.asarray(rows[:, value.index.ravel()].reshape(-1, *value.index.shape) * value.factor)


class _Real:
    """Expressions in real arithmetic, softmax and norms as the float functions."""

    def __init__(self, context: Context, inputs: Array) -> None:
        self.context, self.inputs = context, np.asarray(inputs, dtype=np.float64)
        self._done: dict[int, Array] = {}
        self._step: Step

    def check(self, step: Step, value: Value, wanted: Array) -> None:
        """Compare one result, and go on with the file's."""
        self._step = step
        got = of_value(value, self.expr(value.expr), self.context.batch)
        seen = np.broadcast_to(causal_mask(*wanted.shape[-2:]) if value.causal else True, wanted.shape)
        what = f"tensor {value.tensor!r}"
        if step.op in QUANTISERS and not isinstance(value.expr.tensor, Constant):
            self._same_codes(got[seen], wanted[seen], value.expr.format, value.factor, what)
        elif "leak" in value.expr.details:
            self._compare(np.abs(got - wanted).mean() <= LEAK * np.abs(wanted).max(), got, wanted, what)
        else:
            self._same_reals(got[seen], wanted[seen], what)
        if not value.causal:
            self._take(value, wanted)

    def _take(self, value: Value, wanted: Array) -> None:
        """The file's numbers for those elements of an expression that a tensor has."""
        flat = self._done[id(value.expr)].reshape(len(wanted), -1).copy()
        flat[:, value.index.ravel()] = wanted.reshape(len(wanted), -1) / value.factor
        self._done[id(value.expr)] = flat.reshape(-1, *value.expr.shape)

    def _same_reals(self, got: Array, wanted: Array, what: str) -> None:
        largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
        self._compare(np.all(np.abs(got - wanted) <= FLOAT_TOLERANCE * largest + 1e-12), got, wanted, what)

    def _same_codes(self, got: Array, wanted: Array, fmt: Fixed, factor: float, what: str) -> None:
        step = fmt.step * factor
        if self.context.exact and not self.context.calibrated:
            off = np.abs(got - wanted) / step
            self._compare(off.mean() <= TIES and off.max(initial=0.0) <= 1.001, got, wanted, what)
            return
        low, high = max(wanted.min(), fmt.min * step), min(wanted.max(), fmt.max * step)
        ours, theirs = (np.clip(a, low, high) for a in (got, wanted))
        self._compare(np.all(np.abs(ours - theirs) <= OTHER_GRID * step), got, wanted, what)

    def _compare(self, same: Any, got: Array, wanted: Array, what: str) -> None:
        if not same:
            off = np.abs(got - wanted)
            raise MismatchError(
                f"{self._step.where}: its translation gives other numbers than the file ({what}: {off.max():.4g} off, "
                f"{off.mean():.4g} on average, largest value {np.abs(wanted).max():.4g}); this is a defect of the "
                "importer for this pattern. Nothing was written"
            )

    def expr(self, root: Expr) -> Array:
        """An expression, samples first."""
        stack = [root]
        while stack:
            x = stack[-1]
            needed = x.inputs if x.stands_for is None else (*x.inputs, x.stands_for[0])
            missing = [i for i in needed if id(i) not in self._done]
            if id(x) not in self._done and missing:
                stack += missing
                continue
            if id(x) not in self._done:
                self._done[id(x)] = self._compute(x)
            stack.pop()
        return self._done[id(root)]

    def _compute(self, x: Expr) -> Array:
        if isinstance(x.tensor, Constant):
            return np.asarray(x.format.to_real(x.tensor.codes) if x.given is None else x.given)
        if x.op == "Input":
            return self.inputs
        values = [self._done[id(i)] for i in x.inputs]
        if x.stands_for is None:
            return np.asarray(_FUNCTIONS[x.op](x, *values))
        origin, columns = x.stands_for
        wanted = self._done[id(origin)]
        if columns is not None:
            return self._narrowed(x, values, wanted[..., list(columns)])
        if x.op == "Score":
            self._same_reals(x.details["spec"].real(values[0]), wanted, f"operator {x.name}")
        return _rounded(x, wanted)

    def _narrowed(self, x: Expr, values: list[Array], wanted: Array) -> Array:
        got = _FUNCTIONS[x.op](x, *values)
        if x.op == "Quant":
            self._same_codes(got, wanted, x.format, 1.0, f"columns {x.name}")
        else:
            self._same_reals(got, wanted, f"columns {x.name}")
        return wanted


def _rounded(x: Expr, values: Array) -> Array:
    fmt: Fixed = x.format
    return values if x.chosen else np.asarray(fmt.to_real(fmt.quantise(values)))


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Pending": lambda x, *a: x.real(*a),
    "Source": _rounded,
    "Quant": _rounded,
    "MatMul": lambda x, a, b: np.matmul(a, b),
    "Add": lambda x, a, b: a + b,
    "Mul": lambda x, a, b: a * b,
    "Relu": lambda x, a: np.maximum(a, 0),
    "Reshape": lambda x, a: a.reshape(len(a), *x.shape),
    "Transpose": lambda x, a: a.transpose(0, *(p + 1 for p in x.details["permutation"])),
    "ReduceSum": lambda x, a: a.sum(axis=tuple(n + 1 for n in x.details["axes"])),
}
