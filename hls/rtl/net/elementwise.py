# SPDX-License-Identifier: Apache-2.0
"""The RTL kernels of element-wise nodes: the tail alone, sum and product of two rows."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.layout import carrier
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.hls.rtl.net.tail import TAIL_FILES, tail_constants, tail_of
from hls4attn.hls.rtl.unit import Rom
from hls4attn.hls.stream.iterations import ceil_div
from hls4attn.models.export.graph import Graph

#: What all kernels by lanes have beside their own module.
LANE_FILES = ("net/net_front.sv", "net/net_back.sv", *TAIL_FILES, "op_hold.sv")


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """`net_affine` or `net_binary` for a node.

    Args:
        node: the node with its lanes.
        graph: not needed.
        dsp: whether products take DSP blocks.
    """
    del graph
    ints = node.ints
    channels = ints["channels"]
    parameters, roms = by_lanes(node, ints["rows"], dsp)
    if node.op == "AttnAffine":
        source = node.in_formats[0]
        module = "net_affine"
        # the codes as they are: core_width has two bits at least
        parameters |= {"IN_W": source.width, "IN_SIGNED": int(source.signed)}
    else:
        module = "net_binary"
        parameters["PRODUCT"] = int(node.op == "AttnMultiply")
        for name, fmt in zip("AB", node.in_formats, strict=True):
            parameters |= {f"{name}_W": fmt.width, f"{name}_SIGNED": int(fmt.signed)}
        if node.op == "AttnAdd":
            parameters |= {"A_SHIFT": ints["a_shift"], "B_SHIFT": ints["b_shift"]}
            # an operand may be moved beyond what the sum needs, before its high bits go
            parameters["CORE_W"] = max(
                ints["core_width"],
                *(carrier(f) + ints[f"{n}_shift"] for n, f in zip("ab", node.in_formats, strict=True)),
            )
    return RtlKernel(
        module=module,
        files=(f"net/{module}.sv", *LANE_FILES),
        parameters=parameters,
        roms=roms,
        inputs=tuple(channels * fmt.width for fmt in node.in_formats),
        output=channels * node.format.width,
    )


def by_lanes(node: HwNode, rows: int, dsp: bool) -> tuple[dict[str, int], dict[str, Rom]]:
    """Parameters and tables that all kernels by lanes have.

    Args:
        node: the node with its lanes.
        rows: of the longest sequence of its result.
        dsp: whether products take DSP blocks.
    """
    ints = node.ints
    channels, lanes = ints["channels"], ints["lanes"]
    tail = tail_of(ints, node.roms, node.format)
    parameters, roms = tail_constants(tail, rows, channels, lanes)
    parameters |= {
        "CHANNELS": channels,
        "LANES": lanes,
        "ROWS": rows,
        "STEP_W": max((ceil_div(channels, lanes) - 1).bit_length(), 1),
        "CORE_W": ints["core_width"],
        "DSP": int(dsp),
    }
    return parameters, roms
