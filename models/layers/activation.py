# SPDX-License-Identifier: Apache-2.0
"""QActivation with a gradient that stops where the format saturates."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from qkeras import QActivation

from hls4attn.models.layers.quantizers import fixed_of, quantiser_of


class ClippedActivation(QActivation):  # type: ignore[misc]
    """A QKeras QActivation whose values are those of its quantiser, and whose gradient is zero outside its range.

    QKeras passes the gradient through a saturated quantiser.  Nothing then holds the values inside: trained long
    enough, queries and keys drift until most of them saturate and training collapses.

    Args:
        activation: a QKeras quantiser, its text, or the text of a fixed-point format.
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(quantiser_of(activation), **kwargs)

    def build(self, input_shape: Any) -> None:
        """Find the range."""
        fmt = fixed_of(self.quantizer, self.name)
        self.low, self.high = float(fmt.to_real(fmt.min)), float(fmt.to_real(fmt.max))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Quantised inputs; clipping first changes no value, since both ends are on the grid."""
        return super().call(tf.clip_by_value(inputs, self.low, self.high))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "activation": str(self.quantizer)}
