# SPDX-License-Identifier: Apache-2.0
"""Samples as words of an AXI4-Stream: what the adaptors of a network expect, in NumPy and as their parameters.

    code c of a sample: bits  BITS (c mod L) .. BITS (c mod L + 1) - 1  of word floor(c / L),  L = 32 / BITS

A sample begins with a word.  Where a sequence may be shorter than the network's longest, the end of a packet says so:
the sequence has as many rows as are whole by then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.design import Design
from hls4attn.hls.stream.iterations import ceil_div
from hls4attn.hls.stream.ports import PortRows
from hls4attn.models.errors import InputError
from hls4attn.models.formats import Codes, Fixed


def shorter(design: Design) -> bool:
    """Whether the end of a packet can end a sequence early: its tokens must be the rows of the input port."""
    return design.any_length and design.input_stream.tokens


def to_words(codes: ArrayLike, port: PortRows) -> Codes:
    """Samples as words.

    Args:
        codes: shape ``(samples, ...)``.
        port: how a sample crosses the port.

    Returns:
        Words of 32 bits, shape ``(samples, port.words)``; zero bits behind the last code.
    """
    flat = np.asarray(codes, dtype=np.int64).reshape(len(np.asarray(codes)), -1) & ((1 << port.bits) - 1)
    padded = np.zeros((len(flat), port.words * port.lanes), dtype=np.int64)
    padded[:, : flat.shape[1]] = flat
    places = np.arange(port.lanes, dtype=np.int64) * port.bits
    return np.bitwise_or.reduce(padded.reshape(len(flat), port.words, port.lanes) << places, axis=2)


def from_words(words: Codes, port: PortRows, fmt: Fixed) -> Codes:
    """The inverse: codes, shape ``(samples, port.rows * port.channels)``."""
    places = np.arange(port.lanes, dtype=np.int64) * port.bits
    codes = (words[:, :, None] >> places & ((1 << port.bits) - 1)).reshape(len(words), -1)
    if fmt.signed:
        codes -= codes >> (port.bits - 1) << port.bits
    return codes[:, : port.rows * port.channels]


def sample_words(rows: Codes, port: PortRows) -> Codes:
    """Words of samples with so many rows each."""
    return -(-rows * port.channels // port.lanes)


def check_lengths(lengths: Codes, port: PortRows, name: str) -> None:
    """Refuse lengths that the end of a packet cannot say: whole words may hold more rows.

    Raises:
        InputError: naming the length.
    """
    held = np.minimum(sample_words(lengths, port) * port.lanes // port.channels, port.rows)
    wrong = lengths[held != lengths]
    if wrong.size:
        raise InputError(
            f"{name}: {ceil_div(int(wrong[0]) * port.channels, port.lanes)} words hold more rows of {port.channels} "
            f"codes than {int(wrong[0])}, and the end of a packet does not say which; choose a length that fills "
            "its words"
        )
