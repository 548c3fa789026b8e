# SPDX-License-Identifier: Apache-2.0
"""The RTL module of a hardware node: which one, with which constants and table contents.

Modules hand rows to each other, a word each: element 0 in the low bits, every element as wide as its format::

    s0_tdata, s0_tlast (, s1_ ..., s2_ ...) --> net_<name> --> m_tdata, m_tlast        TLAST ends a sequence

No output of one side answers an input of the other within a clock.  A fork has a bit of ``m_tvalid`` and of
``m_tready`` for each copy.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.unit import Rom
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph

#: Module that builds the kernel of a hardware operator; each has a function `kernel`.
_MODULES = {
    "AttnDense": "dense",
    "AttnAffine": "elementwise",
    "AttnAdd": "elementwise",
    "AttnMultiply": "elementwise",
    "AttnReduceSum": "reduce",
    "AttnAILayerNorm": "norm",
    "AttnIntegerLayerNorm": "norm",
    "AttnPermute": "permute",
    "AttnFork": "fork",
    "AttnAttentionConSmax": "attention",
    "AttnAttentionConSmaxSplit": "attention",
    "AttnAttentionSoftmax": "attention",
    "AttnAttentionE2Softmax": "attention",
    "AttnAttentionE2Context": "attention",
}


@dataclass(frozen=True, eq=False)
class RtlKernel:
    """A module between streams of rows, complete with what has to be filled in.

    Attributes:
        module: its name.
        files: paths of its sources below `rtl_dir`.
        parameters: integer parameters.
        roms: table contents, by the name of the string parameter that takes the file's name.
        inputs: bits of a row of each input.
        output: bits of a row of the output.
        copies: output streams; more than one for a fork only.
    """

    module: str
    files: tuple[str, ...]
    inputs: tuple[int, ...]
    output: int
    parameters: Mapping[str, int] = field(default_factory=dict)
    roms: Mapping[str, Rom] = field(default_factory=dict)
    copies: int = 1


def rtl_kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """The module of a node of an io_stream design.

    Args:
        node: the node, scheduled.
        graph: the typed graph that it was lowered from: it has the operators' specs.
        dsp: whether its wide products may take DSP blocks; else they are built from LUTs.

    Raises:
        UnsupportedError: for a node, or a choice for one, that has no module.
    """
    if node.op not in _MODULES:
        raise UnsupportedError(
            f"{node.name}: no RTL for {node.op}; there is RTL for {', '.join(sorted(_MODULES))}: build it by HLS"
        )
    module = importlib.import_module(f"hls4attn.hls.rtl.net.{_MODULES[node.op]}")
    found: RtlKernel = module.kernel(node, graph, dsp)
    return found


def spec_of(node: HwNode, graph: Graph) -> Any:
    """The spec of the score function, norm or context that a node was made from.

    Raises:
        UnsupportedError: if it has none.
    """
    for source in (n for n in graph.nodes if n.name in node.sources):
        for spec in (source.spec, source.norm, source.context, source.cells):
            if spec is not None:
                return spec
    raise UnsupportedError(f"{node.name}: no operator of the model belongs to it")
