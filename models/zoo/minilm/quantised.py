# SPDX-License-Identifier: Apache-2.0
"""The encoder's softmax and LayerNorm through the integer references, with statistics of what they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec, E2SoftmaxSpec, IntegerLayerNormSpec, SoftmaxSpec
from hls4attn.models.zoo.minilm.encoder import Encoder, Float32, Mask, float_norm, float_softmax


class Summary(NamedTuple):
    """Statistics of a quantity over all rows of all layers.

    Attributes:
        mean: its mean.
        rms: its root mean square.
        low: its smallest value.
        high: its largest value.
    """

    mean: float
    rms: float
    low: float
    high: float


class Statistics:
    """Running `Summary`, and the share of input codes at the ends of their range."""

    def __init__(self) -> None:
        self._count = self._clipped = self._codes = 0
        self._sum = self._squares = 0.0
        self._low, self._high = np.inf, -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Take values in."""
        v = values.astype(np.float64)
        self._count += v.size
        self._sum += float(v.sum())
        self._squares += float((v * v).sum())
        self._low, self._high = min(self._low, float(v.min())), max(self._high, float(v.max()))

    def add_codes(self, clipped: int, codes: int) -> None:
        """Take in how many of some input codes were limited to the range."""
        self._clipped += clipped
        self._codes += codes

    @property
    def summary(self) -> Summary | None:
        """None before the first value."""
        if not self._count:
            return None
        rms = float(np.sqrt(self._squares / self._count))
        return Summary(self._sum / self._count, rms, self._low, self._high)

    @property
    def clipped(self) -> float | None:
        """Share of limited input codes; None before the first one."""
        return self._clipped / self._codes if self._codes else None


class QuantisedSoftmax:
    """Softmax of quantised scores, one spec a layer; counts the sums of its rows.

    Args:
        specs: one a layer.
        operator: false computes the float softmax of the quantised scores, to tell the input's share of the error.
    """

    def __init__(self, specs: Sequence[E2SoftmaxSpec | SoftmaxSpec], operator: bool = True) -> None:
        self._specs, self._operator = tuple(specs), operator
        self.statistics = Statistics()

    def __call__(self, layer: int, scores: Float32, keep: Mask) -> Float32:
        """Probabilities; shapes as for `encoder.Softmax`."""
        spec = self._specs[layer]
        codes = spec.in_format.quantise(scores)
        real = np.broadcast_to(keep[:, None, :, None] & keep[:, None, None, :], scores.shape)
        self.statistics.add_codes(count_limited(spec.in_format, scores[real]), int(np.count_nonzero(real)))
        if not self._operator:
            p = float_softmax(layer, spec.in_format.to_real(codes).astype(np.float32), keep)
        else:
            p = spec.out_format.to_real(_probabilities(spec, codes, keep)).astype(np.float32)
        sums = p.sum(axis=-1).transpose(0, 2, 1)
        self.statistics.add(sums[keep])
        return p


def _probabilities(spec: E2SoftmaxSpec | SoftmaxSpec, codes: Codes, keep: Mask) -> Codes:
    """Probability codes with zeros in the columns of padding."""
    if isinstance(spec, E2SoftmaxSpec):
        return spec.reference(codes, keep[:, None, None, :])
    # The exact softmax has no mask but the causal one: give it each sentence's own columns.
    p = np.zeros_like(codes)
    lengths = keep.sum(axis=1)
    for length in np.unique(lengths):
        rows = lengths == length
        p[rows, :, :length, :length] = spec.reference(codes[rows, :, :length, :length])
    return p


class QuantisedNorm:
    """Normalisation through an integer reference, one spec a normalisation.

    For AILayerNorm it collects the relative error of the standard deviation, ``std_integer / std_float - 1``, of
    every token against that of the operator's unquantised input.

    Args:
        specs: one a normalisation.
    """

    def __init__(self, specs: Sequence[AILayerNormSpec | IntegerLayerNormSpec]) -> None:
        self._specs = tuple(specs)
        self.statistics = Statistics()

    def __call__(self, index: int, x: Float32) -> Float32:
        """Normalised x, shape ``(tokens, hidden)``."""
        spec = self._specs[index]
        codes = spec.in_format.quantise(x)
        if isinstance(spec, AILayerNormSpec):
            self._watch(spec, codes, x)
        else:
            self.statistics.add_codes(count_limited(spec.in_format, x), x.size)
        return spec.out_format.to_real(spec.reference(codes)).astype(np.float32)

    def _watch(self, spec: AILayerNormSpec, codes: Codes, x: Float32) -> None:
        quantised = spec.quantise(codes)
        _, variance = spec.statistics(quantised)
        std = np.sqrt(np.ldexp(variance[..., 0].astype(np.float64), -2 * spec.mean_frac)) * spec.step
        self.statistics.add(std / x.std(axis=-1, dtype=np.float64) - 1)
        steps = np.floor(x / (spec.step * 2.0**spec.alpha_codes) + 0.5) + spec.zero_point
        self.statistics.add_codes(int(np.count_nonzero((steps < 0) | (steps > 255))), x.size)


class QuantisedInputNorm:
    """Float LayerNorm of what AILayerNorm's input quantiser leaves: the input's share of the error.

    Args:
        encoder: gives gamma, beta and epsilon.
        specs: one a normalisation.
    """

    def __init__(self, encoder: Encoder, specs: Sequence[AILayerNormSpec]) -> None:
        self._norm, self._specs = float_norm(encoder), tuple(specs)
        self.statistics = Statistics()

    def __call__(self, index: int, x: Float32) -> Float32:
        """Normalised x, shape ``(tokens, hidden)``."""
        spec = self._specs[index]
        quantised = spec.quantise(spec.in_format.quantise(x))
        seen = ((quantised - spec.zero_point) << spec.alpha_codes) * spec.step
        std = seen.std(axis=-1) / x.std(axis=-1, dtype=np.float64)
        self.statistics.add(std - 1)
        return self._norm(index, seen.astype(np.float32))


def count_limited(fmt: Fixed, values: Float32) -> int:
    """How many values are outside the range of a format."""
    steps = np.rint(np.ldexp(values, fmt.frac))
    return int(np.count_nonzero((steps < fmt.min) | (steps > fmt.max)))


def statistics_of(function: object) -> Statistics:
    """What a softmax or normalisation collected; empty statistics for a float one."""
    found = getattr(function, "statistics", None)
    return found if isinstance(found, Statistics) else Statistics()
