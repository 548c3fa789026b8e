# SPDX-License-Identifier: Apache-2.0
"""A foreign file made ready: one domain for Quant, functions unfolded, constants where they are used, names for all."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import onnx
from onnx import helper, inliner, numpy_helper

from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.export.functions import DOMAIN, QUANT_DOMAIN
from hls4attn.models.foreign.layernorm import drop_unused, fuse_layer_norms

#: Operator sets whose Softmax, ReduceMean, Squeeze ... mean what they mean here.
OLDEST_OPSET, NEWEST_OPSET = 13, 23
#: Where Quant nodes have been put over the years.
QUANT_DOMAINS = (QUANT_DOMAIN, "onnx.brevitas", "finn.custom_op.general")
#: Elements of one input; an import holds many inputs and all that is computed from them.
MOST_INPUTS = 1 << 20
#: Limits of functions, long beyond what exporters write.
_DEEPEST, _MOST_NODES = 64, 100_000
_STANDARD = ("", "ai.onnx")
_MICROSOFT = "com.microsoft"


class Prepared(NamedTuple):
    """A file made ready.

    Attributes:
        original: what onnxruntime runs, all operators as they came.
        model: what the importer walks through.
        rewritten: node, operator and what became of it.
        input: name of the input.
        shape: of the input, batch included.
        open_batch: whether the file leaves the batch open.
    """

    original: onnx.ModelProto
    model: onnx.ModelProto
    rewritten: list[tuple[str, str, str]]
    input: str
    shape: tuple[int, ...]
    open_batch: bool


def prepared(model: onnx.ModelProto, batch: int) -> Prepared:
    """A copy that the importer can walk through.

    Args:
        model: the file.
        batch: length of the batch axis if the file leaves it open.

    Raises:
        UnsupportedError: for an operator set, domain, control flow, or more than one input or output.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    _check_version(made)
    if made.functions:
        _check_functions(made)
        made = inliner.inline_local_functions(made)
    _one_dialect(made)
    constants = {t.name for t in made.graph.initializer}
    inputs = [i.name for i in made.graph.input if i.name not in constants]
    if len(inputs) != 1 or len(made.graph.output) != 1:
        outputs = [o.name for o in made.graph.output]
        raise UnsupportedError(
            f"The file has the inputs {inputs} and outputs {outputs}; one of each is supported. Cross-attention and "
            "masks given at run time have no hardware here: use self-attention, and a causal mask as a constant"
        )
    _name_nodes(made)
    dead = drop_unused(made, made.graph.node)
    left_out = [(n.name, n.op_type, f"left out ({len(dead)} such), nothing reads it") for n in dead[-1:]]
    shape, open_batch = _fix_batch(made, inputs[0], batch)
    original = onnx.ModelProto()
    original.CopyFrom(made)
    return Prepared(original, made, left_out + fuse_layer_norms(made), inputs[0], shape, open_batch)


def _check_version(made: onnx.ModelProto) -> None:
    """Refuse operator sets that mean something else, and files that need no import."""
    versions = {o.domain: o.version for o in made.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        raise UnsupportedError(
            f"The file uses opset {version}; {OLDEST_OPSET} to {NEWEST_OPSET} are read. Export again with "
            "torch.onnx.export(..., opset_version=17), or use onnx.version_converter"
        )
    if any(n.domain == DOMAIN for n in made.graph.node):
        raise UnsupportedError(
            f"The file is in the dialect of this package already (domain {DOMAIN!r}); verify it as it is"
        )


def _one_dialect(made: onnx.ModelProto) -> None:
    """Quantisers of all dialects in one domain, under one name; other domains are refused."""
    for node in made.graph.node:
        if node.domain in QUANT_DOMAINS:
            node.domain = QUANT_DOMAIN
            if node.op_type == "IntQuant":  # its newer name
                node.op_type = "Quant"
        elif node.domain == _MICROSOFT and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        elif node.domain not in _STANDARD:
            raise UnsupportedError(
                f"{node.name or node.output[0]} ({node.op_type}): operator of the domain {node.domain!r}, which is not "
                "known here; export with standard operators and Quant or QuantizeLinear nodes"
            )
    keep = [o for o in made.opset_import if o.domain not in QUANT_DOMAINS]
    del made.opset_import[:]
    made.opset_import.extend([*keep, helper.make_opsetid(QUANT_DOMAIN, 1)])


def _check_functions(model: onnx.ModelProto) -> None:
    """Refuse functions that would never end, or not soon: ONNX's inliner does not look.

    Raises:
        ModelFileError: naming the function.
    """
    known = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key not in known:
            return 1
        if key in above or len(above) > _DEEPEST:
            raise ModelFileError(
                f"Function {key[0]}.{key[1]} calls itself, or {_DEEPEST} others; export without functions"
            )
        if key not in sizes:
            sizes[key] = sum(size((n.domain, n.op_type), (*above, key)) for n in known[key].node)
        return sizes[key]

    total = sum(size((n.domain, n.op_type), ()) for n in model.graph.node)
    if total > _MOST_NODES:
        raise ModelFileError(f"The file's functions are {total} nodes when unfolded; {_MOST_NODES} at most")


def _name_nodes(model: onnx.ModelProto) -> None:
    """A unique name for every node."""
    taken: set[str] = set()
    for node in model.graph.node:
        name = base = node.name or (node.output[0] if node.output else node.op_type)
        number = 1
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        node.name = name
        taken.add(name)


def _fix_batch(model: onnx.ModelProto, name: str, batch: int) -> tuple[tuple[int, ...], bool]:
    """Give the batch axis of the input a length, in place.

    Returns:
        The input's shape, and whether its batch axis was open.

    Raises:
        UnsupportedError: if another axis is not fixed.
    """
    info = next(i for i in model.graph.input if i.name == name)
    dims = info.type.tensor_type.shape.dim
    open_axes = [n for n, d in enumerate(dims) if not d.dim_value]
    if len(dims) < 2 or any(n > 0 for n in open_axes):
        raise UnsupportedError(
            f"The input {info.name!r} has {len(dims)} axes, of which {open_axes} are not fixed; it needs a batch axis "
            "(0) and fixed other ones: export with dynamic_axes={'" + info.name + "': {0: 'batch'}} only"
        )
    if info.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
        raise UnsupportedError(
            f"The input {info.name!r} is {kind}; FLOAT is read: model.float() before the export. Token numbers: give "
            "one-hot rows and a MatMul with the embedding table"
        )
    size = prod([d.dim_value for d in dims if d.dim_value] or [1])
    if any(d.dim_value < 0 for d in dims) or size > MOST_INPUTS:
        raise UnsupportedError(
            f"The input {info.name!r} has the shape {[d.dim_value for d in dims]}; lengths must be positive, and "
            f"{MOST_INPUTS} elements at most: export a shorter sequence or a smaller batch"
        )
    if open_axes:
        dims[0].ClearField("dim_param")
        dims[0].dim_value = batch
    for other in (*model.graph.output, *model.graph.value_info):  # they may say another batch
        other.type.tensor_type.ClearField("shape")
    return tuple(d.dim_value for d in dims), bool(open_axes)


def tensor_values(model: onnx.ModelProto) -> dict[str, object]:
    """Initialisers by name."""
    try:
        return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"An initialiser is malformed: {error}") from error
