# SPDX-License-Identifier: Apache-2.0
"""hls4ml layer classes, one for each hardware operator."""

from __future__ import annotations

from typing import Any, ClassVar

from hls4ml.model.attributes import ConfigurableAttribute
from hls4ml.model.layers import Input, Layer, layer_map, register_layer
from hls4ml.model.types import FixedPrecisionType

from hls4attn.hls.design import KERNELS, HwNode, Stream
from hls4attn.hls.emit import OVERFLOW, ROUNDING
from hls4attn.models.errors import ToolError, UnsupportedError
from hls4attn.models.formats import Fixed


def precision_of(fmt: Fixed) -> FixedPrecisionType:
    """hls4ml's description of a format."""
    return FixedPrecisionType(fmt.width, fmt.integer, fmt.signed, ROUNDING[fmt.rounding], OVERFLOW[fmt.overflow])


def format_matches(precision: Any, fmt: Fixed) -> bool:
    """Whether an hls4ml precision is this very format, rounding and overflow included."""
    wanted = precision_of(fmt)
    names = ("width", "integer", "signed", "rounding_mode", "saturation_mode")
    return all(getattr(precision, n, None) == getattr(wanted, n) for n in names)


class AttnLayer(Layer):  # type: ignore[misc]  # hls4ml is untyped
    """A hardware node in hls4ml's graph.

    `hw` holds all that its kernel is compiled with; in io_stream `streams` are the rows that it reads and writes.
    """

    _expected_attributes: ClassVar[list[Any]] = [
        ConfigurableAttribute("reuse_factor", default=1, description="Cycles between two rows.")
    ]

    def initialize(self) -> None:
        """Fix the results' types, and the input port's where this node reads it: neither is left to a default."""
        hw: HwNode = self.get_attr("hw")
        streams: dict[str, Stream] = self.get_attr("streams")
        lowered, io_type = "io_stream" if streams else "io_parallel", self.model.config.get_config_value("IOType")
        if io_type != lowered:
            raise UnsupportedError(
                f"{self.name}: lowered for {lowered}, but hls4ml converts for {io_type}; lower the model for it: "
                f"hls4attn.hls.lower(model, io_type={io_type!r})"
            )
        for name, fmt in zip(self.inputs, hw.in_formats, strict=True):
            variable = self.get_input_variable(name)
            if isinstance(self.get_input_node(name), Input):
                variable.type.precision = precision_of(fmt)
            elif not format_matches(variable.type.precision, fmt):
                raise UnsupportedError(
                    f"{self.name}: reads {name} as {fmt}, but it is {variable.type.precision}; "
                    "convert the lowered model unchanged"
                )
        for copy, (name, tensor) in enumerate(zip(self.outputs, hw.outputs, strict=True)):
            shape = (streams[tensor].rows, streams[tensor].channels) if streams else hw.shape or (1,)
            variable = f"layer{{index}}_out_{copy}" if hw.copies else "layer{index}_out"
            self.add_output_variable(list(shape), name, variable, precision=precision_of(hw.format))


#: Layer classes by operator name.
LAYERS: dict[str, type[AttnLayer]] = {}


def register_layers() -> None:
    """Make a class for every kernel, later ones too, and enter it into hls4ml's registry.

    Raises:
        ToolError: if another package took a name.
    """
    for op, kernel in KERNELS.items():
        cls = LAYERS.setdefault(op, type(op, (AttnLayer,), {"__doc__": f"Kernel {kernel.function}."}))
        if layer_map.get(op, cls) is not cls:
            raise ToolError(f"hls4ml has another layer class named {op!r}; two plug-ins collide")
        register_layer(op, cls)
