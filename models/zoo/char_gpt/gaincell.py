# SPDX-License-Identifier: Apache-2.0
"""Self-attention on gain cells: four projections into which the scalers are folded, around the two arrays.

A scaler ``a x + b`` costs no hardware where it follows or precedes a matrix: it is multiplied into that matrix, and
the products are what is quantised.  Training sees exactly this, so nothing changes when they are written to a file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Layer

from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.layers import ClippedActivation, GainCells
from hls4attn.models.layers.quantizers import fake_quantise
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import Scalers

#: Smallest factor of a scaler.
MIN_FACTOR = 1e-20
#: Folded matrices: of queries, of keys and values, of the result.
FORMATS = {"q": Fixed(8, 3), "k": Fixed(8, 4), "v": Fixed(8, 4), "o": Fixed(8, 10)}
BIAS_FORMATS = {"q": Fixed(12, 4), "k": Fixed(12, 4), "v": Fixed(12, 4), "o": Fixed(8, 6)}


class _AtLeast(tf.keras.constraints.Constraint):  # type: ignore[misc]
    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return tf.maximum(w, MIN_FACTOR)


class Moments(NamedTuple):
    """Standard deviation and mean of what a scaler gives, each one a head."""

    deviation: tf.Tensor
    mean: tf.Tensor


class ScaledDense(Layer):  # type: ignore[misc]
    """A quantised projection with a scaler ``a x + b`` a head, on its result or (queries etc.) on its input (result).

    Args:
        units: width of the result.
        heads: number of heads.
        which: "q", "k" or "v": the scaler follows; "o": it precedes.
        unit: real value of one step of the codes on the arrays' side.
        offset: initial b; a begins at 1.
    """

    def __init__(self, units: int, heads: int, which: str, unit: float, offset: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads, self.which = int(units), int(heads), which
        self.unit, self.offset0 = float(unit), float(offset)
        self.kernel_format, self.bias_format = FORMATS[which], BIAS_FORMATS[which]

    def build(self, input_shape: Any) -> None:
        """Create weights and scalers."""
        self.inputs = int(input_shape[-1])
        constant = tf.keras.initializers.Constant
        self.kernel = self.add_weight(name="kernel", shape=(self.inputs, self.units), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.factor = self.add_weight(name="scale", shape=(self.heads,), initializer="ones", constraint=_AtLeast())
        self.offset = self.add_weight(name="offset", shape=(self.heads,), initializer=constant(self.offset0))
        super().build(input_shape)

    def folded(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Kernel and bias with the scaler in them, on their formats' grids."""
        inner = self.inputs if self.which == "o" else self.units
        a, b = (tf.repeat(w, inner // self.heads) for w in (self.factor, self.offset))
        if self.which == "o":
            kernel = self.kernel * (a * self.unit)[:, None]
            bias = self.bias + tf.linalg.matvec(self.kernel, b, transpose_a=True)
        else:
            kernel, bias = self.kernel * (a / self.unit), (self.bias * a + b) / self.unit
        return fake_quantise(kernel, self.kernel_format), fake_quantise(bias, self.bias_format)

    def codes(self) -> tuple[Codes, Codes]:
        """Integer kernel and bias."""
        kernel, bias = self.folded()
        return self.kernel_format.quantise(kernel.numpy()), self.bias_format.quantise(bias.numpy())

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """``x K + b`` in the arrays' codes, or from them."""
        kernel, bias = self.folded()
        return tf.matmul(x, kernel) + bias

    def moments(self, codes: tf.Tensor) -> Moments:
        """Of what the scaler gives, from its codes ``(batch, heads, tokens, head_dim)`` before they are limited."""
        values = codes * self.unit
        if self.which == "o":
            values = values * self.factor[:, None, None] + self.offset[:, None, None]
        mean, variance = tf.nn.moments(values, axes=(0, 2, 3))
        return Moments(tf.sqrt(variance), mean)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("units", "heads", "which", "unit")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}, "offset": self.offset0}


class UnevenCells(Layer):  # type: ignore[misc]
    """The float model with noise and spread in place of `GainCells`, for evaluation: slow, and without a gradient.

    Args:
        spec: the operator, with its `nonideal`.
    """

    def __init__(self, spec: GainCellSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        last = ((spec.q_levels - 1, 1.0), (spec.k_levels - 1, spec.vdd), (spec.v_levels - 1, spec.vdd))
        units = [high / n for n, high in last]
        scalers = [(value,) * spec.heads for unit in units for value in (unit, 0.0)] + [(1.0,) * spec.heads]
        self._spec = replace(spec, scalers=Scalers(*scalers, (0.0,) * spec.heads))

    def spec(self) -> GainCellSpec:
        """The operator spec."""
        return self._spec

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Sums of tile codes for codes of q, k and v."""
        sums = tf.numpy_function(self._sums, inputs, tf.float32, stateful=False)
        return tf.ensure_shape(sums, inputs[0].shape)

    def _sums(self, *codes: Any) -> Any:
        return np.rint(self._spec.real(*codes) / self._spec.out_step).astype(np.float32)


class GainCellSelfAttention(Layer):  # type: ignore[misc]
    """Causal multi-head self-attention on gain cells.

    Args:
        spec: of the arrays; its own scalers play no part.
        output_quantizer: of the result.
    """

    def __init__(self, spec: GainCellSpec, output_quantizer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        cells = GainCells if spec.nonideal.ideal else UnevenCells
        self.cells = cells(spec, name=f"{self.name}_cells")
        names = {"q": spec.q_format, "k": spec.k_format, "v": spec.v_format}
        self.limits = {n: ClippedActivation(str(f), name=f"{self.name}_{n}") for n, f in names.items()}
        self.out_act = ClippedActivation(output_quantizer, name=f"{self.name}_out")

    def build(self, input_shape: Any) -> None:
        """Create the projections."""
        spec = self.cells.spec()
        width, n = spec.heads * spec.head_dim, self.name
        rail, step = spec.mid_rail, spec.vdd
        self.wq = ScaledDense(width, spec.heads, "q", 1 / (spec.q_levels - 1), 0.0, name=f"{n}_q_proj")
        self.wk = ScaledDense(width, spec.heads, "k", step / (spec.k_levels - 1), rail, name=f"{n}_k_proj")
        self.wv = ScaledDense(width, spec.heads, "v", step / (spec.v_levels - 1), rail, name=f"{n}_v_proj")
        self.wo = ScaledDense(int(input_shape[-1]), spec.heads, "o", spec.out_step, 0.0, name=f"{n}_out_proj")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Attention output of shape ``(batch, seq_len, d_model)``."""
        return self.trace(x)["out"]

    def trace(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the four scalers give, in codes and by head, and the result."""
        scaled = {n: self._split(dense(x)) for n, dense in (("q", self.wq), ("k", self.wk), ("v", self.wv))}
        sums = self.cells([self.limits[n](scaled[n]) for n in "qkv"])
        return scaled | {"o": sums, "out": self.out_act(self.wo(self._merge(sums)))}

    def moments(self, x: tf.Tensor) -> dict[str, Moments]:
        """Of each scaler's result for these inputs."""
        trace = self.trace(x)
        return {n: dense.moments(trace[n]) for n, dense in self.scalers.items()}

    @property
    def scalers(self) -> dict[str, ScaledDense]:
        """The projections by the name of their scaler."""
        return {"q": self.wq, "k": self.wk, "v": self.wv, "o": self.wo}

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        spec = self.cells.spec()
        return tf.transpose(tf.reshape(x, (-1, x.shape[1], spec.heads, spec.head_dim)), (0, 2, 1, 3))

    def _merge(self, x: tf.Tensor) -> tf.Tensor:
        spec = self.cells.spec()
        return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, x.shape[2], spec.heads * spec.head_dim))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        spec = self.cells.spec().to_config()
        return {**super().get_config(), "spec": spec, "output_quantizer": str(self.out_act.quantizer)}
