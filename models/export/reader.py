# SPDX-License-Identifier: Apache-2.0
"""ONNX file -> typed integer graph; what has no exact integer meaning is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hls4attn.models.errors import FormatError, Hls4attnError, ModelFileError, SpecError, UnsupportedError
from hls4attn.models.export.functions import DOMAIN, QUANT_DOMAIN
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.export.infer import infer
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import (
    GainCellSpec,
    context_from_attributes,
    context_types,
    norm_from_attributes,
    norm_types,
    score_from_attributes,
    score_types,
)

MAX_FILE_BYTES = 256 << 20
#: An unquantised constant passes only if so many bits hold it; wider ones need a Quant node.
RAW_CONSTANT_BITS = 16

#: What other files begin with, and what they are.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive; if of Keras, first: hls4attn export MODEL.keras MODEL.onnx",
    b"\x89HDF": "HDF5; if of Keras, save it as .keras, then: hls4attn export MODEL.keras MODEL.onnx",
}
_REMEDIES = {
    "Softmax": "use QSelfAttention with score='softmax' (exact integer softmax) or score='consmax'",
    "Gemm": "write it as MatMul and Add, each constant behind a Quant node",
    "LayerNormalization": "use the IntegerLayerNorm or AILayerNorm layer, or QBatchNorm after the residual",
    "BatchNormalization": "use QBatchNorm, which exports a per-channel integer scale and bias",
    "ReduceMean": "use ReduceSum and Mul by a quantised 1/length",
    "GlobalAveragePool": "use ReduceSum and Mul by a quantised 1/length",
    "Div": "multiply by a quantised reciprocal",
    "Sub": "use Add with a negated constant",
}


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; nothing in it is executed and no other file is opened.

    Raises:
        ModelFileError: if it is missing, too large, truncated, foreign or fails ONNX's own check.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path}: {path.stat().st_size} bytes, more than the {MAX_FILE_BYTES} accepted")
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"Cannot read model {path}: {error.strerror}") from error
    return parse_model(data, str(path))


def parse_model(data: bytes, where: str) -> onnx.ModelProto:
    """The model in the bytes of an ONNX file, which `where` names in errors.

    Raises:
        ModelFileError: if they are truncated, foreign or fail ONNX's own check.
    """
    if not data:
        raise ModelFileError(f"{where} is not a valid ONNX file: it is empty")
    try:
        model = onnx.load_model_from_string(data)
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in _tensors_of(model)):
            raise ModelFileError(f"{where}: weights in a second file are not accepted; save one self-contained .onnx")
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        if isinstance(error, Hls4attnError):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        kind = next((kind for start, kind in _FOREIGN.items() if data.startswith(start)), "truncated or foreign?")
        raise ModelFileError(f"{where} is not a valid ONNX file ({kind}): {reason}") from error
    return model


def _tensors_of(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor anywhere in a model: initialisers, attributes, functions."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, Sequence) else (value,):
                yield from _tensors_of(part)


def read_graph(source: Path | str | onnx.ModelProto) -> Graph:
    """The typed graph of an ONNX file or model.

    Raises:
        ModelFileError: if the file is no valid ONNX.
        UnsupportedError: naming the first node or constant without an exact integer meaning.
    """
    model = source if isinstance(source, onnx.ModelProto) else load_model(Path(source))
    try:
        return _Reader(model).read()
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}{_foreign_hint(model)}") from error
    except Hls4attnError:
        raise
    except (ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError, RuntimeError) as error:
        raise ModelFileError(f"The ONNX file is malformed: {type(error).__name__}: {error}") from error


def _foreign_hint(model: onnx.ModelProto) -> str:
    """What to do with a file that another exporter wrote; nothing for one of ours."""
    if model.producer_name == "hls4attn" or any(n.domain == DOMAIN for n in model.graph.node):
        return ""
    return ". A file exported elsewhere is brought to this dialect by: hls4attn import FILE.onnx OUT.onnx"


def node_attributes(proto: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node as plain values and arrays."""
    values = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    for key, value in values.items():
        if isinstance(value, onnx.TensorProto):
            values[key] = numpy_helper.to_array(value)
        elif isinstance(value, bytes):
            values[key] = value.decode(errors="replace")
    return values


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.raw = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def read(self) -> Graph:
        g = self.model.graph
        inputs = [i for i in g.input if i.name not in self.raw]
        if len(inputs) != 1 or len(g.output) != 1:
            raise UnsupportedError(
                f"A model has one input and one output. Received: {len(inputs)} and {len(g.output)}; export each part "
                "as a model of its own"
            )
        source = self._read_input(inputs[0])
        for proto in g.node:
            if proto.output[0] != source.name:
                self._read_node(proto)
        result = g.output[0].name
        if result not in self.tensors or isinstance(self.tensors[result], Constant):
            raise UnsupportedError(f"The output {result!r} is not computed from the input")
        graph = Graph(
            name=g.name or "model",
            input=source,
            output=self.tensors[result],
            float_input=inputs[0].name,
            nodes=_live(self.nodes, result),
            tensors=self.tensors,
            metadata={p.key: p.value for p in self.model.metadata_props},
        )
        graph.check_float32()
        return graph

    def _read_input(self, info: onnx.ValueInfoProto) -> Tensor:
        users = [n for n in self.model.graph.node if info.name in n.input]
        if len(users) != 1 or users[0].op_type != "Quant":
            names = [f"{n.name or n.output[0]} ({n.op_type})" for n in users]
            raise UnsupportedError(
                f"The input {info.name!r} must feed one Quant node, which defines the input's integer format "
                f"(in Keras: begin with a QActivation). Received: {names}"
            )
        dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if len(dims) < 2 or any(d <= 0 for d in dims[1:]):
            raise UnsupportedError(f"The input {info.name!r} needs a batch axis and fixed other axes. Received: {dims}")
        source = Tensor(users[0].output[0], tuple(dims[1:]), self._quantiser(users[0]))
        self.tensors[source.name] = source
        return source

    def _quantiser(self, proto: onnx.NodeProto) -> Fixed:
        """The format that a QONNX Quant node defines."""
        parameters = [self.raw.get(name) for name in proto.input[1:]]
        if len(parameters) != 3 or any(p is None or p.size != 1 for p in parameters):
            raise UnsupportedError(
                f"{proto.name}: Quant needs one constant scale, zero point and bit width for the whole tensor"
            )
        scale, zero_point, bits = (float(p.ravel()[0]) for p in parameters if p is not None)
        attributes = node_attributes(proto)
        mantissa, exponent = np.frexp(scale)
        if not scale > 0 or mantissa != 0.5:
            raise UnsupportedError(
                f"{proto.name}: Quant scale must be a power of two. Received: {scale}; train with such scales"
            )
        if zero_point != 0:
            raise UnsupportedError(
                f"{proto.name}: Quant zero point must be 0. Received: {zero_point}; use a symmetric quantiser"
            )
        mode = attributes.get("rounding_mode", "ROUND").upper()
        if mode not in ("ROUND", "FLOOR"):
            raise UnsupportedError(f"{proto.name}: Quant rounding mode must be ROUND or FLOOR. Received: {mode}")
        signed, narrow = bool(attributes.get("signed", 1)), bool(attributes.get("narrow", 0))
        if bits != int(bits) or (narrow and not signed):
            raise UnsupportedError(
                f"{proto.name}: Quant with {bits} bits, signed={signed}, narrow={narrow} is not supported; use a whole "
                "number of bits, and narrow with signed only"
            )
        try:
            return Fixed(
                int(bits),
                1 - int(exponent),
                signed,
                "half_even" if mode == "ROUND" else "floor",
                "saturate_symmetric" if narrow else "saturate",
            )
        except FormatError as error:
            raise UnsupportedError(f"{proto.name}: {error}") from error

    def _read_node(self, proto: onnx.NodeProto) -> None:
        name = proto.name or proto.output[0]
        if proto.op_type == "Quant" and proto.input[0] in self.raw:
            fmt = self._quantiser(proto)
            self._add_constant(proto.output[0], self.raw[proto.input[0]], fmt, name)
            return
        node, target = self._translate(proto, name)
        operands = [self._operand(n, name) for n in node.inputs]
        if all(isinstance(o, Constant) for o in operands):
            raise UnsupportedError(f"{name}: {proto.op_type} of constants only; fold it before export")
        self.tensors[node.output] = infer(node, operands, target)
        self.nodes.append(node)

    def _operand(self, name: str, user: str) -> Tensor:
        if name not in self.tensors:
            if name not in self.raw:
                raise UnsupportedError(f"{user}: reads {name!r}, which nothing computes")
            self._add_constant(name, self.raw[name], None, name)
        return self.tensors[name]

    def _add_constant(self, name: str, value: NDArray[Any], fmt: Fixed | None, where: str) -> None:
        if value.dtype.kind not in "fiu" or not np.all(np.isfinite(value)):
            raise UnsupportedError(
                f"{where}: constant holds NaN, infinity or no numbers (dtype {value.dtype}); "
                "look for a training that diverged"
            )
        fmt = fmt or exact_format(value)
        if fmt is None:
            raise UnsupportedError(
                f"{where}: constant is not quantised ({RAW_CONSTANT_BITS} bits do not hold it); "
                "put a Quant node behind it"
            )
        codes = fmt.quantise(value)
        self.tensors[name] = Constant(name, tuple(value.shape), fmt, codes)

    def _translate(self, proto: onnx.NodeProto, name: str) -> tuple[Node, Tensor | None]:
        """The typed node and, for Quant and Reshape, a tensor that carries the target."""
        op, attributes = proto.op_type, node_attributes(proto)
        inputs, output = tuple(proto.input), proto.output[0]
        if len(proto.output) != 1:
            raise UnsupportedError(f"{name}: {op} with {len(proto.output)} outputs is not supported")
        if proto.domain == DOMAIN:
            try:
                found = _own_operator(op, name, inputs, output, attributes)
            except (FormatError, SpecError, ValueError, TypeError) as error:
                raise UnsupportedError(f"{name}: {error}") from error
            if found is not None:
                return found, None
        if proto.domain == QUANT_DOMAIN and op == "Quant":
            return Node("Quant", name, inputs[:1], output), Tensor(output, (), self._quantiser(proto))
        if proto.domain not in ("", "ai.onnx"):
            remedy = "export with standard operators and QONNX Quant nodes"
            if proto.domain == DOMAIN:
                remedy = "if another package registers it, install that; else it is of a newer version of hls4attn"
            raise UnsupportedError(f"{name}: unknown operator {proto.domain}::{op}; {remedy}")
        if op in ("MatMul", "Add", "Mul", "Relu"):
            return Node(op, name, inputs, output), None
        if op == "Transpose":
            return Node(op, name, inputs, output, permutation=_permutation(attributes.get("perm"), name)), None
        if op == "Reshape":
            return Node(op, name, inputs[:1], output), Tensor(
                output, self._reshape_target(proto, name), Fixed(1, 0, False)
            )
        if op == "ReduceSum":
            return Node(op, name, inputs[:1], output, axes=self._sum_axes(proto, attributes, name)), None
        remedy = _REMEDIES.get(
            op,
            "supported: MatMul, Add, Mul, Relu, Transpose, Reshape, ReduceSum, Quant, "
            + ", ".join((*score_types(), *context_types(), *norm_types(), GainCellSpec.op_type)),
        )
        raise UnsupportedError(f"{name}: operator {op} has no exact integer meaning here; {remedy}")

    def _reshape_target(self, proto: onnx.NodeProto, name: str) -> tuple[int, ...]:
        target = self.raw.get(proto.input[1])
        if target is None or target.ndim != 1 or target.size < 2:
            raise UnsupportedError(
                f"{name}: Reshape needs a constant target shape; export with fixed sizes for all axes but the batch"
            )
        dims = [int(d) for d in target]
        if dims[0] not in (0, -1) or any(d <= 0 for d in dims[1:]):
            raise UnsupportedError(
                f"{name}: Reshape must keep the batch axis (0 or -1) and fix the others. Received: {dims}"
            )
        return tuple(dims[1:])

    def _sum_axes(self, proto: onnx.NodeProto, attributes: dict[str, Any], name: str) -> tuple[int, ...]:
        axes = self.raw.get(proto.input[1]) if len(proto.input) > 1 else None
        if axes is None or attributes.get("keepdims", 1) or any(int(a) < 1 for a in axes):
            raise UnsupportedError(f"{name}: ReduceSum needs constant axes of 1 or more and keepdims=0")
        return tuple(int(a) - 1 for a in axes)


def _own_operator(op: str, name: str, inputs: tuple[str, ...], output: str, attributes: dict[str, Any]) -> Node | None:
    """The typed node of an operator of our own domain; None if there is no such operator."""
    operands = dict.fromkeys((*score_types(), *norm_types()), 1) | dict.fromkeys(context_types(), 2)
    operands[GainCellSpec.op_type] = 3
    if op in operands and len(inputs) != operands[op]:
        raise SpecError(f"{op} takes {operands[op]} input(s). Received: {len(inputs)}")
    if op in score_types():
        return Node("Score", name, inputs, output, spec=score_from_attributes(op, attributes))
    if op in context_types():
        return Node("Context", name, inputs, output, context=context_from_attributes(op, attributes))
    if op in norm_types():
        return Node("Norm", name, inputs, output, norm=norm_from_attributes(op, attributes))
    if op == GainCellSpec.op_type:
        return Node("Cells", name, inputs, output, cells=GainCellSpec.from_attributes(attributes))
    return None


def _permutation(perm: list[int] | None, name: str) -> tuple[int, ...]:
    if not perm or perm[0] != 0:
        raise UnsupportedError(f"{name}: Transpose must keep the batch axis first. Received: perm={perm}")
    return tuple(p - 1 for p in perm[1:])


def exact_format(value: NDArray[Any]) -> Fixed | None:
    """The narrowest format that holds unquantised constants exactly; None if 16 bits do not."""
    for frac in range(-RAW_CONSTANT_BITS, 2 * RAW_CONSTANT_BITS):
        scaled = np.ldexp(value.astype(np.float64), frac)
        if np.all(scaled == np.rint(scaled)):
            if np.abs(scaled).max(initial=0.0) < 2.0**RAW_CONSTANT_BITS:
                low, high = int(scaled.min(initial=0.0)), int(scaled.max(initial=1.0))
                from_zero = min(low, 0)
                bits = max(high.bit_length(), (-from_zero - 1).bit_length() if from_zero else 0)
                signed = from_zero < 0
                return Fixed(max(bits + signed, 1 + signed), frac, signed)
            break
    return None


def _live(nodes: list[Node], result: str) -> tuple[Node, ...]:
    """The nodes that the result depends on; others would be code without effect."""
    needed, kept = {result}, []
    for node in reversed(nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    dead = [n.name for n in nodes if n.output not in needed]
    if dead:
        raise UnsupportedError(f"Nodes without effect on the output: {dead}; remove them")
    return tuple(reversed(kept))
