# SPDX-License-Identifier: Apache-2.0
"""A small vision transformer for the digits: 16 patches of 2x2, width 32, two blocks of two heads, 8 bits."""

from __future__ import annotations

from qkeras import QDense
from tensorflow import keras
from tensorflow.keras.layers import Add, Input, Permute, Reshape

from hls4attn.models.errors import SpecError
from hls4attn.models.layers import (
    ClippedActivation,
    QBatchNorm,
    QMeanPool,
    QPositionEmbedding,
    QSelfAttention,
)

SCORES = ("consmax", "softmax", "e2softmax", "e2softmax-online", "e2softmax-shift")
PATCH, PATCHES, WIDTH, HEADS, HIDDEN, BLOCKS, CLASSES = 2, 16, 32, 2, 64, 2, 10

_KERNEL = "quantized_bits(8,0,alpha=1)"
_BIAS = "quantized_bits(8,1,alpha=1)"
_STREAM = "quantized_bits(8,2,alpha=1)"


def digits_vit(score: str) -> keras.Model:
    """The untrained model: images ``(batch, 8, 8)`` in [0, 1] to ten quantised logits.

    Raises:
        SpecError: for an unknown score function.
    """
    if score not in SCORES:
        raise SpecError(f"Unknown score function {score!r}; known: {', '.join(SCORES)}")
    image = Input((8, 8), name="image")
    x = ClippedActivation("quantized_bits(5,1,keep_negative=0,alpha=1)", name="pixels")(image)
    side = 8 // PATCH
    x = Reshape((side, PATCH, side, PATCH), name="grid")(x)
    x = Permute((1, 3, 2, 4), name="gather")(x)
    x = Reshape((PATCHES, PATCH * PATCH), name="patches")(x)
    x = _dense(WIDTH, "embed")(x)
    x = QPositionEmbedding(_KERNEL, name="position")(x)
    x = ClippedActivation(_STREAM, name="tokens")(x)
    for block in range(BLOCKS):
        x = _block(x, f"block{block}", score)
    x = QMeanPool(name="pool")(x)
    x = ClippedActivation("quantized_bits(8,1,alpha=1)", name="pooled")(x)
    x = _dense(CLASSES, "head")(x)
    logits = ClippedActivation("quantized_bits(8,3,alpha=1)", name="logits")(x)
    return keras.Model(image, logits, name=f"digits_vit_{score}")


def _dense(units: int, name: str) -> QDense:
    return QDense(units, kernel_quantizer=_KERNEL, bias_quantizer=_BIAS, kernel_initializer="glorot_uniform", name=name)


def _block(x: keras.KerasTensor, name: str, score: str) -> keras.KerasTensor:
    attention = QSelfAttention(
        HEADS,
        WIDTH // HEADS,
        score,
        kernel_quantizer=_KERNEL,
        bias_quantizer=_BIAS,
        qk_quantizer="quantized_bits(8,0,alpha=1)",
        v_quantizer="quantized_bits(8,1,alpha=1)",
        score_quantizer="quantized_bits(8,4,alpha=1)",
        context_quantizer="quantized_bits(8,1,alpha=1)",
        output_quantizer=_STREAM,
        name=f"{name}_attention",
    )
    x = _normalise(Add(name=f"{name}_residual0")([x, attention(x)]), f"{name}_norm0")
    hidden = ClippedActivation("quantized_relu(8,2)", name=f"{name}_hidden")(_dense(HIDDEN, f"{name}_expand")(x))
    mlp = ClippedActivation(_STREAM, name=f"{name}_mlp")(_dense(WIDTH, f"{name}_contract")(hidden))
    return _normalise(Add(name=f"{name}_residual1")([x, mlp]), f"{name}_norm1")


def _normalise(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    normalised = QBatchNorm("quantized_bits(8,2,alpha=1)", "quantized_bits(8,2,alpha=1)", name=name)(x)
    return ClippedActivation(_STREAM, name=f"{name}_out")(normalised)
