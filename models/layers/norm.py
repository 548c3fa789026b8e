# SPDX-License-Identifier: Apache-2.0
"""Layer normalisation as Keras layers: forward is the integer reference in int64, the gradient that of LayerNorm."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Layer

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.layers.quantizers import format_of, straight_through
from hls4attn.models.operators import IntegerLayerNormSpec, NormSpec
from hls4attn.models.operators.layernorm import MAX_VARIANCE_BITS as MAX_EXACT_BITS
from hls4attn.models.operators.norm_base import EPSILON, MAX_GAMMA_FRAC, MIN_GAMMA_FRAC

shift_right = tf.bitwise.right_shift


class NormLayer(Layer):  # type: ignore[misc]
    """Base of the normalisations over the last axis of ``(batch, rows, channels)``.

    Args:
        in_format: format of the quantised input (a `Fixed`, its text, or a QKeras quantiser).
        out_format: signed format of the output, likewise.
        bias_frac: fraction bits that are kept until beta is added.
        gamma_bits: bits of the integer gamma.
        quantised: compute in integers; false gives the float function, for comparison.
    """

    def __init__(
        self,
        in_format: Any,
        out_format: Any,
        bias_frac: int = 4,
        gamma_bits: int = 8,
        quantised: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_format: Fixed = format_of(in_format, f"{self.name} in_format")
        self.out_format: Fixed = format_of(out_format, f"{self.name} out_format")
        self.bias_frac, self.gamma_bits, self.quantised = int(bias_frac), int(gamma_bits), bool(quantised)

    def build(self, input_shape: Any) -> None:
        """Create gamma and beta."""
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise SpecError(f"{self.name}: takes shape (batch, rows, channels). Received: {tuple(input_shape)}")
        self.channels = int(input_shape[-1])
        self.gamma = self.add_weight(name="gamma", shape=(self.channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(self.channels,), initializer="zeros")
        super().build(input_shape)

    def spec(self) -> NormSpec:
        """The operator spec with the present weights."""
        raise NotImplementedError

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """Output codes of the reference, unlimited, for int64 input codes."""
        raise NotImplementedError

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Normalised x."""
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        smooth = (x - mean) * tf.math.rsqrt(variance + EPSILON) * self.gamma + self.beta
        if not self.quantised:
            return smooth
        fmt = self.out_format
        codes = tf.cast(tf.round(x * 2.0**self.in_format.frac), tf.int64)
        y = tf.cast(tf.clip_by_value(self.exact(codes), fmt.min, fmt.max), tf.float32) * fmt.step
        smooth = tf.clip_by_value(smooth, float(fmt.to_real(fmt.min)), float(fmt.to_real(fmt.max)))
        return straight_through(y, smooth)

    def _affine(self, product: tf.Tensor, shift: tf.Tensor, gamma_frac: tf.Tensor) -> tf.Tensor:
        """Output codes of ``gamma * normalised``: `apply_affine` with gamma's fraction bits added to the shift."""
        beta = tf.round(tf.cast(self.beta, tf.float64) * 2.0 ** (self.out_format.frac + self.bias_frac))
        scaled = shift_right(product, tf.maximum(shift + gamma_frac - self.bias_frac, 0))
        biased = scaled + tf.cast(beta, tf.int64) + ((1 << self.bias_frac) >> 1)
        return shift_right(biased, tf.constant(self.bias_frac, tf.int64))

    def _gamma_codes(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Integer gamma and its fraction bits, as `affine_codes` gives them."""
        steps = tf.cast(self.gamma, tf.float64) * 2.0**self.out_format.frac
        candidates = np.arange(MIN_GAMMA_FRAC, MAX_GAMMA_FRAC + 1, dtype=np.int64)
        rounded = tf.round(steps[:, None] * tf.constant(np.ldexp(1.0, candidates)))
        fits = tf.reduce_all(tf.abs(rounded) <= float((1 << (self.gamma_bits - 1)) - 1), axis=0)
        frac = tf.reduce_max(tf.where(fits, tf.constant(candidates), MIN_GAMMA_FRAC))
        return tf.cast(tf.gather(rounded, frac - MIN_GAMMA_FRAC, axis=1), tf.int64), frac

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "in_format": str(self.in_format),
            "out_format": str(self.out_format),
            "bias_frac": self.bias_frac,
            "gamma_bits": self.gamma_bits,
            "quantised": self.quantised,
        }


class IntegerLayerNorm(NormLayer):
    """LayerNorm in integers; see `IntegerLayerNormSpec`.

    Args:
        root_bits: bits of the integer square root.
        rsqrt_bits: bits of its reciprocal.
        **kwargs: see `NormLayer`.
    """

    def __init__(self, in_format: Any, out_format: Any, root_bits: int = 16, rsqrt_bits: int = 16, **kw: Any) -> None:
        super().__init__(in_format, out_format, **kw)
        self.root_bits, self.rsqrt_bits = int(root_bits), int(rsqrt_bits)

    def build(self, input_shape: Any) -> None:
        """Create the weights; refuse parameters that no hardware represents."""
        super().build(input_shape)
        with tf.init_scope():
            self.spec()

    def spec(self) -> IntegerLayerNormSpec:
        """The operator spec with the present gamma and beta."""
        return IntegerLayerNormSpec(
            self.in_format,
            self.out_format,
            tuple(map(float, self.gamma.numpy())),
            tuple(map(float, self.beta.numpy())),
            self.root_bits,
            self.rsqrt_bits,
            self.bias_frac,
            self.gamma_bits,
        )

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """The reference's steps, in int64."""
        total = tf.reduce_sum(codes, axis=-1, keepdims=True)
        variance = self.channels * tf.reduce_sum(codes * codes, axis=-1, keepdims=True) - total * total
        variance = tf.maximum(variance, 1)
        e = shift_right(leading_one(variance, MAX_EXACT_BITS), tf.constant(1, tf.int64))
        up = 2 * (self.root_bits - 1 - e)
        scaled = shift_right(tf.bitwise.left_shift(variance, tf.maximum(up, 0)), tf.maximum(-up, 0))
        root = tf.zeros_like(scaled)
        for bit in range(self.root_bits - 1, -1, -1):
            trial = root + (1 << bit)
            root = tf.where(trial * trial <= scaled, trial, root)
        one = tf.constant(1, tf.int64)
        inverse = ((1 << (self.rsqrt_bits + self.root_bits)) + shift_right(root, one)) // root
        gamma, frac = self._gamma_codes()
        return self._affine(gamma * inverse * (self.channels * codes - total), e + self.rsqrt_bits + 1, frac)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "root_bits": self.root_bits, "rsqrt_bits": self.rsqrt_bits}


def leading_one(x: tf.Tensor, bits: int) -> tf.Tensor:
    """Position of the leading one of positive int64 values of shape (..., 1) below ``2**bits``."""
    reached = x >= tf.constant(np.int64(1) << np.arange(bits, dtype=np.int64))
    return tf.reduce_sum(tf.cast(reached, tf.int64), axis=-1, keepdims=True) - 1
