# SPDX-License-Identifier: Apache-2.0
"""What a kernel does to its exact result before it leaves: constant multiply, constant add, ReLU, requantisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.formats import Codes, Fixed, shift_round

_ORDER = {"Mul": 1, "Add": 2, "Relu": 3, "Quant": 4}
_NOTHING, _SCALAR, _CHANNEL, _ELEMENT = range(4)


class Tail:
    """Collects the element-wise nodes that follow a kernel, in the only order the hardware has.

    A node joins if it is the sole reader of the value so far, and if that value is not the model's output.

    Args:
        graph: the typed graph.
        tensor: the kernel's exact result (for element-wise kernels: its operand).
        open_ended: whether any node may join.
    """

    def __init__(self, graph: Graph, tensor: str, open_ended: bool = True) -> None:
        self.graph = graph
        self.open_ended = open_ended
        self.tensor = tensor
        self.nodes: list[Node] = []
        self._core = graph.tensors[tensor].format
        self._steps: dict[str, Node] = {}

    def absorb_all(self) -> None:
        """Absorb every node that may join."""
        while (node := self._next()) is not None:
            self.absorb(node)

    def _next(self) -> Node | None:
        users = self.graph.consumers.get(self.tensor, ())
        if not self.open_ended or len(users) != 1 or self.tensor == self.graph.output.name:
            return None
        node = users[0]
        reached = max((_ORDER[op] for op in self._steps), default=0)
        if _ORDER.get(node.op, 0) <= reached:
            return None
        if node.op in ("Mul", "Add"):
            dynamic, constant = self.graph.operand(node)
            if constant is None or dynamic.shape != self.graph.tensors[node.output].shape:
                return None
        return node

    def absorb(self, node: Node) -> None:
        """Take a node over; its result becomes the kernel's."""
        self._steps[node.op] = node
        self.nodes.append(node)
        self.tensor = node.output

    def _format_after(self, op: str, before: Fixed) -> Fixed:
        return self.graph.tensors[self._steps[op].output].format if op in self._steps else before

    def result_format(self) -> Fixed:
        """Format of what leaves; without a quantiser nothing is rounded or limited, so nothing is built for it."""
        fmt = self.graph.tensors[self.tensor].format
        return fmt if "Quant" in self._steps else replace(fmt, rounding="floor", overflow="wrap")

    def _constant(self, op: str) -> Constant:
        constant = self.graph.operand(self._steps[op])[1]
        if constant is None:
            raise TypeError(f"{self._steps[op].name} has no constant operand")  # absorb() saw to it
        return constant

    def _indexing(self, op: str) -> tuple[int, Codes]:
        """How the constant is indexed, and its codes in that layout."""
        constant, shape = self._constant(op), self.graph.tensors[self._steps[op].output].shape
        if constant.codes.size == 1:
            return _SCALAR, constant.codes.ravel()
        if constant.shape[-1] == shape[-1] == constant.codes.size:
            return _CHANNEL, constant.codes.ravel()
        return _ELEMENT, np.broadcast_to(constant.codes, shape).ravel()

    def ints(self) -> dict[str, int]:
        """Members of the tail's configuration."""
        scaled = self._format_after("Mul", self._core)
        total = self._format_after("Add", scaled)
        shift = total.frac - scaled.frac
        members = {
            "core_width": _carrier(self._core),
            "core_min": self._core.min,
            "core_max": self._core.max,
            "scaled_width": _carrier(scaled),
            # Wide enough for the aligned operand alone, too: no step relies on wrapping around.
            "sum_width": max(_carrier(total), _carrier(scaled) + shift, 2),
            "sum_frac": total.frac,
            "relu": int("Relu" in self._steps),
        }
        if "Mul" in self._steps:
            members |= {"scale_by": self._indexing("Mul")[0], "scale_width": signed_bits(self._indexing("Mul")[1])}
        if "Add" in self._steps:
            by, codes = self._offset()
            members |= {"offset_by": by, "offset_width": signed_bits(codes), "offset_shift": shift}
            members["sum_width"] = max(members["sum_width"], signed_bits(codes))
        return members

    def _offset(self) -> tuple[int, Codes]:
        by, codes = self._indexing("Add")
        frac = self.graph.tensors[self._steps["Add"].output].format.frac
        return by, shift_round(codes, self._constant("Add").format.frac - frac)

    def roms(self) -> dict[str, Codes]:
        """Its constants."""
        found: dict[str, Codes] = {}
        if "Mul" in self._steps:
            found["scale"] = self._indexing("Mul")[1]
        if "Add" in self._steps:
            found["offset"] = self._offset()[1]
        return found


def _carrier(fmt: Fixed | Tensor) -> int:
    fmt = fmt.format if isinstance(fmt, Tensor) else fmt
    return max(fmt.width + (not fmt.signed), 2)


def signed_bits(codes: Codes) -> int:
    """Bits of a signed integer that holds all codes."""
    low, high = int(codes.min()), int(codes.max())
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0, 1) + 1
