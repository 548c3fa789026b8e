# SPDX-License-Identifier: Apache-2.0
"""What a model attends to, in integers: probabilities of every block, and what their rows sum to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Graph, Node
from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators import E2ContextSpec, GainCellSpec
from hls4attn.models.operators.base import causal_mask
from hls4attn.models.operators.e2stages import leading_one


@dataclass(frozen=True)
class AttentionMap:
    """Weights of one block.

    Attributes:
        node: name of the node.
        what: what a weight is.
        weights: shape ``(batch, heads, queries, keys)``; 0 where nothing is seen.
        visible: which keys a query sees, shape ``(queries, keys)``.
        real_sums: sums of rows in the real function of the same scores, shape ``(batch, heads, queries)``; None for
            gain cells, which have no probabilities.
    """

    node: str
    what: str
    weights: Reals
    visible: NDArray[np.bool_]
    real_sums: Reals | None

    @property
    def row_sums(self) -> Reals:
        """Sums over the keys, shape ``(batch, heads, queries)``."""
        return cast(Reals, self.weights.sum(axis=-1))

    @property
    def exact_sum(self) -> float | None:
        """What every row sums to in the real function, if that normalises."""
        if self.real_sums is None or not np.allclose(self.real_sums, 1.0, rtol=0, atol=1e-9):
            return None
        return 1.0

    @property
    def gain(self) -> float | None:
        """Mean row sum over that of the real function: 1 where the integers have no bias."""
        return None if self.real_sums is None else float(self.row_sums.mean() / self.real_sums.mean())


def attention_maps(graph: Graph, trace: Mapping[str, Codes]) -> list[AttentionMap]:
    """The weights of every score, context and gain-cell node, in execution order.

    Args:
        graph: the model.
        trace: codes of its activations, from `Reference.trace`.
    """
    return [_map(graph, n, trace) for n in graph.nodes if n.spec or n.context or n.cells]


def _map(graph: Graph, node: Node, trace: Mapping[str, Codes]) -> AttentionMap:
    codes = [trace[n] for n in node.inputs]
    if node.cells is not None:
        pulses, visible = cell_pulses(node.cells, *codes[:2])
        return AttentionMap(node.name, "share of a full pulse", pulses, visible, None)
    spec = node.spec or node.context
    if spec is None:
        raise InputError(f"{node.name}: a node without attention weights")
    visible = causal_mask(*codes[0].shape[-2:]) if spec.causal else np.ones(codes[0].shape[-2:], dtype=bool)
    values = spec.in_format.to_real(codes[0])
    if isinstance(spec, E2ContextSpec):
        weights, real = context_probabilities(spec, codes[0]), spec.softmax(values)
    else:
        weights, real = graph.tensors[node.output].format.to_real(trace[node.output]), spec.real(values)
    sums = cast(Reals, (real * visible).sum(axis=-1))
    normalises = bool(np.allclose(sums, 1.0, rtol=0, atol=1e-9))
    return AttentionMap(node.name, "probability" if normalises else "weight", weights, visible, sums)


def context_probabilities(spec: E2ContextSpec, scores: Codes) -> Reals:
    """The factors of V that the shift form uses without ever forming them as codes, exactly.

    Args:
        spec: the operator.
        scores: codes of shape ``(..., heads, rows, cols)``.
    """
    x = spec.check(scores)
    exponent, total = spec.unnormalised(x)
    numerator = (np.int64(1) << spec.sum_frac) >> exponent
    if spec.causal:
        numerator = numerator * causal_mask(*x.shape[-2:])
    ks, q = leading_one(total, spec.sum_frac, spec.mux_bits)
    mantissa = np.asarray(spec.divider, dtype=np.int64)[q]
    return np.ldexp((numerator * mantissa).astype(np.float64), -(ks + spec.divider_frac + spec.sum_frac))


def cell_pulses(spec: GainCellSpec, q: Codes, k: Codes) -> tuple[Reals, NDArray[np.bool_]]:
    """Pulses between the two arrays as shares of a full one, and which tokens are in the window.

    Args:
        spec: the cells.
        q: query codes of shape ``(..., heads, tokens, head_dim)``.
        k: key codes, likewise.
    """
    tokens = q.shape[-2]
    age = np.arange(tokens)[:, None] - np.arange(tokens)
    visible = (age >= 0) & (age < spec.window)
    currents = spec.tables[0][np.where(visible, age, spec.window)]
    pulses, keys = np.minimum(q, spec.q_levels - 1), np.minimum(k, spec.k_levels - 1)
    score = np.zeros((*q.shape[:-1], tokens), dtype=np.int64)
    for level in range(spec.k_levels):
        score += (pulses @ (keys == level).astype(np.int64).swapaxes(-1, -2)) * currents[..., level]
    return np.clip(spec.rescales[0](score), 0, spec.pulse_steps) / spec.pulse_steps, visible
