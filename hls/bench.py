# SPDX-License-Identifier: Apache-2.0
"""Simulations without an hls4ml project: one design, or one score operator, around the bare headers."""

from __future__ import annotations

import hashlib
from math import prod

from numpy.typing import ArrayLike

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import bridge_cpp
from hls4attn.hls.compiler import ap_types_dir, cache_dir
from hls4attn.hls.csim import Interface, Simulation
from hls4attn.hls.design import Design
from hls4attn.hls.emit import design_cpp
from hls4attn.hls.lowering import lower_graph
from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Graph, Node, Tensor
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes
from hls4attn.models.operators import ScoreSpec


def design_simulation(design: Design, threads: int | None = None) -> Simulation:
    """The C simulation of a design, straight from the headers.

    Raises:
        ToolError: if there is no compiler, or the design does not compile.
    """
    interface = Interface.of(design)
    n_in, n_out = prod(interface.input.shape), prod(interface.output.shape)
    last = design.nodes.index(design.last) + 1
    top = design_cpp(design, "top")
    folder = cache_dir() / "bench" / hashlib.sha256(top.encode()).hexdigest()[:32]
    atomic_write(folder / "top.cpp", top.encode())
    bridge = bridge_cpp("top.cpp", "top", "port_in_t", f"layer{last}_t", n_in, n_out)
    atomic_write(folder / "bridge.cpp", bridge.encode())
    return Simulation(folder / "bridge.cpp", (include_dir(), ap_types_dir()), interface, threads)


def operator_graph(spec: ScoreSpec, rows: int, cols: int) -> Graph:
    """A typed graph of one score operator."""
    scores = Tensor("scores", (spec.heads, rows, cols), spec.in_format)
    result = Tensor("probabilities", scores.shape, spec.out_format)
    node = Node("Score", "score", (scores.name,), result.name, spec=spec)
    return Graph(spec.op_type, scores, result, "float_scores", (node,), {scores.name: scores, result.name: result})


class OperatorSim:
    """C simulation of one score operator.

    Args:
        spec: the operator.
        rows: rows of a score matrix.
        cols: its columns.

    Raises:
        ToolError: if there is no compiler.
        UnsupportedError: if there is no kernel for it, or for this shape.
    """

    def __init__(self, spec: ScoreSpec, rows: int, cols: int) -> None:
        if rows < 1 or cols < 1:
            raise InputError(f"An operator needs at least one row and column. Received: {rows}, {cols}")
        self.spec = spec
        self.simulation = design_simulation(lower_graph(operator_graph(spec, rows, cols)))

    def run(self, codes: ArrayLike) -> Codes:
        """Probability codes for score codes, both of shape ``(batch, heads, rows, cols)``."""
        return self.simulation.run(codes)


def operator_csim(spec: ScoreSpec, rows: int, cols: int) -> OperatorSim:
    """The C simulation of one score operator, to be compared with ``spec.reference``.

    Examples:
        >>> sim = operator_csim(spec, 16, 16)  # doctest: +SKIP
        >>> bool((sim.run(codes) == spec.reference(codes)).all())  # doctest: +SKIP
        True
    """
    return OperatorSim(spec, rows, cols)
