# SPDX-License-Identifier: Apache-2.0
"""Quantised multi-head self-attention with any score function."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from qkeras import QDense
from tensorflow.keras.layers import Layer

from hls4attn.models.errors import SpecError
from hls4attn.models.layers.activation import ClippedActivation
from hls4attn.models.layers.quantizers import fixed_of, quantiser_of
from hls4attn.models.layers.score import ScoreLayer, score_layer


class QSelfAttention(Layer):  # type: ignore[misc]
    r"""Multi-head self-attention with QKeras quantisers around every product.

    Formula, per head h with x of shape ``(batch, seq_len, d_model)``::

        q, k, v = Q_a(x W_q + b_q), Q_a(x W_k + b_k), Q_v(x W_v + b_v)
        scores  = Q_s(q_h k_h^T)
        p       = score(scores)                 1/sqrt(head_dim) is part of the score function
        context = Q_c(p v_h)
        y       = Q_o(concat_h(context) W_o + b_o)

    Args:
        heads: number of heads.
        head_dim: width of a head; ``heads * head_dim`` is the width of q, k, v.
        score: "consmax", "softmax", "e2softmax", "e2softmax-online", "e2softmax-shift" or a `ScoreLayer`.
        kernel_quantizer: of the four weight matrices.
        bias_quantizer: of the four biases.
        qk_quantizer: Q_a, of q and k.
        v_quantizer: Q_v.
        score_quantizer: Q_s; its format is the score function's input format.
        context_quantizer: Q_c.
        output_quantizer: Q_o.
        score_options: further arguments of a score given by name.
    """

    def __init__(
        self,
        heads: int,
        head_dim: int,
        score: str | ScoreLayer | dict[str, Any],
        kernel_quantizer: Any,
        bias_quantizer: Any,
        qk_quantizer: Any,
        v_quantizer: Any,
        score_quantizer: Any,
        context_quantizer: Any,
        output_quantizer: Any,
        score_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in (heads, head_dim)):
            raise SpecError(
                f"{self.name}: heads and head_dim must be positive whole numbers. Received: {heads!r}, {head_dim!r}"
            )
        self.heads, self.head_dim = int(heads), int(head_dim)
        given_quantisers = {
            "kernel_quantizer": kernel_quantizer,
            "bias_quantizer": bias_quantizer,
            "qk_quantizer": qk_quantizer,
            "v_quantizer": v_quantizer,
            "score_quantizer": score_quantizer,
            "context_quantizer": context_quantizer,
            "output_quantizer": output_quantizer,
        }
        formats = {role: fixed_of(quantiser, f"{self.name} {role}") for role, quantiser in given_quantisers.items()}
        self.kernel_quantizer = quantiser_of(kernel_quantizer)
        self.bias_quantizer = quantiser_of(bias_quantizer)
        self.q_act = ClippedActivation(qk_quantizer, name=f"{self.name}_q")
        self.k_act = ClippedActivation(qk_quantizer, name=f"{self.name}_k")
        self.v_act = ClippedActivation(v_quantizer, name=f"{self.name}_v")
        self.score_act = ClippedActivation(score_quantizer, name=f"{self.name}_scores")
        self.context_act = ClippedActivation(context_quantizer, name=f"{self.name}_context")
        self.out_act = ClippedActivation(output_quantizer, name=f"{self.name}_out")
        given: str | ScoreLayer = tf.keras.layers.deserialize(score) if isinstance(score, dict) else score
        if score_options and not isinstance(given, str):
            raise SpecError(
                f"{self.name}: score_options belong to a score function given by name; give them to {given.name} "
                f"itself. Received: {score_options}"
            )
        options = {"name": f"{self.name}_score", **(score_options or {})}
        value_formats = {"v_format": formats["v_quantizer"], "out_format": formats["context_quantizer"]}
        self.score = score_layer(given, self.heads, formats["score_quantizer"], self.head_dim, value_formats, **options)
        self.score.part_of = self.name

    def build(self, input_shape: Any) -> None:
        """Create the projections."""
        if len(input_shape) != 3:
            raise SpecError(
                f"{self.name}: input must have shape (batch, seq_len, d_model). Received: {tuple(input_shape)}"
            )
        width = self.heads * self.head_dim
        self.wq, self.wk, self.wv = (self._dense(f"{self.name}_{n}_proj", width) for n in ("q", "k", "v"))
        self.wo = self._dense(f"{self.name}_out_proj", int(input_shape[-1]))
        super().build(input_shape)

    def _dense(self, name: str, units: int) -> QDense:
        return QDense(
            units,
            kernel_quantizer=self.kernel_quantizer,
            bias_quantizer=self.bias_quantizer,
            kernel_initializer="glorot_uniform",
            name=name,
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Attention output of shape ``(batch, seq_len, d_model)``."""
        return self.trace(x)[f"{self.name}_out"]

    def trace(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every quantised tensor inside, by the name it has in the exported file."""
        q, k, v = self.q_act(self.wq(x)), self.k_act(self.wk(x)), self.v_act(self.wv(x))
        scores = self.score_act(tf.matmul(self._split(q), self._split(k), transpose_b=True))
        named = {"q": q, "k": k, "v": v, "scores": scores}
        if self.score.takes_values:  # its result is on the context's grid already
            named["context"] = self.context_act(self.score([scores, self._split(v)]))
        else:
            named["score"] = self.score(scores)
            named["context"] = self.context_act(tf.matmul(named["score"], self._split(v)))
        named["out"] = self.out_act(self.wo(self._merge(named["context"])))
        return {f"{self.name}_{key}": value for key, value in named.items()}

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, seq, heads * head_dim) -> (batch, heads, seq, head_dim)."""
        return tf.transpose(tf.reshape(x, (-1, x.shape[1], self.heads, self.head_dim)), (0, 2, 1, 3))

    def _merge(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, heads, seq, head_dim) -> (batch, seq, heads * head_dim)."""
        return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, x.shape[2], self.heads * self.head_dim))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "head_dim": self.head_dim,
            "score": tf.keras.layers.serialize(self.score),
            "kernel_quantizer": str(self.kernel_quantizer),
            "bias_quantizer": str(self.bias_quantizer),
            "qk_quantizer": str(self.q_act.quantizer),
            "v_quantizer": str(self.v_act.quantizer),
            "score_quantizer": str(self.score_act.quantizer),
            "context_quantizer": str(self.context_act.quantizer),
            "output_quantizer": str(self.out_act.quantizer),
        }
