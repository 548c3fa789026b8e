# SPDX-License-Identifier: Apache-2.0
"""The RTL of a transpose between streams."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.limits import COMPLETE_PARTITION
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph

_SIZES = ("in_rows", "in_channels", "out_rows", "out_channels", "n1", "n2", "n3", "s0", "s1", "s2", "s3")


def kernel(node: HwNode, graph: Graph, dsp: bool) -> RtlKernel:
    """The module of an `AttnPermute`.

    Args:
        node: the node.
        graph: not needed.
        dsp: not needed: nothing is multiplied.

    Raises:
        UnsupportedError: for one that also computes, or of more elements than its registers hold.
    """
    del graph, dsp
    before, after, ints = node.in_formats[0], node.format, node.ints
    same = (before.width, before.frac, before.signed) == (after.width, after.frac, after.signed)
    if not same or before.min < after.min or node.roms or ints.get("relu"):
        raise UnsupportedError(
            f"{node.name}: a transpose in RTL moves codes and nothing else, but this one goes from {before} to "
            f"{after}{' with constants' if node.roms else ''}; compute in the node behind it, or build it by HLS"
        )
    elements = ints["in_rows"] * ints["in_channels"]
    if elements > COMPLETE_PARTITION:
        raise UnsupportedError(
            f"{node.name}: a transpose in RTL holds {COMPLETE_PARTITION} elements or less. Received: {elements}; "
            "reshape instead, or build it by HLS with io_type='io_parallel'"
        )
    return RtlKernel(
        module="net_permute",
        files=("net/net_permute.sv",),
        inputs=(ints["in_channels"] * before.width,),
        output=ints["out_channels"] * after.width,
        parameters={"WIDTH": after.width} | {name.upper(): ints[name] for name in _SIZES if name in ints},
    )
