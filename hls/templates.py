# SPDX-License-Identifier: Apache-2.0
"""hls4ml templates: the C++ text of each layer, the headers it needs, and how the top function is scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model.flow import update_flow
from hls4ml.model.optimizer import ModelOptimizerPass, get_available_passes, register_pass

from hls4attn.hls import include_dir
from hls4attn.hls.design import HwNode, further_folders
from hls4attn.hls.emit import call_cpp, config_cpp, length_rows, stream_call_cpp, tap_cpp
from hls4attn.hls.layers import AttnLayer
from hls4attn.hls.limits import COMPLETE_PARTITION

#: Kernels run one after the other on shared arrays.  The arrays have several readers (q, k, v, residual), which
#: DATAFLOW does not allow, and PIPELINE on the top function would unroll every loop of every kernel.
SEQUENTIAL = "inline off"

_SCHEDULE_PASS = "hls4attn_schedule"


def header_files() -> list[Path]:
    """All header files of this package, and of those that registered a kernel."""
    return [path for folder in (include_dir(), *further_folders()) for path in sorted(folder.glob("*.h"))]


class AttnConfigTemplate(LayerConfigTemplate):  # type: ignore[misc]
    """Tables and configuration struct of every kernel."""

    def __init__(self) -> None:
        super().__init__(AttnLayer)
        self.name = "hls4attn_config_template"

    def match(self, node: Any) -> bool:
        """Every layer of ours, those of kernels that are registered later too."""
        return isinstance(node, AttnLayer)

    def format(self, node: AttnLayer) -> str:
        """The C++ text."""
        reuse_factor = None if node.get_attr("streams") else int(node.get_attr("reuse_factor"))
        return config_cpp(node.get_attr("hw"), node.index, reuse_factor)


class AttnFunctionTemplate(FunctionCallTemplate):  # type: ignore[misc]
    """The call of every kernel, and the tap behind it."""

    def __init__(self) -> None:
        super().__init__(AttnLayer)
        self.name = "hls4attn_function_template"

    def match(self, node: Any) -> bool:
        """Every layer of ours, those of kernels that are registered later too."""
        return isinstance(node, AttnLayer)

    def transform(self, model: Any, node: AttnLayer) -> bool:
        """Set the node's header beside its call."""
        changed: bool = super().transform(model, node)
        kernel = node.get_attr("hw").kernel
        header = kernel.stream_header if node.get_attr("streams") else kernel.header
        node.set_attr("include_header", [f"nnet_utils/{header}"])
        return changed

    def format(self, node: AttnLayer) -> list[str]:
        """The C++ lines."""
        hw: HwNode = node.get_attr("hw")
        inputs = [_typed(node.get_input_variable(name)) for name in node.inputs]
        outputs = [_typed(node.get_output_variable(name)) for name in node.outputs]
        streams = node.get_attr("streams")
        if streams:
            rows = str(length_rows(hw, streams).rows)
            call = f"{stream_call_cpp(hw, node.index, inputs, outputs, rows)};"
        else:
            call = call_cpp(hw, node.index, inputs, outputs[0])
        if hw.moves:
            return [call]
        shown = [n for n in node.model.get_layers() if isinstance(n, AttnLayer) and not n.get_attr("hw").moves]
        return [call, tap_cpp(shown.index(node), outputs[0][1], hw.size)]


def _typed(variable: Any) -> tuple[str, str]:
    return variable.type.name, variable.name


class SchedulePass(ModelOptimizerPass):  # type: ignore[misc]
    """Top function and memories of a model made of our layers; other models are left as they are."""

    def __init__(self) -> None:
        self.name = _SCHEDULE_PASS

    def transform(self, model: Any) -> bool:
        """Choose what the user left to hls4ml."""
        layers = [n for n in model.get_layers() if isinstance(n, AttnLayer)]
        if not layers:
            return False
        if model.config.get_config_value("IOType") == "io_stream":
            _set_depths(layers)
            return False
        requested = (model.config.config["HLSConfig"].get("Model") or {}).get("PipelineStyle", "auto")
        if requested == "auto":
            model.config.pipeline_style = SEQUENTIAL
        for node in layers:
            variable = node.get_output_variable()
            # Larger arrays: one memory a channel.
            if variable.pragma == "partition" and variable.size() > COMPLETE_PARTITION:
                variable.pragma = ("partition", "cyclic", variable.shape[-1])
        return False


def _set_depths(layers: Sequence[AttnLayer]) -> None:
    """The derived depth of every FIFO, instead of hls4ml's: a whole tensor each."""
    for node in layers:
        for name, tensor in zip(node.outputs, node.get_attr("hw").outputs, strict=True):
            node.get_output_variable(name).pragma = ("stream", node.get_attr("streams")[tensor].depth)


def register_templates(backends: Sequence[str]) -> None:
    """Enter templates, headers and the pass for each backend; repeating it changes nothing."""
    known = set(get_available_passes())
    for name in backends:
        backend = get_backend(name)
        for template in (AttnConfigTemplate, AttnFunctionTemplate):
            if f"{name.lower()}:{template().get_name()}" not in known:
                backend.register_template(template)
        for header in header_files():
            backend.register_source(header)  # each backend copies only its own
    if f"vivado:{_SCHEDULE_PASS}" not in known:
        # Vitis runs Vivado's flow of that name; appended, so it comes after hls4ml's own choice of a style.
        update_flow(
            "vivado:specific_types", add_optimizers=[register_pass(_SCHEDULE_PASS, SchedulePass, backend="vivado")]
        )
