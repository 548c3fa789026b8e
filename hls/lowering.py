# SPDX-License-Identifier: Apache-2.0
"""Typed graph -> hardware nodes.

Quantisers, ReLU, biases and per-channel constants join the kernel that produces their operand; reshapes vanish;
transposes next to a matrix product become strides.  Whatever remains is one kernel call with a known result.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

import numpy as np

from hls4attn.hls.design import Design, HwNode, port_name
from hls4attn.hls.layout import carrier, merge_output, operand_ints, strides_of
from hls4attn.hls.scores import score_parameters
from hls4attn.hls.tail import Tail
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.formats import Codes

#: Axes that the permutation kernel has loops for.
MAX_AXES = 4


def lower_graph(graph: Graph) -> Design:
    """The hardware nodes of a typed graph.

    Raises:
        UnsupportedError: naming the node for which there is no kernel, with the remedy.
    """
    return _Lowering(graph).run()


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[HwNode] = []
        self.done: set[str] = set()  # ONNX nodes that some hardware node realises already
        self.root = {graph.input.name: graph.input.name}  # typed tensor -> hardware tensor with the same codes
        self.formats = {graph.input.name: graph.input.format}  # C++ types of hardware tensors
        # Transposed tensors that no node holds (yet): source, and the source index of each element.
        self.views: dict[str, tuple[str, Codes]] = {}
        self.view_source: dict[str, tuple[str, str]] = {}  # reshaped view -> (tensor it reshapes, node)

    def run(self) -> Design:
        for node in self.graph.nodes:
            if node.name not in self.done:
                self._lower(node)
        output = self.graph.output.name
        self._hardware_tensor(output)
        if not self.nodes:
            raise UnsupportedError(f"{self.graph.name}: the output is the input; there is nothing to build")
        return Design(self.graph.name, self.graph.input, output, tuple(self._with_aliases(n) for n in self.nodes))

    def _with_aliases(self, node: HwNode) -> HwNode:
        same = [t for t, root in self.root.items() if root == node.output and t != node.output]
        return replace(node, aliases=tuple((t, self.graph.tensors[t].shape) for t in same))

    def _lower(self, node: Node) -> None:
        if node.op in ("Reshape", "Transpose"):
            self._move(node)
        elif node.op == "MatMul":
            dense = self.graph.constant(node.inputs[1])
            self._dense(node, dense) if dense else self._matmul(node)
        elif node.op == "Score":
            self._score(node)
        elif node.op == "ReduceSum":
            self._reduce(node)
        elif node.op in ("Add", "Mul") and self.graph.operand(node)[1] is None:
            self._binary(node)
        else:
            self._affine(node)

    # ---- data movement ---------------------------------------------------------------------------------------------

    def _index(self, name: str) -> tuple[str, Codes]:
        """Hardware tensor and the index into it of every element of a typed tensor."""
        if name in self.views:
            return self.views[name]
        shape = self.graph.tensors[name].shape
        return self.root[name], np.arange(prod(shape)).reshape(shape)

    def _move(self, node: Node) -> None:
        source, target = node.inputs[0], self.graph.tensors[node.output].shape
        if node.op == "Reshape" and source in self.root:
            self.root[node.output] = self.root[source]
            return
        base, index = self._index(source)
        if node.op == "Reshape":
            self.view_source[node.output] = (source, node.name)
            self.views[node.output] = (base, index.reshape(target))
        else:
            self.views[node.output] = (base, index.transpose(node.permutation))

    def _hardware_tensor(self, name: str) -> str:
        """The hardware tensor that holds a typed tensor's codes in order; a transposed one is made now."""
        if name in self.root:
            return self.root[name]
        if name in self.view_source:
            self.root[name] = self._hardware_tensor(self.view_source[name][0])
            return self.root[name]
        self._permute(self._producer(name), absorb=False)
        return self.root[name]

    def _producer(self, name: str) -> Node:
        return next(n for n in self.graph.nodes if n.output == name)

    def _permute(self, node: Node, absorb: bool) -> None:
        base = self._hardware_tensor(node.inputs[0])
        x, shape = self.graph.tensors[node.inputs[0]], self.graph.tensors[node.output].shape
        step = [prod(x.shape[p + 1 :]) for p in node.permutation]
        axes = [(n, s) for n, s in zip(shape, step, strict=True) if n > 1]
        if len(axes) > MAX_AXES:
            raise UnsupportedError(
                f"{node.name}: a transpose of {len(axes)} axes has no kernel; up to {MAX_AXES} are supported: "
                "reshape neighbouring axes together first"
            )
        axes = [(1, 0)] * (MAX_AXES - len(axes)) + axes
        ints = {f"n{k}": n for k, (n, _) in enumerate(axes)} | {f"s{k}": s for k, (_, s) in enumerate(axes)}
        self._emit("AttnPermute", node, (base,), Tail(self.graph, node.output, absorb), ints)

    def _operand_strides(self, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """Hardware tensor and strides that read a typed tensor as `shape`; materialised if strides cannot."""
        base, index = self._index(name)
        strides = strides_of(index.reshape(shape))
        if strides is not None:
            return base, strides
        return self._hardware_tensor(name), strides_of(np.arange(prod(shape)).reshape(shape)) or ()

    # ---- kernels ---------------------------------------------------------------------------------------------------

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
        a, b = (self.graph.tensors[n] for n in node.inputs)
        heads, rows, inner, cols = prod(a.shape[:-2]), a.shape[-2], a.shape[-1], b.shape[-1]
        a_base, a_strides = self._operand_strides(a.name, (heads, rows, inner))
        b_base, b_strides = self._operand_strides(b.name, (heads, inner, cols))
        tail = Tail(self.graph, node.output)
        tail.absorb_all()
        y_strides, output, moved = merge_output(self.graph, tail.tensor, (heads, rows, cols))
        ints = {"heads": heads, "rows": rows, "inner": inner, "cols": cols}
        for prefix, names, strides in (
            ("a", ("head", "row", "inner"), a_strides),
            ("b", ("head", "inner", "col"), b_strides),
            ("y", ("head", "row", "col"), y_strides),
        ):
            ints |= {f"{prefix}_{n}": s for n, s in zip(names, strides, strict=True)}
        self._emit("AttnMatMul", node, (a_base, b_base), tail, ints, output=output, moved=moved)

    def _score(self, node: Node) -> None:
        if node.spec is None:
            raise UnsupportedError(f"{node.name}: a score node without a spec")
        base = self._hardware_tensor(node.inputs[0])
        shape = self.graph.tensors[node.output].shape
        op, ints, roms = score_parameters(node.spec, shape, node.name)
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

    # ---- result ----------------------------------------------------------------------------------------------------

    def _emit(
        self,
        op: str,
        node: Node,
        bases: tuple[str, ...],
        tail: Tail,
        ints: dict[str, int],
        roms: dict[str, Codes] | None = None,
        output: str | None = None,
        moved: tuple[Node, ...] = (),
    ) -> None:
        """Finish a kernel call: absorb what may follow, then record what it produces."""
        tail.absorb_all()
        output = output or tail.tensor
        in_formats = tuple(self.formats[b] for b in bases)
        made = HwNode(
            op=op,
            name=self._unique(node.name),
            inputs=bases,
            in_formats=in_formats,
            output=output,
            shape=self.graph.tensors[output].shape,
            format=tail.result_format(),
            sources=tuple(dict.fromkeys([node.name, *(n.name for n in (*tail.nodes, *moved))])),
            ints=ints | operand_ints(*in_formats) | tail.ints(),
            roms={name: rom.copy() for name, rom in ((roms or {}) | tail.roms()).items()},
        )
        self.nodes.append(made)
        self.done.update(made.sources)
        self.root[output] = output
        self.formats[output] = made.format

    def _unique(self, name: str) -> str:
        base = re.sub(r"\W", "_", name, flags=re.ASCII) or "node"
        base = base if base[0].isalpha() else f"n_{base}"
        taken = {n.name.lower() for n in self.nodes} | {"input", port_name(self.graph.input.name).lower()}
        candidate, k = base, 1
        while candidate.lower() in taken:
            candidate, k = f"{base}_{k}", k + 1
        return candidate
