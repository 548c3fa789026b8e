# SPDX-License-Identifier: Apache-2.0
"""Random models with the exporter's own builder: an attention block of any size, with every kind of node."""

from __future__ import annotations

import numpy as np
import onnx

from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, E2ContextSpec, NormSpec, ScoreSpec

W = Fixed(6, 5)
A8 = Fixed(8, 4)


class ModelMaker:
    """Adds random layers to a builder; `now` is (tensor, shape)."""

    def __init__(self, name: str, shape: tuple[int, ...], fmt: Fixed, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = GraphBuilder(name)
        x = self.b.input("image", shape)
        self.x, self.shape = self.b.quant(x, fmt, "input_quant", shape), shape

    def constant(self, name: str, shape: tuple[int, ...], fmt: Fixed = W) -> str:
        codes = self.rng.integers(fmt.min, fmt.max, shape, endpoint=True)
        return self.b.quantised_constant(name, codes, fmt)

    def op(self, op: str, inputs: list[str], name: str, shape: tuple[int, ...]) -> str:
        return self.b.node(op, inputs, name, shape)

    def dense(self, x: str, shape: tuple[int, ...], units: int, name: str, out: Fixed, relu: bool = False) -> str:
        to = (*shape[:-1], units)
        y = self.op("MatMul", [x, self.constant(f"{name}_w", (shape[-1], units))], name, to)
        y = self.op("Add", [y, self.constant(f"{name}_b", (units,))], f"{name}_bias", to)
        if relu:
            y = self.op("Relu", [y], f"{name}_relu", to)
        return self.b.quant(y, out, f"{name}_q", to)

    def norm(self, x: str, shape: tuple[int, ...], name: str, out: Fixed, spec: NormSpec | None = None) -> str:
        if spec is not None:
            return self.b.norm(self.b.quant(x, spec.in_format, f"{name}_in", shape), spec, name, shape)
        y = self.op("Mul", [x, self.constant(f"{name}_scale", (shape[-1],))], f"{name}_mul", shape)
        y = self.op("Add", [y, self.constant(f"{name}_shift", (shape[-1],))], f"{name}_add", shape)
        return self.b.quant(y, out, f"{name}_q", shape)

    def attention(self, x: str, shape: tuple[int, int], spec: ScoreSpec | E2ContextSpec, name: str) -> str:
        seq, d = shape
        heads, head_dim = spec.heads, d // spec.heads
        split = {}
        for part, order in (("q", (1, 0, 2)), ("k", (1, 2, 0)), ("v", (1, 0, 2))):
            y = self.dense(x, shape, d, f"{name}_{part}", A8)
            y = self.b.reshape(y, (seq, heads, head_dim), f"{name}_{part}_heads")
            split[part] = self.b.transpose(y, order, f"{name}_{part}_split")
        scores = (heads, seq, seq)
        s = self.op("MatMul", [split["q"], split["k"]], f"{name}_scores", scores)
        s = self.b.quant(s, spec.in_format, f"{name}_scores_q", scores)
        if isinstance(spec, E2ContextSpec):
            c = self.b.context(s, split["v"], spec, f"{name}_context", (heads, seq, head_dim))
        else:
            p = self.b.score(s, spec, f"{name}_p", scores)
            c = self.op("MatMul", [p, split["v"]], f"{name}_context", (heads, seq, head_dim))
        c = self.b.quant(c, A8, f"{name}_context_q", (heads, seq, head_dim))
        c = self.b.transpose(c, (1, 0, 2), f"{name}_merge")
        c = self.b.reshape(c, shape, f"{name}_merged")
        return self.dense(c, shape, d, f"{name}_out", A8)

    def block(
        self,
        x: str,
        shape: tuple[int, int],
        spec: ScoreSpec | E2ContextSpec,
        mlp: int,
        name: str,
        norms: tuple[NormSpec | None, NormSpec | None] = (None, None),
    ) -> str:
        y = self.attention(x, shape, spec, f"{name}_att")
        y = self.norm(self.op("Add", [x, y], f"{name}_res1", shape), shape, f"{name}_n1", A8, norms[0])
        h = self.dense(y, shape, mlp, f"{name}_up", Fixed(8, 4, False), relu=True)
        z = self.dense(h, (shape[0], mlp), shape[1], f"{name}_down", A8)
        return self.norm(self.op("Add", [y, z], f"{name}_res2", shape), shape, f"{name}_n2", A8, norms[1])

    def model(self, output: str) -> onnx.ModelProto:
        return self.b.model(["image"], [output], {"task": "test"})


def consmax(heads: int, causal: bool = False) -> ConSmaxSpec:
    return ConSmaxSpec(
        Fixed(8, 2),
        beta=tuple(1.0 + 0.5 * h for h in range(heads)),
        gamma=tuple(60.0 + 10 * h for h in range(heads)),
        score_scale=(0.125,) * heads,
        out_frac=tuple(8 + h % 2 for h in range(heads)),
        causal=causal,
    )


def classifier(
    blocks: int, seq: int, d: int, mlp: int, spec: ScoreSpec, seed: int = 0, inputs: int = 4
) -> onnx.ModelProto:
    """A whole model: embedding, positions, blocks, mean pooling, classes."""
    fmt = Fixed(5, 0, False)
    m = ModelMaker("classifier", (seq, inputs), fmt, seed)
    x = m.op("MatMul", [m.x, m.constant("embed_w", (inputs, d))], "embed", (seq, d))
    x = m.op("Add", [x, m.constant("position", (seq, d))], "embed_position", (seq, d))
    x = m.b.quant(x, A8, "embed_q", (seq, d))
    for k in range(blocks):
        x = m.block(x, (seq, d), spec, mlp, f"block{k}")
    axes = m.b.constant("pool_axes", [1], np.int64)
    x = m.b.node("ReduceSum", [x, axes], "pool", (d,), attributes={"keepdims": 0})
    x = m.op("Mul", [x, m.b.quantised_constant("pool_scale", np.array(1), Fixed(4, 4))], "pool_mean", (d,))
    x = m.b.quant(x, A8, "pool_q", (d,))
    y = m.op("MatMul", [x, m.constant("head_w", (d, 10))], "head", (10,))
    y = m.op("Add", [y, m.constant("head_b", (10,))], "head_bias", (10,))
    return m.model(y)
