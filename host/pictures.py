# SPDX-License-Identifier: Apache-2.0
"""Pictures of a verified model: digits with their predictions, attention maps, distance to the float function."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.graph import Graph, Node
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ToolError('matplotlib is not installed: pip install "hls4attn[keras]"') from error
    return plt


def score_nodes(graph: Graph) -> list[Node]:
    """The score functions of a model, in execution order."""
    return [n for n in graph.nodes if n.op == "Score"]


def plot_digits(images: NDArray[Any], labels: NDArray[Any], predictions: NDArray[Any], title: str) -> Any:
    """A row of images, each with the digit that was read; wrong ones in red."""
    figure, axes = _pyplot().subplots(1, len(images), figsize=(1.1 * len(images), 1.7))
    for axis, image, label, prediction in zip(np.atleast_1d(axes), images, labels, predictions, strict=True):
        axis.imshow(image, cmap="gray_r", interpolation="nearest")
        axis.set_title(str(prediction), color="black" if prediction == label else "red", fontsize=11)
        axis.axis("off")
    figure.suptitle(title, fontsize=9)
    return figure


def plot_attention(graph: Graph, trace: Mapping[str, Codes], image: NDArray[Any], sample: int = 0) -> Any:
    """Where each head of each block looks: attention received by each patch, averaged over the queries."""
    nodes = score_nodes(graph)
    if not nodes:
        raise InputError("This model has no score function, so no attention to show")
    heads = graph.tensors[nodes[0].output].shape[0]
    figure, axes = _pyplot().subplots(1, 1 + len(nodes) * heads, figsize=(1.6 * (1 + len(nodes) * heads), 2.0))
    axes[0].imshow(image, cmap="gray_r", interpolation="nearest")
    axes[0].set_title("image", fontsize=9)
    for block, node in enumerate(nodes):
        p = graph.tensors[node.output].format.to_real(trace[node.output][sample])
        side = int(np.sqrt(p.shape[-1]))
        for head in range(heads):
            axis = axes[1 + block * heads + head]
            received = p[head].mean(axis=0)[: side * side].reshape(side, side)
            axis.imshow(received, cmap="viridis", interpolation="nearest")
            axis.set_title(f"block {block} head {head}\nrow sum {p[head].sum(axis=-1).mean():.2f}", fontsize=8)
    for axis in axes:
        axis.axis("off")
    return figure


def plot_errors(graph: Graph, trace: Mapping[str, Codes]) -> Any:
    """Histogram of integer minus float probability, in output steps, on the scores that really occur."""
    figure, axis = _pyplot().subplots(figsize=(5, 2.6))
    for node in score_nodes(graph):
        spec = node.spec
        if spec is None:
            continue
        codes = trace[node.inputs[0]]
        error = spec.out_format.to_real(trace[node.output]) - spec.real(spec.in_format.to_real(codes))
        steps = error / np.reshape(spec.output_steps, (-1, 1, 1))
        axis.hist(np.clip(steps.ravel(), -2, 2), bins=81, range=(-2, 2), histtype="step", label=node.name)
    axis.set_xlabel("integer minus float function [output steps], clipped at 2")
    axis.set_ylabel("results")
    axis.set_yscale("log")
    axis.legend(fontsize=7)
    figure.tight_layout()
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG atomically and close the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    _pyplot().close(figure)
    atomic_write(path, buffer.getvalue())
