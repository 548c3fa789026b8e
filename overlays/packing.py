# SPDX-License-Identifier: Apache-2.0
"""Integer codes to stream bytes and back, exactly; anything that does not fit is refused, never wrapped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import InputError
from hls4attn.models.formats import Codes
from hls4attn.overlays.ports import StreamPort


def pack(codes: ArrayLike, port: StreamPort) -> NDArray[np.uint8]:
    """Stream bytes of a batch of samples.

    Args:
        codes: integer codes of shape ``(N, *port.shape)``.
        port: their format and layout.

    Returns:
        A new contiguous array of shape ``(N, port.sample_bytes)``, padding zero.

    Raises:
        InputError: for another shape, no samples, a dtype that is not integer, or a code outside the
            format, naming its index, its value and the range.
    """
    batch = check_batch(codes, port)
    if batch.dtype.kind not in "iu":
        raise InputError(f"Codes must be integers. Received: dtype {batch.dtype}")
    check_range(batch, port)
    packed = np.zeros((len(batch), port.sample_bytes), dtype=np.uint8)
    used = port.sample_bytes - port.pad_bytes
    packed[:, :used] = batch.astype(port.dtype).reshape(len(batch), -1).view(np.uint8)
    return packed


def unpack(data: NDArray[np.uint8] | bytes, port: StreamPort) -> Codes:
    """The inverse of `pack`: int64 codes of shape ``(N, *port.shape)``.

    Args:
        data: whole samples as bytes, in an array of any shape or a bytes object.
        port: their format and layout.

    Raises:
        InputError: for a fraction of a sample, padding that is not zero, or a code outside the format.
    """
    flat = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else np.asarray(data)
    if flat.dtype != np.uint8:
        raise InputError(f"Stream bytes must be uint8. Received: dtype {flat.dtype}")
    if flat.size % port.sample_bytes:
        raise InputError(f"A sample takes {port.sample_bytes} bytes; {flat.size} are not a whole number of them")
    rows = np.ascontiguousarray(flat).reshape(-1, port.sample_bytes)
    used = port.sample_bytes - port.pad_bytes
    if rows[:, used:].any():
        row = int(np.flatnonzero(rows[:, used:].any(axis=1))[0])
        raise InputError(f"Padding of sample {row} is not zero: the stream is misaligned or not of this model")
    codes = np.ascontiguousarray(rows[:, :used]).view(port.dtype).astype(np.int64)
    codes = codes.reshape(-1, *port.shape)
    check_range(codes, port)
    return codes


def check_batch(values: ArrayLike, port: StreamPort) -> NDArray[Any]:
    """`values` as an array, if it is a batch of at least one sample.

    Raises:
        InputError: for another shape, a ragged list, or an empty batch.
    """
    try:
        batch = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InputError(f"Not an array: {error}") from error
    if batch.shape[1:] != port.shape or batch.ndim != len(port.shape) + 1:
        hint = f"; add a batch axis: batch[None] has shape {(1, *port.shape)}" if batch.shape == port.shape else ""
        raise InputError(f"Expected shape (N, {', '.join(map(str, port.shape))}). Received: {batch.shape}{hint}")
    if len(batch) == 0:
        raise InputError(f"The batch is empty. Received: shape {batch.shape}")
    return batch


def check_range(codes: NDArray[Any], port: StreamPort) -> None:
    """Refuse codes outside the format of `port`.

    Raises:
        InputError: naming the index and value of the first one, how many there are, and the range.
    """
    low, high = port.format.min, port.format.max
    if codes.size == 0 or (int(codes.min()) >= low and int(codes.max()) <= high):
        return
    # numpy 1.x promotes int64 with uint64 to float64: compare in the array's own type, clipped to it
    limits = np.iinfo(codes.dtype)
    outside = (codes < max(low, limits.min)) | (codes > min(high, limits.max))
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    raise InputError(
        f"Code {int(codes[index])} at index {index} is outside {low}..{high} of {port.format} "
        f"({int(np.count_nonzero(outside))} of {codes.size} codes are)"
    )
