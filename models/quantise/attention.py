# SPDX-License-Identifier: Apache-2.0
"""A trained keras MultiHeadAttention as `QSelfAttention`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tensorflow import keras

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.layers import QSelfAttention
from hls4attn.models.quantise.calibration import choose_format
from hls4attn.models.quantise.plan import QuantisePlan

Array = NDArray[np.floating[Any]]


class Projections(NamedTuple):
    """Weights of an attention layer as plain matrices: kernels ``(d_in, d_out)`` and biases."""

    q: tuple[Array, Array]
    k: tuple[Array, Array]
    v: tuple[Array, Array]
    out: tuple[Array, Array]


def projections(layer: keras.layers.MultiHeadAttention) -> Projections:
    """The four projections, heads laid side by side.

    Raises:
        UnsupportedError: for value heads of another width than the keys.
    """
    if layer._value_dim != layer._key_dim:
        raise UnsupportedError(f"{layer.name}: value_dim={layer._value_dim} must equal key_dim={layer._key_dim}")
    if layer._output_shape is not None or tuple(layer._attention_axes or (1,)) != (1,):
        raise UnsupportedError(
            f"{layer.name}: output_shape={layer._output_shape} and attention_axes={layer._attention_axes} have no "
            "integer twin; leave them at their defaults"
        )

    def matrix(dense: Any, leading: int) -> tuple[Array, Array]:
        kernel = dense.kernel.numpy()
        flat = kernel.reshape(int(np.prod(kernel.shape[:leading])), -1)
        bias = dense.bias.numpy().ravel() if dense.bias is not None else np.zeros(flat.shape[1], np.float32)
        return flat, bias

    q, k, v = (matrix(d, 1) for d in (layer._query_dense, layer._key_dense, layer._value_dense))
    return Projections(q, k, v, matrix(layer._output_dense, 2))


def float_tensors(p: Projections, x: Array, heads: int) -> dict[str, Array]:
    """Float values of every tensor inside the layer that gets a format."""
    rows, d = x.shape[1], p.q[0].shape[1] // heads
    q, k, v = ((x @ w + b).reshape(len(x), rows, heads, d).transpose(0, 2, 1, 3) for w, b in (p.q, p.k, p.v))
    scores = q @ k.transpose(0, 1, 3, 2)
    e = np.exp((scores - scores.max(axis=-1, keepdims=True)) / np.sqrt(d))
    context = (e / e.sum(axis=-1, keepdims=True)) @ v
    merged = context.transpose(0, 2, 1, 3).reshape(len(x), rows, -1)
    return {"q": q, "k": k, "v": v, "scores": scores, "context": context, "out": merged @ p.out[0] + p.out[1]}


def quantise_attention(layer: Any, values: Array, x: keras.KerasTensor, plan: QuantisePlan) -> keras.KerasTensor:
    """Apply the integer twin of a float attention layer to the tensor `x`.

    Args:
        layer: the trained keras MultiHeadAttention.
        values: its float inputs on the calibration set.
        x: the quantised input.
        plan: widths and score function.
    """
    p = projections(layer)
    heads = layer._num_heads
    inside = float_tensors(p, values, heads)

    def text(name: str, cover: bool = False) -> str:
        joined = np.concatenate([inside[n].ravel() for n in name.split()])
        return str(choose_format(joined, plan.activation_bits, cover=cover))

    kernels = np.concatenate([w.ravel() for w, _ in p])
    biases = np.concatenate([b.ravel() for _, b in p])
    attention = QSelfAttention(
        heads,
        layer._key_dim,
        plan.score,
        kernel_quantizer=str(choose_format(kernels, plan.weight_bits)),
        bias_quantizer=str(choose_format(biases, plan.bias_bits, cover=True)),
        qk_quantizer=text("q k"),
        v_quantizer=text("v"),
        score_quantizer=text("scores", cover=True),
        context_quantizer=text("context"),
        output_quantizer=text("out"),
        name=layer.name,
    )
    y = attention(x)
    for dense, (kernel, bias) in zip((attention.wq, attention.wk, attention.wv, attention.wo), p, strict=True):
        dense.set_weights([kernel, bias])
    return y
