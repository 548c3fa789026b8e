# SPDX-License-Identifier: Apache-2.0
"""Files as other exporters write them, made with ONNX's own helpers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {(8, True): np.int8, (8, False): np.uint8}


class Net:
    """Collects nodes; `dialect` is "quant" (QONNX), "brevitas" (its old domain) or "qdq" (QCDQ)."""

    def __init__(self, dialect: str = "quant", opset: int = 17, seed: int = 0) -> None:
        self.dialect, self.opset = dialect, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(seed)

    def const(self, value: Any, dtype: Any = np.float32, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def node(
        self, op: str, *inputs: str, name: str | None = None, outputs: int = 1, domain: str = "", **attrs: Any
    ) -> Any:
        name = name or f"{op.lower()}{len(self.nodes)}"
        made = [f"{name}_out{n or ''}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain, **attrs))
        return made[0] if outputs == 1 else made

    def quant(
        self,
        x: str,
        step: Any,
        bits: int = 8,
        signed: bool = True,
        narrow: bool = False,
        name: str | None = None,
        zero: Any = 0,
        axis: int | None = None,
    ) -> str:
        name = name or f"quant{len(self.nodes)}"
        if self.dialect != "qdq":
            domain = "qonnx.custom_op.general" if self.dialect == "quant" else "onnx.brevitas"
            parts = [self.const(step), self.const(zero), self.const(float(bits))]
            options = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
            return self.node("Quant", x, *parts, name=name, domain=domain, **options)
        attrs = {} if axis is None else {"axis": axis}
        parts = [self.const(np.ravel(step) if axis is not None else step), self.const(zero, TYPES[8, signed])]
        codes = self.node("QuantizeLinear", x, *parts, name=f"{name}_q", **attrs)
        if bits < 8 or narrow:
            low = -(1 << (bits - 1)) + narrow if signed else 0
            high = (1 << (bits - signed)) - 1
            bounds = [self.const(b, TYPES[8, signed]) for b in (low, high)]
            codes = self.node("Clip", codes, *bounds, name=f"{name}_clip")
        return self.node("DequantizeLinear", codes, *parts, name=name, **attrs)

    def weight(self, shape: tuple[int, ...], step: Any = 2.0**-7, spread: float = 0.4, **options: Any) -> str:
        value = self.const(self.rng.normal(0, spread, shape))
        return self.quant(value, step, **options)

    def linear(self, x: str, inputs: int, outputs: int, step: float | None = 2.0**-4, name: str | None = None) -> str:
        """MatMul by a transposed weight, as nn.Linear is exported, bias, and a quantiser."""
        name = name or f"linear{len(self.nodes)}"
        w = self.node("Transpose", self.weight((outputs, inputs), narrow=True), perm=[1, 0])
        y = self.node("MatMul", x, w, name=f"{name}_matmul")
        y = self.node("Add", y, self.weight((outputs,), 2.0**-6), name=f"{name}_add")
        return y if step is None else self.quant(y, step, name=f"{name}_codes")

    def norm(self, x: str, channels: int, written_out: bool = False, name: str = "norm") -> str:
        gamma = self.const(self.rng.uniform(0.5, 1.5, channels))
        beta = self.const(self.rng.normal(0, 0.3, channels))
        if not written_out:
            return self.node("LayerNormalization", x, gamma, beta, name=name, epsilon=1e-5, axis=-1)
        mean = self.node("ReduceMean", x, axes=[-1])
        centred = self.node("Sub", x, mean)
        variance = self.node("ReduceMean", self.node("Pow", centred, self.const(2.0)), axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, self.const(1e-5)))
        y = self.node("Div", centred, root, name=name)
        return self.node("Add", self.node("Mul", y, gamma), beta)

    def model(
        self, output: str, shape: tuple[Any, ...] = ("batch", 8, 16), kind: int = TensorProto.FLOAT
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "foreign",
            [helper.make_tensor_value_info("x", kind, list(shape))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            initializer=self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if self.dialect != "qdq":
            opsets.append(
                helper.make_opsetid({"quant": "qonnx.custom_op.general"}.get(self.dialect, "onnx.brevitas"), 1)
            )
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def attention(net: Net, x: str, tokens: int = 8, width: int = 16, heads: int = 2, **options: Any) -> str:
    """Self-attention on one fused projection of q, k and v, cut as `options["cut"]` says."""
    d = width // heads
    cut, causal, scale = options.get("cut", "gather"), options.get("causal"), options.get("scale", d**0.5)
    fused = net.linear(x, width, 3 * width, name="qkv")
    if cut == "gather":
        parts = net.node("Reshape", fused, net.ints(-1, tokens, 3, heads, d))
        parts = net.node("Transpose", parts, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.node("Gather", parts, net.const(n, np.int64), axis=0) for n in range(3))
    else:
        if cut == "split":
            thirds = net.node("Split", fused, net.ints(width, width, width), axis=-1, outputs=3)
        else:
            thirds = [
                net.node("Slice", fused, net.ints(n * width), net.ints((n + 1) * width), net.ints(2)) for n in range(3)
            ]
        shape = net.node("Shape", fused)
        batch = net.node("Gather", shape, net.ints(0))
        target = net.node("Concat", batch, net.ints(tokens, heads, d), axis=0)
        q, k, v = (net.node("Transpose", net.node("Reshape", t, target), perm=[0, 2, 1, 3]) for t in thirds)
    turned = net.node("Transpose", k, perm=[0, 1, 3, 2])
    scores = net.node("MatMul", q, turned, name="scores")
    before = options.get("quantiser", "before")
    if before == "before":
        scores = net.quant(scores, 2.0**-2, name="score_codes")
    scores = net.node("Div", scores, net.const(scale), name="scale")
    if before == "behind":
        scores = net.quant(scores, 2.0**-4, name="score_codes")
    if causal is not None:
        scores = net.node("Add", scores, net.const(causal), name="mask")
    p = net.node("Softmax", scores, name="softmax", axis=options.get("axis", -1))
    if options.get("probabilities", True):
        p = net.quant(p, 2.0**-8, signed=False, name="p")
    context = net.quant(net.node("MatMul", p, v, name="context"), 2.0**-5)
    merged = net.node("Reshape", net.node("Transpose", context, perm=[0, 2, 1, 3]), net.ints(0, 0, width))
    return net.linear(merged, width, width, name="out")


def encoder(dialect: str = "quant", shape: tuple[Any, ...] = ("batch", 8, 16), **options: Any) -> onnx.ModelProto:
    """Attention, residual sums, two norms, a feed-forward part, mean over the tokens, logits."""
    net = Net(dialect)
    x = net.quant("x", 2.0**-5, name="tokens")
    x = net.quant(net.node("Add", x, attention(net, x, **options)), 2.0**-4, name="sum1")
    x = net.quant(net.norm(x, 16, options.get("written_out", False), "norm1"), 2.0**-5, name="n1")
    y = net.quant(net.node("Relu", net.linear(x, 16, 24, None)), 2.0**-5, signed=False, name="relu")
    x = net.quant(net.node("Add", x, net.linear(y, 24, 16)), 2.0**-4, name="sum2")
    x = net.quant(net.norm(x, 16, options.get("written_out", False), "norm2"), 2.0**-5, name="n2")
    pooled = net.quant(net.node("ReduceMean", x, axes=[1], keepdims=0, name="pool"), 2.0**-6, name="pooled")
    w, bias = net.weight((5, 16)), net.weight((5,), 2.0**-6)
    return net.model(net.quant(net.node("Gemm", pooled, w, bias, transB=1), 2.0**-4, name="logits"), shape)
