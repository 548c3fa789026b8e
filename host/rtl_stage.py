# SPDX-License-Identifier: Apache-2.0
"""The rungs `rtl` and `netlist` of an operator: its streaming unit, clock by clock, and what Yosys makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.net.words import from_words, to_words
from hls4attn.hls.rtl.packed import packed_unit
from hls4attn.hls.rtl.sim import RtlRun, RtlSim
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.hls.stream.ports import PortRows, code_bits
from hls4attn.models.errors import InputError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.base import causal_mask

RTL, NETLIST = "rtl", "netlist"


class RtlOperatorStage:
    """The unit of the operator that a graph ends with; what leads to it comes from the reference.

    Args:
        graph: of an operator alone, see `operator_models.operator_model`.
        netlist: simulate the netlist, gate by gate.

    Attributes:
        device_tag: rows and cycles of the last run.
        cycles: of the last run, from the first word offered to the last one taken; None before it.
        cycles_are: where the cycles come from, in words.

    Raises:
        UnsupportedError: for an operator without a unit.
        ToolError: if Verilator, a compiler or Yosys is missing or fails.
    """

    cycles_are = "counted in simulated RTL of the operator's unit; adaptors of its kernel are left out"

    def __init__(self, graph: Graph, netlist: bool = False) -> None:
        self.name = NETLIST if netlist else RTL
        self._node, self._reference = graph.nodes[-1], Reference(graph)
        spec: Any = operator_of(graph)
        self._spec = spec
        self._sim = RtlSim(rtl_unit(spec), netlist=netlist)
        self.device_tag = ""
        self.cycles: int | None = None

    def run(self, codes: Codes) -> Codes:
        """Results of all rows, sent one behind the other."""
        values = self._reference.trace(codes)
        operands = [values[name] for name in self._node.inputs]
        if self._node.cells is not None:
            return self._cells(self._node.cells, operands)
        if self._node.spec is not None:
            return self._scores(operands[0])
        return self._sent(_rows(operands[0])).outputs.reshape(operands[0].shape)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """The results: a unit shows nothing else."""
        return {self._node.output: self.run(codes)}

    def _scores(self, x: Codes) -> Codes:
        """Rows of all heads, which a causal mask makes shorter without moving them."""
        samples, heads, rows, columns = x.shape
        mask = causal_mask(rows, columns) if self._spec.causal else np.ones((rows, columns), dtype=bool)
        keep = np.broadcast_to(mask, x.shape).reshape(-1, columns)
        head = np.broadcast_to(np.arange(heads)[:, None], (samples, heads, rows))
        return self._sent(_rows(x), head.ravel(), keep).outputs.reshape(x.shape)

    def _cells(self, spec: GainCellSpec, operands: list[Codes]) -> Codes:
        """Tokens of all sequences; each begins with an empty window."""
        shape = operands[0].shape
        tokens = (a.swapaxes(1, 2).reshape(-1, spec.heads, spec.head_dim) for a in operands)
        words = token_words(spec, *tokens)
        keep = np.ones(words.shape, dtype=bool)
        keep[:: shape[2], 0] = False
        sums = self._sent(words, keep=keep).outputs
        return sums.reshape(shape[0], shape[2], spec.heads, spec.head_dim).swapaxes(1, 2)

    def _sent(self, rows: Codes, heads: Codes | None = None, keep: NDArray[np.bool_] | None = None) -> RtlRun:
        run = self._sim.run(rows, heads, keep)
        count, n = rows.shape
        self.cycles = run.cycles
        unit, words = ("token", " words") if isinstance(self._spec, GainCellSpec) else ("row", "")
        each = f", {(run.ends[-1] - run.ends[0]) / (count - 1):.4g} a {unit}" if count > 1 else ""
        self.device_tag = f"{count} {unit}s of {n}{words}: {run.cycles:,} cycles{each}"
        return run


class RtlPacketStage:
    """An operator as a kernel of an overlay: its unit between words of 32 bits, a packet of whole samples at a time.

    Args:
        graph: of a score function or a norm alone.

    Attributes:
        cycles: of the last packet, from its first word offered to its last one taken; None before it.
        cycles_are: where the cycles come from, in words.

    Raises:
        UnsupportedError: for an operator without a unit, or codes of more than 32 bits.
        ToolError: if Verilator or a compiler is missing or fails.
    """

    cycles_are = "counted in simulated RTL"

    def __init__(self, graph: Graph) -> None:
        source, answer = graph.input, graph.output
        self._sim, self._answer = RtlSim(unit_in_words(graph, "operator")), answer
        self._in, self._out = (PortRows(prod(t.shape), 1, code_bits(t.format, t.name)) for t in (source, answer))
        self.cycles: int | None = None

    def run(self, codes: Codes) -> Codes:
        """Results of a packet."""
        joined = np.arange(len(codes)) < len(codes) - 1
        found = self._sim.run(to_words(codes, self._in), out_lengths=self._out.words, joined=joined)
        self.cycles = found.cycles
        return from_words(found.outputs, self._out, self._answer.format).reshape(-1, *self._answer.shape)


def unit_in_words(graph: Graph, name: str) -> RtlUnit:
    """The streaming unit of an operator as a kernel of an overlay: whole samples in words of 32 bits.

    Args:
        graph: of a score function or a norm alone; its input says how long rows are.
        name: of the operator; the unit's is ``<name>_words``.

    Raises:
        UnsupportedError: for an operator without a unit, or codes of more than 32 bits.
    """
    spec, shape = operator_of(graph), graph.input.shape
    formats = (graph.input.format, graph.output.format)
    unit = rtl_unit(spec, row_max=shape[-1])
    return packed_unit(f"{name}_words", unit, shape, formats, bool(getattr(spec, "causal", False)))


def operator_of(graph: Graph) -> Any:
    """The spec of the operator that a graph ends with.

    Raises:
        InputError: if it ends with something else.
    """
    node = graph.nodes[-1]
    for spec in (node.spec, node.norm, node.context, node.cells):
        if spec is not None:
            return spec
    raise InputError(f"The graph ends with {node.name}, a {node.op}, not with an operator of its own")


def _rows(x: Codes) -> Codes:
    return x.reshape(-1, x.shape[-1])
