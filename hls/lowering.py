# SPDX-License-Identifier: Apache-2.0
"""Typed graph -> hardware nodes.

Quantisers, ReLU, biases and per-channel constants join the kernel that produces their operand; reshapes vanish;
transposes next to a matrix product become strides.  Whatever remains is one kernel call with a known result.
"""

from __future__ import annotations

from math import prod

from hls4attn.hls.design import Design
from hls4attn.hls.e2 import e2context_parameters
from hls4attn.hls.gaincell import gaincell_parameters, with_channels
from hls4attn.hls.layout import carrier, merge_output
from hls4attn.hls.norms import norm_parameters
from hls4attn.hls.placement import Placement
from hls4attn.hls.scores import score_parameters
from hls4attn.hls.tail import Tail
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.formats import Codes


def lower_graph(graph: Graph) -> Design:
    """The hardware nodes of a typed graph.

    Raises:
        UnsupportedError: naming the node for which there is no kernel, with the remedy.
    """
    return _Lowering(graph).run()


class _Lowering(Placement):
    def run(self) -> Design:
        for node in self.graph.nodes:
            if node.name not in self.done:
                self._lower(node)
        output = self.graph.output.name
        self._hardware_tensor(output)
        if not self.nodes:
            raise UnsupportedError(f"{self.graph.name}: the output is the input; there is nothing to build")
        return Design(self.graph.name, self.graph.input, output, tuple(self._with_aliases(n) for n in self.nodes))

    def _lower(self, node: Node) -> None:
        if node.op in ("Reshape", "Transpose"):
            self._move(node)
        elif node.op == "MatMul":
            dense = self.graph.constant(node.inputs[1])
            self._dense(node, dense) if dense else self._matmul(node)
        elif node.op == "Score":
            self._score(node)
        elif node.op == "Context":
            self._context(node)
        elif node.op == "Norm":
            self._norm(node)
        elif node.op == "Cells":
            self._cells(node)
        elif node.op == "ReduceSum":
            self._reduce(node)
        elif node.op in ("Add", "Mul") and self.graph.operand(node)[1] is None:
            self._binary(node)
        else:
            self._affine(node)

    def _dense(self, node: Node, weights: Constant) -> None:
        x, y = self.graph.tensors[node.inputs[0]], self.graph.tensors[node.output]
        n_in, n_out = weights.shape
        rows = prod(x.shape[:-1])
        base, (row_stride, in_stride) = self._operand_strides(x.name, (rows, n_in))
        ints = {
            "rows": rows,
            "n_in": n_in,
            "n_out": n_out,
            "row_stride": row_stride,
            "in_stride": in_stride,
            "weight_width": carrier(weights.format),
        }
        self._emit("AttnDense", node, (base,), Tail(self.graph, y.name), ints, {"weights": weights.codes.ravel()})

    def _matmul(self, node: Node) -> None:
        self._product(node, "AttnMatMul", {}, {})

    def _product(self, node: Node, op: str, ints: dict[str, int], roms: dict[str, Codes]) -> None:
        """A kernel of two operands that are read, like its result is written, by strides."""
        a, b = (self.graph.tensors[n] for n in node.inputs)
        heads, rows, inner, cols = prod(a.shape[:-2]), a.shape[-2], a.shape[-1], b.shape[-1]
        a_base, a_strides = self._operand_strides(a.name, (heads, rows, inner))
        b_base, b_strides = self._operand_strides(b.name, (heads, inner, cols))
        tail = Tail(self.graph, node.output)
        tail.absorb_all()
        y_strides, output, moved = merge_output(self.graph, tail.tensor, (heads, rows, cols))
        ints = {"heads": heads, "rows": rows, "inner": inner, "cols": cols} | ints
        for prefix, names, strides in (
            ("a", ("head", "row", "inner"), a_strides),
            ("b", ("head", "inner", "col"), b_strides),
            ("y", ("head", "row", "col"), y_strides),
        ):
            ints |= {f"{prefix}_{n}": s for n, s in zip(names, strides, strict=True)}
        self._emit(op, node, (a_base, b_base), tail, ints, roms, output=output, moved=moved)

    def _score(self, node: Node) -> None:
        if node.spec is None:
            raise UnsupportedError(f"{node.name}: a score node without a spec")
        base = self._hardware_tensor(node.inputs[0])
        shape = self.graph.tensors[node.output].shape
        op, ints, roms = score_parameters(node.spec, shape, node.name)
        self._emit(op, node, (base,), Tail(self.graph, node.output), ints, roms)

    def _context(self, node: Node) -> None:
        if node.context is None:
            raise UnsupportedError(f"{node.name}: a context node without a spec")
        scores = self.graph.tensors[node.inputs[0]]
        self._product(node, *e2context_parameters(node.context, scores.shape, node.name))

    def _cells(self, node: Node) -> None:
        if node.cells is None:
            raise UnsupportedError(f"{node.name}: a gain-cell node without a spec")
        heads, rows, head_dim = shape = self.graph.tensors[node.output].shape
        op, ints, roms = gaincell_parameters(node.cells, rows, node.name)
        operands = [self._operand_strides(name, shape) for name in node.inputs]
        tail = Tail(self.graph, node.output)
        tail.absorb_all()
        y_strides, output, moved = merge_output(self.graph, tail.tensor, (heads, rows, head_dim))
        for prefix, strides in zip("qkvy", (*(s for _, s in operands), y_strides), strict=True):
            ints |= dict(zip((f"{prefix}_head", f"{prefix}_row", f"{prefix}_inner"), strides, strict=True))
        self._emit(op, node, tuple(base for base, _ in operands), tail, ints, roms, output=output, moved=moved)
        self.nodes[-1] = with_channels(self.nodes[-1])

    def _norm(self, node: Node) -> None:
        if node.norm is None:
            raise UnsupportedError(f"{node.name}: a normalisation node without a spec")
        base = self._hardware_tensor(node.inputs[0])
        rows = prod(self.graph.tensors[node.output].shape[:-1])
        op, ints, roms = norm_parameters(node.norm, rows, node.name)
        self._emit(op, node, (base,), Tail(self.graph, node.output), ints, roms)

    def _reduce(self, node: Node) -> None:
        base = self._hardware_tensor(node.inputs[0])
        x, y = self.graph.tensors[node.inputs[0]], self.graph.tensors[node.output]
        axes = sorted(node.axes)
        if axes != list(range(axes[0], axes[-1] + 1)):
            raise UnsupportedError(
                f"{node.name}: ReduceSum over axes {axes}, which are not neighbours; sum one axis after the other"
            )
        ints = {
            "outer": prod(x.shape[: axes[0]]),
            "count": prod(x.shape[a] for a in axes),
            "inner": prod(x.shape[axes[-1] + 1 :]),
            "channels": y.shape[-1] if y.shape else 1,
        }
        self._emit("AttnReduceSum", node, (base,), Tail(self.graph, y.name), ints)

    def _rows(self, tensor: Tensor) -> dict[str, int]:
        channels = tensor.shape[-1] if tensor.shape else 1
        return {"rows": prod(tensor.shape[:-1]), "channels": channels}

    def _binary(self, node: Node) -> None:
        y = self.graph.tensors[node.output]
        bases = tuple(self._hardware_tensor(n) for n in node.inputs)
        ints = self._rows(y)
        if node.op == "Add":
            a, b = (self.graph.tensors[n].format.frac for n in node.inputs)
            ints |= {"a_shift": y.format.frac - a, "b_shift": y.format.frac - b}
        op = "AttnAdd" if node.op == "Add" else "AttnMultiply"
        self._emit(op, node, bases, Tail(self.graph, y.name), ints)

    def _affine(self, node: Node) -> None:
        x = self.graph.operand(node)[0] if node.op in ("Add", "Mul") else self.graph.tensors[node.inputs[0]]
        if x.shape != self.graph.tensors[node.output].shape:
            raise UnsupportedError(
                f"{node.name}: {node.op} would broadcast {x.shape} to {self.graph.tensors[node.output].shape}"
            )
        if x.name in self.views and len(self.graph.consumers[x.name]) == 1 and x.name not in self.view_source:
            self._permute(self._producer(x.name), absorb=True)  # takes this node over
            return
        base = self._hardware_tensor(x.name)
        tail = Tail(self.graph, x.name)
        tail.absorb(node)
        self._emit("AttnAffine", node, (base,), tail, self._rows(x))
