# SPDX-License-Identifier: Apache-2.0
"""The streams of a network in RTL: how wide a row is, and how many rows wait."""

from __future__ import annotations

from hls4attn.hls.design import Design
from hls4attn.hls.stream.cycles import is_attention
from hls4attn.models.formats import Fixed

#: Kernels whose rows come and go by way of registers of their own, those of attention apart; which take two at once.
_PAIRS = ("AttnAdd", "AttnMultiply")
_REGISTERED = ("AttnDense", "AttnAffine", "AttnReduceSum", *_PAIRS)
#: Depth of a stream that has nothing to keep.
_NO_ROOM = 2


def stream_widths(design: Design) -> dict[str, int]:
    """Bits of a row of each stream, TLAST not counted."""
    formats: dict[str, Fixed] = {design.input.name: design.input.format}
    for node in design.nodes:
        formats |= dict.fromkeys(node.outputs, node.format)
    return {name: formats[name].width * s.channels for name, s in design.streams.items()}


def stream_depths(design: Design) -> dict[str, int]:
    """Words of each stream's FIFO; 0 for none.

    A fork has no FIFO in front of it: its copies hold what that would, in FIFOs that are so much deeper.  Nor is there
    one where nothing has to wait but a row that its writer holds anyway: between two kernels with registers on both
    sides.
    """
    depths = {name: s.depth for name, s in design.streams.items()}
    direct = _direct(design)
    for node in design.nodes:
        if node.copies:
            for name in node.copies:
                depths[name] += depths[node.inputs[0]]
            depths[node.inputs[0]] = 0
    return depths | dict.fromkeys(direct, 0)


def _direct(design: Design) -> set[str]:
    """Streams without a FIFO between writer and reader: both have registers, and the depth is the least that there is.

    Whoever waits for two rows at once answers one input as the other says, so it may not stand behind a fork.
    """
    writers = {name: n for n in design.nodes for name in n.outputs}
    readers = {name: n for n in design.nodes for name in n.inputs}
    found = set()
    for name, stream in design.streams.items():
        writer, reader = writers.get(name), readers.get(name)
        forked = writer is not None and bool(writer.copies)
        while writer is not None and writer.copies:
            writer = writers.get(writer.inputs[0])
        if (
            writer is None
            or reader is None
            or stream.depth > _NO_ROOM
            or not (is_attention(writer) or writer.op in _REGISTERED)
        ):
            continue
        if (is_attention(reader) or reader.op in _REGISTERED) and not (forked and reader.op in _PAIRS):
            found.add(name)
    return found
