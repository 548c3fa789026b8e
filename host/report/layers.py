# SPDX-License-Identifier: Apache-2.0
"""Where a quantised model differs from its real function: error of every layer, on its own and grown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Graph, Node
from hls4attn.models.export.real import RealReference
from hls4attn.models.formats import Codes, Fixed, Reals

#: Nodes that round or approximate; all others are exact.
ROUNDING = ("Quant", "Score", "Context", "Norm", "Cells")
#: Activations held at a time.
_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class ErrorFigures:
    """Integer minus real, over all elements of a tensor.

    Attributes:
        largest: largest magnitude, in output steps.
        mean: mean magnitude, in output steps.
        rms: root of the mean square, in output steps.
        largest_real: largest magnitude, in the unit of the values.
        mean_real: mean magnitude, likewise.
        rms_real: root of the mean square, likewise.
        sqnr_db: power of the real values over that of the error, in dB; None where one of them is 0.
    """

    largest: float
    mean: float
    rms: float
    largest_real: float
    mean_real: float
    rms_real: float
    sqnr_db: float | None


@dataclass(frozen=True)
class LayerError:
    """What one node adds to the error, and what has grown up to it.

    Attributes:
        node: the node's name.
        op: its operator; of our own ones the `op_type`.
        tensor: name of its result.
        format: of its result.
        elements: values compared.
        limited: of them limited to the range of the result; no error by itself, see `RealReference`.
        own: against the real function of the node's own integer operands.
        grown: against the real function of the whole model up to here.
    """

    node: str
    op: str
    tensor: str
    format: Fixed
    elements: int
    limited: int
    own: ErrorFigures
    grown: ErrorFigures

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self) | {"format": str(self.format)}


@dataclass
class _Sums:
    """Errors of a tensor, added up part by part."""

    elements: int = 0
    power: float = 0.0
    totals: dict[str, float] = field(default_factory=dict)

    def add(self, got: Reals, real: Reals, step: Reals) -> None:
        error = np.abs(got - real)
        self.elements += error.size
        self.power += float(np.square(real).sum())
        for name, value in (("", error / step), ("_real", error)):
            self.totals[f"largest{name}"] = max(self.totals.get(f"largest{name}", 0.0), float(value.max(initial=0.0)))
            self.totals[f"mean{name}"] = self.totals.get(f"mean{name}", 0.0) + float(value.sum())
            self.totals[f"rms{name}"] = self.totals.get(f"rms{name}", 0.0) + float(np.square(value).sum())

    def figures(self) -> ErrorFigures:
        noise = self.totals["rms_real"]
        sqnr = 10 * math.log10(self.power / noise) if noise and self.power else None
        found = {k: v if k.startswith("largest") else v / self.elements for k, v in self.totals.items()}
        return ErrorFigures(**found | {k: math.sqrt(v) for k, v in found.items() if k.startswith("rms")}, sqnr_db=sqnr)


def layer_errors(graph: Graph, codes: ArrayLike, all_nodes: bool = False) -> list[LayerError]:
    """Compare the integers with the real function, tensor by tensor.

    Args:
        graph: the model.
        codes: input codes, shape ``(batch, *input.shape)``; both sides start from their exact values.
        all_nodes: also the nodes that are exact on their own (products, sums, moves).

    Returns:
        In execution order.

    Raises:
        InputError: for a wrong shape or dtype, or codes outside the input format.
    """
    reference, real = Reference(graph), RealReference(graph)
    nodes = [n for n in graph.nodes if all_nodes or n.op in ROUNDING]
    sums = {n.output: (_Sums(), _Sums()) for n in nodes}
    limited = dict.fromkeys(sums, 0)
    for part in _parts(graph, np.asarray(codes)):
        trace = reference.trace(part)
        both = real.own(trace), real.trace(graph.input.format.to_real(part))
        for node in nodes:
            tensor = graph.tensors[node.output]
            got, step = tensor.format.to_real(trace[tensor.name]), output_step(node, tensor.format)
            for found, values in zip(sums[tensor.name], both, strict=True):
                found.add(got, values[tensor.name], step)
            limited[tensor.name] += _limited(graph, node, trace)
    return [
        LayerError(
            n.name, op_name(n), n.output, graph.tensors[n.output].format, own.elements, limited[n.output],
            own.figures(), grown.figures(),
        )
        for n, (own, grown) in ((n, sums[n.output]) for n in nodes)
    ]  # fmt: skip


def _parts(graph: Graph, codes: Codes) -> list[Codes]:
    """Some samples at a time, so that a trace fits memory; a batch of none is left to the reference to refuse."""
    if codes.ndim == 0 or len(codes) == 0:
        return [codes]
    a_sample = sum(math.prod(t.shape) for t in graph.activations())
    size = max(_ELEMENTS // a_sample, 1)
    return [codes[k : k + size] for k in range(0, len(codes), size)]


def output_step(node: Node, fmt: Fixed) -> Reals:
    """Real value of an output step; the heads of a score function may have different ones, shape (heads, 1, 1)."""
    if node.spec is not None:
        return np.reshape(np.asarray(node.spec.output_steps, dtype=np.float64), (-1, 1, 1))
    return np.asarray(fmt.step)


def op_name(node: Node) -> str:
    """A node's operator, of our own ones the `op_type`."""
    spec = node.spec or node.context or node.norm or node.cells
    return node.op if spec is None else spec.op_type


def _limited(graph: Graph, node: Node, trace: Mapping[str, Codes]) -> int:
    """Results limited to the range of their format."""
    operator = node.spec or node.context or node.norm or node.cells
    if operator is not None:
        return operator.saturations(*(trace[n] for n in node.inputs))
    if node.op != "Quant":
        return 0
    frac = graph.tensors[node.inputs[0]].format.frac
    return graph.tensors[node.output].format.saturations(trace[node.inputs[0]], frac)
