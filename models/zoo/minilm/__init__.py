# SPDX-License-Identifier: Apache-2.0
"""SOLE's operators inside a pre-trained sentence encoder, without retraining."""

from hls4attn.models.zoo.minilm.encoder import Encoder, embed
from hls4attn.models.zoo.minilm.evidence import Row, evidence
from hls4attn.models.zoo.minilm.weights import load_minilm

__all__ = ["Encoder", "Row", "embed", "evidence", "load_minilm"]
