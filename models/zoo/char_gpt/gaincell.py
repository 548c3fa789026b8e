# SPDX-License-Identifier: Apache-2.0
"""Gain-cell self-attention with 8-bit projections into which the scalers are folded, trained as hardware computes it.

A scaler ``a x + b`` costs no hardware where it follows or precedes a matrix: it is multiplied into that matrix, and
the product is what is quantised.  Training sees exactly this, so that nothing changes when it is written to a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Dense, Layer

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.layers import ClippedActivation, GainCells
from hls4attn.models.layers.gain_attention import MIN_FACTOR, GainCellAttention
from hls4attn.models.layers.quantizers import fake_quantise, fixed_of, straight_through
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import IDEAL, Scalers
from hls4attn.models.zoo.char_gpt.formats import STREAM

#: Folded kernels and biases: to codes of queries, of keys and values; from sums of tile codes.
KERNELS = {"q": Fixed(8, 3), "k": Fixed(8, 4), "v": Fixed(8, 4), "o": Fixed(8, 10)}
BIASES = {"q": Fixed(12, 4), "k": Fixed(12, 4), "v": Fixed(12, 4), "o": Fixed(8, 6)}


class QGainCellAttention(GainCellAttention):
    """`GainCellAttention` with quantised projections.

    Args:
        spec: the operator, or its configuration; with noise or spread the layer computes the float model, slowly and
            without a gradient.
    """

    def __init__(self, spec: GainCellSpec | Mapping[str, Any], **kwargs: Any) -> None:
        spec = spec if isinstance(spec, GainCellSpec) else GainCellSpec.from_parameters(spec)
        super().__init__(replace(spec, nonideal=IDEAL), **kwargs)
        if not spec.nonideal.ideal:
            self.cells = UnevenCells(spec, name=f"{self.name}_cells")
        self.out_act = ClippedActivation(STREAM, name=f"{self.name}_out")

    def build(self, input_shape: Any) -> None:
        """Create projections under the names of `QSelfAttention`, and scalers."""
        super().build(input_shape)
        spec = self.cells.spec()
        self.wo = Dense(int(input_shape[-1]), name=f"{self.name}_out_proj")
        self.dense = {"q": self.wq, "k": self.wk, "v": self.wv, "o": self.wo}
        for name, dense in self.dense.items():
            inputs = spec.heads * spec.head_dim if name == "o" else int(input_shape[-1])
            with tf.name_scope(dense.name):
                dense.build((None, inputs))
        limits = ((1.0, spec.q_levels), (spec.vdd, spec.k_levels), (spec.vdd, spec.v_levels))
        #: Real value of one step of the codes on the arrays' side.
        self.step = dict(zip("qkvo", (*(high / (n - 1) for high, n in limits), spec.out_step), strict=True))

    def projection(self, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Kernel and bias with their scaler inside, from x to codes of q, k or v, or from sums to y ("o")."""
        dense, dim = self.dense[name], self.cells.spec().head_dim
        a, b = (tf.repeat(w[name], dim) for w in (self.factor, self.offset))
        a = tf.maximum(a, MIN_FACTOR)
        if name == "o":
            kernel = dense.kernel * (a * self.step[name])[:, None]
            bias = dense.bias + tf.linalg.matvec(dense.kernel, b, transpose_a=True)
        else:
            kernel, bias = dense.kernel * (a / self.step[name]), (dense.bias * a + b) / self.step[name]
        return fake_quantise(kernel, KERNELS[name]), fake_quantise(bias, BIASES[name])

    def codes(self, name: str) -> tuple[Codes, Codes]:
        """Integer kernel and bias of a projection."""
        kernel, bias = self.projection(name)
        return KERNELS[name].quantise(kernel.numpy()), BIASES[name].quantise(bias.numpy())

    def freeze(self) -> None:
        """Replace the weights by ones whose projections are on their grids already, whatever rounds them; in place."""
        for name, dense in self.dense.items():
            codes, dim = self.codes(name), self.cells.spec().head_dim
            kernel, bias = KERNELS[name].to_real(codes[0]), BIASES[name].to_real(codes[1])
            a, b = (np.repeat(w[name].numpy().astype(np.float64), dim) for w in (self.factor, self.offset))
            a = np.maximum(a, MIN_FACTOR)
            if name == "o":
                kernel = kernel / (a * self.step[name])[:, None]
                dense.set_weights([kernel, bias - b @ kernel])
            else:
                dense.set_weights([kernel * (self.step[name] / a), (bias * self.step[name] - b) / a])

    def to_graph(self, b: GraphBuilder, x: str, shape: tuple[int, ...]) -> str:
        """Add the layer's nodes to a file; the name of the result.

        Raises:
            UnsupportedError: for cells with noise or spread, or that compute the float model.
        """
        if not isinstance(self.cells, GainCells):
            raise UnsupportedError(f"{self.name}: noise and spread have no exact integer meaning; set nonideal=IDEAL")
        if not self.cells.quantised:
            raise UnsupportedError(f"{self.name}: built with quantised=False; only the integer form can be exported")
        spec, tokens = self.spec(), shape[0]
        split, merged, by_head = (tokens, spec.heads, spec.head_dim), (tokens, spec.heads * spec.head_dim), (1, 0, 2)
        operands = []
        for name, fmt in zip("qkv", spec.in_formats, strict=True):
            codes = b.quant(self._project(b, x, name, merged), fmt, f"{self.name}_{name}", merged)
            rows = b.reshape(codes, split, f"{self.name}_{name}_split")
            operands.append(b.transpose(rows, by_head, f"{self.name}_{name}_heads"))
        q, k, v = operands
        sums = b.cells(q, k, v, spec, f"{self.name}_cells", (spec.heads, tokens, spec.head_dim))
        rows = b.reshape(b.transpose(sums, by_head, f"{self.name}_merge"), merged, f"{self.name}_merged")
        fmt = fixed_of(self.out_act.quantizer, self.name)
        return b.quant(self._project(b, rows, "o", shape), fmt, f"{self.name}_out", shape)

    def _project(self, b: GraphBuilder, x: str, name: str, shape: tuple[int, ...]) -> str:
        """Nodes of a projection."""
        title, (kernel, bias) = self.dense[name].name, self.codes(name)
        y = b.node(
            "MatMul", [x, b.quantised_constant(f"{title}_kernel", kernel, KERNELS[name])], f"{title}_matmul", shape
        )
        return b.node("Add", [y, b.quantised_constant(f"{title}_bias", bias, BIASES[name])], title, shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Attention output of shape ``(batch, tokens, d_model)``."""
        return self.trace(x)[f"{self.name}_out"]

    def trace(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every tensor of codes inside, by the name it has in the exported file."""
        spec, codes = self.cells.spec(), []
        for name, levels in (("q", spec.q_levels), ("k", spec.k_levels), ("v", spec.v_levels)):
            kernel, bias = self.projection(name)
            scaled = self._split(tf.matmul(x, kernel) + bias)
            self._watch(name, scaled * self.step[name])
            limited = tf.clip_by_value(scaled, 0.0, levels - 1.0)
            codes.append(straight_through(tf.round(limited), limited))
        sums = self.cells(codes)
        a, b = (tf.reshape(w["o"], (-1, 1, 1)) for w in (self.factor, self.offset))
        self._watch("o", tf.maximum(a, MIN_FACTOR) * self.step["o"] * sums + b)
        kernel, bias = self.projection("o")
        named = dict(zip("qkv", map(self._merge, codes), strict=True))
        named |= {"cells": sums, "out": self.out_act(tf.matmul(self._merge(sums), kernel) + bias)}
        return {f"{self.name}_{key}": value for key, value in named.items()}

    def _merge(self, x: tf.Tensor) -> tf.Tensor:
        """(batch, heads, tokens, head_dim) -> (batch, tokens, heads * head_dim)."""
        return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, x.shape[2], x.shape[1] * x.shape[3]))

    def _watch(self, name: str, y: tf.Tensor) -> None:
        if self.watched is not None:
            self.watched[name] = y


class UnevenCells(Layer):  # type: ignore[misc]
    """The float model with noise and spread in place of `GainCells`, for evaluation.

    Args:
        spec: the operator, with its `nonideal`.
    """

    def __init__(self, spec: GainCellSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._spec = spec
        one, none = (1.0,) * spec.heads, (0.0,) * spec.heads
        q, k, v = (
            (high / (n - 1),) * spec.heads
            for high, n in ((1.0, spec.q_levels), (spec.vdd, spec.k_levels), (spec.vdd, spec.v_levels))
        )
        self._on_codes = replace(spec, scalers=Scalers(q, none, k, none, v, none, one, none))

    def spec(self) -> GainCellSpec:
        """The operator spec."""
        return self._spec

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Sums of tile codes for codes of q, k and v."""
        sums = tf.numpy_function(self._sums, inputs, tf.float32, stateful=False)
        return tf.ensure_shape(sums, inputs[0].shape)

    def _sums(self, *codes: Any) -> Any:
        return np.rint(self._on_codes.real(*codes) / self._spec.out_step).astype(np.float32)
