# SPDX-License-Identifier: Apache-2.0
"""Small models that several tests share."""

from __future__ import annotations

import numpy as np
import onnx

from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, ScoreSpec, SoftmaxSpec

NARROW, WIDE = Fixed(8, 2), Fixed(16, 10)


def specs() -> dict[str, ScoreSpec]:
    """One spec of each kind, heads with different exponents where that is possible."""
    heads = ((1.0, 0.7), (8.0, 9.0), (0.25, 0.3), (8, 7))
    return {
        "consmax": ConSmaxSpec(NARROW, *heads),
        "consmax-causal": ConSmaxSpec(NARROW, *heads, causal=True),
        "split": ConSmaxSplitSpec(NARROW, *heads),
        "split-16-bit": ConSmaxSplitSpec(WIDE, *heads, causal=True, mantissa_bits=11),
        "softmax": SoftmaxSpec(NARROW, (0.25, 0.3)),
        "softmax-causal": SoftmaxSpec(NARROW, (0.25, 0.3), causal=True),
    }


def attention_model(spec: ScoreSpec, seq: int = 4, width: int = 8, seed: int = 0) -> onnx.ModelProto:
    """Dense, split into heads, scores, score function, weighted sum, merge, residual."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("attention")
    h, d = spec.heads, width // spec.heads
    x = b.quant(b.input("input", (seq, width)), Fixed(8, 4), "tokens", (seq, width))
    w = b.quantised_constant("kernel", rng.integers(-32, 32, (width, width)), Fixed(6, 5))
    y = b.node("MatMul", [x, w], "dense_matmul", (seq, width))
    y = b.node(
        "Add", [y, b.quantised_constant("bias", rng.integers(-32, 32, width), Fixed(8, 5))], "dense", (seq, width)
    )
    y = b.quant(y, Fixed(8, 4), "projected", (seq, width))
    heads = b.transpose(b.reshape(y, (seq, h, d), "split"), (1, 0, 2), "heads")
    keys = b.transpose(heads, (0, 2, 1), "keys")
    s = b.quant(b.node("MatMul", [heads, keys], "qk", (h, seq, seq)), spec.in_format, "scores", (h, seq, seq))
    p = b.score(s, spec, "score", (h, seq, seq))
    o = b.quant(b.node("MatMul", [p, heads], "pv", (h, seq, d)), Fixed(8, 4), "context", (h, seq, d))
    o = b.reshape(b.transpose(o, (1, 0, 2), "merge"), (seq, width), "merged")
    out = b.quant(b.node("Add", [o, x], "residual", (seq, width)), Fixed(8, 3), "output", (seq, width))
    return b.model(["input"], [out], {})
