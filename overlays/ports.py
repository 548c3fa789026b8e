# SPDX-License-Identifier: Apache-2.0
"""How one sample of a model travels on the AXI stream."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.overlays import strict

STREAM_BYTES = 4  # TDATA of 32 bits on both boards' families
MAX_ELEMENTS = 1 << 24
MAX_RANK = 8


@dataclass(frozen=True)
class StreamPort:
    """Shape and format of one side of a model, and with them its layout on the stream.

    Elements travel in C order as integer codes, little-endian, in 8, 16 or 32 bits each (the fewest that
    hold the format), in two's complement where the format is signed.  Zero bytes fill every sample up to
    a whole number of 4-byte stream words.

    Args:
        shape: of one sample, without the batch axis.
        format: of every element.

    Raises:
        SpecError: for a shape that no sample has.
        UnsupportedError: for a format of more than 32 bits.
    """

    shape: tuple[int, ...]
    format: Fixed

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= MAX_RANK or any(type(n) is not int or n < 1 for n in self.shape):
            raise SpecError(f"A sample has 1 to {MAX_RANK} axes of positive length. Received: shape={self.shape}")
        if prod(self.shape) > MAX_ELEMENTS:
            raise SpecError(f"A sample has at most {MAX_ELEMENTS} elements. Received: shape={self.shape}")
        if self.format.width > 32:
            raise UnsupportedError(
                f"The stream carries codes of up to 32 bits. Received: {self.format}. Requantise this port of the model"
            )

    @property
    def elements(self) -> int:
        """Number of elements of one sample."""
        return prod(self.shape)

    @property
    def element_bits(self) -> int:
        """Bits one element takes on the stream: 8, 16 or 32."""
        return next(bits for bits in (8, 16, 32) if bits >= self.format.width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian integer type of one element."""
        return np.dtype(f"<{'i' if self.format.signed else 'u'}{self.element_bits // 8}")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample on the stream, its padding included."""
        return -(-self.elements * self.element_bits // 8 // STREAM_BYTES) * STREAM_BYTES

    @property
    def pad_bytes(self) -> int:
        """Zero bytes at the end of every sample."""
        return self.sample_bytes - self.elements * self.element_bits // 8

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"shape": list(self.shape), **self.format.to_dict()}

    @classmethod
    def from_dict(cls, data: Any, where: str) -> StreamPort:
        """The inverse of `to_dict`; `where` names the source in errors."""
        data = strict.fields(data, where, {"shape": list, "format": str})
        return cls(tuple(data["shape"]), Fixed.parse(data["format"]))
