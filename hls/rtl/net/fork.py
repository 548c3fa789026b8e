# SPDX-License-Identifier: Apache-2.0
"""The RTL of a stream with several readers."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.models.export.graph import Graph


def kernel(node: HwNode, graph: Graph, dsp: bool) -> RtlKernel:
    """The module of an `AttnFork`: no clock of its own, so it stands between registers.

    Args:
        node: the node.
        graph: not needed.
        dsp: not needed.
    """
    del graph, dsp
    width, copies = node.ints["channels"] * node.format.width, len(node.copies)
    return RtlKernel(
        module="net_fork",
        files=("net/net_fork.sv",),
        inputs=(width,),
        output=width,
        parameters={"WIDTH": width, "COPIES": copies},
        copies=copies,
    )
