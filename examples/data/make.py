# SPDX-License-Identifier: Apache-2.0
"""The sample files beside this script: encoders as PyTorch, Brevitas and ONNX Runtime really write them.

Needs torch, brevitas, onnx, onnxscript, onnxoptimizer, onnxruntime, qonnx and scikit-learn.

    python examples/data/make.py FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8BiasPerTensorFloatInternalScaling,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
)
from brevitas.quant.fixed_point import Int8WeightPerChannelFixedPoint
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from pytorch_encoder import CLASSES, HEADS, PATCH, TOKENS, WIDTH, Encoder, Quantisers, digits, train

PACKAGES = ("torch", "brevitas", "onnx", "onnxscript", "onnxoptimizer", "onnxruntime", "qonnx", "scikit-learn", "numpy")
FLOAT = Quantisers(
    Int8ActPerTensorFloat, Uint8ActPerTensorFloat, Int8WeightPerTensorFloat, Int8BiasPerTensorFloatInternalScaling
)
PER_CHANNEL = Quantisers(weight=Int8WeightPerChannelFixedPoint)
#: Test images whose logits are stored.
IMAGES = 50


class PlainAttention(nn.Module):
    """Unquantised attention around `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Attention of every token to every token."""
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (t.reshape(-1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2) for t in parts)
        context = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(context.transpose(1, 2).reshape(-1, TOKENS, WIDTH))


class StockAttention(nn.Module):
    """PyTorch's own `MultiheadAttention`."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attention of every token to every token."""
        return self.inner(x, x, x, need_weights=False)[0]


class PlainEncoder(nn.Module):
    """The encoder of the example without any quantiser."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.embed, self.attention = nn.Linear(PATCH, WIDTH), attention
        self.position = nn.Parameter(0.1 * torch.randn(TOKENS, WIDTH))
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.classify = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of patches."""
        x = self.embed(x) + self.position
        x = self.norm1(x + self.attention(x))
        x = self.norm2(x + self.down(torch.relu(self.up(x))))
        return self.classify(x.mean(dim=1))


class Patches(CalibrationDataReader):
    """Training images, one at a time, for ONNX Runtime's calibration."""

    def __init__(self, name: str) -> None:
        self.left = iter([{name: image[None]} for image in digits()[0][:200]])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image."""
        return next(self.left, None)


def clean(path: Path) -> None:
    """Remove what names the machine that exported the file: stack traces and the names of source files."""
    model = onnx.load(path)
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    path.write_bytes(model.SerializeToString(deterministic=True))


def trained(make: Callable[[], nn.Module], epochs: int) -> tuple[nn.Module, float]:
    """A model with its accuracy; the same one every time."""
    torch.manual_seed(0)
    model = make()
    return model, train(model, epochs)


def plain(model: nn.Module, path: Path, dynamo: bool) -> None:
    """PyTorch's own export."""
    options: dict[str, Any] = {"external_data": False} if dynamo else {}
    torch.onnx.export(model.eval(), (torch.zeros(1, TOKENS, PATCH),), str(path), dynamo=dynamo, **options)


def runtime_qdq(model: nn.Module, path: Path, options: dict[str, Any]) -> None:
    """ONNX Runtime's static quantisation with QuantizeLinear and DequantizeLinear."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        plain(model, source, dynamo=False)
        name = onnx.load(source).graph.input[0].name
        quantize_static(source, path, Patches(name), quant_format=QuantFormat.QDQ, **options)


def exporter(dynamo: bool) -> str:
    """What PyTorch calls its two exporters to ONNX."""
    return "the exporter of dynamo=True" if dynamo else "the TorchScript exporter of dynamo=False"


def brevitas(model: nn.Module, path: Path, export: Callable[..., Any], dynamo: bool) -> None:
    """Brevitas' exports, from either of PyTorch's exporters."""
    options: dict[str, Any] = {"external_data": False} if dynamo else {}
    export(model, args=torch.zeros(1, TOKENS, PATCH), export_path=str(path), dynamo=dynamo, **options)


class Samples:
    """Writes the samples to a folder, with what is to be known of each.

    Args:
        folder: where they go.
        epochs: length of the trainings.
    """

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder, self.epochs = folder, epochs
        self.images = torch.from_numpy(digits()[1][:IMAGES])
        self.logits: dict[str, np.ndarray] = {}
        self.found: dict[str, Any] = {}

    def keep(self, name: str, model: nn.Module, accuracy: float, what: str, write: Callable[[Path], None]) -> None:
        """Write one file and note its model's logits."""
        path = self.folder / f"{name}.onnx"
        write(path)
        clean(path)
        with torch.no_grad():
            self.logits[name] = model.eval()(self.images).numpy()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.found[name] = {"what": what, "accuracy": round(accuracy, 4), "sha256": digest}
        print(f"{path.name}: {path.stat().st_size} bytes, accuracy {accuracy:.4f}", flush=True)

    def brevitas(self) -> None:
        """Encoders with Brevitas' quantisers."""
        model, accuracy = trained(Encoder, self.epochs)
        for name, export, dynamo in (
            ("brevitas_qonnx", export_qonnx, True),
            ("brevitas_qcdq", export_onnx_qcdq, False),  # its other exporter does not take quantised biases
        ):
            what = f"fixed-point scales, {export.__name__}, {exporter(dynamo)}"
            self.keep(name, model, accuracy, what, partial(brevitas, model, export=export, dynamo=dynamo))
        for name, by, what in (
            ("brevitas_float_scales", FLOAT, "Brevitas' default float scales"),
            ("brevitas_per_channel", PER_CHANNEL, "one power-of-two scale an output channel of the weights"),
        ):
            model, accuracy = trained(partial(Encoder, by), max(self.epochs // 2, 1))
            write = partial(brevitas, model, export=export_qonnx, dynamo=True)
            self.keep(name, model, accuracy, f"{what}, export_qonnx, {exporter(True)}", write)

    def unquantised(self) -> None:
        """Encoders without quantisers, and one of them quantised by ONNX Runtime."""
        model, accuracy = trained(lambda: PlainEncoder(StockAttention()), self.epochs)
        what = f"no quantisers, nn.MultiheadAttention, {exporter(True)}"
        self.keep("torch_mha", model, accuracy, what, partial(plain, model, dynamo=True))
        model, accuracy = trained(lambda: PlainEncoder(PlainAttention()), self.epochs)
        symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
        for name, options in (
            ("ort_qdq", {}),
            ("ort_qdq_symmetric", {"activation_type": QuantType.QInt8, "extra_options": symmetric}),
        ):
            what = f"no quantisers in training, scaled_dot_product_attention, {exporter(False)}, then quantize_static"
            write = partial(runtime_qdq, model, options=options)
            self.keep(name, model, accuracy, f"{what}, {'symmetric' if options else 'its defaults'}", write)

    def finish(self) -> None:
        """Write the logits and the record."""
        labels = digits()[3][:IMAGES]
        np.savez_compressed(self.folder / "expected.npz", images=self.images.numpy(), labels=labels, **self.logits)
        record = {"versions": {p: importlib.metadata.version(p) for p in PACKAGES}, "samples": self.found}
        (self.folder / "samples.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Make the samples."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--epochs", type=int, default=30)
    chosen = arguments.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    samples = Samples(chosen.folder, chosen.epochs)
    samples.brevitas()
    samples.unquantised()
    samples.finish()


if __name__ == "__main__":
    main()
