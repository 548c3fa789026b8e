# SPDX-License-Identifier: Apache-2.0
"""The translation checked against the file: same numbers wherever only the float functions differ, and the distance."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hls4attn.models.errors import MismatchError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.graph import Constant
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign.choices import Distance
from hls4attn.models.foreign.context import Context
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.softmax import float_softmax
from hls4attn.models.foreign.values import Value
from hls4attn.models.formats import Fixed

Array = NDArray[Any]

#: A tensor may differ from the file's by that share of its largest value, on average: a few values lie on a tie of a
#: quantiser and fall to the other side when sums are rounded otherwise.
TOLERANCE = 0.02
#: The same where formats were chosen here: their steps and ranges are others than the file's.
LOOSE_TOLERANCE = 0.3
#: Samples that it is done on.
SAMPLES = 16


def check_translation(context: Context) -> int:
    """Compare every step's result, computed with the real functions, with the file's own.

    Returns:
        How many tensors were compared.

    Raises:
        MismatchError: naming the first node whose translation computes something else.
    """
    count = -(-min(SAMPLES, len(context.inputs)) // context.batch) * context.batch
    inputs = context.inputs[:count]
    steps = [(step, value) for step, value in context.trace if not value.causal]
    found = context.original.run(inputs, [value.tensor for _, value in steps])
    real = _Real(inputs, context.batch)
    tolerance = TOLERANCE if context.exact and not context.calibrated else LOOSE_TOLERANCE
    for step, value in steps:
        wanted = found[value.tensor].reshape(-1, *value.index.shape)
        got = real.value(value)
        largest = float(np.abs(wanted).max(initial=0.0))
        mean = float(np.abs(got - wanted).mean())
        if not mean <= tolerance * largest + 1e-6:
            raise MismatchError(
                f"{step.where}: its translation gives other numbers than the file (tensor {value.tensor!r}: mean "
                f"difference {mean:.4g}, largest value {largest:.4g}); this is a defect of the importer for this "
                "pattern. Nothing was written"
            )
    return len(steps)


class _Real:
    """Expressions in real arithmetic: quantisers as they are, softmax and norms as the float functions."""

    def __init__(self, inputs: Array, batch: int) -> None:
        self.inputs, self.batch = np.asarray(inputs, dtype=np.float64), batch
        self._done: dict[int, Array] = {}

    def value(self, value: Value) -> Array:
        """The ONNX tensor, batches first."""
        size = prod(value.expr.shape)
        flat = self.expr(value.expr).reshape(-1, self.batch * size)
        return np.asarray(flat[:, value.index.ravel()].reshape(-1, *value.index.shape) * value.factor)

    def expr(self, root: Expr) -> Array:
        """An expression, samples first."""
        stack = [root]
        while stack:
            x = stack[-1]
            missing = [i for i in x.inputs if id(i) not in self._done]
            if id(x) not in self._done and missing:
                stack += missing
                continue
            if id(x) not in self._done:
                self._done[id(x)] = self._compute(x)
            stack.pop()
        return self._done[id(root)]

    def _compute(self, x: Expr) -> Array:
        if isinstance(x.tensor, Constant):
            return np.asarray(x.format.to_real(x.tensor.codes))
        if x.op == "Input":
            return self.inputs
        values = [self._done[id(i)] for i in x.inputs]
        return np.asarray(_FUNCTIONS.get(x.op, _float_function)(x, *values))


def _rounded(values: Array, fmt: Fixed) -> Array:
    return np.asarray(fmt.to_real(fmt.quantise(values)))


def _float_function(x: Expr, *values: Array) -> Array:
    """Of a Norm or Context, quantised; or of anything that is not quantised yet."""
    return _rounded(x.real(*values), x.format) if x.real is not None else np.asarray(x.details["real"](*values))


def _probabilities(x: Expr, scores: Array) -> Array:
    return _rounded(float_softmax(scores, x.details["scale"][0], x.details["common"]["causal"]), x.format)


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Source": lambda x, a: _rounded(a, x.format),
    "Quant": lambda x, a: _rounded(a, x.format),
    "MatMul": lambda x, a, b: np.matmul(a, b),
    "Add": lambda x, a, b: a + b,
    "Mul": lambda x, a, b: a * b,
    "Relu": lambda x, a: np.maximum(a, 0),
    "Reshape": lambda x, a: a.reshape(len(a), *x.shape),
    "Transpose": lambda x, a: a.transpose(0, *(p + 1 for p in x.details["permutation"])),
    "ReduceSum": lambda x, a: a.sum(axis=tuple(n + 1 for n in x.details["axes"])),
    "Score": lambda x, a: _rounded(x.details["spec"].real(a), x.format),
    "Probabilities": _probabilities,
}


def measured(context: Context, model: onnx.ModelProto) -> Distance:
    """The integer model against the file on the import's inputs."""
    graph = read_graph(model)
    count = len(context.choices.calibration) if context.choices.calibration is not None else context.choices.samples
    inputs = context.inputs
    got = graph.output.format.to_real(Reference(graph).run(quantise_input(graph, inputs)))
    wanted = context.original.run(inputs)[context.original.output].reshape(got.shape)[:count].astype(np.float64)
    got = got[:count]
    difference = np.abs(got - wanted)
    same = (got.argmax(axis=-1) == wanted.argmax(axis=-1)).mean()
    kind = "calibration inputs" if context.calibrated else "random inputs"
    return Distance(
        samples=count,
        inputs=kind,
        largest=float(difference.max()),
        mean=float(difference.mean()),
        step=graph.output.format.step,
        agreement=float(same),
        equal=float((got == wanted.astype(np.float32)).mean()),
    )
