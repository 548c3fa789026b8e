# SPDX-License-Identifier: Apache-2.0
"""Keras layers that train with exactly the integer arithmetic of the hardware.  Needs TensorFlow and QKeras."""

from hls4attn.models.layers.activation import ClippedActivation
from hls4attn.models.layers.affine import PositionEmbedding, QBatchNorm, QMeanPool, QPositionEmbedding
from hls4attn.models.layers.ailayernorm import AILayerNorm, calibrate_norms
from hls4attn.models.layers.attention import QSelfAttention
from hls4attn.models.layers.e2softmax import E2Context, E2Softmax
from hls4attn.models.layers.embedding import QEmbedding
from hls4attn.models.layers.gain_attention import GainCellAttention
from hls4attn.models.layers.gaincell import GainCells
from hls4attn.models.layers.norm import IntegerLayerNorm, NormLayer
from hls4attn.models.layers.quantizers import FixedQuantizer, fixed_of
from hls4attn.models.layers.score import ConSmax, IntegerSoftmax, ScoreLayer

CUSTOM_OBJECTS = {
    cls.__name__: cls
    for cls in (
        AILayerNorm,
        ClippedActivation,
        ConSmax,
        E2Context,
        E2Softmax,
        FixedQuantizer,
        GainCellAttention,
        GainCells,
        IntegerLayerNorm,
        IntegerSoftmax,
        PositionEmbedding,
        QBatchNorm,
        QEmbedding,
        QMeanPool,
        QPositionEmbedding,
        QSelfAttention,
    )
}

__all__ = [
    "CUSTOM_OBJECTS",
    "AILayerNorm",
    "ClippedActivation",
    "ConSmax",
    "E2Context",
    "E2Softmax",
    "FixedQuantizer",
    "GainCellAttention",
    "GainCells",
    "IntegerLayerNorm",
    "IntegerSoftmax",
    "NormLayer",
    "PositionEmbedding",
    "QBatchNorm",
    "QEmbedding",
    "QMeanPool",
    "QPositionEmbedding",
    "QSelfAttention",
    "ScoreLayer",
    "calibrate_norms",
    "fixed_of",
]
