# SPDX-License-Identifier: Apache-2.0
"""Keras -> QONNX, ONNX -> typed integer graph, and its execution in NumPy."""

from hls4attn.models.export.execute import Reference, quantise_input, random_codes
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.export.lengths import shortened
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.export.real import RealReference

__all__ = [
    "Constant",
    "Graph",
    "Node",
    "RealReference",
    "Reference",
    "Tensor",
    "load_model",
    "quantise_input",
    "random_codes",
    "read_graph",
    "shortened",
]
