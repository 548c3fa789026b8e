# SPDX-License-Identifier: Apache-2.0
"""Which hardware tensor holds which typed tensor, and the kernel calls so far.

Reshapes vanish, transposes become strides of whoever reads them, or a copy where strides cannot express them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

import numpy as np

from hls4attn.hls.design import HwNode, port_name
from hls4attn.hls.layout import operand_ints, strides_of
from hls4attn.hls.tail import Tail
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph, Node
from hls4attn.models.formats import Codes

#: Axes that the permutation kernel has loops for.
MAX_AXES = 4


class Placement:
    """State of a lowering: hardware nodes, and where every typed tensor's codes are.

    Args:
        graph: the typed graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[HwNode] = []
        self.done: set[str] = set()  # ONNX nodes that some hardware node realises already
        self.root = {graph.input.name: graph.input.name}  # typed tensor -> hardware tensor with the same codes
        self.formats = {graph.input.name: graph.input.format}  # C++ types of hardware tensors
        # Transposed tensors that no node holds (yet): source, and the source index of each element.
        self.views: dict[str, tuple[str, Codes]] = {}
        self.view_source: dict[str, tuple[str, str]] = {}  # reshaped view -> (tensor it reshapes, node)

    def _with_aliases(self, node: HwNode) -> HwNode:
        same = [t for t, root in self.root.items() if root == node.output and t != node.output]
        return replace(node, aliases=tuple((t, self.graph.tensors[t].shape) for t in same))

    # ---- data movement -----------------------------------------------------------------------------------------------

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

    # ---- kernel calls ------------------------------------------------------------------------------------------------

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
        parts = (ints, operand_ints(*in_formats), tail.ints())
        members = {name: value for part in parts for name, value in part.items()}
        if len(members) != sum(map(len, parts)):
            raise TypeError(f"{op}: a configuration member has two meanings")
        made = HwNode(
            op=op,
            name=self._unique(node.name),
            inputs=bases,
            in_formats=in_formats,
            output=output,
            shape=self.graph.tensors[output].shape,
            format=tail.result_format(),
            sources=tuple(dict.fromkeys([node.name, *(n.name for n in (*tail.nodes, *moved))])),
            ints=members,
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
