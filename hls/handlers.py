# SPDX-License-Identifier: Apache-2.0
"""hls4ml's ONNX front end: lowered nodes -> layers."""

from __future__ import annotations

from typing import Any

import onnx
from hls4ml.converters.onnx_to_hls import layer_handlers, register_onnx_layer_handler

from hls4attn.hls.design import KERNELS
from hls4attn.hls.hwfile import read_node, read_streams
from hls4attn.models.errors import ToolError


def parse_hw_node(
    node: onnx.NodeProto, input_names: list[str], input_shapes: list[list[int]], graph: onnx.GraphProto
) -> dict[str, Any]:
    """A layer description of a lowered node.

    hls4ml looks handlers up by operator name alone; reading the node checks its domain.
    """
    return {
        "class_name": node.op_type,
        "name": node.name,
        "inputs": input_names,
        "outputs": list(node.output),
        "hw": read_node(node),
        "streams": read_streams(node),
    }


def register_handlers() -> None:
    """Enter the handler for every lowered operator.

    Raises:
        ToolError: if another package took an operator name.
    """
    for op in KERNELS:
        taken = layer_handlers.get(op)
        if taken is None:
            register_onnx_layer_handler(op, parse_hw_node)
        elif taken is not parse_hw_node:
            raise ToolError(f"hls4ml has another ONNX handler for {op!r}; two plug-ins collide")
