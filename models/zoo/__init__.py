# SPDX-License-Identifier: Apache-2.0
"""Real models with their training recipe and their small trained weights."""

from hls4attn.models.zoo.registry import ZooModel, saved_model, zoo_model

__all__ = ["ZooModel", "saved_model", "zoo_model"]
