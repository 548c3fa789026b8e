# SPDX-License-Identifier: Apache-2.0
"""ONNX files exported elsewhere, brought to the dialect that the reader takes."""

from hls4attn.models.foreign.choices import Change, Distance, ImportChoices, Imported
from hls4attn.models.foreign.importer import import_model

__all__ = ["Change", "Distance", "ImportChoices", "Imported", "import_model"]
