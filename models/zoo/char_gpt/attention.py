# SPDX-License-Identifier: Apache-2.0
"""The seam: causal self-attention layers ``(batch, window, width)`` to the same shape, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.keras.layers import Dense, Layer

from hls4attn.models.layers import QSelfAttention
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import CUBIC_CELL, LINEAR_CELL, CellCurve
from hls4attn.models.zoo.char_gpt.formats import BIAS, KERNEL, STREAM
from hls4attn.models.zoo.char_gpt.gaincell import QGainCellAttention

#: Slots of a pair of arrays.
TILE = 64
#: Added to a hidden score: its exponential is 0.
_MASKED = -1e9

Maker = Callable[..., Layer]


class FloatSelfAttention(Layer):  # type: ignore[misc]
    """Causal multi-head softmax attention in float: where the hardware models start from.

    Args:
        heads: number of heads.
        head_dim: width of a head.
    """

    def __init__(self, heads: int, head_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.head_dim = int(heads), int(head_dim)

    def build(self, input_shape: Any) -> None:
        """Create the projections."""
        width = self.heads * self.head_dim
        self.wq, self.wk, self.wv = (Dense(width, name=f"{self.name}_{n}_proj") for n in "qkv")
        self.wo = Dense(int(input_shape[-1]), name=f"{self.name}_out_proj")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Attention output."""
        q, k, v = (self._split(dense(x)) for dense in (self.wq, self.wk, self.wv))
        scores = tf.matmul(q, k, transpose_b=True) * self.head_dim**-0.5
        seen = tf.linalg.band_part(tf.ones(scores.shape[-2:], scores.dtype), -1, 0)
        context = tf.matmul(tf.nn.softmax(scores + (1.0 - seen) * _MASKED), v)
        return self.wo(tf.reshape(tf.transpose(context, (0, 2, 1, 3)), (-1, x.shape[1], self.heads * self.head_dim)))

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(x, (-1, x.shape[1], self.heads, self.head_dim)), (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "heads": self.heads, "head_dim": self.head_dim}


def _integer(score: str) -> Maker:
    def make(heads: int, head_dim: int, name: str) -> Layer:
        return QSelfAttention(
            heads,
            head_dim,
            score,
            kernel_quantizer=KERNEL,
            bias_quantizer=BIAS,
            qk_quantizer="fixed<8,5>",
            v_quantizer="fixed<8,5>",
            score_quantizer="fixed<8,1>",
            context_quantizer=STREAM,
            output_quantizer=STREAM,
            score_options={"causal": True},
            name=name,
        )

    return make


def _gain_cells(cell: CellCurve) -> Maker:
    def make(heads: int, head_dim: int, name: str, **options: Any) -> Layer:
        spec = GainCellSpec(heads=heads, head_dim=head_dim, tile=TILE, cell=cell, **options)
        return QGainCellAttention(spec, name=name)

    return make


#: Makers of attention layers: heads, head_dim and name to a layer; those of gain cells take further fields of a spec.
ATTENTIONS: dict[str, Maker] = {
    "softmax": lambda heads, head_dim, name: FloatSelfAttention(heads, head_dim, name=name),
    "integer-softmax": _integer("softmax"),
    "consmax": _integer("consmax"),
    "gaincell-linear": _gain_cells(LINEAR_CELL),
    "gaincell": _gain_cells(CUBIC_CELL),
}
