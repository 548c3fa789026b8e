# SPDX-License-Identifier: Apache-2.0
"""Verbs that run a model or say what is there: verify, run, report, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls4attn.host.cli.console import err, out
from hls4attn.host.cli.options import (
    BoardName,
    IoType,
    JsonFile,
    Lanes,
    ParallelHeads,
    Reuse,
    Rtl,
    choices_given,
    refuse_options,
)
from hls4attn.models.errors import InputError


def verify(
    model: Annotated[Path | None, typer.Argument(help="ONNX model file.", show_default=False)] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            help="One operator alone: consmax, softmax, e2softmax, ailayernorm, layernorm or gaincell.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples of a model, rows of an operator.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random codes.")] = 0,
    stages: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: keras, onnx, qonnx, onnxruntime, csim, rtl, netlist, board.", show_default=False
        ),
    ] = None,
    rtl: Annotated[
        bool, typer.Option("--rtl", help="Also the Verilog, clock by clock; a model as with --io io_stream, --lanes 1.")
    ] = False,
    netlist: Annotated[
        bool, typer.Option("--netlist", help="Also what Yosys makes of the Verilog, on a few samples.")
    ] = False,
    board: BoardName = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """Every stage against the integer reference: 0/N mismatches, or where they part."""
    from hls4attn.host.verbs.verify import verify as climb

    if (model is None) == (operator is None):
        raise InputError("Give either a model file or --operator NAME")
    names = None if stages is None else [s.strip() for s in stages.split(",") if s.strip()]
    choices = choices_given(io, reuse, lanes, parallel_heads)
    requested = [name for name, wanted in (("rtl", rtl), ("netlist", netlist)) if wanted]
    climb(out, err, model, operator, samples, seed, names, board, json, choices, requested)


def run(
    model: Annotated[Path, typer.Argument(help="ONNX model file, or char-gpt.", show_default=False)],
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            help="Board name; without it HLS4ATTN_EMULATED_BOARD, else pynq-z2. char-gpt: also emulated or none.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--input", help=".npy batch of real inputs.", show_default="zoo model: its test set"),
    ] = None,
    result: Annotated[
        Path | None, typer.Option("--output", help=".npy file for the real outputs.", show_default=False)
    ] = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    rtl: Rtl = False,
    prompt: Annotated[
        str | None, typer.Option(help="char-gpt: what the text begins with.", show_default="ROMEO:")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="char-gpt: characters to write.", show_default="200")] = None,
    seed: Annotated[int | None, typer.Option(help="char-gpt: of the draw.", show_default="0")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="char-gpt: a trained .npz.", show_default="the package's")
    ] = None,
) -> None:
    """Run a model on the board, or on the emulated one, and say which."""
    from hls4attn.host import char_gpt
    from hls4attn.host.verbs.run import run as run_model

    if str(model) == char_gpt.NAME:
        structure = {"io": io, "reuse": reuse, "lanes": lanes, "parallel-heads": parallel_heads}
        refuse_options(str(model), "run", input=data, output=result, rtl=rtl or None, **structure)
        text, count = (char_gpt.PROMPT if prompt is None else prompt), (200 if tokens is None else tokens)
        char_gpt.run(out, board, text, count, seed or 0, weights, json)
        return
    refuse_options(model.name, "run", prompt=prompt, tokens=tokens, seed=seed, weights=weights)
    run_model(out, err, model, board, data, result, json, choices_given(io, reuse, lanes, parallel_heads), rtl)


def report(
    what: Annotated[
        str,
        typer.Argument(
            help="claims: the papers' and what is measured here; or a model, a folder of convert or build, a build's "
            "archive, or a sweep's results.",
            show_default=False,
        ),
    ],
    section: Annotated[str | None, typer.Option(help="claims: consmax, sole or gaincell.", show_default=False)] = None,
    target: Annotated[
        Path | None,
        typer.Option("--out", help="HTML file; Markdown goes beside it.", show_default="build/report/<name>.html"),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="On each rung of the ladder, 0 for none.", show_default="1000")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the random samples.", show_default="0")] = None,
    stages: Annotated[
        str | None, typer.Option(help="Comma-separated, as of verify.", show_default="all that are there")
    ] = None,
    board: BoardName = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """One self-contained page about a model, a build or a sweep; or the claims table."""
    from hls4attn.host.paths import check_output

    choices = choices_given(io, reuse, lanes, parallel_heads)
    if what == "claims":
        from hls4attn.host.claims import print_claims

        refuse_options(
            what, "report", out=target, samples=samples, seed=seed, stages=stages, board=board, io=io, reuse=reuse
        )
        check_output(json)
        print_claims(out, section, json)
        return
    from hls4attn.host.report.asked import Asked
    from hls4attn.host.report.verb import report as write_report

    refuse_options(what, "report", section=section)
    names = None if stages is None else [s.strip() for s in stages.split(",") if s.strip()]
    write_report(out, err, Path(what), target, Asked(samples, seed, names, board, choices, json))


def doctor(json: JsonFile = None) -> None:
    """What is installed, which tools were found, what each missing one would enable."""
    from hls4attn.host.doctor import examine, print_report
    from hls4attn.host.paths import check_output

    check_output(json)
    print_report(out, examine(), json)


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for report and picture.")] = Path("build/demo"),
    samples: Annotated[int, typer.Option(help="Samples on each rung.")] = 2000,
) -> None:
    """The whole road with the trained ConSmax transformer: convert, verify, run, report."""
    from hls4attn.host.demo import run_demo

    run_demo(out, err, folder, samples)
