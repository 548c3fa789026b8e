# SPDX-License-Identifier: Apache-2.0
"""Keras layers that train with exactly the integer arithmetic of the hardware.  Needs TensorFlow and QKeras."""

from hls4attn.models.layers.activation import ClippedActivation
from hls4attn.models.layers.affine import QBatchNorm, QMeanPool, QPositionEmbedding
from hls4attn.models.layers.attention import QSelfAttention
from hls4attn.models.layers.quantizers import fixed_of
from hls4attn.models.layers.score import ConSmax, IntegerSoftmax, ScoreLayer

CUSTOM_OBJECTS = {
    cls.__name__: cls
    for cls in (
        ClippedActivation,
        ConSmax,
        IntegerSoftmax,
        QBatchNorm,
        QMeanPool,
        QPositionEmbedding,
        QSelfAttention,
    )
}

__all__ = [
    "CUSTOM_OBJECTS",
    "ClippedActivation",
    "ConSmax",
    "IntegerSoftmax",
    "QBatchNorm",
    "QMeanPool",
    "QPositionEmbedding",
    "QSelfAttention",
    "ScoreLayer",
    "fixed_of",
]
