# SPDX-License-Identifier: Apache-2.0
"""A foreign ONNX model -> this package's dialect, with everything that changed and how far the result is off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from hls4attn.models.errors import FormatError, Hls4attnError, ModelFileError, UnsupportedError
from hls4attn.models.foreign import arithmetic, coding, einsum, masks, moving, normalisation, products, softmax
from hls4attn.models.foreign.choices import Change, ImportChoices, Imported
from hls4attn.models.foreign.constants import evaluated
from hls4attn.models.foreign.context import Context, Handler
from hls4attn.models.foreign.distance import check_linear_part, measured
from hls4attn.models.foreign.emit import written
from hls4attn.models.foreign.loading import Prepared, prepared, tensor_values
from hls4attn.models.foreign.nearest import refusal
from hls4attn.models.foreign.original import Original
from hls4attn.models.foreign.translation import check_translation
from hls4attn.models.foreign.values import Coded, Const, Operand, Step, Value
from hls4attn.models.quantise.calibration import check_calibration

_HANDLERS: dict[str, Handler] = {
    **moving.HANDLERS,
    **coding.HANDLERS,
    **arithmetic.HANDLERS,
    **products.HANDLERS,
    **einsum.HANDLERS,
    **masks.HANDLERS,
    **softmax.HANDLERS,
    **normalisation.HANDLERS,
}
#: Samples at a time where the file leaves the batch open: two tell a batch axis from one of length 1.
OPEN_BATCH = 2
#: Sums at the output may be as wide as float32 holds exactly; with calibration data they get a quantiser sooner.
_OUTPUT_BITS, _CALIBRATED_BITS = 24, 16
#: What broken attributes, shapes and operands end in.
MALFORMED = (ValueError, TypeError, IndexError, AttributeError, KeyError, ArithmeticError)
_WATCHED = ("Quant", "QuantizeLinear", "LayerNormalization", "Softmax", "MatMul", "Gemm")


def import_model(
    model: onnx.ModelProto, choices: ImportChoices | None = None, metadata: Mapping[str, str] | None = None
) -> Imported:
    """Bring a quantised transformer encoder that was exported elsewhere to the dialect that `read_graph` takes.

    Args:
        model: with Quant, or QuantizeLinear and DequantizeLinear nodes, and standard Softmax and LayerNormalization.
        choices: operators, and what may be rounded.
        metadata: further properties of the new file.

    Returns:
        The model, all changes, and its distance to the original.

    Raises:
        UnsupportedError: naming the node, what was found there, and the nearest thing that works.
        MismatchError: if the translation of a node computes other numbers than the file.
        InputError: for unusable calibration data.
        ModelFileError: if the file is malformed.

    Examples:
        >>> found = import_model(onnx.load("encoder.onnx"))  # doctest: +SKIP
        >>> print(found.distance)  # doctest: +SKIP
    """
    choices = choices or ImportChoices()
    try:
        ready = prepared(model, OPEN_BATCH)
        if choices.calibration is not None:
            choices = replace(choices, calibration=check_calibration(choices.calibration, ready.shape[1:]))
        try:
            return _Import(ready, choices).run(dict(metadata or {}))
        except moving.FixedBatchError:
            if not ready.open_batch:
                raise
        # The exporter wrote the batch of its example, 1, into a Reshape; else this fails for the same reason.
        found = _Import(prepared(model, 1), choices).run(dict(metadata or {}))
        fixed = Change(ready.input, "input", "batch axis taken as 1, which the file fixes inside")
        return replace(found, changes=(fixed, *found.changes))
    except Hls4attnError:
        raise
    except MemoryError as error:
        raise UnsupportedError(f"The file's tensors do not fit into this machine's memory: {error}") from error
    except (*MALFORMED, RuntimeError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"The ONNX file is malformed: {type(error).__name__}: {error}") from error


@contextmanager
def named_errors(step: Step) -> Iterator[None]:
    """Say which node it was."""
    try:
        yield
    except FormatError as error:
        raise UnsupportedError(f"{step.where}: {error}; check the scales and constants that it reads") from error
    except Hls4attnError:
        raise
    except MALFORMED as error:
        raise ModelFileError(
            f"{step.where}: malformed ({type(error).__name__}: {error}); check its attributes and the shapes that it "
            "reads, or export the model again"
        ) from error


class _Import:
    def __init__(self, ready: Prepared, choices: ImportChoices) -> None:
        self.model, self.graph, shape = ready.model, ready.model.graph, ready.shape
        self.version = next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        self.values: dict[str, Operand] = {
            name: Const(np.asarray(value), name) for name, value in tensor_values(self.model).items()
        }
        constant = {*self.values, *(o for n in self.graph.node if n.op_type == "Constant" for o in n.output)}
        watched = [n.input[0] for n in self.graph.node if n.op_type in _WATCHED and n.input[0] not in constant]
        self.context = Context(choices, Original(ready.original, shape[0]), shape[0], list(dict.fromkeys(watched)))
        for node, op, became in ready.rewritten:
            self.context.changed(Step(helper.make_node(op, [], [], name=node), self.version), became)
        self.left_out: dict[str, str] = {}
        source = ready.input
        self.values[source] = self.context.input_value(source, shape[1:])

    def run(self, metadata: dict[str, str]) -> Imported:
        for proto in self.graph.node:
            step = Step(proto, self.version)
            with named_errors(step):
                self._visit(step)
        result = self._result()
        checked = check_translation(self.context)
        name = self.graph.name or "imported"
        made, names = written(result, name, {**self.context.choices.to_metadata(), **metadata})
        equal = check_linear_part(self.context, made, names)
        distance = measured(self.context, made)
        return Imported(
            made, tuple(self.context.changes), distance, {"tensors_checked": checked, "tensors_equal": equal}
        )

    def _result(self) -> Any:
        name = self.graph.output[0].name
        y = self.values.get(name)
        step = Step(helper.make_node("Identity", [name], [name], name=f"output {name}"), self.version)
        if not isinstance(y, Value):
            raise UnsupportedError(f"The output {name!r} is not computed from the input")
        if y.expr.op == "Source":
            raise UnsupportedError(f"The output {name!r} is the quantised input; there is nothing to import")
        bits = _CALIBRATED_BITS if self.context.calibrated else _OUTPUT_BITS
        y = self.context.applied(self.context.operand(y, step, bits), step)
        frame = self.context.frame(y, step)
        if frame.axis != 0:
            raise UnsupportedError(f"The output {name!r} has its batch on axis {frame.axis}; return it first")
        sample = frame.sample_shape(y.index.shape)
        return self.context.arranged(y, step, sample or (1,))

    def _visit(self, step: Step) -> None:
        operands = [self._operand(name, step) for name in step.proto.input]
        outputs = self._computed(step, operands)
        self.left_out |= dict.fromkeys(step.proto.output[len(outputs) :], step.where)
        for name, value in zip(step.proto.output, outputs, strict=False):
            self.values[name] = value
            if isinstance(value, Value):
                named = replace(value, tensor=name)
                self.values[name] = named
                self.context.trace.append((step, named))

    def _operand(self, name: str, step: Step) -> Operand:
        if not name:
            return None
        if name in self.left_out:
            raise UnsupportedError(
                f"{step.where}: reads {name!r}, a further output of {self.left_out[name]}; only its first is read here"
            )
        if name not in self.values:
            raise ModelFileError(f"{step.where}: reads {name!r}, which nothing before it computes")
        return self.values[name]

    def _computed(self, step: Step, operands: list[Operand]) -> list[Operand]:
        first = operands[0] if operands else None
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in step.proto.attribute):
            raise refusal(step)
        if step.op in ("Shape", "Size") and isinstance(first, Value):
            return [_shape(step, first)]
        coders = step.op in coding.HANDLERS and not (step.op == "Clip" and isinstance(first, Const))
        if not coders and not any(isinstance(o, Value | Coded) for o in operands):
            return list(evaluated(self.model, step, [o for o in operands if not isinstance(o, Value | Coded)]))
        handler = _HANDLERS.get(step.op)
        if handler is None:
            raise refusal(step)
        if isinstance(first, Coded) and step.op not in ("Clip", "DequantizeLinear"):
            raise UnsupportedError(
                f"{step.where}: works on the integers between a QuantizeLinear and its DequantizeLinear; only Clip may "
                "stand there: move it behind the DequantizeLinear"
            )
        return handler(self.context, step, operands)


def _shape(step: Step, x: Value) -> Const:
    dims = np.array(x.index.shape, dtype=np.int64)
    cut: NDArray[np.int64] = dims[step.attributes.get("start", 0) : step.attributes.get("end", None)]
    return Const(cut if step.op == "Shape" else np.array(dims.prod()), step.proto.output[0])
