# SPDX-License-Identifier: Apache-2.0
"""A transformer encoder as a PyTorch user writes it: Brevitas quantisers, standard softmax and LayerNorm.

It learns scikit-learn's handwritten digits (16 patches of 2x2 pixels) and is exported with Brevitas' own exporters;
nothing of hls4attn is used here.  Needs torch, brevitas, onnx and scikit-learn.

    python examples/pytorch_encoder.py encoder.onnx             # QONNX: Quant nodes
    python examples/pytorch_encoder.py encoder.onnx --qcdq      # QuantizeLinear, Clip, DequantizeLinear
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.nn import QuantIdentity, QuantLinear, QuantReLU
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8BiasPerTensorFixedPointInternalScaling,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

TOKENS, PATCH, WIDTH, HEADS, CLASSES = 16, 4, 16, 2, 10


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test patches of shape (images, 16, 4) with values from 0 to 1, and their classes."""
    images, classes = load_digits(return_X_y=True)
    patches = images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, TOKENS, PATCH) / 16.0
    found = train_test_split(patches.astype(np.float32), classes, test_size=0.25, random_state=0, stratify=classes)
    return tuple(found)


@dataclass(frozen=True)
class Quantisers:
    """Brevitas' recipes for the values: 8 bits with scales that are powers of two."""

    signed: Any = Int8ActPerTensorFixedPoint
    unsigned: Any = Uint8ActPerTensorFixedPoint
    weight: Any = Int8WeightPerTensorFixedPoint
    bias: Any = Int8BiasPerTensorFixedPointInternalScaling

    def act(self) -> QuantIdentity:
        """Between two operators."""
        return QuantIdentity(act_quant=self.signed, return_quant_tensor=False)

    def positive(self) -> QuantIdentity:
        """Behind a softmax."""
        return QuantIdentity(act_quant=self.unsigned, return_quant_tensor=False)

    def relu(self) -> QuantReLU:
        """ReLU and its quantiser."""
        return QuantReLU(act_quant=self.unsigned, return_quant_tensor=False)

    def linear(self, inputs: int, outputs: int) -> QuantLinear:
        """A dense layer with quantised weights and biases."""
        return QuantLinear(inputs, outputs, bias=True, weight_quant=self.weight, bias_quant=self.bias)


class Attention(nn.Module):
    """Multi-head self-attention: quantised products around torch's own softmax."""

    def __init__(self, by: Quantisers) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (by.linear(WIDTH, WIDTH) for _ in range(4))
        self.q_quant, self.k_quant, self.v_quant = by.act(), by.act(), by.act()
        self.score_quant, self.weight_quant = by.act(), by.positive()
        self.context_quant, self.out_quant = by.act(), by.act()

    def heads(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, heads, tokens, width / heads)."""
        return x.reshape(-1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Attention of every token to every token."""
        q, k, v = (
            self.heads(quantise(dense(x)))
            for dense, quantise in ((self.q, self.q_quant), (self.k, self.k_quant), (self.v, self.v_quant))
        )
        scores = self.score_quant(torch.matmul(q, k.transpose(-2, -1)))
        weights = self.weight_quant(torch.softmax(scores / (WIDTH // HEADS) ** 0.5, dim=-1))
        context = self.context_quant(torch.matmul(weights, v))
        return self.out_quant(self.out(context.transpose(1, 2).reshape(-1, TOKENS, WIDTH)))


class Encoder(nn.Module):
    """Patch embedding, one post-norm encoder block, mean over the tokens, classifier."""

    def __init__(self, by: Quantisers = Quantisers()) -> None:
        super().__init__()
        self.input_quant, self.embed, self.embed_quant = by.act(), by.linear(PATCH, WIDTH), by.act()
        self.position = nn.Parameter(0.1 * torch.randn(TOKENS, WIDTH))
        self.position_quant, self.tokens_quant = by.act(), by.act()
        self.attention = Attention(by)
        self.sum1_quant, self.norm1, self.norm1_quant = by.act(), nn.LayerNorm(WIDTH), by.act()
        self.up, self.relu = by.linear(WIDTH, 2 * WIDTH), by.relu()
        self.down, self.down_quant = by.linear(2 * WIDTH, WIDTH), by.act()
        self.sum2_quant, self.norm2, self.norm2_quant = by.act(), nn.LayerNorm(WIDTH), by.act()
        self.pool_quant, self.classify, self.logit_quant = by.act(), by.linear(WIDTH, CLASSES), by.act()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of patches."""
        x = self.embed_quant(self.embed(self.input_quant(x)))
        x = self.tokens_quant(x + self.position_quant(self.position))
        x = self.norm1_quant(self.norm1(self.sum1_quant(x + self.attention(x))))
        y = self.down_quant(self.down(self.relu(self.up(x))))
        x = self.norm2_quant(self.norm2(self.sum2_quant(x + y)))
        return self.logit_quant(self.classify(self.pool_quant(x.mean(dim=1))))


def train(model: nn.Module, epochs: int = 30) -> float:
    """Train in place with fixed seeds; the accuracy on the test images."""
    x, x_test, y, y_test = (torch.from_numpy(a) for a in digits())
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(x), generator=order).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        return float((model(x_test).argmax(1) == y_test).float().mean())


def main() -> None:
    """Train and export."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--qcdq", action="store_true", help="QuantizeLinear and DequantizeLinear instead of Quant")
    arguments.add_argument("--epochs", type=int, default=30)
    chosen = arguments.parse_args()
    torch.manual_seed(0)
    model = Encoder()
    accuracy = train(model, chosen.epochs)
    example = torch.zeros(1, TOKENS, PATCH)
    if chosen.qcdq:  # Brevitas writes quantised biases with PyTorch's older exporter only
        export_onnx_qcdq(model, args=example, export_path=str(chosen.out), dynamo=False)
    else:
        export_qonnx(model, args=example, export_path=str(chosen.out), dynamo=True, external_data=False)
    print(f"{chosen.out}: accuracy {100 * accuracy:.2f} % on the test images")


if __name__ == "__main__":
    main()
