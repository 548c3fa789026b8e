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

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import KERNELS, Design, HwNode, Stream, port_name
from hls4attn.hls.lowering import lower_graph
from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.export.functions import IR_VERSION, OPSET
from hls4attn.models.export.graph import Graph, Tensor
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.formats import Fixed

DOMAIN = "hls4attn.hw"
VERSION = 1
#: Attribute of the nodes of an io_stream design: rows and channels of all streams that they read or write.
STREAMS = "streams"
_TEXTS = ("output", "shape", "format", "inputs", "in_formats", "aliases", "sources", "copies")


def lower(
    source: Path | str | onnx.ModelProto | Graph, io_type: str | None = None, config: HlsConfig | None = None
) -> onnx.ModelProto:
    """The lowered model of an exported one, for hls4ml's converter after `register`.

    Args:
        source: an ONNX file, an ONNX model, or a typed graph.
        io_type: "io_parallel" or "io_stream"; what `config` says if not given.
        config: choices: an io_stream model is lowered with its reuse factors, lanes and parallel heads.

    Raises:
        ModelFileError: if the file is no valid ONNX.
        UnsupportedError: naming the node that has no exact hardware, or no streaming form.
    """
    graph = source if isinstance(source, Graph) else read_graph(source)
    config = config or HlsConfig(io_type=io_type or "io_parallel")
    if io_type not in (None, config.io_type):
        raise UnsupportedError(f"io_type={io_type!r}, but the configuration says {config.io_type!r}")
    return to_onnx(lower_design(graph, config))


def lower_design(graph: Graph, config: HlsConfig) -> Design:
    """The design of a typed graph in the form that a configuration asks for.

    Raises:
        UnsupportedError: naming the node that has no exact hardware, or no streaming form.
    """
    design = lower_graph(graph)
    if config.io_type == "io_stream":
        from hls4attn.hls.stream.network import to_stream

        return to_stream(design, config)
    unknown = sorted(set(config.layer_reuse_factor) - {n.name for n in design.nodes})
    if unknown:
        raise UnsupportedError(
            f"layer_reuse_factor names {unknown}, which are not hardware nodes of this model; it has: "
            + ", ".join(n.name for n in design.nodes)
        )
    return design


def result_names(node: HwNode) -> list[str]:
    """Names of a hardware node's results in the lowered file."""
    return [f"{node.name}_copy{k}" for k in range(len(node.copies))] or [f"{node.name}_out"]


def to_onnx(design: Design) -> onnx.ModelProto:
    """The lowered file of a design."""
    names = {design.input.name: port_name(design.input.name)}
    for node in design.nodes:
        names |= dict(zip(node.outputs, result_names(node), strict=True))
    shapes = {design.input.name: design.input.shape} | {o: n.shape for n in design.nodes for o in n.outputs}
    shapes |= {name: (stream.rows, stream.channels) for name, stream in design.streams.items()}
    infos = {name: _info(names[name], shape) for name, shape in shapes.items()}
    last = design.result
    graph = helper.make_graph(
        [_proto(node, names, design) for node in design.nodes],
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


def _proto(node: HwNode, names: dict[str, str], design: Design) -> onnx.NodeProto:
    inputs, outputs = ([names[n] for n in side] for side in (node.inputs, node.outputs))
    made = helper.make_node(node.op, inputs, outputs, name=node.name, domain=DOMAIN)
    texts = node.to_dict() | {"in_formats": [str(f) for f in node.in_formats]}
    for key in _TEXTS:
        made.attribute.append(helper.make_attribute(key, json.dumps(texts[key])))
    if design.streams:
        streams = {n: design.streams[n].to_list() for n in (*node.inputs, *node.outputs)}
        made.attribute.append(helper.make_attribute(STREAMS, json.dumps(streams)))
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
    values: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in proto.attribute if a.name != STREAMS}
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
            copies=tuple(texts["copies"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{proto.name}: the lowered node is incomplete or malformed: {error}") from error


def read_streams(proto: onnx.NodeProto) -> dict[str, Stream]:
    """The streams that a node of a lowered file reads and writes; none in io_parallel.

    Raises:
        ModelFileError: if their description is malformed.
    """
    texts = [helper.get_attribute_value(a) for a in proto.attribute if a.name == STREAMS]
    try:
        return {name: Stream.from_list(v) for text in texts for name, v in json.loads(text).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{proto.name}: its streams are malformed: {error}") from error


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
        streams: dict[str, Stream] = {}
        for proto, node in zip(model.graph.node, nodes, strict=True):
            found = read_streams(proto)
            if (found or streams) and set(found) != {*node.inputs, *node.outputs}:
                raise ValueError(f"{node.name} does not describe its streams")
            if any(streams.setdefault(name, stream) != stream for name, stream in found.items()):
                raise ValueError(f"{node.name} describes a stream otherwise than the node before")
        io_type = "io_stream" if streams else "io_parallel"
        return Design(model.graph.name, tensor, props["output"], nodes, io_type, streams)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"No lowered model: its ports are not described ({error})") from error
