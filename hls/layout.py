# SPDX-License-Identifier: Apache-2.0
"""Where values lie: strides that stand for transposes, and the members that state operand formats."""

from __future__ import annotations

from math import prod

import numpy as np

from hls4attn.models.export.graph import Graph, Node
from hls4attn.models.formats import Codes, Fixed


def carrier(fmt: Fixed) -> int:
    """Bits of a signed integer that holds every code of a format."""
    return fmt.width + (not fmt.signed)


def strides_of(index: Codes) -> tuple[int, ...] | None:
    """Strides s with ``index[i, j, ...] == i*s0 + j*s1 + ...``, or None if there are none."""
    strides = []
    for axis, length in enumerate(index.shape):
        first = tuple(int(a == axis and length > 1) for a in range(index.ndim))
        strides.append(int(index[first]))
    expected = np.zeros((1,) * index.ndim, dtype=np.int64)
    for axis, (length, stride) in enumerate(zip(index.shape, strides, strict=True)):
        shape = [1] * index.ndim
        shape[axis] = length
        expected = expected + (np.arange(length) * stride).reshape(shape)
    return tuple(strides) if np.array_equal(np.broadcast_to(expected, index.shape), index) else None


def operand_ints(*formats: Fixed) -> dict[str, int]:
    """Configuration members that state the operands' formats."""
    members: dict[str, int] = {}
    for prefix, fmt in zip(("in", "in2", "in3"), formats, strict=False):
        members |= {
            f"{prefix}_width": fmt.width,
            f"{prefix}_frac": fmt.frac,
            f"{prefix}_signed": int(fmt.signed),
        }
    return members


def merge_output(graph: Graph, tensor: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], str, tuple[Node, ...]]:
    """Strides that write a result straight into the layout behind the transposes that follow it.

    Args:
        graph: the typed graph.
        tensor: the result.
        shape: the loops that write it.

    Returns:
        Strides, the typed tensor that then holds the codes, and the nodes that need no code any more.
    """
    index = np.arange(prod(shape)).reshape(graph.tensors[tensor].shape)
    natural = strides_of(index.reshape(shape)) or ()
    best: tuple[tuple[int, ...], str, tuple[Node, ...]] = (natural, tensor, ())
    chain: list[Node] = []
    while tensor != graph.output.name:
        users = graph.consumers.get(tensor, ())
        if len(users) != 1 or users[0].op not in ("Reshape", "Transpose"):
            break
        node, tensor = users[0], users[0].output
        chain.append(node)
        if node.op == "Reshape":
            index = index.reshape(graph.tensors[tensor].shape)
            continue
        index = index.transpose(node.permutation)
        target = np.empty(index.size, dtype=np.int64)
        target[index.ravel()] = np.arange(index.size)
        strides = strides_of(target.reshape(shape))
        if strides is not None:
            best = (strides, tensor, tuple(chain))
    return best
