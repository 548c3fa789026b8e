# SPDX-License-Identifier: Apache-2.0
"""Rearranged tensors as index arrays: where each element of an ONNX tensor lies in the tensor it was made from.

Reshape, Transpose, Flatten, Squeeze, Unsqueeze, Split, Slice and Gather only move elements.  An index array keeps what
any chain of them did; at the end it becomes at most one Reshape, Transpose and Reshape, and a choice of columns.
The batch may lie on any axis in between (PyTorch's attention keeps it second, or merges it with the heads).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError

Index = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Where the batch lies: it is the leading factor of `axis`, of which `rest` elements a sample remain."""

    axis: int
    rest: int

    def sample_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's part of a tensor; the batch axis vanishes if nothing else lies on it."""
        return (*shape[: self.axis], *((self.rest,) if self.rest != 1 else ()), *shape[self.axis + 1 :])


def whole(shape: Shape, batch: int) -> Index:
    """The index array of a tensor as it is, batch first."""
    return np.arange(batch * prod(shape), dtype=np.int64).reshape(batch, *shape)


def find_frame(index: Index, size: int, batch: int, where: str) -> Frame:
    """Where the batch lies in a tensor made from one of `size` elements a sample.

    Raises:
        UnsupportedError: if samples are mixed.
    """
    if index.ndim == 0:
        raise UnsupportedError(f"{where}: a single number for the whole batch; keep the batch axis")
    if batch == 1:
        return Frame(0, index.shape[0])
    sample = index // size
    for axis, length in enumerate(index.shape):
        rest = length // batch
        expected = (np.arange(length) // rest if rest else np.zeros(length)).reshape(-1, *[1] * (index.ndim - axis - 1))
        if rest * batch == length and np.array_equal(sample, np.broadcast_to(expected, index.shape)):
            return Frame(axis, rest)
    raise UnsupportedError(
        f"{where}: the batch is mixed with other axes (shape {index.shape} for a batch of {batch}); every sample must "
        "be computed alone"
    )


def sample_index(index: Index, size: int, batch: int, frame: Frame, where: str) -> Index:
    """The index array of one sample, of shape `Frame.sample_shape`."""
    before, after = index.shape[: frame.axis], index.shape[frame.axis + 1 :]
    parts = np.moveaxis(index.reshape(*before, batch, frame.rest, *after), frame.axis, 0)
    offsets = (np.arange(batch) * size).reshape(-1, *[1] * (parts.ndim - 1))
    if not np.array_equal(parts, parts[:1] + offsets):
        raise UnsupportedError(f"{where}: samples of the batch are arranged differently; export with a batch of 1")
    return np.asarray(parts[0].reshape(frame.sample_shape(index.shape)))


def restored(shape: Shape, frame: Frame, batch: int) -> Index:
    """The index array of an ONNX tensor of that shape over a new tensor of the sample shape, batch first."""
    before, after = shape[: frame.axis], shape[frame.axis + 1 :]
    parts = np.arange(prod(shape), dtype=np.int64).reshape(batch, *before, frame.rest, *after)
    return np.moveaxis(parts, 0, frame.axis).reshape(shape)


@dataclass(frozen=True)
class Moves:
    """Reshape, Transpose and Reshape that give a view; a step that would do nothing is None."""

    split: Shape | None
    permutation: tuple[int, ...] | None
    merge: Shape | None


def moves(index: Index, base: Shape) -> Moves | None:
    """The moves that make a sample's view of all elements of `base`; None if there are no such moves."""
    flat = index.ravel()
    if np.array_equal(flat, np.arange(prod(base))):
        return Moves(None, None, index.shape if index.shape != base else None)
    factors = _factors(index)
    if factors is None:
        return None
    order = sorted(range(len(factors)), key=lambda i: -factors[i][1])
    dims = tuple(factors[i][0] for i in order)
    expected = [prod(dims[n + 1 :]) for n in range(len(dims))]
    if [factors[i][1] for i in order] != expected or prod(dims) != prod(base):
        return None
    permutation = tuple(order.index(i) for i in range(len(factors)))
    arranged = tuple(dims[p] for p in permutation)
    return Moves(
        dims if dims != base else None,
        permutation if permutation != tuple(range(len(dims))) else None,
        index.shape if index.shape != arranged else None,
    )


def _factors(index: Index) -> list[tuple[int, int]] | None:
    """Length and stride of every factor of every axis, in the view's order."""
    if index.size == 0 or int(index.min()) != 0:
        return None
    found: list[tuple[int, int]] = []
    total: Index = np.zeros((), dtype=np.int64)
    for axis in range(index.ndim):
        along = index[tuple(slice(None) if a == axis else 0 for a in range(index.ndim))]
        factors = _radix(along - along[0])
        if factors is None:
            return None
        found += factors
        total = total + (along - along[0]).reshape(-1, *[1] * (index.ndim - axis - 1))
    return found if np.array_equal(np.broadcast_to(total, index.shape), index) else None


def _radix(offsets: Index) -> list[tuple[int, int]] | None:
    """Offsets along an axis as a mixed-radix count: (length, stride), outermost first."""
    found: list[tuple[int, int]] = []
    while len(offsets) > 1:
        stride = int(offsets[1])
        wrong = np.flatnonzero(offsets != stride * np.arange(len(offsets)))
        run = int(wrong[0]) if wrong.size else len(offsets)
        while len(offsets) % run:
            run -= 1
        outer = offsets[::run]
        if run < 2 or not np.array_equal(offsets.reshape(-1, run), outer[:, None] + stride * np.arange(run)):
            return None
        found.insert(0, (run, stride))
        offsets = outer
    return found
