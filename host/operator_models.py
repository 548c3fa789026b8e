# SPDX-License-Identifier: Apache-2.0
"""One operator alone as a model, so that the whole ladder can be climbed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from hls4attn.models.errors import SpecError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.execute import random_codes
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, ScoreSpec, SoftmaxSpec

HEADS, ROWS = 2, 16


@dataclass(frozen=True)
class OperatorCase:
    """An operator in a typical configuration.

    Args:
        title: what is configured.
        spec: builds the spec.
    """

    title: str
    spec: Callable[[], ScoreSpec]


def _consmax(cls: type[ConSmaxSpec], fmt: Fixed, **kwargs: Any) -> ConSmaxSpec:
    return cls(fmt, (1.0, 0.5), (8.0, 11.0), (0.25, 0.3), (8, 7), **kwargs)


_NARROW, _WIDE = Fixed(8, 3), Fixed(16, 11)

OPERATORS: dict[str, tuple[OperatorCase, ...]] = {
    "consmax": (
        OperatorCase("direct table, 8-bit scores", lambda: _consmax(ConSmaxSpec, _NARROW)),
        OperatorCase("direct table, causal", lambda: _consmax(ConSmaxSpec, _NARROW, causal=True)),
        OperatorCase("split tables, 8-bit scores", lambda: _consmax(ConSmaxSplitSpec, _NARROW)),
        OperatorCase("split tables, 16-bit scores", lambda: _consmax(ConSmaxSplitSpec, _WIDE)),
    ),
    "softmax": (
        OperatorCase("8-bit scores", lambda: SoftmaxSpec(_NARROW, (0.25, 0.3))),
        OperatorCase("8-bit scores, causal", lambda: SoftmaxSpec(_NARROW, (0.25, 0.3), causal=True)),
    ),
}


def operator_cases(name: str) -> tuple[OperatorCase, ...]:
    """The cases of an operator.

    Raises:
        SpecError: listing the known names.
    """
    if name not in OPERATORS:
        raise SpecError(f"Unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    return OPERATORS[name]


def operator_model(spec: ScoreSpec) -> onnx.ModelProto:
    """A file with nothing but the input quantiser and the operator: scores ``(heads, 16, 16)`` in."""
    builder = GraphBuilder(spec.op_type.lower())
    shape = (HEADS, ROWS, ROWS)
    builder.input("input", shape)
    scores = builder.quant("input", spec.in_format, "scores", shape)
    return builder.model(["input"], [builder.score(scores, spec, "score", shape)], {})


def operator_keras(spec: ScoreSpec) -> Any:
    """The Keras layer of a spec as a model on its own."""
    from tensorflow import keras

    from hls4attn.models.layers import ConSmax, IntegerSoftmax

    if isinstance(spec, ConSmaxSpec):
        split = isinstance(spec, ConSmaxSplitSpec)
        layer = ConSmax(
            spec.heads,
            spec.in_format,
            spec.score_scale,
            out_frac=spec.out_frac,
            out_width=spec.out_width,
            method="split" if split else "direct",
            causal=spec.causal,
            name="score",
        )
    elif isinstance(spec, SoftmaxSpec):
        layer = IntegerSoftmax(spec.heads, spec.in_format, spec.score_scale, causal=spec.causal, name="score")
    else:
        raise SpecError(f"{spec.op_type} has no Keras layer")
    scores = keras.layers.Input((HEADS, ROWS, ROWS), name="scores")
    model = keras.Model(scores, layer(scores), name=f"{spec.op_type.lower()}_layer")
    if isinstance(spec, ConSmaxSpec):
        layer.set_weights([np.array(spec.beta), np.array(spec.gamma)])
    return model


def operator_codes(graph: Graph, rows: int, seed: int) -> Codes:
    """Score codes for at least `rows` rows: every code once, the corner rows, then random ones.

    Corner rows: all equal, one-hot, ascending, descending, last element largest.  Half of the random samples
    keep to a narrow band, where probabilities are neither 0 nor saturated.
    """
    heads, height, width = graph.input.shape
    fmt = graph.input.format
    samples = max(-(-rows // (heads * height)), 1)
    codes = random_codes(graph.input, samples, seed)
    band = codes[1::2]
    band[:] = band >> 3
    every = np.arange(fmt.min, fmt.max + 1)
    ramp = np.linspace(fmt.min, fmt.max, width).astype(np.int64)
    hot = np.where(np.arange(width) == width // 2, fmt.max, fmt.min)
    last = np.where(np.arange(width) == width - 1, fmt.max, 0)
    corners = np.stack([np.zeros(width, dtype=np.int64), hot, ramp, ramp[::-1], last])
    special = np.concatenate([np.resize(corners, (height, width)).ravel(), every])
    per_sample = height * width
    padded = np.resize(special, (-(-special.size // per_sample), height, width))
    shown = np.repeat(padded[:, None], heads, axis=1)[:samples]
    codes[: len(shown)] = shown
    return codes
