# SPDX-License-Identifier: Apache-2.0
"""What post-training quantisation is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.models.errors import SpecError

SCORES = ("softmax", "e2softmax", "e2softmax-online", "e2softmax-shift")
NORMS = ("layernorm", "ailayernorm")


@dataclass(frozen=True)
class QuantisePlan:
    """Which operators and widths the integer model gets.

    Args:
        score: "softmax" (exact integers), "e2softmax" (two-pass), "e2softmax-online" or "e2softmax-shift".
        norm: "layernorm" (exact integers) or "ailayernorm".
        weight_bits: bits of weight matrices.
        activation_bits: bits of activations.
        bias_bits: bits of biases and position embeddings.
        residual_bits: bits of the sums that enter a normalisation, before its own 8-bit quantiser.

    Raises:
        SpecError: for an unknown operator or a width out of range.
    """

    score: str = "e2softmax"
    norm: str = "ailayernorm"
    weight_bits: int = 8
    activation_bits: int = 8
    bias_bits: int = 12
    residual_bits: int = 12

    def __post_init__(self) -> None:
        for name, value, known in (("score", self.score, SCORES), ("norm", self.norm, NORMS)):
            if value not in known:
                raise SpecError(f"{name} must be one of {', '.join(known)}. Received: {value!r}")
        for name, low, high in (
            ("weight_bits", 2, 12),
            ("activation_bits", 4, 12),
            ("bias_bits", 4, 16),
            ("residual_bits", 8, 16),
        ):
            if not low <= getattr(self, name) <= high:
                raise SpecError(f"{name} must be {low} to {high}. Received: {getattr(self, name)}")
