# SPDX-License-Identifier: Apache-2.0
r"""What all normalisations over the last axis share: checks, the integer affine step, their registry.

A *norm spec* turns codes of shape ``(..., channels)`` into codes of the same shape; like a score spec it is the
one object that travels from the Keras layer to the hardware.

The affine step is common to all: with ``a ~ t * v * 2**-e`` the normalised value in exact integers::

    y = saturate((((G_c * v * t) >> (N + e - fb)) + B_c + 2**(fb - 1)) >> fb)

G_c = round(gamma_c / step * 2**N) with the largest N that keeps `gamma_bits`, B_c = round(beta_c / step * 2**fb).
Right shifts are arithmetic: they round towards minus infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import FormatError, InputError, SpecError
from hls4attn.models.formats import Codes, Fixed, Reals
from hls4attn.models.operators.base import Attributes

#: Added to the variance by the float functions.
EPSILON = 1e-6
#: Limits of N, the fraction bits of the integer gamma.
MIN_GAMMA_FRAC, MAX_GAMMA_FRAC = -16, 15
#: Bits that a bias code may have.
MAX_BIAS_BITS = 24


@runtime_checkable
class NormSpec(Protocol):
    """A normalisation over the last axis."""

    op_type: ClassVar[str]

    @property
    def channels(self) -> int:
        """Length of the last axis."""

    @property
    def in_format(self) -> Fixed:
        """Format of the input codes."""

    @property
    def out_format(self) -> Fixed:
        """Format of the output codes."""

    def reference(self, codes: ArrayLike) -> Codes:
        """The normative integer model."""

    def real(self, values: ArrayLike) -> Reals:
        """The float function that it stands for."""

    def saturations(self, codes: ArrayLike) -> int:
        """Number of results that were limited to the output range."""

    def to_attributes(self) -> Attributes:
        """Loss-free description, complete with the constants of the ONNX function body."""


class IntegerNorm:
    """What every norm spec makes of its results before the output's limits."""

    in_format: Fixed
    out_format: Fixed
    gamma: tuple[float, ...]
    beta: tuple[float, ...]

    def _unlimited(self: Any, codes: Codes) -> Codes:
        """Output codes before saturation."""
        raise NotImplementedError

    def reference(self: Any, codes: ArrayLike) -> Codes:
        """Output codes in `out_format` for input codes of shape ``(..., channels)``."""
        limited: Codes = self.out_format.limit(self._unlimited(check_norm_codes(codes, self)))
        return limited

    def real(self: Any, values: ArrayLike) -> Reals:
        """Float LayerNorm of the unquantised input."""
        return layer_norm(values, self.gamma, self.beta)

    def saturations(self: Any, codes: ArrayLike) -> int:
        """Number of results that were limited to the output range."""
        y = self._unlimited(check_norm_codes(codes, self))
        return int(np.count_nonzero((y < self.out_format.min) | (y > self.out_format.max)))


_REGISTRY: dict[str, Any] = {}
SpecT = TypeVar("SpecT", bound=type)


def register_norm(cls: SpecT) -> SpecT:
    """Class decorator: make a norm spec known by its `op_type`."""
    _REGISTRY[cls.op_type] = cls  # type: ignore[attr-defined]
    return cls


def norm_types() -> tuple[str, ...]:
    """The `op_type` of every known normalisation."""
    return tuple(sorted(_REGISTRY))


def norm_from_attributes(op_type: str, attributes: Mapping[str, Any]) -> NormSpec:
    """The spec that `to_attributes` described.

    Raises:
        SpecError: for an unknown `op_type`, or attributes that are missing or contradict each other.
    """
    if op_type not in _REGISTRY:
        raise SpecError(f"Unknown normalisation {op_type!r}; known: {', '.join(norm_types())}")
    spec: NormSpec = _REGISTRY[op_type].from_attributes(attributes)
    return spec


class Affine(NamedTuple):
    """Integer gamma and beta.

    Attributes:
        gamma: G, shape ``(channels,)``.
        frac: N, its fraction bits relative to an output step.
        beta: B, shape ``(channels,)``, in output steps with `bias_frac` fraction bits.
    """

    gamma: Codes
    frac: int
    beta: Codes


def affine_codes(gamma: ArrayLike, beta: ArrayLike, out_format: Fixed, gamma_bits: int, bias_frac: int) -> Affine:
    """Integer gamma and beta of float ones.

    Raises:
        SpecError: if a value is NaN or infinite, or too large for the output format.
    """
    g, b = (np.asarray(v, dtype=np.float64) for v in (gamma, beta))
    if not (np.all(np.isfinite(g)) and np.all(np.isfinite(b))):
        raise SpecError("Normalisation: gamma and beta must be finite")
    steps = np.ldexp(g, out_format.frac)
    limit = (1 << (gamma_bits - 1)) - 1
    frac = MAX_GAMMA_FRAC
    while frac >= MIN_GAMMA_FRAC and np.abs(np.rint(np.ldexp(steps, frac))).max(initial=0.0) > limit:
        frac -= 1
    if frac < MIN_GAMMA_FRAC:
        raise SpecError(
            f"Normalisation: |gamma| up to {np.abs(g).max():.3g} is too large for outputs in {out_format}; "
            "use an output format with fewer fraction bits"
        )
    codes = np.rint(np.ldexp(b, out_format.frac + bias_frac))
    if np.abs(codes).max(initial=0.0) >= 1 << (MAX_BIAS_BITS - 1):
        raise SpecError(f"Normalisation: |beta| up to {np.abs(b).max():.3g} is too large for outputs in {out_format}")
    return Affine(np.rint(np.ldexp(steps, frac)).astype(np.int64), frac, codes.astype(np.int64))


def apply_affine(product: Codes, shift: Codes | int, beta: Codes, bias_frac: int) -> Codes:
    """``((product >> shift) + beta + half) >> bias_frac``: output codes before saturation."""
    half = (1 << bias_frac) >> 1
    return cast(Codes, ((product >> shift) + (beta + half)) >> bias_frac)


def check_norm_codes(codes: ArrayLike, spec: NormSpec) -> Codes:
    """Codes as int64, checked for dtype, shape ``(..., channels)`` and range."""
    a = np.asarray(codes)
    if a.dtype.kind not in "iu":
        raise InputError(f"{spec.op_type}: takes integer codes. Received: dtype={a.dtype}")
    if a.ndim < 1 or a.shape[-1] != spec.channels:
        raise InputError(f"{spec.op_type}: takes shape (..., channels={spec.channels}). Received: {a.shape}")
    if not spec.in_format.contains(a):
        raise FormatError(
            f"{spec.op_type}: codes outside {spec.in_format} [{spec.in_format.min}, {spec.in_format.max}]. "
            f"Received: [{a.min()}, {a.max()}]"
        )
    return a.astype(np.int64, copy=False)


def check_out_format(op_type: str, fmt: Fixed) -> None:
    """Refuse an output format that the affine step does not produce."""
    if not fmt.signed or not 2 <= fmt.width <= 16 or fmt.overflow == "wrap":
        raise SpecError(f"{op_type}: out_format must be signed, 2 to 16 bits, saturating. Received: {fmt}")


def check_vectors(op_type: str, channels: int, **vectors: tuple[Any, ...]) -> None:
    """Refuse channel vectors of different lengths, or of none or more than 1024 channels."""
    if not 1 <= channels <= 1024:
        raise SpecError(f"{op_type}: takes 1 to 1024 channels. Received: {channels}")
    for name, values in vectors.items():
        if len(values) != channels or not np.all(np.isfinite(values)):
            raise SpecError(f"{op_type}: {name} must be {channels} finite numbers. Received: {len(values)}")


def layer_norm(values: ArrayLike, gamma: ArrayLike, beta: ArrayLike) -> Reals:
    """Float LayerNorm over the last axis, in float64."""
    x = np.asarray(values, dtype=np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + EPSILON)
    return cast(Reals, centred / scale * np.asarray(gamma, dtype=np.float64) + np.asarray(beta, dtype=np.float64))


def leading_one_position(x: Codes) -> Codes:
    """Position of the leading one of positive integers below 2**62."""
    high = x >> 31  # two halves, each exact in float64
    position = np.where(high > 0, np.frexp(high.astype(np.float64))[1] + 31, np.frexp(x.astype(np.float64))[1])
    return position.astype(np.int64) - 1
