# SPDX-License-Identifier: Apache-2.0
"""E2Softmax and its shift form as Keras layers: forward is the integer reference, in int64 TensorFlow operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.layers.quantizers import format_of, straight_through
from hls4attn.models.layers.score import SCORES, ScoreLayer
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec
from hls4attn.models.operators.e2core import ONLINE_SLICE, E2Core
from hls4attn.models.operators.e2stages import PAPER_DIVIDER, numerators

_CORE = ("code_width", "sum_frac", "divider", "divider_frac", "slice_length", "log2e", "scale_bits", "max_length")


class _E2Layer(ScoreLayer):
    """Parameters and the first pass that both layers share; arguments are those of `ScoreLayer` and `E2Core`."""

    def __init__(
        self,
        heads: int,
        in_format: Fixed | str,
        score_scale: float | tuple[float, ...],
        code_width: int = 4,
        sum_frac: int = 15,
        divider: tuple[int, ...] = PAPER_DIVIDER,
        divider_frac: int = 8,
        slice_length: int = 0,
        log2e: str = "shift",
        scale_bits: int = 8,
        max_length: int = 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, in_format, score_scale, **kwargs)
        self.code_width, self.sum_frac, self.divider_frac = int(code_width), int(sum_frac), int(divider_frac)
        self.divider, self.slice_length, self.log2e = tuple(map(int, divider)), int(slice_length), str(log2e)
        self.scale_bits, self.max_length = int(scale_bits), int(max_length)

    def _core(self) -> dict[str, Any]:
        names = ("in_format", "score_scale", "causal", *_CORE)
        return {name: getattr(self, name) for name in names}

    def _check_length(self, cols: int | None) -> None:
        if cols is None or cols > self.max_length:
            raise SpecError(f"{self.name}: rows of at most max_length={self.max_length} scores. Received: {cols}")

    def _unnormalised(self, codes: tf.Tensor, spec: E2Core) -> tuple[tf.Tensor, tf.Tensor]:
        """Exponents, and the row index ``ks * len(divider) + q`` of shape (..., rows, 1)."""
        multiplier, shift = (tf.constant(c) for c in spec.scale_constants)
        half = tf.constant(np.int64(1) << (spec.scale_constants[1] - 1))
        top, low = tf.constant(spec.max_exponent, tf.int64), tf.constant(spec.in_format.min, tf.int64)
        terms = tf.constant(numerators(spec.sum_frac, spec.max_exponent))
        keep = self._keep(codes) if self.causal else None
        seen = codes if keep is None else tf.where(keep > 0, codes, low)

        def exponent(d: tf.Tensor) -> tf.Tensor:
            return tf.minimum(tf.bitwise.right_shift(d * multiplier + half, shift), top)

        length = codes.shape[-1]
        maximum = tf.ones_like(codes[..., :1]) * low
        total = tf.zeros_like(maximum)
        parts, maxima = [], []
        for start in range(0, length, spec.slice_length or length):
            window = slice(start, start + (spec.slice_length or length))
            risen = tf.maximum(maximum, tf.reduce_max(seen[..., window], axis=-1, keepdims=True))
            k = exponent(risen - seen[..., window])
            term = tf.gather(terms, k) if keep is None else tf.gather(terms, k) * keep[..., window]
            total = tf.bitwise.right_shift(total, exponent(risen - maximum))
            total += tf.reduce_sum(term, axis=-1, keepdims=True)
            maximum = risen
            parts.append(k)
            maxima.append(risen)
        corrected = [tf.minimum(k + exponent(maximum - m), top) for k, m in zip(parts, maxima, strict=True)]
        reached = tf.cast(total >= tf.constant(spec.row_grid()[0]), tf.int64)
        row = tf.reduce_sum(reached, axis=-1, keepdims=True) - 1
        return tf.concat(corrected, axis=-1), tf.maximum(row, 0)

    def _softmax(self, x: tf.Tensor) -> tf.Tensor:
        s = self._scale() * x
        return tf.nn.softmax(s + (self._keep(s) - 1.0) * 1e9 if self.causal else s)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), **{n: getattr(self, n) for n in _CORE}}


class E2Softmax(_E2Layer):
    """E2Softmax; parameters beyond those of `ScoreLayer` are `E2SoftmaxSpec`'s.

    Args:
        out_width: bits of an output code.
        out_frac: code = probability * 2**out_frac.
        out_rounding: "half_up" or "floor".
        **kwargs: see `ScoreLayer` and `E2Core`.
    """

    def __init__(
        self,
        heads: int,
        in_format: Fixed | str,
        score_scale: float | tuple[float, ...],
        out_width: int = 8,
        out_frac: int = 8,
        out_rounding: str = "half_up",
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, in_format, score_scale, **kwargs)
        self.out_width, self.out_frac, self.out_rounding = int(out_width), int(out_frac), str(out_rounding)
        self.spec()  # refuses what no hardware represents

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        super().build(input_shape)
        self._check_length(input_shape[-1])

    def spec(self) -> E2SoftmaxSpec:
        """The operator spec."""
        return E2SoftmaxSpec(
            **self._core(),
            out_width=self.out_width,
            out_frac=self.out_frac,
            out_rounding=self.out_rounding,  # type: ignore[arg-type]  # checked by the spec
        )

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """The reference's steps, in int64."""
        spec = self.spec()
        k, row = self._unnormalised(codes, spec)
        table = tf.constant(np.minimum(spec.table, spec.out_format.max).ravel())
        p = tf.gather(table, row * (spec.max_exponent + 1) + k)
        return tf.cast(p * self._keep(p) if self.causal else p, tf.float32) * spec.out_format.step

    def smooth(self, x: tf.Tensor) -> tf.Tensor:
        """The float softmax."""
        return self._softmax(x)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("out_width", "out_frac", "out_rounding")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


class E2Context(_E2Layer):
    """Scores and values to the context by shifts: E2Softmax and the product with V in one exact operator.

    Takes ``[scores, values]`` of shapes ``(batch, heads, rows, cols)`` and ``(batch, heads, cols, head_dim)``, both
    quantised; gives the quantised context ``(batch, heads, rows, head_dim)``.

    Args:
        v_format: format of the values (a `Fixed`, its text, or a QKeras quantiser).
        out_format: format of the context.
        **kwargs: see `ScoreLayer` and `E2Core`.
    """

    takes_values = True

    def __init__(
        self,
        heads: int,
        in_format: Fixed | str,
        score_scale: float | tuple[float, ...],
        v_format: Any,
        out_format: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, in_format, score_scale, **kwargs)
        self.v_format = format_of(v_format, f"{self.name} v_format")
        self.out_format = format_of(out_format, f"{self.name} out_format")
        self.spec()

    def build(self, input_shape: Any) -> None:
        """Check the shapes."""
        if not isinstance(input_shape, list | tuple) or len(input_shape) != 2:
            raise SpecError(f"{self.name}: takes [scores, values]. Received: input of shape {input_shape}")
        scores, values = (tuple(s) for s in input_shape)
        super().build(scores)
        self._check_length(scores[-1])
        if len(values) != 4 or values[1] != self.heads or values[2] != scores[3]:
            raise SpecError(
                f"{self.name}: values must have shape (batch, heads={self.heads}, {scores[3]}, head_dim). "
                f"Received: {values}"
            )

    def spec(self) -> E2ContextSpec:  # type: ignore[override]  # not a function of the scores alone
        """The operator spec."""
        return E2ContextSpec(**self._core(), v_format=self.v_format, out_format=self.out_format)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Context of quantised scores and values."""
        x, v = inputs
        smooth = tf.matmul(self._softmax(x), v)
        if not self.quantised:
            return smooth
        codes, values = (
            tf.cast(tf.round(t * 2.0**f.frac), tf.int64) for t, f in ((x, self.in_format), (v, self.v_format))
        )
        low, high = (float(self.out_format.to_real(c)) for c in (self.out_format.min, self.out_format.max))
        return straight_through(self._exact_context(codes, values), tf.clip_by_value(smooth, low, high))

    def _exact_context(self, codes: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        spec = self.spec()
        k, row = self._unnormalised(codes, spec)
        weight = tf.gather(tf.constant(numerators(spec.sum_frac, spec.max_exponent)), k)
        if self.causal:
            weight *= self._keep(weight)
        _, ks, q = spec.row_grid()
        product = tf.matmul(weight, values) * tf.gather(tf.constant(np.array(spec.divider, np.int64)[q]), row)
        shift = tf.gather(tf.constant(ks + spec.shift), row)
        floored = tf.bitwise.right_shift(product, shift)
        half = tf.bitwise.left_shift(tf.ones_like(shift), shift - 1)
        nearest = tf.bitwise.right_shift(product + (half - 1) + tf.bitwise.bitwise_and(floored, 1), shift)
        y = tf.clip_by_value(nearest, spec.out_format.min, spec.out_format.max)
        return tf.cast(y, tf.float32) * spec.out_format.step

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "v_format": str(self.v_format), "out_format": str(self.out_format)}


def _online(*args: Any, **options: Any) -> E2Softmax:
    return E2Softmax(*args, **{"slice_length": ONLINE_SLICE, **options})


SCORES.update({"e2softmax": E2Softmax, "e2softmax-online": _online, "e2softmax-shift": E2Context})
