# SPDX-License-Identifier: Apache-2.0
"""What post-training quantisation is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hls4attn.models.errors import SpecError

SCORES = ("softmax", "e2softmax", "e2softmax-online", "e2softmax-shift")
NORMS = ("layernorm", "ailayernorm")
#: Widths that a tensor may be given, smallest and largest.
BITS = {"weight_bits": (2, 12), "activation_bits": (4, 12), "bias_bits": (4, 16)}


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
        check_options(self, {"score": SCORES, "norm": NORMS}, BITS | {"residual_bits": (8, 16)})


def check_options(options: object, known: Mapping[str, Sequence[str]], limits: Mapping[str, tuple[int, int]]) -> None:
    """Check the fields of a plan.

    Args:
        options: the plan.
        known: names that a field may have.
        limits: smallest and largest value of fields that are integers.

    Raises:
        SpecError: naming the field.
    """
    for name, names in known.items():
        if getattr(options, name) not in names:
            raise SpecError(f"{name} must be one of {', '.join(names)}. Received: {getattr(options, name)!r}")
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not isinstance(value, int | np.integer) or not low <= value <= high:
            raise SpecError(f"{name} must be {low} to {high}. Received: {value!r}")
