# SPDX-License-Identifier: Apache-2.0
"""The operators: one frozen spec each, holding the normative integer reference in plain NumPy."""

from hls4attn.models.operators.ailayernorm import AILayerNormSpec
from hls4attn.models.operators.base import ScoreSpec, score_from_attributes, score_types
from hls4attn.models.operators.consmax import ConSmaxSpec, ConSmaxSplitSpec
from hls4attn.models.operators.e2context import E2ContextSpec, context_from_attributes, context_types
from hls4attn.models.operators.e2softmax import E2SoftmaxSpec
from hls4attn.models.operators.gaincell import GainCellSpec
from hls4attn.models.operators.layernorm import IntegerLayerNormSpec
from hls4attn.models.operators.norm_base import NormSpec, norm_from_attributes, norm_types
from hls4attn.models.operators.softmax import SoftmaxSpec

__all__ = [
    "AILayerNormSpec",
    "ConSmaxSpec",
    "ConSmaxSplitSpec",
    "E2ContextSpec",
    "E2SoftmaxSpec",
    "GainCellSpec",
    "IntegerLayerNormSpec",
    "NormSpec",
    "ScoreSpec",
    "SoftmaxSpec",
    "context_from_attributes",
    "context_types",
    "norm_from_attributes",
    "norm_types",
    "score_from_attributes",
    "score_types",
]
