# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention in gain cells: projections, scalers, quantisers and the two arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.keras.layers import Dense, Layer

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Reals
from hls4attn.models.layers.gaincell import GainCells
from hls4attn.models.layers.quantizers import straight_through
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import Scalers

#: Scalers in the order in which they are computed.
SCALER_NAMES = ("q", "k", "v", "o")
#: Smallest factor of a scaler.
MIN_FACTOR = 1e-20


class Projections(NamedTuple):
    """Kernels ``(in, out)`` and biases of the four projections of a layer."""

    q: tuple[Reals, Reals]
    k: tuple[Reals, Reals]
    v: tuple[Reals, Reals]
    o: tuple[Reals, Reals]


class GainCellAttention(Layer):  # type: ignore[misc]
    r"""Causal self-attention in a sliding window, of x with shape ``(batch, tokens, d_model)``.

    Formula::

        q, k, v = a (x W + b) + c, each with an a and a c per head
        sums    = cells(codes(q), codes(k), codes(v))
        y       = concat_h(a_o out_step sums + c_o) W_o + b_o

    Args:
        spec: the operator, or its configuration; its scalers are the initial a and c.
        quantised: whether the arrays compute the integer reference or the float model.
    """

    def __init__(self, spec: GainCellSpec | Mapping[str, Any], quantised: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cells = GainCells(spec, quantised, name=f"{self.name}_cells")
        #: Set to a dictionary to receive the scalers' results of the next call.
        self.watched: dict[str, tf.Tensor] | None = None

    def build(self, input_shape: Any) -> None:
        """Create projections and scalers."""
        if len(input_shape) != 3 or input_shape[1] is None:
            raise SpecError(f"{self.name}: takes (batch, tokens, d_model), tokens fixed. Received: {input_shape}")
        spec = self.cells.spec()
        width = spec.heads * spec.head_dim
        self.wq, self.wk, self.wv = (Dense(width, name=f"{self.name}_{n}_proj") for n in "qkv")
        self.wo = Dense(int(input_shape[-1]), name=f"{self.name}_o_proj")
        self.factor: dict[str, tf.Variable] = {}
        self.offset: dict[str, tf.Variable] = {}
        for name in SCALER_NAMES:
            for kind, weights in (("a", self.factor), ("b", self.offset)):
                initial = tf.keras.initializers.Constant(np.array(getattr(spec.scalers, f"{name}_{kind}")))
                weights[name] = self.add_weight(name=f"{name}_{kind}", shape=(spec.heads,), initializer=initial)
        super().build(input_shape)

    def spec(self) -> GainCellSpec:
        """The operator spec with the present scalers."""
        values = {}
        for name in SCALER_NAMES:
            values[f"{name}_a"] = tuple(np.maximum(self.factor[name].numpy().astype(np.float64), MIN_FACTOR))
            values[f"{name}_b"] = tuple(self.offset[name].numpy().astype(np.float64))
        return replace(self.cells.spec(), scalers=Scalers(**values))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Attention output of shape ``(batch, tokens, d_model)``."""
        spec = self.cells.spec()
        highs = zip((1.0, spec.vdd, spec.vdd), (spec.q_levels, spec.k_levels, spec.v_levels), strict=True)
        codes = []
        for name, dense, (high, levels) in zip("qkv", (self.wq, self.wk, self.wv), highs, strict=True):
            scaled = self._scaled(name, self._split(dense(x)))
            limited = tf.clip_by_value(scaled, 0.0, high) * ((levels - 1) / high)
            codes.append(straight_through(tf.round(limited), limited))
        result = self._scaled("o", self.cells(codes) * spec.out_step)
        return self.wo(tf.reshape(tf.transpose(result, (0, 2, 1, 3)), (-1, x.shape[1], spec.heads * spec.head_dim)))

    def _scaled(self, name: str, x: tf.Tensor) -> tf.Tensor:
        a, b = (tf.reshape(w[name], (-1, 1, 1)) for w in (self.factor, self.offset))
        y = tf.maximum(a, MIN_FACTOR) * x + b
        if self.watched is not None:
            self.watched[name] = y
        return y

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        spec = self.cells.spec()
        return tf.transpose(tf.reshape(x, (-1, x.shape[1], spec.heads, spec.head_dim)), (0, 2, 1, 3))

    def set_scalers(self, scalers: Scalers) -> None:
        """Replace a and b of every scaler."""
        for name in SCALER_NAMES:
            self.factor[name].assign(getattr(scalers, f"{name}_a"))
            self.offset[name].assign(getattr(scalers, f"{name}_b"))

    def folded(self) -> Projections:
        """Projections with the scalers inside: the same function with all a = 1 and all b = 0."""
        spec = self.spec()

        def per_column(values: tuple[float, ...]) -> NDArray[np.float64]:
            return np.repeat(np.array(values), spec.head_dim)

        found = {}
        for name, dense in zip("qkv", (self.wq, self.wk, self.wv), strict=True):
            a, b = (per_column(getattr(spec.scalers, f"{name}_{kind}")) for kind in "ab")
            kernel, bias = (w.numpy().astype(np.float64) for w in (dense.kernel, dense.bias))
            found[name] = (kernel * a, bias * a + b)
        kernel, bias = (w.numpy().astype(np.float64) for w in (self.wo.kernel, self.wo.bias))
        a, b = (per_column(getattr(spec.scalers, f"o_{kind}")) for kind in "ab")
        return Projections(**found, o=(kernel * a[:, None], bias + b @ kernel))

    def code_projections(self) -> Projections:
        """Projections for hardware: x to unrounded codes of q, k and v, and sums of tile codes to y."""
        spec, p = self.cells.spec(), self.folded()
        factors = (spec.q_levels - 1, (spec.k_levels - 1) / spec.vdd, (spec.v_levels - 1) / spec.vdd)
        q, k, v = ((kernel * f, bias * f) for (kernel, bias), f in zip(p[:3], factors, strict=True))
        return Projections(q, k, v, (p.o[0] * spec.out_step, p.o[1]))

    def fold(self) -> None:
        """Move the scalers into the projections, in place."""
        folded = self.folded()
        for dense, weights in zip((self.wq, self.wk, self.wv, self.wo), folded, strict=True):
            dense.set_weights(list(weights))
        one, none = (1.0,) * self.cells.spec().heads, (0.0,) * self.cells.spec().heads
        self.set_scalers(Scalers(*(one, none) * 4))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "spec": self.cells.spec().to_config(),
            "quantised": self.cells.quantised,
        }
