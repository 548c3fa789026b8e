# SPDX-License-Identifier: Apache-2.0
"""What hls4ml would pass over in silence is refused here.

hls4ml 1.3.0 skips a node without a template, ignores configuration keys that nothing reads, and guesses a type
that nothing defines; the C++ then compiles and computes something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from hls4attn.hls.config import IO_TYPES
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.hwfile import read_design
from hls4attn.hls.layers import AttnLayer, format_matches, precision_of
from hls4attn.hls.templates import SEQUENTIAL
from hls4attn.models.errors import UnsupportedError

_SECTIONS = frozenset({"Model", "LayerName", "LayerType"})
_MODEL_KEYS = frozenset(
    {"Precision", "ReuseFactor", "Strategy", "BramFactor", "TraceOutput", "PipelineStyle", "PipelineInterval"}
)
_STYLES = ("auto", "pipeline", SEQUENTIAL)
_LAYER_KEYS = frozenset({"ReuseFactor", "Trace", "Precision"})


def check_hls_model(
    model: Any, source: Design | onnx.ModelProto | None = None, hls_config: Mapping[str, Any] | None = None
) -> None:
    """Refuse an hls4ml model whose C++ could differ from the typed graph.

    Args:
        model: an hls4ml ``ModelGraph``, after conversion.
        source: what it was converted from, a design or a lowered model; then the nodes must also be the same, one
            by one.
        hls_config: the dictionary given to hls4ml, which drops unknown sections before the model sees them.

    Raises:
        UnsupportedError: naming the first node or key, the reason and the remedy.
    """
    io_type = model.config.get_config_value("IOType")
    if io_type not in IO_TYPES:
        raise UnsupportedError(f"io_type {io_type!r} is not available; available: {', '.join(IO_TYPES)}")
    _check_nodes(model)
    _check_parameters(model)
    _check_types(model)
    if io_type == "io_stream":
        _check_streams(model)
    _check_sections(hls_config or {})
    _check_config(model)
    if source is not None:
        _check_design(model, source if isinstance(source, Design) else read_design(source))


def _nodes(model: Any) -> Iterator[Any]:
    return (n for n in model.get_layers() if n.class_name not in ("Input", "InputLayer"))


def _check_nodes(model: Any) -> None:
    for node in _nodes(model):
        if not node.get_attr("function_cpp"):
            raise UnsupportedError(
                f"{node.name} ({node.class_name}): no C++ is emitted for it, so its result would be uninitialised "
                "memory; convert hls4attn.hls.for_hls4ml(model) instead, which has a kernel for every node it accepts"
            )
    for node in _nodes(model):
        if not isinstance(node, AttnLayer):
            raise UnsupportedError(
                f"{node.name} ({node.class_name}): a stock hls4ml layer, whose types and rounding are not those of "
                "the model; convert hls4attn.hls.for_hls4ml(model) instead"
            )


def _check_parameters(model: Any) -> None:
    """Each table belongs to one node: hls4ml resolves shared initialisers wrongly, ours never leave their node."""
    owners: dict[str, str] = {}
    for node in _nodes(model):
        for weight in node.get_weights():
            raise UnsupportedError(
                f"{node.name}: hls4ml holds {weight.name} outside the node; tables travel as attributes of their "
                "node only"
            )
        for name in node.outputs:
            if owners.setdefault(name, node.name) != node.name:
                raise UnsupportedError(f"{name}: computed by both {owners[name]} and {node.name}")


def _check_types(model: Any) -> None:
    produced: dict[str, Any] = dict(model.output_vars)
    for node in _nodes(model):
        hw: HwNode = node.get_attr("hw")
        pairs = [(node.get_output_variable(name).type.precision, hw.format, "result") for name in node.outputs]
        pairs += [
            (produced[name].type.precision, fmt, f"input {name}")
            for name, fmt in zip(node.inputs, hw.in_formats, strict=True)
        ]
        for precision, fmt, what in pairs:
            if not format_matches(precision, fmt):
                raise UnsupportedError(
                    f"{node.name}: its {what} is {precision}, the model says {fmt}; remove Precision settings: "
                    "formats come from the model's quantisers"
                )


def _check_streams(model: Any) -> None:
    """One writer and one reader a stream, of the derived depth, and the schedule that the model was lowered with."""
    readers: dict[str, int] = {}
    for name in (name for node in _nodes(model) for name in node.inputs):
        readers[name] = readers.get(name, 0) + 1
    for node in _nodes(model):
        hw, streams = node.get_attr("hw"), node.get_attr("streams")
        for name, tensor in zip(node.outputs, hw.outputs, strict=True):
            variable, stream = node.get_output_variable(name), streams[tensor]
            if readers.get(name, 0) + (name in model.outputs) != 1:
                raise UnsupportedError(f"{node.name}: its stream {name} needs one reader; convert the model unchanged")
            if variable.pragma != ("stream", stream.depth) or variable.type.n_elem != stream.channels:
                raise UnsupportedError(f"{node.name}: hls4ml changed the depth or the width of its stream {name}")
        baked, asked = hw.ints["reuse_factor"], int(node.get_attr("reuse_factor"))
        if asked != baked:
            raise UnsupportedError(
                f"{node.name}: ReuseFactor {asked}, but the model was lowered with {baked}, which decides how an "
                "io_stream kernel is built; lower it again: hls4attn.hls.lower(model, "
                f"config=HlsConfig(io_type='io_stream', reuse_factor={asked}))"
            )


def _check_sections(hls_config: Mapping[str, Any]) -> None:
    unknown = sorted(set(hls_config) - _SECTIONS)
    if unknown:
        raise UnsupportedError(
            f"Configuration sections {unknown} have no effect here; use {', '.join(sorted(_SECTIONS))}"
        )


def _check_config(model: Any) -> None:
    config = model.config.config["HLSConfig"]
    streaming = model.config.get_config_value("IOType") == "io_stream"
    _check_sections(config)
    layers = {n.name: n for n in model.get_layers()}
    classes = {n.class_name for n in model.get_layers()}
    _check_model_section(config.get("Model") or {}, ("auto", "dataflow") if streaming else _STYLES)
    for section, known in (("LayerName", set(layers)), ("LayerType", classes)):
        for name, values in (config.get(section) or {}).items():
            if name not in known:
                raise UnsupportedError(
                    f"{section} {name!r} names nothing in this model; it has: {', '.join(sorted(known))}"
                )
            nodes = [layers[name]] if section == "LayerName" else [n for n in layers.values() if n.class_name == name]
            for node in nodes:
                _check_layer_section(f"{section} {name!r}", values or {}, node)


def _check_model_section(values: Mapping[str, Any], styles: tuple[str, ...]) -> None:
    for key, value in values.items():
        if key not in _MODEL_KEYS:
            raise UnsupportedError(f"Model key {key!r} has no effect; known: {', '.join(sorted(_MODEL_KEYS))}")
        if key == "Strategy" and str(value).lower() != "latency":
            raise UnsupportedError(
                f"Model Strategy {value!r}: no kernel reads it; use ReuseFactor to share multipliers"
            )
        if key == "PipelineStyle" and value not in styles:
            reason = "streams need dataflow" if "dataflow" in styles else "arrays with several readers forbid it"
            raise UnsupportedError(f"Model PipelineStyle {value!r}: {reason} (residuals); use 'auto'")
        if key == "PipelineInterval" and value is not None and values.get("PipelineStyle") != "pipeline":
            raise UnsupportedError("Model PipelineInterval is read with PipelineStyle 'pipeline' only")


def _check_layer_section(where: str, values: Mapping[str, Any], node: Any) -> None:
    ours = isinstance(node, AttnLayer)
    for key, value in values.items():
        if key not in _LAYER_KEYS:
            raise UnsupportedError(
                f"{where}: key {key!r} has no effect on {node.name}; known: {', '.join(sorted(_LAYER_KEYS))}"
            )
        if key == "ReuseFactor" and not ours and value != 1:
            raise UnsupportedError(f"{where}: ReuseFactor has no effect on an input port")
        if key == "Precision":
            _check_precision(where, value, node)


def _check_precision(where: str, value: Any, node: Any) -> None:
    """An override passes only if it says what the model says anyway."""
    actual = node.get_output_variable().type.precision
    for variable, text in (value if isinstance(value, Mapping) else {"result": value}).items():
        if text == "auto" or text is None:
            continue
        wanted = node.model.config.backend.convert_precision_string(text)
        names = ("width", "integer", "signed", "rounding_mode", "saturation_mode")
        same = all(getattr(wanted, n, None) == getattr(actual, n) for n in names)
        if variable not in ("result", "default") or not same:
            raise UnsupportedError(
                f"{where}: Precision {variable}={text!r} would be ignored; {node.name} computes {actual}, which the "
                "model's quantisers define"
            )


def _check_design(model: Any, design: Design) -> None:
    found = [n.get_attr("hw") for n in _nodes(model)]
    if [n.name for n in found] != [n.name for n in design.nodes]:
        raise UnsupportedError(
            f"hls4ml changed the list of nodes: {[n.name for n in found]} instead of {[n.name for n in design.nodes]}"
        )
    for mine, theirs in zip(design.nodes, found, strict=True):
        if mine.to_dict() != theirs.to_dict() or mine.ints != theirs.ints or not _same_tables(mine, theirs):
            raise UnsupportedError(f"{mine.name}: hls4ml changed its parameters")
    for node in _nodes(model) if design.streams else ():
        if any(design.streams.get(name) != stream for name, stream in node.get_attr("streams").items()):
            raise UnsupportedError(f"{node.name}: hls4ml changed its streams")
    port = model.get_input_variables()[0].type.precision
    if not format_matches(port, design.input.format):
        raise UnsupportedError(f"The input port is {port}, the model says {precision_of(design.input.format)}")


def _same_tables(mine: HwNode, theirs: HwNode) -> bool:
    return mine.roms.keys() == theirs.roms.keys() and all(
        np.array_equal(r, theirs.roms[n]) for n, r in mine.roms.items()
    )
