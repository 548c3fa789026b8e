# SPDX-License-Identifier: Apache-2.0
"""Verbs that make models: train, quantise, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls4attn.host.cli.console import err, out
from hls4attn.host.cli.options import (
    JsonFile,
    parse_seeds,
    refuse_options,
)


def train(
    model: Annotated[str, typer.Argument(help="Zoo model: digits-vit or char-gpt.")],
    score: Annotated[
        str | None,
        typer.Option(
            help="digits-vit: score function, consmax or softmax; sole: float, then quantised.",
            show_default="consmax",
        ),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="char-gpt: softmax, integer-softmax, consmax, gaincell-linear, gaincell, gaincell-direct, "
            "several with commas, or all.",
            show_default="gaincell",
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="char-gpt: UTF-8 text.", show_default="tiny Shakespeare: from $HLS4ATTN_DATA, else downloaded"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="char-gpt: of the first phase, the two others have half.", show_default=False)
    ] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds; the first one's model is saved.")] = "0,1,2",
    folder: Annotated[Path, typer.Option("--out", help="Folder for weights, ONNX file and results.")] = Path(
        "build/train"
    ),
    epochs: Annotated[
        int | None, typer.Option(help="digits-vit: instead of the recipe's number.", show_default=False)
    ] = None,
    json: JsonFile = None,
) -> None:
    """Train a zoo model, quantisation-aware, once a seed; print accuracy or loss as mean and spread."""
    from hls4attn.host import char_gpt, sole
    from hls4attn.host.verbs import models as verbs

    if model == char_gpt.NAME:
        refuse_options(model, "train", score=score, epochs=epochs)
        char_gpt.train(out, err, attention or "gaincell", text, steps, parse_seeds(seeds), folder, json)
        return
    refuse_options(model, "train", attention=attention, text=text, steps=steps)
    if score == "sole":
        sole.train(out, err, model, parse_seeds(seeds), folder, epochs, json)
        return
    verbs.train(out, err, model, score or "consmax", parse_seeds(seeds), folder, epochs, json)


def quantise(
    model: Annotated[Path, typer.Argument(help="Trained float model (.keras) with softmax attention and LayerNorm.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write; the integer Keras model goes beside it.")],
    calibration: Annotated[
        str, typer.Option(help=".npy of representative inputs, or a zoo model's name.", show_default=False)
    ],
    score: Annotated[str, typer.Option(help="softmax, e2softmax, e2softmax-online or e2softmax-shift.")] = "e2softmax",
    norm: Annotated[str, typer.Option(help="layernorm (exact integers) or ailayernorm.")] = "ailayernorm",
) -> None:
    """Post-training quantisation: SOLE's operators in a trained float model, without retraining."""
    from hls4attn.host import sole

    sole.quantise(out, err, model, target, calibration, score, norm)


def export(
    source: Annotated[Path, typer.Argument(help="A .keras file, or the .npz weights of a zoo model or character GPT.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="For .npz: the zoo model.", show_default="digits-vit; a GPT's file says what it is"),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="For .npz of digits-vit: its score function.", show_default="consmax")
    ] = None,
) -> None:
    """Keras to QONNX; refuses by name what it cannot represent exactly."""
    from hls4attn.host.verbs import models as verbs

    verbs.export(out, err, source, target, model, score)


def import_onnx(
    source: Annotated[Path, typer.Argument(help="ONNX file with Quant, or QuantizeLinear and DequantizeLinear nodes.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    softmax: Annotated[
        str, typer.Option(help="softmax (exact integers), e2softmax, e2softmax-online or e2softmax-shift.")
    ] = "softmax",
    layernorm: Annotated[str, typer.Option(help="layernorm (exact integers) or ailayernorm.")] = "layernorm",
    scales: Annotated[
        str, typer.Option(help="exact refuses scales that are no powers of two; power-of-two rounds them.")
    ] = "exact",
    calibration: Annotated[
        Path | None,
        typer.Option(help=".npy of representative inputs: chooses formats that the file lacks.", show_default=False),
    ] = None,
    activation_bits: Annotated[int, typer.Option(help="With --calibration: of activations without quantiser.")] = 8,
    weight_bits: Annotated[int, typer.Option(help="With --calibration: of weights without quantiser.")] = 8,
    bias_bits: Annotated[int, typer.Option(help="With --calibration: of biases without quantiser.")] = 12,
    samples: Annotated[int, typer.Option(help="Without --calibration: random inputs to compare on.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the random inputs.")] = 0,
    json: JsonFile = None,
) -> None:
    """A quantised ONNX file from elsewhere (PyTorch, Brevitas, onnxruntime) in our dialect; tells every change."""
    from hls4attn.host.verbs.importing import import_file

    choices = {
        "softmax": softmax,
        "layernorm": layernorm,
        "scales": scales,
        "activation_bits": activation_bits,
        "weight_bits": weight_bits,
        "bias_bits": bias_bits,
        "samples": samples,
        "seed": seed,
    }
    import_file(out, err, source, target, calibration, json, choices)
