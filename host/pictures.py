# SPDX-License-Identifier: Apache-2.0
"""Pictures of a verified model as matplotlib figures, for notebooks and PNG files.

What they show comes from the same functions as the report's (`hls4attn.host.report`), whose figures are SVG text.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.host.report.attention import attention_maps
from hls4attn.host.report.layers import output_step
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.real import RealReference
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ToolError('matplotlib is not installed: pip install "hls4attn[keras]"') from error
    return plt


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
    maps = attention_maps(graph, trace)
    if not maps:
        raise InputError("This model has no score function, so no attention to show")
    panels = [(block, head, found) for block, found in enumerate(maps) for head in range(found.weights.shape[1])]
    figure, axes = _pyplot().subplots(1, 1 + len(panels), figsize=(1.6 * (1 + len(panels)), 2.0))
    axes[0].imshow(image, cmap="gray_r", interpolation="nearest")
    axes[0].set_title("image", fontsize=9)
    for axis, (block, head, found) in zip(axes[1:], panels, strict=True):
        p = found.weights[sample, head]
        side = int(np.sqrt(p.shape[-1]))
        axis.imshow(p.mean(axis=0)[: side * side].reshape(side, side), cmap="viridis", interpolation="nearest")
        axis.set_title(f"block {block} head {head}\nrow sum {p.sum(axis=-1).mean():.2f}", fontsize=8)
    for axis in axes:
        axis.axis("off")
    return figure


def plot_errors(graph: Graph, trace: Mapping[str, Codes]) -> Any:
    """Histogram of integer minus float probability, in output steps, on the scores that really occur."""
    figure, axis = _pyplot().subplots(figsize=(5, 2.6))
    real = RealReference(graph).own(trace)
    for node in graph.nodes:
        if node.op not in ("Score", "Context", "Cells"):
            continue
        fmt = graph.tensors[node.output].format
        steps = (fmt.to_real(trace[node.output]) - real[node.output]) / output_step(node, fmt)
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
