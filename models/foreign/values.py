# SPDX-License-Identifier: Apache-2.0
"""Tensors of a foreign file on their way, and the nodes that they go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hls4attn.models.export.reader import node_attributes
from hls4attn.models.foreign.exprs import Expr
from hls4attn.models.foreign.quantisers import Quantiser, nearest_power
from hls4attn.models.foreign.views import Index
from hls4attn.models.formats import Fixed

Array = NDArray[Any]

#: Larger tensors are refused before they are made: index arrays of 8 bytes an element are kept of each.
MOST_ELEMENTS = 1 << 24
#: A factor this near to a power of two is one, rounded in float32 (two factors d**-1/4 make one d**-1/2).
_SNAP = 1e-6


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that depends on the input: ``factor * expr[index]``.

    Attributes:
        expr: what it is made from.
        index: where each of its elements lies there (batch included).
        tensor: its name in the file.
        factor: a factor that has not been applied yet.
        causal: whether entries with column > row have been masked.
        leaks: whether the file quantised them after that, which leaves a little of them.
    """

    expr: Expr
    index: Index
    tensor: str
    factor: float = 1.0
    causal: bool = False
    leaks: bool = False


@dataclass(frozen=True, eq=False)
class Const:
    """A tensor that does not depend on the input; `quantiser` if one of the file's made it."""

    value: Array
    name: str
    quantiser: Quantiser | None = None


def moved(const: Const, move: Callable[[Array], Array]) -> Const:
    """A constant whose elements were moved, and the scales of channels with them."""
    quantiser = const.quantiser
    if quantiser is not None and quantiser.scale.size > 1:
        quantiser = replace(quantiser, scale=move(np.broadcast_to(quantiser.scale, const.value.shape)))
    return replace(const, value=move(const.value), quantiser=quantiser)


@dataclass(frozen=True, eq=False)
class Coded:
    """Between QuantizeLinear and DequantizeLinear."""

    source: Value | Const
    quantiser: Quantiser


Operand = Value | Const | Coded | None


@dataclass(frozen=True)
class Step:
    """One node of the file."""

    proto: onnx.NodeProto
    version: int

    @property
    def name(self) -> str:
        """Its name."""
        return self.proto.name

    @property
    def op(self) -> str:
        """Its operator."""
        return self.proto.op_type

    @property
    def where(self) -> str:
        """Name and operator, for messages."""
        return f"{self.name} ({self.op})"

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes as plain values."""
        return node_attributes(self.proto)


def short(fmt: Fixed) -> str:
    """A format in few words."""
    return f"{fmt.width} bits {'signed' if fmt.signed else 'unsigned'}, step 2**{-fmt.frac}"


def snapped(factor: float) -> float:
    """A factor, or the power of two that it is but for float32's rounding."""
    near = 2.0 ** -nearest_power(factor)
    return near if abs(factor / near - 1) < _SNAP else factor
