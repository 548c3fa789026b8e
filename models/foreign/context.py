# SPDX-License-Identifier: Apache-2.0
"""What every step of an import shares: values on their way, choices, changes, calibration data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.export.reader import exact_format
from hls4attn.models.foreign.choices import Change, ImportChoices
from hls4attn.models.foreign.exprs import Expr, Exprs
from hls4attn.models.foreign.original import Original
from hls4attn.models.foreign.quantisers import BREVITAS_ACTIVATION, nearest_power, power_of_two
from hls4attn.models.foreign.values import Const, Operand, Step, Value, short
from hls4attn.models.foreign.views import Frame, Shape, find_frame, restored, sample_index, whole
from hls4attn.models.formats import Fixed
from hls4attn.models.quantise.calibration import choose_format

Array = NDArray[Any]

#: Wider operands of a product are sums that nobody quantised.
OPERAND_BITS = 16
#: Expressions that are no integers yet: their quantiser comes later.
RAW = ("Input", "Pending")


@dataclass(eq=False)
class Context:
    """State of one import."""

    choices: ImportChoices
    original: Original
    batch: int
    watched: Sequence[str]
    exprs: Exprs = field(default_factory=Exprs)
    changes: dict[Change, None] = field(default_factory=dict)
    span: tuple[float, float] | None = None
    input_format: Fixed | None = None
    trace: list[tuple[Step, Value]] = field(default_factory=list)
    sample_shape: Shape = ()

    @property
    def exact(self) -> bool:
        """Whether every scale must be a power of two."""
        return self.choices.scales == "exact"

    @property
    def calibrated(self) -> bool:
        """Whether there is data to choose formats from."""
        return self.choices.calibration is not None

    def changed(self, step: Step, became: str, exact: bool = True) -> None:
        """Note a change."""
        self.changes[Change(step.name, step.op, became, exact)] = None

    @cached_property
    def inputs(self) -> Array:
        """Calibration data, or random inputs over the range of the input's quantiser; whole batches."""
        if self.choices.calibration is not None:
            data = np.asarray(self.choices.calibration, dtype=np.float32)
        else:
            low, high = self.span or (-1.0, 1.0)
            rng = np.random.default_rng(self.choices.seed)
            data = rng.uniform(low, high, (self.choices.samples, *self.sample_shape)).astype(np.float32)
        missing = -len(data) % self.batch
        return np.concatenate([data, np.repeat(data[-1:], missing, axis=0)])

    @cached_property
    def _known(self) -> dict[str, Array]:
        return dict(self.original.run(self.inputs, self.watched))

    def values(self, tensor: str) -> Array:
        """What the file's own arithmetic gives for a tensor, samples first."""
        if tensor not in self._known:
            self._known.update(self.original.run(self.inputs, [tensor]))
        return self._known[tensor]

    def covers(self, fmt: Fixed, step: float) -> None:
        """Random inputs are to cover what a quantiser of the input tells apart."""
        self.span = (fmt.min * step, fmt.max * step)

    def fresh(self, expr: Expr, shape: Shape, frame: Frame, tensor: str, factor: float = 1.0) -> Value:
        """A new expression as the ONNX tensor of a shape."""
        return Value(expr, restored(shape, frame, self.batch), tensor, factor)

    def frame(self, x: Value, step: Step) -> Frame:
        """Where the batch lies in a value."""
        return find_frame(x.index, prod(x.expr.shape), self.batch, step.where)

    def arranged(self, x: Value, step: Step, shape: Shape | None = None) -> Expr:
        """The expression of a sample's part of a value, in that shape (its own without the batch)."""
        frame = self.frame(x, step)
        index = sample_index(x.index, prod(x.expr.shape), self.batch, frame, step.where)
        return self.exprs.arranged(x.expr, index if shape is None else index.reshape(shape), step.where)

    def input_value(self, name: str, shape: Shape) -> Value:
        """The input before its quantiser."""
        expr = Expr("Input", name, (), Tensor(name, shape, Fixed(2, 0)))
        self.sample_shape = shape
        return Value(expr, whole(shape, self.batch), name)

    def operand(self, x: Value, step: Step, bits: int = OPERAND_BITS) -> Value:
        """A value that has a format of at most so many bits.

        Raises:
            UnsupportedError: if no quantiser made it one, and there is no calibration data to choose a format from.
        """
        raw = x.expr.op in RAW
        if x.causal and step.op != "Softmax":
            raise UnsupportedError(f"{step.where}: reads masked scores; only a softmax may")
        if not raw and x.expr.format.width <= bits:
            return x
        what = f"has {x.expr.format.width} bits, more than {bits}" if not raw else "has no quantiser behind it"
        if not self.calibrated:
            raise UnsupportedError(
                f"{step.where}: its input {x.tensor!r} (from {x.expr.name}) {what}; every value that enters a product, "
                f"a softmax or a normalisation needs one. Put {BREVITAS_ACTIVATION} there in Brevitas, or a "
                "QuantizeLinear/DequantizeLinear pair, or import with --calibration DATA.npy to choose a format"
            )
        fmt = self._chosen(x)
        self.changed(step, f"input {x.tensor} quantised to {short(fmt)}, chosen on the calibration data", False)
        inner = self.quantised(replace(x, factor=1.0), fmt, f"{x.expr.name}_codes", step, True)
        return replace(inner, factor=x.factor)

    def _chosen(self, x: Value) -> Fixed:
        """The format that the calibration data chooses for an expression; its factor waits: a softmax may take it."""
        values = self.values(x.tensor) / x.factor
        # Only of the input is the data the whole truth: a sum that was never negative in it may still be.
        signed = bool(values.min() < 0) if x.expr.op == "Input" else x.expr.format.min < 0
        return choose_format(values, self.choices.activation_bits, signed)

    def quantised(self, x: Value, fmt: Fixed, name: str, step: Step, chosen: bool = False) -> Value:
        """A value in a format; its factor moves into the format's step if that is a power of two."""
        shift = power_of_two(x.factor)
        if shift is None:
            x, shift = self.applied(x, step), 0
        inner = replace(fmt, frac=fmt.frac - shift)
        if x.expr.op == "Input":
            if self.input_format not in (None, inner):
                raise UnsupportedError(
                    f"{step.where}: the input {x.expr.name!r} is quantised twice, to {short(inner)} and before to "
                    f"{short(self.input_format or inner)}; quantise it once and use the result"
                )
            self.input_format = inner
            self.covers(inner, inner.step)
        if x.expr.resolve is not None:
            return replace(x, expr=x.expr.resolve(inner, chosen))
        return replace(x, expr=self.exprs.quant(x.expr, inner, name, chosen))

    def applied(self, x: Value, step: Step) -> Value:
        """A value with its factor multiplied in.

        Raises:
            UnsupportedError: if the factor is no power of two, and nothing allows to round it.
        """
        if x.factor == 1.0:
            return x
        n = power_of_two(x.factor)
        if n is None and self.exact and not self.calibrated:
            near = 2.0 ** -nearest_power(x.factor)
            raise UnsupportedError(
                f"{step.where}: its input {x.tensor!r} carries the factor {x.factor:.6g}, which is no power of two "
                f"(nearest: {near:g}) and ends in no softmax that could take it. Put the quantiser of attention scores "
                "before the division by sqrt(head_dim); take a mean over 2**n rows; scale the inputs before they enter "
                "the model; or import with --scales power-of-two, which makes it an 8-bit constant"
            )
        if x.expr.op in RAW or n is None:  # only integers can be multiplied; 8 bits more must fit
            x = self.operand(x, step)
        fmt = Fixed(1, n, signed=False) if n is not None else choose_format(np.array([x.factor]), 8, False, cover=True)
        given = np.full((1,) if x.expr.shape else (), x.factor)
        codes = fmt.quantise(given)
        if n is None:
            self.changed(step, f"factor {x.factor:.6g} became {fmt.to_real(codes).item():.6g}, 8 bits", False)
        constant = self.exprs.constant(codes, fmt, f"{x.expr.name}_factor", given)
        return replace(x, expr=self.exprs.multiply(x.expr, constant, f"{x.expr.name}_scaled"), factor=1.0)

    def constant_format(self, values: Array, const: Const, step: Step, bits: int, what: str) -> Fixed:
        """A format for a constant that no quantiser made.

        Raises:
            UnsupportedError: if few bits do not hold it, and there is no calibration data.
        """
        fmt = exact_format(values)
        if fmt is not None:
            return fmt
        if not self.calibrated:
            raise UnsupportedError(
                f"{step.where}: its {what} {const.name!r} (shape {const.value.shape}, up to "
                f"{np.abs(values).max():.4g}) is float and unquantised, and {OPERAND_BITS} bits do not hold it. "
                f"Brevitas: {_weight_remedy(what)}; else put QuantizeLinear and DequantizeLinear behind it, or import "
                f"with --calibration DATA.npy (then it gets {bits} bits)"
            )
        chosen = choose_format(values, bits, cover=what != "weight")
        self.changed(step, f"{what} {const.name} quantised to {short(chosen)}", False)
        return chosen


def _weight_remedy(what: str) -> str:
    if what == "weight":
        return "weight_quant=Int8WeightPerTensorFixedPoint"
    if what == "bias":
        return "bias_quant=Int8BiasPerTensorFixedPointInternalScaling (or Int16Bias, Int32Bias with po2 scales)"
    return BREVITAS_ACTIVATION


Handler = Callable[[Context, Step, list[Operand]], list[Operand]]
