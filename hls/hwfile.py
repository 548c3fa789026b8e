# SPDX-License-Identifier: Apache-2.0
"""The lowered file: one ONNX node per hardware node, every parameter an attribute, no initialisers at all.

It is what hls4ml reads.  Tensor names are C identifiers; the typed graph's names travel as attributes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hls4attn.hls.design import KERNELS, Design, HwNode, port_name
from hls4attn.hls.lowering import lower_graph
from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.export.functions import IR_VERSION, OPSET
from hls4attn.models.export.graph import Graph, Tensor
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.formats import Fixed

DOMAIN = "hls4attn.hw"
VERSION = 1
_TEXTS = ("output", "shape", "format", "inputs", "in_formats", "aliases", "sources")


def lower(source: Path | str | onnx.ModelProto | Graph) -> onnx.ModelProto:
    """The lowered model of an exported one, for hls4ml's converter after `register`.

    Args:
        source: an ONNX file, an ONNX model, or a typed graph.

    Raises:
        ModelFileError: if the file is no valid ONNX.
        UnsupportedError: naming the node that has no exact hardware.
    """
    graph = source if isinstance(source, Graph) else read_graph(source)
    return to_onnx(lower_graph(graph))


def result_name(node: str) -> str:
    """Name of a hardware node's result in the lowered file."""
    return f"{node}_out"


def to_onnx(design: Design) -> onnx.ModelProto:
    """The lowered file of a design."""
    names = {design.input.name: port_name(design.input.name)}
    names |= {n.output: result_name(n.name) for n in design.nodes}
    infos = {
        design.input.name: _info(names[design.input.name], design.input.shape),
        **{n.output: _info(names[n.output], n.shape) for n in design.nodes},
    }
    last = design.last.output
    graph = helper.make_graph(
        [_proto(node, names) for node in design.nodes],
        design.name,
        [infos[design.input.name]],
        [infos[last]],
        value_info=[v for name, v in infos.items() if name not in (design.input.name, last)],
    )
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
        producer_name="hls4attn",
    )
    port = {"name": design.input.name, "shape": design.input.shape, "format": str(design.input.format)}
    helper.set_model_props(model, {"input": json.dumps(port), "output": design.output})
    return model


def _info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *(shape or (1,))])


def _proto(node: HwNode, names: dict[str, str]) -> onnx.NodeProto:
    made = helper.make_node(
        node.op, [names[n] for n in node.inputs], [names[node.output]], name=node.name, domain=DOMAIN
    )
    texts = node.to_dict() | {"in_formats": [str(f) for f in node.in_formats]}
    for key in _TEXTS:
        made.attribute.append(helper.make_attribute(key, json.dumps(texts[key])))
    for key, value in node.ints.items():
        made.attribute.append(helper.make_attribute(key, value))
    for key, rom in node.roms.items():
        made.attribute.append(helper.make_attribute(key, numpy_helper.from_array(rom.astype(np.int64), key)))
    return made


def read_node(proto: onnx.NodeProto) -> HwNode:
    """The hardware node that a node of a lowered file stands for.

    Raises:
        UnsupportedError: for a node of another domain, or of an unknown operator.
        ModelFileError: for missing or malformed attributes.
    """
    if proto.domain != DOMAIN or proto.op_type not in KERNELS:
        raise UnsupportedError(
            f"{proto.name}: {proto.domain or 'ai.onnx'}::{proto.op_type} is no hardware node; "
            "lower the exported model first: hls4attn.hls.lower(model)"
        )
    values: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    try:
        texts = {key: json.loads(values.pop(key)) for key in _TEXTS}
        roms = {k: numpy_helper.to_array(v) for k, v in values.items() if isinstance(v, TensorProto)}
        return HwNode(
            op=proto.op_type,
            name=proto.name,
            inputs=tuple(texts["inputs"]),
            in_formats=tuple(Fixed.parse(t) for t in texts["in_formats"]),
            output=texts["output"],
            shape=tuple(texts["shape"]),
            format=Fixed.parse(texts["format"]),
            sources=tuple(texts["sources"]),
            ints={k: int(v) for k, v in values.items() if k not in roms},
            roms=roms,
            aliases=tuple((name, tuple(shape)) for name, shape in texts["aliases"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{proto.name}: the lowered node is incomplete or malformed: {error}") from error


def read_design(source: Path | str | onnx.ModelProto) -> Design:
    """The design that a lowered file holds.

    Raises:
        ModelFileError: if the file is missing, foreign or malformed.
        UnsupportedError: if it holds other nodes than hardware nodes.
    """
    model = source if isinstance(source, onnx.ModelProto) else load_model(Path(source))
    nodes = tuple(read_node(p) for p in model.graph.node)
    props = {p.key: p.value for p in model.metadata_props}
    try:
        port = json.loads(props["input"])
        tensor = Tensor(port["name"], tuple(port["shape"]), Fixed.parse(port["format"]))
        return Design(model.graph.name, tensor, props["output"], nodes)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"No lowered model: its ports are not described ({error})") from error
