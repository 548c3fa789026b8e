# SPDX-License-Identifier: Apache-2.0
"""Real models with their training recipe and their small trained weights."""

from hls4attn.models.zoo.registry import ZooModel, zoo_model

__all__ = ["ZooModel", "zoo_model"]
