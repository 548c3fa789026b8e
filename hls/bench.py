# SPDX-License-Identifier: Apache-2.0
"""Simulations without an hls4ml project: one design, or one operator, around the bare headers."""

from __future__ import annotations

import hashlib
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls import include_dir, sim_dir
from hls4attn.hls.bridge import bridge_cpp, stream_bridge_cpp
from hls4attn.hls.compiler import ap_types_dir, cache_dir
from hls4attn.hls.csim import Interface, Simulation
from hls4attn.hls.design import Design, further_folders
from hls4attn.hls.emit import design_cpp
from hls4attn.hls.lowering import lower_graph
from hls4attn.models.errors import InputError
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.export.infer import infer
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2ContextSpec, GainCellSpec, NormSpec, ScoreSpec, norm_types


def design_simulation(design: Design, threads: int | None = None) -> Simulation:
    """The C simulation of a design, straight from the headers; that of a streaming one takes run-time lengths.

    Raises:
        ToolError: if there is no compiler, or the design does not compile.
    """
    top = design_cpp(design, "top")
    folder = cache_dir() / "bench" / hashlib.sha256(top.encode()).hexdigest()[:32]
    atomic_write(folder / "top.cpp", top.encode())
    if design.io_type == "io_stream":
        interface = Interface.of(design, run_time_length=design.any_length)
        bridge = stream_bridge_cpp("top.cpp", "top", "port_in_row", "port_out_row", design, run_time_length=True)
    else:
        interface = Interface.of(design)
        n_in, n_out = prod(interface.input.shape), prod(interface.output.shape)
        bridge = bridge_cpp("top.cpp", "top", "port_in_t", "port_out_t", n_in, n_out)
    atomic_write(folder / "bridge.cpp", bridge.encode())
    return Simulation(
        folder / "bridge.cpp", (sim_dir(), include_dir(), *further_folders(), ap_types_dir()), interface, threads
    )


#: What one operator's simulation takes.
OperatorSpec = ScoreSpec | E2ContextSpec | NormSpec | GainCellSpec


def operator_graph(spec: ScoreSpec, rows: int, cols: int) -> Graph:
    """A typed graph of one score operator."""
    scores = Tensor("scores", (spec.heads, rows, cols), spec.in_format)
    return _chain(spec.op_type, scores, [Node("Score", "score", (scores.name,), "probabilities", spec=spec)])


def norm_graph(spec: NormSpec, rows: int) -> Graph:
    """A typed graph of one normalisation."""
    codes = Tensor("codes", (rows, spec.channels), spec.in_format)
    return _chain(spec.op_type, codes, [Node("Norm", "norm", (codes.name,), "normalised", norm=spec)])


def context_graph(spec: E2ContextSpec, rows: int, cols: int, head_dim: int) -> Graph:
    """A typed graph of one context operator, fed from one port: ``(heads, cols, rows + head_dim)``.

    Column j of the scores and row j of the values arrive together; matrices of zeros and ones part them.
    """
    score, value = spec.in_format, spec.v_format
    packed = Tensor(
        "packed", (spec.heads, cols, rows + head_dim), Fixed(max(score.width, value.width + (not value.signed)), 0)
    )
    unit = np.eye(rows + head_dim, dtype=np.int64)
    constants = [
        Constant("take_scores", (rows + head_dim, rows), Fixed(1, score.frac, signed=False), unit[:, :rows]),
        Constant("take_values", (rows + head_dim, head_dim), Fixed(1, value.frac, signed=False), unit[:, rows:]),
    ]
    nodes = [
        Node("MatMul", "part_scores", (packed.name, "take_scores"), "wide_scores"),
        Node("Quant", "limit_scores", ("wide_scores",), "turned_scores"),
        Node("Transpose", "turn_scores", ("turned_scores",), "scores", permutation=(0, 2, 1)),
        Node("MatMul", "part_values", (packed.name, "take_values"), "wide_values"),
        Node("Quant", "limit_values", ("wide_values",), "values"),
        Node("Context", "context", ("scores", "values"), "context", context=spec),
    ]
    targets = {"turned_scores": score, "values": value}
    return _chain(spec.op_type, packed, nodes, constants, targets)


def cells_graph(spec: GainCellSpec, rows: int) -> Graph:
    """A typed graph of gain cells, fed from one port: q, k and v side by side, ``(heads, rows, 3 * head_dim)``."""
    dim = spec.head_dim
    widest = max(spec.in_formats, key=lambda fmt: fmt.width)
    packed = Tensor("packed", (spec.heads, rows, 3 * dim), widest)
    unit = np.eye(3 * dim, dtype=np.int64)
    constants, nodes = [], []
    for place, name in enumerate("qkv"):
        part = unit[:, place * dim : (place + 1) * dim]
        constants.append(Constant(f"take_{name}", part.shape, Fixed(1, 0, signed=False), part))
        nodes.append(Node("MatMul", f"part_{name}", (packed.name, f"take_{name}"), f"wide_{name}"))
        nodes.append(Node("Quant", f"limit_{name}", (f"wide_{name}",), name))
    nodes.append(Node("Cells", "cells", ("q", "k", "v"), "sums", cells=spec))
    return _chain(spec.op_type, packed, nodes, constants, dict(zip("qkv", spec.in_formats, strict=True)))


def _chain(
    name: str,
    port: Tensor,
    nodes: list[Node],
    constants: list[Constant] | None = None,
    targets: dict[str, Fixed] | None = None,
) -> Graph:
    """A graph of these nodes; the last one's result leaves."""
    tensors: dict[str, Tensor] = {t.name: t for t in (port, *(constants or []))}
    for node in nodes:
        wanted = (targets or {}).get(node.output)
        target = Tensor(node.output, (), wanted) if wanted else None
        tensors[node.output] = infer(node, [tensors[n] for n in node.inputs], target)
    return Graph(name, port, tensors[nodes[-1].output], f"float_{port.name}", tuple(nodes), tensors)


class OperatorSim:
    """C simulation of one operator.

    Args:
        spec: a score function, a context operator, a normalisation or gain cells.
        rows: rows of a score matrix or of a normalisation's input, or tokens of gain cells.
        cols: columns of a score matrix; a normalisation has its channels.
        head_dim: width of a head, for a context operator.

    Raises:
        ToolError: if there is no compiler.
        UnsupportedError: if there is no kernel for it, or for this shape.
    """

    def __init__(self, spec: OperatorSpec, rows: int, cols: int | None = None, head_dim: int | None = None) -> None:
        self.spec, self.rows = spec, rows
        if isinstance(spec, GainCellSpec):
            _check_sizes(spec, rows=rows)
            _refuse(spec, cols=cols, head_dim=head_dim)
            graph = cells_graph(spec, rows)
        elif spec.op_type in norm_types():
            _check_sizes(spec, rows=rows)
            _refuse(spec, cols=cols, head_dim=head_dim)
            graph = norm_graph(spec, rows)  # type: ignore[arg-type]  # the registry says so
        elif isinstance(spec, E2ContextSpec):
            _check_sizes(spec, rows=rows, cols=cols, head_dim=head_dim)
            graph = context_graph(spec, rows, cols or 1, head_dim or 1)
        else:
            _check_sizes(spec, rows=rows, cols=cols)
            _refuse(spec, head_dim=head_dim)
            graph = operator_graph(spec, rows, cols or 1)  # type: ignore[arg-type]  # what else is a score function
        self.simulation = design_simulation(lower_graph(graph))

    def run(self, codes: ArrayLike, values: ArrayLike | None = None, keys: ArrayLike | None = None) -> Codes:
        """Result codes, as ``spec.reference`` gives them.

        Args:
            codes: score codes of shape ``(batch, heads, rows, cols)``, or ``(batch, rows, channels)`` to normalise, or
                queries of gain cells, ``(batch, heads, rows, head_dim)``.
            values: for a context operator: codes of V, shape ``(batch, heads, cols, head_dim)``; for gain cells as of
                the queries.
            keys: for gain cells.

        Raises:
            InputError: for wrong shapes, dtypes or ranges.
        """
        if isinstance(self.spec, GainCellSpec):
            return self._run_cells(self.spec, codes, keys, values)
        _refuse(self.spec, keys=keys)
        if not isinstance(self.spec, E2ContextSpec):
            _refuse(self.spec, values=values)
            return self.simulation.run(codes)
        x, v = np.asarray(codes), np.asarray(values)
        heads, cols, packed = self.simulation.interface.input.shape
        wanted = (heads, self.rows, cols), (heads, cols, packed - self.rows)
        if (x.shape[1:], v.shape[1:]) != wanted or x.shape[:1] != v.shape[:1] or {x.dtype.kind, v.dtype.kind} - {*"iu"}:
            raise InputError(
                f"{self.spec.op_type}: integer codes of shapes (batch, *{wanted[0]}) and (batch, *{wanted[1]}). "
                f"Received: {x.dtype} of shape {x.shape} and {v.dtype} of shape {v.shape}"
            )
        if not (self.spec.in_format.contains(x) and self.spec.v_format.contains(v)):
            raise InputError(
                f"{self.spec.op_type}: scores must be within {self.spec.in_format}, values within {self.spec.v_format}"
            )
        return self.simulation.run(np.concatenate([x.swapaxes(-1, -2), v], axis=-1))

    def _run_cells(self, spec: GainCellSpec, *given: ArrayLike | None) -> Codes:
        parts = [np.asarray(a) for a in given]
        wanted = (spec.heads, self.rows, spec.head_dim)
        for name, a, fmt in zip("qkv", parts, spec.in_formats, strict=True):
            if a.dtype.kind not in "iu" or a.ndim != 4 or a.shape != (len(parts[0]), *wanted):
                raise InputError(
                    f"{spec.op_type}: {name} must be integer codes of shape (batch, *{wanted}). "
                    f"Received: {a.dtype} of shape {a.shape}"
                )
            if not fmt.contains(a):
                raise InputError(f"{spec.op_type}: {name} must be within {fmt}. Received: [{a.min()}, {a.max()}]")
        return self.simulation.run(np.concatenate(parts, axis=-1))


def _check_sizes(spec: OperatorSpec, **sizes: int | None) -> None:
    if any(n is None or n < 1 for n in sizes.values()):
        raise InputError(f"{spec.op_type}: an operator needs at least one of: {', '.join(sizes)}. Received: {sizes}")


def _refuse(spec: OperatorSpec, **given: object) -> None:
    found = [name for name, value in given.items() if value is not None]
    if found:
        raise InputError(f"{spec.op_type} takes no {' or '.join(found)}")


def operator_csim(spec: OperatorSpec, rows: int, cols: int | None = None, head_dim: int | None = None) -> OperatorSim:
    """The C simulation of one operator, to be compared with ``spec.reference``; arguments as of `OperatorSim`.

    Examples:
        >>> sim = operator_csim(spec, 16, 16)  # doctest: +SKIP
        >>> bool((sim.run(codes) == spec.reference(codes)).all())  # doctest: +SKIP
        True
    """
    return OperatorSim(spec, rows, cols, head_dim)
