# SPDX-License-Identifier: Apache-2.0
"""A table of vectors of codes, one for each character or word."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.layers.quantizers import fake_quantise, fixed_of, quantiser_of


class QEmbedding(tf.keras.layers.Embedding):  # type: ignore[misc]
    """A Keras Embedding whose table is quantised: ``y = Q(table)[code]`` for codes ``(batch, length)``.

    Rows ``(batch, length, input_dim)`` that are one-hot give the same, as ``x Q(table)``, which hardware computes.

    Args:
        input_dim: rows of the table.
        output_dim: their width.
        quantizer: Q, of the table.
        quantised: false gives the float table, for comparison.
    """

    def __init__(self, input_dim: int, output_dim: int, quantizer: Any, quantised: bool = True, **kwargs: Any) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.quantizer, self.quantised = quantiser_of(quantizer), bool(quantised)
        self.format: Fixed = fixed_of(self.quantizer, f"{self.name} quantizer")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Rows of the table."""
        if len(inputs.shape) == 3:
            table = fake_quantise(self.embeddings, self.format) if self.quantised else self.embeddings
            return tf.matmul(inputs, table)
        rows = super().call(inputs)
        return fake_quantise(rows, self.format) if self.quantised else rows

    def codes(self) -> Codes:
        """The table in `format`."""
        return self.format.quantise(self.embeddings.numpy())

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "quantizer": str(self.quantizer), "quantised": self.quantised}
