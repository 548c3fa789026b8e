# SPDX-License-Identifier: Apache-2.0
"""The RTL kernel of a sum over the rows of a sequence."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.net.elementwise import LANE_FILES, by_lanes
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.models.export.graph import Graph


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """`net_reduce` for a node.

    Args:
        node: the node with its lanes.
        graph: not needed.
        dsp: whether a factor of the tail takes DSP blocks.
    """
    del graph
    source, channels = node.in_formats[0], node.ints["channels"]
    parameters, roms = by_lanes(node, 1, dsp)
    return RtlKernel(
        module="net_reduce",
        files=("net/net_reduce.sv", *LANE_FILES),
        parameters=parameters | {"IN_W": source.width, "IN_SIGNED": int(source.signed)},
        roms=roms,
        inputs=(channels * source.width,),
        output=channels * node.format.width,
    )
