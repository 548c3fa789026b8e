# SPDX-License-Identifier: Apache-2.0
"""The real function that a typed graph stands for: the same nodes in float64, without any rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import InputError
from hls4attn.models.export.execute import PLAIN, check_values, chunk_size
from hls4attn.models.export.graph import Constant, Graph, Node
from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.base import causal_mask
from hls4attn.models.operators.gain_scaling import Scalers


class RealReference:
    """Executes a typed graph with real arithmetic.

    Constants have the value of their stored codes, so that only what the design does to activations is left out:

    * a quantiser does not round;
    * scores, contexts and normalisations are their spec's `real`, with the causal mask where there is one;
    * gain cells are their float model without quantisers, in units of a tile's code; the ends of their pulses and
      voltages stay, since these belong to the function.

    Limits are kept by default: what the integers limit to a range is limited to it here, too.  A model that is trained
    with its quantisers is trained with these limits, and an unsigned quantiser is often the only rectifier in a file.
    So a limited value is no error here; whoever shows errors shows the number of limited values beside them.

    Two comparisons with the integers are offered.  `trace` of the same input shows errors with everything that they
    grew out of.  `own` takes the integer operands of each node, so that what is left arose in that node.

    Args:
        graph: the graph.
        limits: False leaves all limits out but the zero of unsigned quantisers.
    """

    def __init__(self, graph: Graph, limits: bool = True) -> None:
        self.graph = graph
        self.limits = limits

    def run(self, values: ArrayLike) -> Reals:
        """Output values, shape ``(batch, *output.shape)``, for real inputs ``(batch, *input.shape)``.

        Raises:
            InputError: for a wrong shape or dtype, NaN or infinity.
        """
        return np.concatenate([found[self.graph.output.name] for found in self._chunks(values, False)])

    def trace(self, values: ArrayLike) -> dict[str, Reals]:
        """Values of every activation, the input included, by tensor name.

        Raises:
            InputError: for a wrong shape or dtype, NaN or infinity.
        """
        parts = list(self._chunks(values, True))
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def own(self, codes: Mapping[str, Codes]) -> dict[str, Reals]:
        """The real function of each node, of the values that its integer operands have.

        Args:
            codes: of every activation, as `Reference.trace` gives them.

        Returns:
            By the name of a node's output.  For nodes that do not round, these are the integers' own values.

        Raises:
            InputError: if an activation is missing.
        """
        tensors = self.graph.tensors
        found = {}
        for node in self.graph.nodes:
            missing = [n for n in node.inputs if n not in codes and not isinstance(tensors[n], Constant)]
            if missing:
                raise InputError(f"{node.name}: the trace has no codes of its operand {missing[0]!r}")
            operands = {n: tensors[n].format.to_real(codes[n]) for n in node.inputs if n in codes}
            found[node.output] = self._apply(node, operands)
        return found

    def _chunks(self, values: ArrayLike, keep: bool) -> Iterator[dict[str, Reals]]:
        a = check_values(self.graph, values)
        step = chunk_size(self.graph.input)
        for start in range(0, len(a), step):
            yield self._run_chunk(a[start : start + step].astype(np.float64), keep)

    def _run_chunk(self, values: Reals, keep: bool) -> dict[str, Reals]:
        graph = self.graph
        found = {graph.input.name: values}
        last_use = {name: users[-1] for name, users in graph.consumers.items()}
        for node in graph.nodes:
            found[node.output] = self._apply(node, found)
            if not keep:
                for name in node.inputs:
                    if last_use[name] is node and name != graph.output.name:
                        found.pop(name, None)
        return found

    def _apply(self, node: Node, values: Mapping[str, Reals]) -> Reals:
        operands = []
        for name in node.inputs:
            tensor = self.graph.tensors[name]
            operands.append(tensor.format.to_real(tensor.codes) if isinstance(tensor, Constant) else values[name])
        return self._limited(node, _OPERATIONS[node.op](self.graph, node, *operands))

    def _limited(self, node: Node, y: Reals) -> Reals:
        """Within the range of the result, for nodes whose integers are limited to it."""
        fmt = self.graph.tensors[node.output].format
        if node.op == "Quant" and fmt.overflow != "wrap":
            low = fmt.min * fmt.step if self.limits or not fmt.signed else -np.inf
            return np.clip(y, low, fmt.max * fmt.step if self.limits else np.inf)
        if not self.limits:
            return y
        if node.spec is not None:
            top = (1 << node.spec.out_width) - 1
            return np.minimum(y, top * np.reshape(node.spec.output_steps, (-1, 1, 1)))
        return np.clip(y, fmt.min * fmt.step, fmt.max * fmt.step) if node.context or node.norm else y


def _score(graph: Graph, node: Node, x: Reals) -> Reals:
    p = node.carried.real(x)
    return cast(Reals, p * causal_mask(*p.shape[-2:]) if node.carried.causal else p)


def _real(graph: Graph, node: Node, *operands: Reals) -> Reals:
    return cast(Reals, node.carried.real(*operands))


def _cells(graph: Graph, node: Node, q: Reals, k: Reals, v: Reals) -> Reals:
    return by_codes(node.carried).real(q, k, v, quantised=False)


def by_codes(spec: GainCellSpec) -> GainCellSpec:
    """The same cells with scalers from codes to pulses and voltages, and from a tile's result to its code.

    A typed graph has a model's own scalers in the products before and behind a gain-cell node.
    """

    def heads(value: float) -> tuple[float, ...]:
        return (value,) * spec.heads

    factors = (1 / (spec.q_levels - 1), spec.vdd / (spec.k_levels - 1), spec.vdd / (spec.v_levels - 1))
    q, k, v, o = (heads(a) for a in (*factors, 1 / spec.out_step))
    zero = heads(0.0)
    return replace(spec, scalers=Scalers(q, zero, k, zero, v, zero, o, zero))


_OPERATIONS: dict[str, Callable[..., Reals]] = {
    **PLAIN,
    "Quant": lambda graph, node, x: x,
    "MatMul": lambda graph, node, a, b: a @ b,
    "Add": lambda graph, node, a, b: a + b,
    "Score": _score,
    "Context": _real,
    "Norm": _real,
    "Cells": _cells,
}
