# SPDX-License-Identifier: Apache-2.0
"""What all score functions share: shapes, code checks, the causal mask, attributes and their registry.

A *score spec* is a frozen dataclass that turns score codes of shape ``(..., heads, rows, cols)`` into
probability codes of the same shape.  It is the one object that travels: Keras layer config, ONNX node
attributes, hls4ml layer attributes, C++ config struct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Codes, Fixed, Reals

#: An ONNX attribute: int, string or tensor.
Attribute = int | str | NDArray[Any]
Attributes = dict[str, Attribute]

#: `Trilu` diagonal that keeps everything: no mask (longer than any row this package accepts).
NO_MASK_DIAGONAL = 1 << 20


@runtime_checkable
class ScoreSpec(Protocol):
    """A score function: softmax or what replaces it."""

    op_type: ClassVar[str]

    @property
    def causal(self) -> bool:
        """Whether entries with column > row are masked."""

    @property
    def out_width(self) -> int:
        """Bits of an output code."""

    @property
    def heads(self) -> int:
        """Number of attention heads."""

    @property
    def in_format(self) -> Fixed:
        """Format of the score codes."""

    @property
    def out_format(self) -> Fixed:
        """Format of the probability codes, one for all heads."""

    @property
    def output_steps(self) -> tuple[float, ...]:
        """Real value of one output step, one a head."""

    def reference(self, codes: ArrayLike) -> Codes:
        """The normative integer model."""

    def real(self, scores: ArrayLike) -> Reals:
        """The float function that it stands for."""

    def saturations(self, codes: ArrayLike) -> int:
        """Number of results that were limited to the output range."""

    def to_attributes(self) -> Attributes:
        """Loss-free description, complete with the constants of the ONNX function body."""


class OneGrid:
    """Of a score spec with one unsigned output format for all heads: what follows from its fields."""

    score_scale: tuple[float, ...]
    out_width: int
    out_frac: int

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return len(self.score_scale)

    @property
    def out_format(self) -> Fixed:
        """Format of the probability codes."""
        return Fixed(self.out_width, self.out_frac, signed=False)

    @property
    def output_steps(self) -> tuple[float, ...]:
        """Real value of one output step, one a head."""
        return (self.out_format.step,) * self.heads


_REGISTRY: dict[str, Any] = {}
SpecT = TypeVar("SpecT", bound=type)


def register_score(cls: SpecT) -> SpecT:
    """Class decorator: make a score spec known by its `op_type`."""
    _REGISTRY[cls.op_type] = cls  # type: ignore[attr-defined]
    return cls


def score_types() -> tuple[str, ...]:
    """The `op_type` of every known score function."""
    return tuple(sorted(_REGISTRY))


def score_from_attributes(op_type: str, attributes: Mapping[str, Any]) -> ScoreSpec:
    """The spec that `to_attributes` described.

    Raises:
        SpecError: for an unknown `op_type`, or attributes that are missing or contradict each other.
    """
    if op_type not in _REGISTRY:
        raise SpecError(f"Unknown score function {op_type!r}; known: {', '.join(score_types())}")
    spec: ScoreSpec = _REGISTRY[op_type].from_attributes(attributes)
    return spec


def take_attributes(op_type: str, attributes: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The named attributes; a missing one is an error."""
    missing = [n for n in names if n not in attributes]
    if missing:
        raise SpecError(f"{op_type}: attributes missing: {missing}. Received: {sorted(attributes)}")
    return {n: attributes[n] for n in names}


def check_same_attributes(op_type: str, received: Mapping[str, Any], expected: Attributes) -> None:
    """Refuse a node whose tables do not follow from its parameters, or that has unknown attributes."""
    if set(received) != set(expected):
        odd = sorted(set(received) ^ set(expected))
        raise SpecError(f"{op_type}: unknown or missing attributes {odd}")
    for name, value in expected.items():
        if not np.array_equal(np.asarray(received[name]), np.asarray(value)):
            raise SpecError(
                f"{op_type}: attribute {name!r} does not follow from the node's other parameters; "
                "the file was edited or written by another version. Export it again."
            )


def check_scores(codes: ArrayLike, spec: ScoreSpec) -> Codes:
    """Score codes as int64, checked for dtype, shape ``(..., heads, rows, cols)`` and range."""
    a = np.asarray(codes)
    if a.dtype.kind not in "iu":
        raise InputError(f"{spec.op_type}: scores must be integer codes. Received: dtype={a.dtype}")
    if a.ndim < 3 or a.shape[-3] != spec.heads:
        raise InputError(
            f"{spec.op_type}: scores must have shape (..., heads={spec.heads}, rows, cols). Received: {a.shape}"
        )
    if spec.causal and a.shape[-1] != a.shape[-2]:
        raise InputError(f"{spec.op_type}: a causal mask needs as many rows as columns. Received: {a.shape}")
    if not spec.in_format.contains(a):
        raise FormatError(
            f"{spec.op_type}: codes outside {spec.in_format} [{spec.in_format.min}, {spec.in_format.max}]. "
            f"Received: [{a.min()}, {a.max()}]"
        )
    return a.astype(np.int64, copy=False)


def causal_mask(rows: int, cols: int) -> NDArray[np.bool_]:
    """True where query i may see key j, that is where ``j <= i``."""
    return np.tri(rows, cols, dtype=bool)


def float_softmax(scores: ArrayLike, causal: bool = False) -> Reals:
    """Softmax over the last axis in float64; with `causal` only over the keys that a query may see."""
    x = np.asarray(scores, dtype=np.float64)
    if causal:
        x = np.where(causal_mask(*x.shape[-2:]), x, -np.inf)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def per_head(name: str, values: Any, heads: int, op_type: str) -> tuple[float, ...]:
    """One finite number a head; a scalar is repeated."""
    a = np.asarray(values, dtype=np.float64)
    flat = np.full(heads, float(a)) if a.ndim == 0 else a.ravel()
    if flat.shape != (heads,) or not np.all(np.isfinite(flat)):
        raise SpecError(f"{op_type}: {name} must be one finite number or {heads} of them. Received: {values}")
    return tuple(float(v) for v in flat)
