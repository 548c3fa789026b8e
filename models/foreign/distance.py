# SPDX-License-Identifier: Apache-2.0
"""The integer model against the file: equal where only sums and products are, and the distance at the output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from hls4attn.models.errors import MismatchError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign.choices import Distance
from hls4attn.models.foreign.context import Context
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.quantisers import power_of_two
from hls4attn.models.foreign.translation import QUANTISERS, compared_inputs, of_value

#: Sums of so many bits are exact in the file's float32, whatever their order.
_FLOAT_BITS = 24
_LINEAR = ("Source", "Quant", "MatMul", "Add", "Mul", "Relu", "Reshape", "Transpose", "ReduceSum", "Constant", "Input")


def check_linear_part(context: Context, model: onnx.ModelProto, names: Mapping[int, str]) -> int:
    """Compare quantised tensors before the first softmax or normalisation, bit by bit.

    Args:
        context: of the import.
        model: the integer model.
        names: of the tensors in it, by the identity of their expressions.

    Returns:
        How many tensors are equal to the file's; none are compared where formats were rounded or chosen.

    Raises:
        MismatchError: naming the first node whose tensor differs.
    """
    if not context.exact or context.calibrated:
        return 0
    linear = {}
    for step, value in context.trace:
        if power_of_two(value.factor) is None:
            break  # the file rounds its product in float32
        if value.causal:
            continue
        if step.op in QUANTISERS and id(value.expr) in names and _is_linear(value.expr):
            linear[value.tensor] = step, value
    inputs = compared_inputs(context)
    found = context.original.run(inputs, list(linear))
    graph = read_graph(model)
    ours = Reference(graph).trace(quantise_input(graph, inputs))
    for tensor, (step, value) in linear.items():
        got = of_value(value, value.expr.format.to_real(ours[names[id(value.expr)]]), context.batch)
        wrong = int(np.count_nonzero(got != found[tensor].reshape(got.shape)))
        if wrong:
            raise MismatchError(
                f"{step.where}: {wrong} of {got.size} codes of the integer model differ from the file's (tensor "
                f"{tensor!r}), though only sums and products come before it; this is a defect of the importer. "
                "Nothing was written"
            )
    return len(linear)


def _is_linear(root: Expr) -> bool:
    """Whether integers and float32 give the same numbers for an expression."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        x = stack.pop()
        if x.op not in _LINEAR or (x.op != "Input" and x.format.width > _FLOAT_BITS):
            return False
        stack += [i for i in x.inputs if id(i) not in seen]
        seen.update(id(i) for i in x.inputs)
    return True


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
