# SPDX-License-Identifier: Apache-2.0
"""Operators that are refused, each with the nearest thing that works."""

from __future__ import annotations

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.foreign.values import Step

_ACTIVATION = "nearest: nn.ReLU (in Brevitas qnn.QuantReLU), which costs nothing; train with it"
_CONTROL = "nothing here decides at run time; export with torch.onnx.export of a model without Python branches on data"
_NEAREST = {
    "Gelu": _ACTIVATION,
    "Erf": f"the error function, of a GELU written out; {_ACTIVATION}",
    "Tanh": _ACTIVATION,
    "Sigmoid": _ACTIVATION,
    "HardSwish": _ACTIVATION,
    "LeakyRelu": _ACTIVATION,
    "Elu": _ACTIVATION,
    "If": _CONTROL,
    "Loop": _CONTROL,
    "Scan": _CONTROL,
    "Attention": "export with the scores written out: torch.matmul, softmax, torch.matmul (opset 17)",
    "MultiHeadAttention": "export without onnxruntime's transformer fusions",
    "Conv": "a patch embedding: reshape the image into patches and use nn.Linear",
    "GroupNormalization": "use nn.LayerNorm over the last axis",
    "InstanceNormalization": "use nn.LayerNorm over the last axis",
    "RMSNormalization": "use nn.LayerNorm over the last axis",
    "SimplifiedLayerNormalization": "use nn.LayerNorm over the last axis",
    "GlobalAveragePool": "use x.mean(dim=1) over the tokens",
    "Trilu": "of activations; masks must be constants",
    "LogSoftmax": "leave it out behind the classifier; in attention use torch.softmax",
    "ReduceMax": "use the mean over the tokens",
    "DynamicQuantizeLinear": "quantise statically: quantize_static with calibration data",
    "BipolarQuant": "1-bit values: use 2 bits and Quant",
    "Trunc": "use QuantIdentity instead of TruncAvgPool",
    "FloatQuant": "use integer quantisers",
    "QLinearMatMul": "keep quantisers apart: quant_format=QuantFormat.QDQ",
    "MatMulInteger": "quantise statically with quant_format=QuantFormat.QDQ",
    "Pow": "a written-out norm over another axis? use nn.LayerNorm over the last axis",
    "Sqrt": "a written-out norm over another axis? use nn.LayerNorm over the last axis",
    "Exp": "a written-out softmax? use torch.softmax",
    "Cos": "rotary positions: use learnt position embeddings, which are added",
}
_SUPPORTED = (
    "MatMul, Gemm, Einsum, Add, Sub, Mul, Div (by constants), Relu, Softmax, LayerNormalization, ReduceMean, "
    "ReduceSum, Where (causal masks), Quant, QuantizeLinear, DequantizeLinear, Clip, and everything that moves elements"
)


def refusal(step: Step) -> UnsupportedError:
    """The error of an operator that nothing here stands for."""
    nearest = _NEAREST.get(step.op, f"supported: {_SUPPORTED}")
    return UnsupportedError(f"{step.where}: operator {step.op} has no integer twin here; {nearest}")
