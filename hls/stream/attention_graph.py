# SPDX-License-Identifier: Apache-2.0
"""A typed graph of one attention, and the streaming kernel that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hls4attn.hls.design import HwNode
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.stream.attention import fuse
from hls4attn.models.export.graph import Graph, Node, Tensor
from hls4attn.models.export.infer import infer
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2ContextSpec, ScoreSpec


@dataclass(frozen=True)
class AttentionFormats:
    """Formats around an attention.

    Attributes:
        q: of the queries.
        k: of the keys.
        v: of the values; a shift form has its own.
        output: of the result; a shift form has its own.
        probability: a requantisation of the probabilities; none if not given.
    """

    q: Fixed = field(default_factory=lambda: Fixed(8, 5))
    k: Fixed = field(default_factory=lambda: Fixed(8, 5))
    v: Fixed = field(default_factory=lambda: Fixed(8, 5))
    output: Fixed = field(default_factory=lambda: Fixed(8, 5))
    probability: Fixed | None = None

    def of(self, spec: ScoreSpec | E2ContextSpec) -> Mapping[str, Fixed]:
        """Formats by tensor name."""
        shift_form = isinstance(spec, E2ContextSpec)
        return {
            "q": self.q,
            "k": self.k,
            "v": spec.v_format if isinstance(spec, E2ContextSpec) else self.v,
            "scores": spec.in_format,
            "y": spec.out_format if shift_form else self.output,
        }


def attention_graph(spec: ScoreSpec | E2ContextSpec, rows: int, head_dim: int, formats: AttentionFormats) -> Graph:
    """A typed graph whose one input is requantised to q, k and v, followed by an attention."""
    heads, named = spec.heads, formats.of(spec)
    port = Tensor("x", (rows, heads * head_dim), Fixed(16, 8))
    tensors = {"x": port}
    nodes: list[Node] = []

    def add(node: Node, fmt: Fixed | None = None, shape: tuple[int, ...] = ()) -> str:
        target = Tensor("", shape, fmt or port.format) if node.op in ("Quant", "Reshape") else None
        tensors[node.output] = infer(node, [tensors[n] for n in node.inputs], target)
        nodes.append(node)
        return node.output

    def split(name: str, order: tuple[int, int, int]) -> str:
        add(Node("Quant", f"quantise_{name}", ("x",), name), named[name])
        add(Node("Reshape", f"heads_{name}", (name,), f"{name}_heads"), shape=(rows, heads, head_dim))
        return add(Node("Transpose", f"split_{name}", (f"{name}_heads",), f"{name}_split", permutation=order))

    q, k, v = split("q", (1, 0, 2)), split("k", (1, 2, 0)), split("v", (1, 0, 2))
    add(Node("MatMul", "qk", (q, k), "products"))
    add(Node("Quant", "quantise_scores", ("products",), "scores"), named["scores"])
    if isinstance(spec, E2ContextSpec):
        context = add(Node("Context", "attention", ("scores", v), "context", context=spec))
    else:
        p = add(Node("Score", "attention", ("scores",), "probabilities", spec=spec))
        if formats.probability is not None:
            p = add(Node("Quant", "quantise_probabilities", (p,), "requantised"), formats.probability)
        add(Node("MatMul", "pv", (p, v), "sums"))
        context = add(Node("Quant", "quantise_context", ("sums",), "context"), named["y"])
    add(Node("Transpose", "merge", (context,), "merged", permutation=(1, 0, 2)))
    add(Node("Reshape", "merge_heads", ("merged",), "y"), shape=(rows, heads * head_dim))
    return Graph("attention", port, tensors["y"], "float_x", tuple(nodes), tensors)


def attention_node(graph: Graph) -> HwNode:
    """The streaming attention of such a graph.

    Raises:
        UnsupportedError: for what the kernel does not do.
    """
    parts = [n for n in lower_graph(graph).nodes if n.op != "AttnAffine"]
    return fuse(*parts) if len(parts) == 3 else fuse(parts[0], None, parts[1])
