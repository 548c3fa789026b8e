# SPDX-License-Identifier: Apache-2.0
"""Element-wise layers with quantised constants: batch normalisation, position embedding, mean pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Layer

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.layers.quantizers import fake_quantise, fixed_of, quantiser_of


class QBatchNorm(Layer):  # type: ignore[misc]
    r"""Batch normalisation that is one integer scale and bias a channel at inference.

    Formula::

        a = Q_a(gamma / sqrt(var + epsilon))      b = Q_b(beta - mean * gamma / sqrt(var + epsilon))
        y = a * x + b

    In training mean and var are those of the batch, and pass through the same quantisers; at inference they are
    the moving averages.  The sum is exact; a following QActivation rounds it.

    Args:
        scale_quantizer: Q_a.
        bias_quantizer: Q_b.
        momentum: of the moving averages.
        epsilon: added to the variance.
    """

    def __init__(
        self,
        scale_quantizer: Any,
        bias_quantizer: Any,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scale_quantizer, self.bias_quantizer = (
            quantiser_of(scale_quantizer),
            quantiser_of(bias_quantizer),
        )
        self.scale_format: Fixed = fixed_of(self.scale_quantizer, f"{self.name} scale_quantizer")
        self.bias_format: Fixed = fixed_of(self.bias_quantizer, f"{self.name} bias_quantizer")
        self.momentum, self.epsilon = float(momentum), float(epsilon)

    def build(self, input_shape: Any) -> None:
        """Create the four channel vectors."""
        n = (int(input_shape[-1]),)
        self.gamma = self.add_weight(name="gamma", shape=n, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=n, initializer="zeros")
        self.mean = self.add_weight(name="mean", shape=n, initializer="zeros", trainable=False)
        self.variance = self.add_weight(name="variance", shape=n, initializer="ones", trainable=False)
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalised x."""
        if training:
            mean, variance = tf.nn.moments(x, axes=list(range(len(x.shape) - 1)))
            self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
            self.variance.assign(self.momentum * self.variance + (1 - self.momentum) * variance)
        else:
            mean, variance = self.mean, self.variance
        wide = [tf.cast(t, tf.float64) for t in (self.gamma, self.beta, mean, variance)]
        scale = wide[0] / tf.sqrt(wide[3] + self.epsilon)
        bias = wide[1] - wide[2] * scale
        a = tf.cast(fake_quantise(scale, self.scale_format), tf.float32)
        b = tf.cast(fake_quantise(bias, self.bias_format), tf.float32)
        return x * a + b

    def folded_codes(self) -> tuple[Codes, Codes]:
        """Integer scale and bias of the inference mode, in `scale_format` and `bias_format`."""
        gamma, beta, mean, variance = (
            w.numpy().astype(np.float64) for w in (self.gamma, self.beta, self.mean, self.variance)
        )
        scale = gamma / np.sqrt(variance + self.epsilon)
        return self.scale_format.quantise(scale), self.bias_format.quantise(beta - mean * scale)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "scale_quantizer": str(self.scale_quantizer),
            "bias_quantizer": str(self.bias_quantizer),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


class PositionEmbedding(Layer):  # type: ignore[misc]
    """Adds a learnt vector to each position, in float: ``y = x + w``."""

    def build(self, input_shape: Any) -> None:
        """Create the embedding."""
        if any(d is None for d in input_shape[1:]):
            raise SpecError(f"{self.name}: all axes but the batch must be fixed. Received: {tuple(input_shape)}")
        shape = tuple(int(d) for d in input_shape[1:])
        self.embedding = self.add_weight(
            name="embedding", shape=shape, initializer=tf.keras.initializers.RandomNormal(stddev=0.1)
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """``x + w``."""
        return x + self.embedding


class QPositionEmbedding(PositionEmbedding):
    """Adds a learnt, quantised vector to each position: ``y = x + Q(w)``.

    Args:
        quantizer: Q, of the embedding.
    """

    def __init__(self, quantizer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quantizer = quantiser_of(quantizer)
        self.format: Fixed = fixed_of(self.quantizer, f"{self.name} quantizer")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """``x + Q(w)``."""
        return x + fake_quantise(self.embedding, self.format)

    def codes(self) -> Codes:
        """Integer embedding in `format`."""
        return self.format.quantise(self.embedding.numpy())

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "quantizer": str(self.quantizer)}


class QMeanPool(Layer):  # type: ignore[misc]
    """Mean over the sequence: ``y = sum_i x_i * r`` with r = 1/seq_len, exact where that is a power of two.

    Args:
        reciprocal_bits: significant bits of r for other lengths.
    """

    def __init__(self, reciprocal_bits: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reciprocal_bits = int(reciprocal_bits)

    def build(self, input_shape: Any) -> None:
        """Fix the reciprocal."""
        if len(input_shape) != 3 or input_shape[1] is None:
            raise SpecError(
                f"{self.name}: takes (batch, seq_len, channels), seq_len fixed. Received: {tuple(input_shape)}"
            )
        length = int(input_shape[1])
        exponent = (length - 1).bit_length()  # 1/length is in [2**-exponent, 2 * 2**-exponent)
        bits = 1 if length == 1 << exponent else self.reciprocal_bits
        self.format = Fixed(bits, exponent + bits - 1, signed=False)
        self.reciprocal_code = int(self.format.quantise(1.0 / length))
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Mean of shape ``(batch, channels)``."""
        return tf.reduce_sum(x, axis=1) * float(self.format.to_real(self.reciprocal_code))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "reciprocal_bits": self.reciprocal_bits}
