# SPDX-License-Identifier: Apache-2.0
"""How samples cross the AXI4-Stream ports of a kernel: words of 32 bits, rows of codes (hls/nnet/attn_axis.h)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.design import Design
from hls4attn.hls.limits import MAX_WORD
from hls4attn.hls.stream.iterations import Times, ceil_div
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed

#: Bits of a word.
WORD_BITS = 32


@dataclass(frozen=True)
class PortRows:
    """How a sample crosses an adaptor; `axis_sizes` in hls/nnet/attn_axis.h.

    Attributes:
        rows: of a sample.
        channels: codes of a row.
        bits: of a code on the port: 8, 16 or 32.
    """

    rows: int
    channels: int
    bits: int

    @property
    def lanes(self) -> int:
        """Codes of a word."""
        return WORD_BITS // self.bits

    @property
    def words(self) -> int:
        """Words of a sample."""
        return ceil_div(self.rows * self.channels, self.lanes)

    @property
    def unpack_steps(self) -> int:
        """Iterations a sample, a row or a word each, whichever are more."""
        return self.words if self.channels >= self.lanes else self.rows

    @property
    def pack_steps(self) -> int:
        """The same; one more if the last row fills a word and begins another."""
        if self.channels >= self.lanes:
            return self.words
        return self.rows + self.words - (self.rows - 1) * self.channels // self.lanes - 1

    def word_read(self) -> Times:
        """The iteration of unpacking that reads each word."""
        word = np.arange(self.words)
        return word if self.channels >= self.lanes else word * self.lanes // self.channels

    def row_written(self) -> Times:
        """The iteration of unpacking that writes each row."""
        row = np.arange(self.rows)
        return -(-(row + 1) * self.channels // self.lanes) - 1 if self.channels >= self.lanes else row

    def row_read(self) -> Times:
        """The iteration of packing that reads each row."""
        row = np.arange(self.rows)
        return row * self.channels // self.lanes if self.channels >= self.lanes else row


def code_bits(fmt: Fixed, where: str) -> int:
    """Bits of a code on the port: 8, 16 or 32.

    Raises:
        UnsupportedError: for wider codes.
    """
    bits = next((b for b in (8, 16, 32) if b >= fmt.width), 0)
    if not bits:
        raise UnsupportedError(
            f"{where}: the stream carries codes of up to 32 bits. Received: {fmt}. Requantise this port of the model"
        )
    return bits


def port_rows(design: Design) -> tuple[PortRows, PortRows]:
    """How samples cross the adaptors of a design, in and out."""
    tensors = design.input, design.output_tensor
    bits = [code_bits(t.format, t.name) for t in tensors]
    if design.io_type == "io_stream":
        streams = design.input_stream, design.output_stream
        found = [PortRows(s.rows, s.channels, b) for s, b in zip(streams, bits, strict=True)]
    else:
        found = [_array_rows(prod(t.shape), b) for t, b in zip(tensors, bits, strict=True)]
    return found[0], found[1]


def _array_rows(elements: int, bits: int) -> PortRows:
    """An array in rows: the shortest that fill a word, so that a word a cycle passes."""
    lanes = WORD_BITS // bits
    divisors = [n for n in range(1, elements + 1) if elements % n == 0]
    full = [n for n in divisors if lanes <= n <= MAX_WORD // bits]
    channels = full[0] if full else max(n for n in divisors if n <= lanes)
    return PortRows(elements // channels, channels, bits)


def split_packets(words: NDArray[np.uint32], ends: NDArray[np.uint8]) -> list[bytes]:
    """Words as packets, which end where TLAST is set; words behind the last of these are one more."""
    edges = [0, *(np.flatnonzero(ends) + 1).tolist()]
    if edges[-1] != len(words):
        edges.append(len(words))
    return [words[a:b].tobytes() for a, b in pairwise(edges)]
