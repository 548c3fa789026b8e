# SPDX-License-Identifier: Apache-2.0
"""AILayerNorm as a Keras layer, and the calibration of its input quantiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hls4attn.models.layers.norm import NormLayer, leading_one, shift_right
from hls4attn.models.operators import AILayerNormSpec
from hls4attn.models.operators.ailayernorm import MAX_VARIANCE_BITS
from hls4attn.models.operators.ailn_stages import reciprocal, rsqrt_table, square_scale, square_table
from hls4attn.models.operators.ptf import calibrate_ptf


class AILayerNorm(NormLayer):
    """AILayerNorm; see `AILayerNormSpec`.

    Its input quantiser (alpha, zero point and step) is made of weights that do not train; until `calibrate` sets
    them, 8 bits cover the input format's whole range alike in every channel.

    Args:
        squares: "paper", "lut32" or "exact".
        rsqrt_entries: entries of the reciprocal square root table.
        rsqrt_bits: bits of an entry.
        mean_frac: fraction bits of the mean.
        **kwargs: see `NormLayer`.
    """

    def __init__(
        self,
        in_format: Any,
        out_format: Any,
        squares: str = "paper",
        rsqrt_entries: int = 64,
        rsqrt_bits: int = 9,
        mean_frac: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_format, out_format, **kwargs)
        self.squares, self.rsqrt_entries = str(squares), int(rsqrt_entries)
        self.rsqrt_bits, self.mean_frac = int(rsqrt_bits), int(mean_frac)

    def build(self, input_shape: Any) -> None:
        """Create the weights; refuse parameters that no hardware represents."""
        super().build(input_shape)
        multiplier, shift = AILayerNormSpec.step_constants(2.0 ** (self.in_format.integer - 8), self.in_format)
        zero_point = 128 if self.in_format.signed else 0

        def fixed(name: str, value: int, shape: tuple[int, ...] = ()) -> tf.Variable:
            initial = tf.keras.initializers.Constant(value)
            return self.add_weight(name=name, shape=shape, initializer=initial, trainable=False)

        self.alpha = fixed("alpha", 0, (self.channels,))
        self.zero_point, self.multiplier = fixed("zero_point", zero_point), fixed("multiplier", multiplier)
        self.shift = fixed("shift", shift)
        with tf.init_scope():
            self.spec()

    def calibrate(self, values: Any, power_of_two: bool = True) -> None:
        """Choose alpha, zero point and step for representative input values of shape ``(..., channels)``."""
        found = calibrate_ptf(np.asarray(values), self.in_format, power_of_two)
        self.alpha.assign(np.array(found.alpha, dtype=np.float32))
        self.zero_point.assign(found.zero_point)
        self.multiplier.assign(found.multiplier)
        self.shift.assign(found.shift)

    def spec(self) -> AILayerNormSpec:
        """The operator spec with the present weights."""
        return AILayerNormSpec(
            self.in_format,
            self.out_format,
            tuple(map(float, self.gamma.numpy())),
            tuple(map(float, self.beta.numpy())),
            tuple(map(int, self.alpha.numpy())),
            int(self.zero_point.numpy()),
            int(self.multiplier.numpy()),
            int(self.shift.numpy()),
            self.squares,  # type: ignore[arg-type]  # checked by the spec
            self.rsqrt_entries,
            self.rsqrt_bits,
            self.mean_frac,
            self.bias_frac,
            self.gamma_bits,
        )

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """The reference's steps, in int64."""
        quantiser = (self.alpha, self.zero_point, self.multiplier, self.shift)
        alpha, zero_point, multiplier, shift = (tf.cast(w, tf.int64) for w in quantiser)
        one = tf.constant(1, tf.int64)
        down = shift + alpha
        half = shift_right(tf.bitwise.left_shift(tf.ones_like(down), down), one)
        coarse = shift_right(codes * multiplier + half, down)
        centred = tf.clip_by_value(coarse + zero_point, 0, 255) - zero_point
        value = tf.bitwise.left_shift(centred, alpha)
        mean, variance = self._statistics(value, tf.abs(centred), 2 * alpha)
        position = leading_one(variance, MAX_VARIANCE_BITS)
        index_bits = (self.rsqrt_entries // 2).bit_length() - 1
        bits = tf.bitwise.bitwise_and(
            shift_right(tf.bitwise.left_shift(variance, tf.constant(index_bits, tf.int64)), position),
            (1 << index_bits) - 1,
        )
        index = tf.bitwise.bitwise_and(position, 1) * (1 << index_bits) + bits
        root = tf.gather(tf.constant(np.array(rsqrt_table(self.rsqrt_entries, self.rsqrt_bits), np.int64)), index)
        gamma, frac = self._gamma_codes()
        product = gamma * root * (value * (1 << self.mean_frac) - mean)
        return self._affine(product, shift_right(position, one) + self.rsqrt_bits, frac)

    def _statistics(
        self, value: tf.Tensor, magnitude: tf.Tensor, twice_alpha: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        r, frac = reciprocal(self.channels)
        table = tf.constant(np.array(square_table(self.squares), np.int64))  # type: ignore[arg-type]
        squares = tf.bitwise.left_shift(tf.gather(table, magnitude), tf.broadcast_to(twice_alpha, tf.shape(magnitude)))
        total = tf.reduce_sum(value, axis=-1, keepdims=True)
        second = tf.reduce_sum(squares, axis=-1, keepdims=True) * ((1 << square_scale(self.squares)) * r)  # type: ignore[arg-type]
        down = frac - self.mean_frac
        mean = shift_right(total * r + (1 << (down - 1)), tf.constant(down, tf.int64))
        second = shift_right(second, tf.constant(down - self.mean_frac, tf.int64))
        return mean, tf.maximum(second - mean * mean, 1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("squares", "rsqrt_entries", "rsqrt_bits", "mean_frac")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


def calibrate_norms(model: tf.keras.Model, x: Any, power_of_two: bool = True) -> int:
    """Calibrate every `AILayerNorm` of a functional model, first to last, on representative inputs.

    Returns:
        How many were calibrated.
    """
    layers = [layer for layer in model.layers if isinstance(layer, AILayerNorm)]
    for layer in layers:
        values = tf.keras.Model(model.inputs, layer.input).predict(x, verbose=0)
        layer.calibrate(values, power_of_two)
    return len(layers)
