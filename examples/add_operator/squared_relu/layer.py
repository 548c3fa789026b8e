# SPDX-License-Identifier: Apache-2.0
"""The Keras layer: forward is the integers, the gradient is that of the float function.  Needs TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hls4attn.models.layers import CUSTOM_OBJECTS
from hls4attn.models.layers.score import SCORES, ScoreLayer
from squared_relu.spec import SquaredReluSpec


class SquaredRelu(ScoreLayer):
    """Squared ReLU; parameters beyond those of `ScoreLayer` are `SquaredReluSpec`'s."""

    def __init__(self, *args: Any, length: int = 16, out_width: int = 8, out_frac: int = 8, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.length, self.out_width, self.out_frac = int(length), int(out_width), int(out_frac)

    def spec(self) -> SquaredReluSpec:
        """The operator spec."""
        own = {"length": self.length, "out_width": self.out_width, "out_frac": self.out_frac}
        return SquaredReluSpec(self.in_format, self.score_scale, causal=self.causal, **own)

    def exact(self, codes: tf.Tensor) -> tf.Tensor:
        """The reference's steps, in int64."""
        spec = self.spec()
        factor, shift = (tf.constant(constant) for constant in spec.constants)
        rectified = tf.maximum(codes, 0)
        half = tf.constant(np.int64(1) << (spec.constants[1] - 1))
        product = rectified * rectified * factor + half
        p = tf.minimum(tf.bitwise.right_shift(product, tf.broadcast_to(shift, tf.shape(product))), spec.out_format.max)
        p = tf.cast(p, tf.float32) * spec.out_format.step
        return p * self._keep(p) if self.causal else p

    def smooth(self, x: tf.Tensor) -> tf.Tensor:
        """The float function, limited to what the output format holds."""
        p = tf.square(tf.nn.relu(self._scale() * x)) / self.length
        p = tf.minimum(p, self.spec().out_format.max * self.spec().out_format.step)
        return p * self._keep(p) if self.causal else p

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), **{n: getattr(self, n) for n in ("length", "out_width", "out_frac")}}


SCORES["squared-relu"] = SquaredRelu
CUSTOM_OBJECTS["SquaredRelu"] = SquaredRelu


def layer_of(spec: SquaredReluSpec) -> SquaredRelu:
    """The layer with a spec's parameters."""
    return SquaredRelu(
        spec.heads,
        spec.in_format,
        spec.score_scale,
        causal=spec.causal,
        length=spec.length,
        out_width=spec.out_width,
        out_frac=spec.out_frac,
        name="score",
    )
