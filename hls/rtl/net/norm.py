# SPDX-License-Identifier: Apache-2.0
"""The RTL kernels of normalisations: the streaming units, with rows on both sides."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl import ailayernorm, layernorm
from hls4attn.hls.rtl.net.kernel import RtlKernel, spec_of
from hls4attn.hls.rtl.net.tail import ELEMENT, TAIL_FILES, tail_constants, tail_of
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.hls.stream.iterations import ceil_div, row_interval
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.models.operators import IntegerLayerNormSpec

_FILES = ("net/net_rows.sv", "net/net_turns.sv", "net/net_front.sv", "net/net_back.sv", *TAIL_FILES, "op_hold.sv")
#: Parameters of units whose names a tail has, too; what every kernel gives itself.
_RENAMED = {"SHIFT": "NORM_SHIFT", "SCALED_W": "NORM_SCALED_W", "OUT_W": "CORE_W"}
_OWN = {"USER_W"}


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """`net_layernorm` or `net_ailayernorm` for a node.

    Args:
        node: the node with its lanes: they say how many units take rows in turn.
        graph: has the norm's spec.
        dsp: whether a factor of the tail takes DSP blocks; those of the unit are the tools' choice.

    Raises:
        UnsupportedError: for constants of each element in the tail of several units.
    """
    ints, spec, channels = node.ints, spec_of(node, graph), node.ints["channels"]
    unit = rtl_unit(spec, channels)
    units = units_of(node, spec)
    tail = tail_of(ints, node.roms, node.format)
    if units > 1 and ELEMENT in (tail.scale_by, tail.offset_by):
        raise UnsupportedError(
            f"{node.name}: no RTL for a constant of each element behind {units} units that take rows in turn; "
            f"use layer_reuse_factor = {units * row_interval(node)} for it, or a constant of each channel"
        )
    parameters, roms = tail_constants(tail, ints["rows"], channels, 1)
    parameters |= _parameters(unit) | {"UNITS": units, "ROWS": ints["rows"], "DSP": int(dsp)}
    module = unit.module.replace("op_", "net_")
    return RtlKernel(
        module=module,
        files=(f"net/{module}.sv", *_FILES, *unit.files),
        parameters=parameters,
        roms={**roms, **unit.roms},
        inputs=(channels * unit.in_width,),
        output=channels * node.format.width,
    )


def units_of(node: HwNode, spec: object) -> int:
    """Units that keep a row of `node` every `row_interval` clocks, whatever the row."""
    if isinstance(spec, IntegerLayerNormSpec):
        clocks = layernorm.row_interval(spec, layernorm.most_steps(spec))
    else:
        clocks = max(node.ints["channels"], ailayernorm.ROW_CLOCKS)
    return ceil_div(clocks, row_interval(node))


def _parameters(unit: RtlUnit) -> dict[str, int]:
    return {_RENAMED.get(name, name): value for name, value in unit.parameters.items() if name not in _OWN}
