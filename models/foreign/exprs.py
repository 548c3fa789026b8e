# SPDX-License-Identifier: Apache-2.0
"""The integer model while it is being put together: expressions with shapes and exact formats.

Nothing is written before the output asks for it, so that a fused projection of q, k and v can still be cut into three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Constant, Node, Tensor
from hls4attn.models.export.infer import infer
from hls4attn.models.foreign.views import Index, Moves, Shape, moves
from hls4attn.models.formats import Codes, Fixed, Reals, covering
from hls4attn.models.operators import E2ContextSpec, NormSpec, ScoreSpec


@dataclass(frozen=True, eq=False)
class Expr:
    """A tensor of the new model, without its batch axis.

    Attributes:
        op: "Source" (the quantised input), "Input" (before its quantiser), "Constant", "Pending" (an operator whose
            output format the next quantiser tells), or one of a typed graph's.
        name: what to call it.
        inputs: operands.
        tensor: shape and format; of Input and Pending only the shape and the format's sign mean anything.
        details: what `Node` wants beyond that.
        resolve: of Pending: the expression for an output format, and whether the import chose that.
        real: of Pending: its float function.
        given: of Constant: the file's own values, of which the codes may be a rounding.
        chosen: the import chose the format, the file has no quantiser there.
        stands_for: an expression, and the columns of it, that this one is another way to compute.
    """

    op: str
    name: str
    inputs: tuple[Expr, ...]
    tensor: Tensor
    details: dict[str, Any] = field(default_factory=dict)
    resolve: Callable[[Fixed, bool], Expr] | None = None
    real: Callable[..., Any] | None = None
    given: Reals | None = None
    chosen: bool = False
    stands_for: tuple[Expr, tuple[int, ...] | None] | None = None

    @property
    def shape(self) -> Shape:
        """Shape of a sample."""
        return self.tensor.shape

    @property
    def format(self) -> Fixed:
        """Exact format."""
        return self.tensor.format


class Exprs:
    """Makes expressions; the same one twice is one."""

    def __init__(self) -> None:
        self._known: dict[object, Expr] = {}

    def _make(self, key: object, op: str, name: str, inputs: tuple[Expr, ...], **extra: Any) -> Expr:
        whole = (op, tuple(id(x) for x in inputs), key)
        known = self._known.get(whole)
        if known is not None:
            return known
        target, chosen = extra.pop("target", None), extra.pop("chosen", False)
        node = Node(op, name, tuple(x.name for x in inputs), name, **extra)
        tensor = infer(node, [x.tensor for x in inputs], target)
        made = Expr(op, name, inputs, tensor, extra, chosen=chosen)
        self._known[whole] = made
        return made

    def constant(self, codes: Codes, fmt: Fixed, name: str, given: Reals | None = None) -> Expr:
        """Codes in a format, and the values that they stand for if they are not exactly those."""
        return Expr("Constant", name, (), Constant(name, codes.shape, fmt, codes), given=given)

    def quant(self, x: Expr, fmt: Fixed, name: str, chosen: bool = False) -> Expr:
        """Another format; x itself if its values all are on the wanted grid and in its range."""
        if x.op != "Input" and _inside(x.format, fmt):
            return x
        if x.op == "Input":
            key = ("Source", id(x), fmt)
            return self._known.setdefault(key, Expr("Source", name, (x,), Tensor(name, x.shape, fmt), chosen=chosen))
        return self._make(fmt, "Quant", name, (x,), target=Tensor(name, (), fmt), chosen=chosen)

    def matmul(self, a: Expr, b: Expr, name: str) -> Expr:
        """Product of matrices; b may be constant."""
        return self._make(None, "MatMul", name, (a, b))

    def add(self, a: Expr, b: Expr, name: str) -> Expr:
        """Sum; b may be constant."""
        return self._make(None, "Add", name, (a, b))

    def multiply(self, a: Expr, b: Expr, name: str) -> Expr:
        """Product by elements; b may be constant."""
        return self._make(None, "Mul", name, (a, b))

    def relu(self, x: Expr, name: str) -> Expr:
        """Negative ones become zero."""
        return x if x.format.min >= 0 else self._make(None, "Relu", name, (x,))

    def sum(self, x: Expr, axes: tuple[int, ...], name: str) -> Expr:
        """Sum over axes."""
        return self._make(axes, "ReduceSum", name, (x,), axes=axes)

    def reshape(self, x: Expr, shape: Shape, name: str) -> Expr:
        """Another shape of the same elements."""
        if x.shape == shape:
            return x
        return self._make(shape, "Reshape", name, (x,), target=Tensor(name, shape, x.format))

    def transpose(self, x: Expr, permutation: tuple[int, ...], name: str) -> Expr:
        """Another order of the axes."""
        return self._make(permutation, "Transpose", name, (x,), permutation=permutation)

    def score(self, x: Expr, spec: ScoreSpec, name: str) -> Expr:
        """A score function."""
        return self._make(spec, "Score", name, (x,), spec=spec)

    def context(self, x: Expr, v: Expr, spec: E2ContextSpec, name: str) -> Expr:
        """Scores and values to the context."""
        return self._make(spec, "Context", name, (x, v), context=spec)

    def norm(self, x: Expr, spec: NormSpec, name: str) -> Expr:
        """A normalisation."""
        return self._make(spec, "Norm", name, (x,), norm=spec)

    def pending(
        self,
        shape: Shape,
        name: str,
        inputs: tuple[Expr, ...],
        resolve: Callable[[Fixed], Expr],
        real: Callable[..., Any],
        signed: bool = True,
        **details: Any,
    ) -> Expr:
        """An operator whose output format is not known yet; `signed` if its results may be negative."""
        known: dict[tuple[Fixed, bool], Expr] = {}

        def once(fmt: Fixed, chosen: bool) -> Expr:
            if (fmt, chosen) not in known:
                known[fmt, chosen] = replace(resolve(fmt), chosen=chosen, stands_for=(made, None))
            return known[fmt, chosen]

        tensor = Tensor(name, shape, Fixed(2, 0, signed))
        made = Expr("Pending", name, inputs, tensor, details, resolve=once, real=real)
        return made

    def arranged(self, x: Expr, index: Index, where: str) -> Expr:
        """The tensor that a sample's index array over x describes; `where` it is read, for messages."""
        found = moves(index, x.shape)
        if found is not None:
            return self._moved(x, found)
        columns, rows = x.shape[-1], x.tensor.shape[:-1]
        used = np.unique(index % columns)
        if len(used) < columns:
            position = np.zeros(columns, dtype=np.int64)
            position[used] = np.arange(len(used))
            narrow = self.narrowed(x, tuple(map(int, used)))
            return self.arranged(narrow, index // columns * len(used) + position[index % columns], where)
        chosen = np.unique(index // columns)
        if len(rows) >= 1 and len(chosen) < np.prod(rows):
            flat = self.transpose(
                self.reshape(x, (int(np.prod(rows)), columns), f"{x.name}_rows"), (1, 0), f"{x.name}_turned"
            )
            picked = self.transpose(
                self.narrowed(flat, tuple(map(int, chosen))), (1, 0), f"{x.name}_row_{int(chosen[0])}"
            )
            place = np.searchsorted(chosen, index // columns)
            return self.arranged(picked, place * columns + index % columns, where)
        raise UnsupportedError(
            f"{where}: elements of {x.name} are rearranged from {x.shape} to {index.shape} in a way that is no "
            "Reshape, Transpose and choice of rows or columns in their order (repeated or reversed elements?); write "
            "it with those"
        )

    def _moved(self, x: Expr, found: Moves) -> Expr:
        if found.split is not None:
            x = self.reshape(x, found.split, f"{x.name}_split")
        if found.permutation is not None:
            x = self.transpose(x, found.permutation, f"{x.name}_turned")
        return x if found.merge is None else self.reshape(x, found.merge, f"{x.name}_merged")

    def narrowed(self, x: Expr, columns: tuple[int, ...]) -> Expr:
        """Some columns of a tensor, by cutting the weights that make it; else by a product with ones and zeros."""
        key = ("narrowed", id(x), columns)
        if key not in self._known:
            self._known[key] = replace(self._narrow(x, columns), stands_for=(x, columns))
        return self._known[key]

    def _narrow(self, x: Expr, columns: tuple[int, ...]) -> Expr:
        chosen = np.array(columns)
        name = f"{x.name}_from_{columns[0]}"
        if x.op == "Quant":
            return self.quant(self.narrowed(x.inputs[0], columns), x.format, name, x.chosen)
        if x.op == "Relu":
            return self.relu(self.narrowed(x.inputs[0], columns), name)
        if x.op in ("MatMul", "Add", "Mul") and isinstance(x.inputs[1].tensor, Constant):
            left, right, given = x.inputs[0], x.inputs[1].tensor, x.inputs[1].given
            cut = np.arange(1) if right.codes.shape[-1:] == (1,) else chosen
            constant = self.constant(
                right.codes[..., cut],
                right.format,
                f"{right.name}_from_{columns[0]}",
                None if given is None else given[..., cut],
            )
            if x.op == "MatMul":
                return self.matmul(left, constant, name)
            return (self.add if x.op == "Add" else self.multiply)(self.narrowed(left, columns), constant, name)
        if x.op == "Add":
            left, other = (self.narrowed(i, columns) for i in x.inputs)
            return self.add(left, other, name)
        if x.op in ("Input", "Pending"):
            raise UnsupportedError(f"{x.name}: quantise it before it is sliced")
        ones = np.zeros((x.shape[-1], len(columns)), dtype=np.int64)
        ones[chosen, np.arange(len(columns))] = 1
        return self.matmul(x, self.constant(ones, Fixed(1, 0, signed=False), f"{name}_choice"), name)


def _inside(inner: Fixed, outer: Fixed) -> bool:
    """Whether every value of one format is one of the other."""
    up = outer.frac - inner.frac
    return up >= 0 and inner.min << up >= outer.min and inner.max << up <= outer.max


def tight(codes: Codes, frac: int) -> Fixed:
    """The narrowest format of constants with so many fraction bits."""
    return covering(min(int(codes.min(initial=0)), 0), max(int(codes.max(initial=1)), 1), frac)
