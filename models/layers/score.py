# SPDX-License-Identifier: Apache-2.0
"""Score functions as Keras layers: forward is the integer reference, the gradient is that of the float function.

Each layer takes quantised scores of shape ``(batch, heads, rows, cols)`` and holds what its operator spec needs;
`spec()` is that spec, with the present weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Layer

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.layers.quantizers import format_of, straight_through
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, ScoreSpec, SoftmaxSpec


class ScoreLayer(Layer):  # type: ignore[misc]
    """Base of the score layers.

    Args:
        heads: number of attention heads.
        in_format: format of the scores (a `Fixed`, its text, or a QKeras quantiser).
        score_scale: factor on the scores, ``1/sqrt(head_dim)``; one number, or one a head.
        causal: mask the entries with column > row.
        quantised: compute in integers; false gives the float function, for comparison.
    """

    #: Whether it takes [scores, values] and gives the context, instead of scores to probabilities.
    takes_values = False
    #: Name of the attention layer that it is part of.
    part_of: str | None = None

    def __init__(
        self,
        heads: int,
        in_format: Any,
        score_scale: float | tuple[float, ...],
        causal: bool = False,
        quantised: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = int(heads)
        self.in_format: Fixed = format_of(in_format, f"{self.name} in_format")
        self.score_scale = tuple(float(s) for s in np.broadcast_to(score_scale, (self.heads,)))
        self.causal = bool(causal)
        self.quantised = bool(quantised)

    def spec(self) -> ScoreSpec:
        """The operator spec with the present weights."""
        raise NotImplementedError

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """Real values of the reference's result for int64 score codes."""
        raise NotImplementedError

    def smooth(self, x: tf.Tensor) -> tf.Tensor:
        """The float function, whose gradient trains the layer."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        """Check the shape."""
        if len(input_shape) != 4 or input_shape[1] != self.heads:
            raise SpecError(
                f"{self.name}: scores must have shape (batch, heads={self.heads}, rows, cols). "
                f"Received: {tuple(input_shape)}"
            )
        if self.causal and input_shape[2] != input_shape[3]:
            raise SpecError(f"{self.name}: a causal mask needs as many rows as columns. Received: {tuple(input_shape)}")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Probabilities of quantised scores."""
        smooth = self.smooth(x)
        if not self.quantised:
            return smooth
        codes = tf.cast(tf.round(x * 2.0**self.in_format.frac), tf.int64)
        return straight_through(self.exact(codes), smooth)

    def _scale(self) -> tf.Tensor:
        return tf.reshape(tf.constant(self.score_scale, tf.float32), (self.heads, 1, 1))

    def _keep(self, x: tf.Tensor) -> tf.Tensor:
        """1 where a query may see a key, else 0, in the dtype of x."""
        return tf.linalg.band_part(tf.ones(tf.shape(x)[-2:], x.dtype), -1, 0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "in_format": str(self.in_format),
            "score_scale": self.score_scale,
            "causal": self.causal,
            "quantised": self.quantised,
        }


class ConSmax(ScoreLayer):
    """ConSmax with trainable beta and gamma, one a head: ``exp(score_scale * x - beta) / gamma``.

    Args:
        beta0: initial beta.
        gamma0: initial gamma; trained directly, not as its logarithm.
        out_frac: output exponent; one number, or one a head.
        out_width: bits of an output code.
        method: "direct" (one table a head) or "split" (the paper's nibble tables).
        mantissa_bits: of the split tables.
        **kwargs: see `ScoreLayer`.
    """

    def __init__(
        self,
        heads: int,
        in_format: Fixed | str,
        score_scale: float | tuple[float, ...],
        beta0: float = 1.0,
        gamma0: float = 8.0,
        out_frac: int | tuple[int, ...] = 8,
        out_width: int = 8,
        method: str = "direct",
        mantissa_bits: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, in_format, score_scale, **kwargs)
        if method not in ("direct", "split"):
            raise SpecError(f"{self.name}: method must be 'direct' or 'split'. Received: {method!r}")
        self.beta0, self.gamma0 = float(beta0), float(gamma0)
        self.out_frac = tuple(int(f) for f in np.broadcast_to(out_frac, (self.heads,)))
        self.out_width, self.method, self.mantissa_bits = int(out_width), method, int(mantissa_bits)
        self._spec((self.beta0,) * self.heads, (self.gamma0,) * self.heads)  # refuses before anything is trained

    def build(self, input_shape: Any) -> None:
        """Create beta and gamma."""
        constant = tf.keras.initializers.Constant
        self.beta = self.add_weight(name="beta", shape=(self.heads,), initializer=constant(self.beta0))
        self.gamma = self.add_weight(name="gamma", shape=(self.heads,), initializer=constant(self.gamma0))
        super().build(input_shape)

    def spec(self) -> ConSmaxSpec:
        """The operator spec with the present beta and gamma."""
        return self._spec(tuple(map(float, self.beta.numpy())), tuple(map(float, self.gamma.numpy())))

    def _spec(self, beta: tuple[float, ...], gamma: tuple[float, ...]) -> ConSmaxSpec:
        common = (
            self.in_format,
            beta,
            gamma,
            self.score_scale,
            self.out_frac,
            self.out_width,
            self.causal,
        )
        return ConSmaxSplitSpec(*common, self.mantissa_bits) if self.method == "split" else ConSmaxSpec(*common)

    def _table(self) -> tf.Tensor:
        """The spec's table from the weights as they are now, in float64 as the spec computes it."""
        if self.method == "split":
            table = tf.py_function(lambda b, g: self._split_table(), [self.beta, self.gamma], tf.float64)
            return tf.ensure_shape(table, (self.heads, 1 << self.in_format.width))
        column = (self.heads, 1)
        codes = np.arange(self.in_format.min, self.in_format.max + 1, dtype=np.float64) * self.in_format.step
        scale = np.reshape(self.score_scale, column)
        beta, gamma = (tf.reshape(tf.cast(w, tf.float64), column) for w in (self.beta, self.gamma))
        p = tf.exp(scale * codes - beta) / gamma
        grid = np.ldexp(1.0, np.array(self.out_frac)).reshape(column)
        return tf.minimum(tf.round(p * grid), float((1 << self.out_width) - 1)) / grid

    def _split_table(self) -> Any:
        table: Any = np.ldexp(self.spec().table.astype(np.float64), -np.array(self.out_frac)[:, None])
        return table

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """Table look-up."""
        first = np.arange(self.heads, dtype=np.int64) * (1 << self.in_format.width) - self.in_format.min
        entries = tf.cast(tf.reshape(self._table(), (-1,)), tf.float32)
        p = tf.gather(entries, codes + first.reshape(-1, 1, 1))
        return p * self._keep(p) if self.causal else p

    def smooth(self, x: tf.Tensor) -> tf.Tensor:
        """The float ConSmax, limited to what the output format holds (no gradient beyond)."""
        column = (self.heads, 1, 1)
        p = tf.exp(self._scale() * x - tf.reshape(self.beta, column)) / tf.reshape(self.gamma, column)
        top = ((1 << self.out_width) - 1) * np.ldexp(1.0, -np.array(self.out_frac)).reshape(column)
        p = tf.minimum(p, tf.constant(top, tf.float32))
        return p * self._keep(p) if self.causal else p

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("beta0", "gamma0", "out_frac", "out_width", "method", "mantissa_bits")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


class IntegerSoftmax(ScoreLayer):
    """Softmax in integers; parameters beyond those of `ScoreLayer` are `SoftmaxSpec`'s.

    Args:
        out_width: bits of an output code.
        out_frac: code = probability * 2**out_frac.
        exp_frac: fraction bits of the exponential table.
        guard: extra bits of the reciprocal.
        max_length: longest row.
        **kwargs: see `ScoreLayer`.
    """

    def __init__(
        self,
        heads: int,
        in_format: Fixed | str,
        score_scale: float | tuple[float, ...],
        out_width: int = 8,
        out_frac: int = 8,
        exp_frac: int = 15,
        guard: int = 3,
        max_length: int = 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(heads, in_format, score_scale, **kwargs)
        self.out_width, self.out_frac, self.exp_frac = int(out_width), int(out_frac), int(exp_frac)
        self.guard, self.max_length = int(guard), int(max_length)
        self.spec()  # refuses before anything is trained

    def spec(self) -> SoftmaxSpec:
        """The operator spec."""
        return SoftmaxSpec(
            self.in_format,
            self.score_scale,
            self.out_width,
            self.out_frac,
            self.exp_frac,
            self.guard,
            self.max_length,
            self.causal,
        )

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """The reference's steps, in int64."""
        spec = self.spec()
        keep = self._keep(codes) if self.causal else None
        seen = codes if keep is None else tf.where(keep > 0, codes, spec.in_format.min)
        d = tf.maximum(tf.reduce_max(seen, axis=-1, keepdims=True) - codes, 0)
        first = np.arange(self.heads, dtype=np.int64).reshape(-1, 1, 1) * spec.table.shape[1]
        e = tf.gather(tf.constant(spec.table.ravel()), d + first)
        e = e if keep is None else e * keep
        total = tf.reduce_sum(e, axis=-1, keepdims=True)
        half_total = tf.bitwise.right_shift(total, tf.ones_like(total))
        reciprocal = ((1 << spec.reciprocal_frac) + half_total) // tf.maximum(total, 1)
        shift = spec.reciprocal_frac - spec.out_frac
        scaled = e * reciprocal + (1 << (shift - 1))
        p = tf.minimum(tf.bitwise.right_shift(scaled, tf.constant(shift, tf.int64)), spec.out_format.max)
        return tf.cast(p, tf.float32) * spec.out_format.step

    def smooth(self, x: tf.Tensor) -> tf.Tensor:
        """The float softmax."""
        s = self._scale() * x
        return tf.nn.softmax(s + (self._keep(s) - 1.0) * 1e9 if self.causal else s)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("out_width", "out_frac", "exp_frac", "guard", "max_length")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}}


#: Makers of score layers by name; modules with further ones add to it.
SCORES: dict[str, Callable[..., ScoreLayer]] = {"consmax": ConSmax, "softmax": IntegerSoftmax}


def score_layer(
    score: str | ScoreLayer,
    heads: int,
    in_format: Fixed,
    head_dim: int,
    value_formats: Mapping[str, Fixed],
    **options: Any,
) -> ScoreLayer:
    """A score layer by name (a key of `SCORES`), or the given one, checked against the attention layer.

    Args:
        score: name or layer.
        heads: number of heads.
        in_format: format of the scores.
        head_dim: width of a head.
        value_formats: `v_format` and `out_format` (of the context), for layers that take values too.
        **options: further arguments of a layer given by name.
    """
    if isinstance(score, str):
        if score not in SCORES:
            raise SpecError(f"Unknown score function {score!r}; known: {', '.join(SCORES)}")
        if getattr(SCORES[score], "takes_values", False):
            options = {**value_formats, **options}
        return SCORES[score](heads, in_format, head_dim**-0.5, **options)
    if score.part_of is not None:
        raise SpecError(
            f"{score.name} is part of {score.part_of} already, and Keras cannot load a layer that is part of two: make "
            "one for each attention layer"
        )
    wrong = {n: f for n, f in value_formats.items() if score.takes_values and getattr(score, n) != f}
    if wrong:
        raise SpecError(f"{score.name}: the attention layer's quantisers have other formats: {wrong}")
    if score.heads != heads or score.in_format != in_format:
        raise SpecError(
            f"{score.name}: score layer for {score.heads} heads and {score.in_format} does not fit an attention layer "
            f"with {heads} heads and score quantiser {in_format}"
        )
    return score
