# SPDX-License-Identifier: Apache-2.0
r"""Coordinates that make the lines of a layered drawing straight.

Minimised exactly, over integers x::

    sum_e weight_e * abs(x_a + offset_e - x_b)      every pull e = (a, b, offset, weight)
    x_right - x_left >= distance                    every gap (left, right, distance)

Absolute values make many lines exactly straight and leave the rest to a few, where squares bend all of them a little.
The dual of this linear program is a circulation of least cost, from which x follows as shortest distances.

Reference: Gansner, Koutsofios, North and Vo, "A technique for drawing directed graphs", IEEE TSE 19(3), 1993,
section 4 (the same aim by another graph).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from hls4attn.models.errors import ToolError

Pull = tuple[int, int, int, int]
Gap = tuple[int, int, int]


def solve(count: int, pulls: Iterable[Pull], gaps: Iterable[Gap]) -> list[float]:
    """The best coordinates; of many that are equally good, the middle.

    Args:
        count: of the coordinates; all must hang together by pulls, and the first one is near 0.
        pulls: ``(a, b, offset, weight)``: a + offset and b want to be equal.
        gaps: ``(left, right, distance)``: right is at least so far from left; without a circle.

    Raises:
        ToolError: if networkx is missing.
    """
    try:
        import networkx as nx
    except ImportError as error:
        raise ToolError('networkx is not installed: pip install "hls4attn[report]"') from error
    if count == 1:
        return [0.0]
    flow = nx.MultiDiGraph()
    flow.add_nodes_from(range(count), demand=0)
    for a, b, offset, weight in pulls:
        # x_b - x_a is worth `weight` a unit above `offset`, and likewise below.
        flow.add_edge(a, b, capacity=weight, weight=offset)
        flow.add_edge(b, a, capacity=weight, weight=-offset)
    for left, right, distance in gaps:
        flow.add_edge(right, left, weight=-distance)
    _, sent = nx.network_simplex(flow)
    residual = nx.DiGraph()
    residual.add_nodes_from(range(count))
    for a, b, key, data in flow.edges(keys=True, data=True):
        used = sent[a][b][key]
        free = [(a, b, data["weight"])] if used < data.get("capacity", used + 1) else []
        for u, v, cost in chain(free, [(b, a, -data["weight"])] if used else []):
            if cost < residual.get_edge_data(u, v, {"weight": cost + 1})["weight"]:
                residual.add_edge(u, v, weight=cost)
    far = nx.single_source_bellman_ford_path_length(residual, 0)
    near = nx.single_source_bellman_ford_path_length(residual.reverse(copy=False), 0)
    return [(far[k] - near[k]) / 2 for k in range(count)]
