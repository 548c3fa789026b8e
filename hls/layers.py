# SPDX-License-Identifier: Apache-2.0
"""hls4ml layer classes, one for each hardware operator."""

from __future__ import annotations

from typing import Any, ClassVar

from hls4ml.model.attributes import ConfigurableAttribute
from hls4ml.model.layers import Input, Layer, layer_map, register_layer
from hls4ml.model.types import FixedPrecisionType

from hls4attn.hls.design import KERNELS, HwNode
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
    """A hardware node in hls4ml's graph; `hw` holds all that its kernel is compiled with."""

    _expected_attributes: ClassVar[list[Any]] = [
        ConfigurableAttribute("reuse_factor", default=1, description="Cycles between two rows.")
    ]

    def initialize(self) -> None:
        """Fix the result's type, and the input port's where this node reads it: neither is left to a default."""
        hw: HwNode = self.get_attr("hw")
        for name, fmt in zip(self.inputs, hw.in_formats, strict=True):
            variable = self.get_input_variable(name)
            if isinstance(self.get_input_node(name), Input):
                variable.type.precision = precision_of(fmt)
            elif not format_matches(variable.type.precision, fmt):
                raise UnsupportedError(
                    f"{self.name}: reads {name} as {fmt}, but it is {variable.type.precision}; "
                    "convert the lowered model unchanged"
                )
        self.add_output_variable(list(hw.shape or (1,)), precision=precision_of(hw.format))


#: Layer classes by operator name.
LAYERS: dict[str, type[AttnLayer]] = {
    op: type(op, (AttnLayer,), {"__doc__": f"Kernel {k.function}."}) for op, k in KERNELS.items()
}


def register_layers() -> None:
    """Enter the classes into hls4ml's registry.

    Raises:
        ToolError: if another package took a name.
    """
    for op, cls in LAYERS.items():
        if layer_map.get(op, cls) is not cls:
            raise ToolError(f"hls4ml has another layer class named {op!r}; two plug-ins collide")
        register_layer(op, cls)
