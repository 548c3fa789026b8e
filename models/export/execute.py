# SPDX-License-Identifier: Apache-2.0
"""The reference for a whole model: a typed graph executed in int64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.formats import Codes, shift_round

#: Samples, and elements of the input, computed at a time: bounds memory, has no effect on results.
CHUNK, CHUNK_ELEMENTS = 500, 1 << 18


def quantise_input(graph: Graph, batch: ArrayLike) -> Codes:
    """Input codes of real input values.

    Raises:
        InputError: for a wrong shape or dtype, an empty batch, NaN or infinity.
    """
    return graph.input.format.quantise(check_values(graph, batch))


def check_values(graph: Graph, batch: ArrayLike) -> np.ndarray:
    """Real input values as an array.

    Raises:
        InputError: for a wrong shape or dtype, an empty batch, NaN or infinity.
    """
    a = np.asarray(batch)
    _check_batch(graph, a, "fiu", "numbers")
    if a.dtype.kind == "f" and not np.all(np.isfinite(a)):
        raise InputError(f"Input batch holds {np.count_nonzero(~np.isfinite(a))} values that are NaN or infinite")
    return a


def _check_batch(graph: Graph, a: np.ndarray, kinds: str, what: str) -> None:
    if a.dtype.kind not in kinds:
        raise InputError(f"Input must hold {what}. Received: dtype={a.dtype}")
    if a.ndim == 0 or a.shape[1:] != graph.input.shape or len(a) == 0:
        expected = ("batch >= 1", *graph.input.shape)
        raise InputError(f"Input must have shape ({', '.join(map(str, expected))}). Received: {a.shape}")


def chunk_size(source: Tensor) -> int:
    """How many samples of a graph's input are computed at a time."""
    return min(max(CHUNK_ELEMENTS // prod(source.shape), 1), CHUNK)


class Reference:
    """Executes a typed graph on integer codes.

    Args:
        graph: the graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, codes: ArrayLike) -> Codes:
        """Output codes, shape ``(batch, *output.shape)``, for input codes ``(batch, *input.shape)``.

        Raises:
            InputError: for a wrong shape or dtype, or codes outside the input format.
        """
        return np.concatenate([values[self.graph.output.name] for values in self._chunks(codes, False)])

    def trace(self, codes: ArrayLike) -> dict[str, Codes]:
        """Codes of every activation, by tensor name."""
        parts = list(self._chunks(codes, True))
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def saturations(self, codes: ArrayLike) -> dict[str, tuple[int, int]]:
        """For each operator of our own: results limited to the output range, and all results."""
        found: dict[str, tuple[int, int]] = {}
        for values in self._chunks(codes, True):
            for node in self.graph.nodes:
                operator = node.spec or node.context or node.norm or node.cells
                if operator is not None:
                    limited, total = found.get(node.output, (0, 0))
                    limited += operator.saturations(*(values[n] for n in node.inputs))
                    found[node.output] = (limited, total + values[node.output].size)
        return found

    def _chunks(self, codes: ArrayLike, keep: bool) -> Iterator[dict[str, Codes]]:
        a = np.asarray(codes)
        _check_batch(self.graph, a, "iu", "integer codes")
        fmt = self.graph.input.format
        if not fmt.contains(a):
            raise InputError(
                f"Input codes must be within [{fmt.min}, {fmt.max}] ({fmt}). Received: [{a.min()}, {a.max()}]"
            )
        step = chunk_size(self.graph.input)
        for start in range(0, len(a), step):
            yield self._run_chunk(a[start : start + step].astype(np.int64), keep)

    def _run_chunk(self, codes: Codes, keep: bool) -> dict[str, Codes]:
        graph = self.graph
        values = {graph.input.name: codes}
        last_use = {name: users[-1] for name, users in graph.consumers.items()}
        for node in graph.nodes:
            operands = [_codes_of(graph.tensors[n], values) for n in node.inputs]
            values[node.output] = _OPERATIONS[node.op](graph, node, *operands)
            if not keep:
                for name in node.inputs:
                    if last_use[name] is node and name != graph.output.name:
                        values.pop(name, None)
        return values


def _codes_of(tensor: Tensor, values: dict[str, Codes]) -> Codes:
    return tensor.codes if isinstance(tensor, Constant) else values[tensor.name]


def _quant(graph: Graph, node: Node, x: Codes) -> Codes:
    return graph.tensors[node.output].format.requantise(x, graph.tensors[node.inputs[0]].format.frac)


def _matmul(graph: Graph, node: Node, a: Codes, b: Codes) -> Codes:
    """Sums of products; the inferred format proves that float64 (and so a fast BLAS) holds every partial sum."""
    if graph.tensors[node.output].format.width <= 53:
        return cast(Codes, np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64))
    return cast(Codes, np.matmul(a, b))


def _add(graph: Graph, node: Node, a: Codes, b: Codes) -> Codes:
    frac = graph.tensors[node.output].format.frac
    x, y = (shift_round(v, graph.tensors[n].format.frac - frac) for v, n in zip((a, b), node.inputs, strict=True))
    return cast(Codes, x + y)


#: What is done to codes as to any other numbers; arguments: graph, node, operands.
PLAIN: dict[str, Callable[..., Any]] = {
    "Mul": lambda graph, node, a, b: a * b,
    "Relu": lambda graph, node, x: np.maximum(x, 0),
    "Transpose": lambda graph, node, x: x.transpose(0, *(p + 1 for p in node.permutation)),
    "Reshape": lambda graph, node, x: x.reshape(len(x), *graph.tensors[node.output].shape),
    "ReduceSum": lambda graph, node, x: x.sum(axis=tuple(a + 1 for a in node.axes)),
}


def _reference(graph: Graph, node: Node, *operands: Codes) -> Codes:
    return cast(Codes, node.carried.reference(*operands))


_OPERATIONS: dict[str, Callable[..., Codes]] = {
    **PLAIN,
    **dict.fromkeys(("Score", "Context", "Norm", "Cells"), _reference),
    "Quant": _quant,
    "MatMul": _matmul,
    "Add": _add,
}


def random_codes(tensor: Tensor, samples: int, seed: int) -> Codes:
    """Uniform codes of a tensor's format, the first rows being corners: all minimum, all maximum, all zero."""
    rng = np.random.default_rng(seed)
    codes: Codes = rng.integers(
        tensor.format.min, tensor.format.max, (samples, *tensor.shape), dtype=np.int64, endpoint=True
    )
    corners = (tensor.format.min, tensor.format.max, 0)
    for row, value in zip(range(samples), corners, strict=False):
        codes[row] = value
    if samples > 3:
        flat = np.arange(prod(tensor.shape)) % 2
        codes[3] = np.where(flat, tensor.format.min, tensor.format.max).reshape(tensor.shape)
    return codes
