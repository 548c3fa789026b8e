# SPDX-License-Identifier: Apache-2.0
"""The operators: one frozen spec each, holding the normative integer reference in plain NumPy."""

from hls4attn.models.operators.base import ScoreSpec, score_from_attributes, score_types
from hls4attn.models.operators.consmax import ConSmaxSpec, ConSmaxSplitSpec
from hls4attn.models.operators.softmax import SoftmaxSpec

__all__ = [
    "ConSmaxSpec",
    "ConSmaxSplitSpec",
    "ScoreSpec",
    "SoftmaxSpec",
    "score_from_attributes",
    "score_types",
]
