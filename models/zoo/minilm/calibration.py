# SPDX-License-Identifier: Apache-2.0
"""Number formats of the quantised operators, layer by layer, from the float encoder's activations.

Nothing is trained: scores get the power-of-two step that just covers their range, normalisation outputs likewise,
normalisation inputs the quantiser of `calibrate_ptf`.  16-bit formats are the operators' input registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hls4attn.models.errors import InputError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, E2SoftmaxSpec, IntegerLayerNormSpec, SoftmaxSpec
from hls4attn.models.operators.ptf import calibrate_ptf
from hls4attn.models.zoo.minilm.encoder import Encoder, Float32, Mask, embed, float_norm, float_softmax

#: Bits of the fixed-point codes that AILayerNorm quantises to 8 bits itself: wide enough to add no error of its own.
NORM_INPUT_BITS = 16


@dataclass(frozen=True)
class Calibration:
    """Ranges and samples of the float encoder on the calibration sentences.

    Args:
        encoder: the encoder.
        scores: largest magnitude of a score, one a layer.
        inputs: normalisation inputs, one array of shape ``(tokens, hidden)`` a normalisation.
        outputs: largest magnitude of a normalisation's output.
    """

    encoder: Encoder
    scores: tuple[float, ...]
    inputs: tuple[Float32, ...]
    outputs: tuple[float, ...]

    def score_format(self, layer: int) -> Fixed:
        """8-bit format of a layer's scores, already divided by ``sqrt(head_dim)``."""
        return covering_format(8, self.scores[layer])

    def e2softmax(self, layer: int, **parameters: Any) -> E2SoftmaxSpec:
        """E2Softmax of a layer; the paper's parameters unless given."""
        return E2SoftmaxSpec(self.score_format(layer), self._unit_scale, **parameters)

    def softmax(self, layer: int) -> SoftmaxSpec:
        """Exact integer softmax of a layer, 8 bits in and out."""
        return SoftmaxSpec(self.score_format(layer), self._unit_scale)

    def ailayernorm(
        self, index: int, out_bits: int = 8, power_of_two: bool = True, **parameters: Any
    ) -> AILayerNormSpec:
        """AILayerNorm in place of a LayerNorm.

        Args:
            index: of the normalisation.
            out_bits: bits of an output code.
            power_of_two: round the input quantiser's step up to a power of two.
            **parameters: of the spec; its defaults unless given.
        """
        fmt, values = self._input_format(index), self.inputs[index]
        ptf = calibrate_ptf(values, fmt, power_of_two)
        gamma, beta = self._affine(index)
        return AILayerNormSpec(
            fmt,
            covering_format(out_bits, self.outputs[index]),
            gamma,
            beta,
            ptf.alpha,
            zero_point=ptf.zero_point,
            multiplier=ptf.multiplier,
            shift=ptf.shift,
            **parameters,
        )

    def layernorm(self, index: int) -> IntegerLayerNormSpec:
        """Exact integer LayerNorm with the same input register and 8-bit output."""
        gamma, beta = self._affine(index)
        return IntegerLayerNormSpec(self._input_format(index), covering_format(8, self.outputs[index]), gamma, beta)

    @property
    def _unit_scale(self) -> tuple[float, ...]:
        # 1/sqrt(head_dim) is in the scores: the requantiser after Q K^T applies it, as the paper's Log2Exp only shifts
        return (1.0,) * self.encoder.heads

    def _input_format(self, index: int) -> Fixed:
        return covering_format(NORM_INPUT_BITS, float(np.abs(self.inputs[index]).max()))

    def _affine(self, index: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        gamma, beta = self.encoder.norms[index]
        return tuple(map(float, gamma)), tuple(map(float, beta))


def covering_format(bits: int, largest: float) -> Fixed:
    """Signed format with the smallest power-of-two step that reaches `largest`.

    Raises:
        InputError: if `largest` is zero or not finite: there is nothing to calibrate on.
    """
    if not (math.isfinite(largest) and largest > 0):
        raise InputError(f"Calibration found a largest magnitude of {largest}; the sentences do not excite the layer")
    return Fixed(bits, math.floor(math.log2(((1 << (bits - 1)) - 1) / largest)))


def calibrate(encoder: Encoder, sentences: Sequence[Sequence[int]]) -> Calibration:
    """Observe the float encoder on tokenised sentences.

    Args:
        encoder: the encoder.
        sentences: token numbers; use other ones to evaluate.

    Raises:
        InputError: without sentences.
    """
    if not sentences:
        raise InputError("Calibration needs at least one sentence")
    scores = [0.0] * len(encoder.layers)
    seen: list[list[Float32]] = [[] for _ in encoder.norms]
    outputs = [0.0] * len(encoder.norms)
    norm = float_norm(encoder)

    def watch_softmax(layer: int, x: Float32, keep: Mask) -> Float32:
        real = keep[:, None, :, None] & keep[:, None, None, :]
        scores[layer] = max(scores[layer], float(np.abs(x * real).max()))
        return float_softmax(layer, x, keep)

    def watch_norm(index: int, x: Float32) -> Float32:
        y = norm(index, x)
        seen[index].append(x)
        outputs[index] = max(outputs[index], float(np.abs(y).max()))
        return y

    embed(encoder, sentences, watch_softmax, watch_norm)
    inputs = tuple(np.concatenate(parts) for parts in seen)
    return Calibration(encoder, tuple(scores), inputs, tuple(outputs))
