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
from hls4attn.models.operators import AILayerNormSpec, IntegerLayerNormSpec, NormSpec
from hls4attn.models.operators.ailayernorm import MAX_VARIANCE_BITS
from hls4attn.models.operators.ailn_stages import reciprocal, rsqrt_table, square_scale, square_table
from hls4attn.models.operators.layernorm import MAX_VARIANCE_BITS as MAX_EXACT_BITS
from hls4attn.models.operators.norm_base import EPSILON, MAX_GAMMA_FRAC, MIN_GAMMA_FRAC
from hls4attn.models.operators.ptf import calibrate_ptf

_shift = tf.bitwise.right_shift


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
        scaled = _shift(product, tf.maximum(shift + gamma_frac - self.bias_frac, 0))
        biased = scaled + tf.cast(beta, tf.int64) + ((1 << self.bias_frac) >> 1)
        return _shift(biased, tf.constant(self.bias_frac, tf.int64))

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
        e = _shift(_leading_one(variance, MAX_EXACT_BITS), tf.constant(1, tf.int64))
        up = 2 * (self.root_bits - 1 - e)
        scaled = _shift(tf.bitwise.left_shift(variance, tf.maximum(up, 0)), tf.maximum(-up, 0))
        root = tf.zeros_like(scaled)
        for bit in range(self.root_bits - 1, -1, -1):
            trial = root + (1 << bit)
            root = tf.where(trial * trial <= scaled, trial, root)
        one = tf.constant(1, tf.int64)
        inverse = ((1 << (self.rsqrt_bits + self.root_bits)) + _shift(root, one)) // root
        gamma, frac = self._gamma_codes()
        return self._affine(gamma * inverse * (self.channels * codes - total), e + self.rsqrt_bits + 1, frac)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "root_bits": self.root_bits, "rsqrt_bits": self.rsqrt_bits}


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
        half = _shift(tf.bitwise.left_shift(tf.ones_like(down), down), one)
        coarse = _shift(codes * multiplier + half, down)
        centred = tf.clip_by_value(coarse + zero_point, 0, 255) - zero_point
        value = tf.bitwise.left_shift(centred, alpha)
        mean, variance = self._statistics(value, tf.abs(centred), 2 * alpha)
        position = _leading_one(variance, MAX_VARIANCE_BITS)
        index_bits = (self.rsqrt_entries // 2).bit_length() - 1
        bits = tf.bitwise.bitwise_and(
            _shift(tf.bitwise.left_shift(variance, tf.constant(index_bits, tf.int64)), position), (1 << index_bits) - 1
        )
        index = tf.bitwise.bitwise_and(position, 1) * (1 << index_bits) + bits
        root = tf.gather(tf.constant(np.array(rsqrt_table(self.rsqrt_entries, self.rsqrt_bits), np.int64)), index)
        gamma, frac = self._gamma_codes()
        product = gamma * root * (value * (1 << self.mean_frac) - mean)
        return self._affine(product, _shift(position, one) + self.rsqrt_bits, frac)

    def _statistics(
        self, value: tf.Tensor, magnitude: tf.Tensor, twice_alpha: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        r, frac = reciprocal(self.channels)
        table = tf.constant(np.array(square_table(self.squares), np.int64))  # type: ignore[arg-type]
        squares = tf.bitwise.left_shift(tf.gather(table, magnitude), tf.broadcast_to(twice_alpha, tf.shape(magnitude)))
        total = tf.reduce_sum(value, axis=-1, keepdims=True)
        second = tf.reduce_sum(squares, axis=-1, keepdims=True) * ((1 << square_scale(self.squares)) * r)  # type: ignore[arg-type]
        down = frac - self.mean_frac
        mean = _shift(total * r + (1 << (down - 1)), tf.constant(down, tf.int64))
        second = _shift(second, tf.constant(down - self.mean_frac, tf.int64))
        return mean, tf.maximum(second - mean * mean, 1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("squares", "rsqrt_entries", "rsqrt_bits", "mean_frac")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


def _leading_one(x: tf.Tensor, bits: int) -> tf.Tensor:
    """Position of the leading one of positive int64 values of shape (..., 1) below ``2**bits``."""
    reached = x >= tf.constant(np.int64(1) << np.arange(bits, dtype=np.int64))
    return tf.reduce_sum(tf.cast(reached, tf.int64), axis=-1, keepdims=True) - 1


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
