# SPDX-License-Identifier: Apache-2.0
"""Verbs that make hardware of a model: convert, estimate, build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls4attn.host.cli.console import err, out
from hls4attn.host.cli.options import (
    BackendName,
    BoardName,
    ChartFile,
    Clock,
    ConfigFile,
    IoType,
    JsonFile,
    Lanes,
    ModelFile,
    ParallelHeads,
    Reuse,
    choices_given,
)
from hls4attn.models.errors import InputError


def convert(
    model: ModelFile,
    folder: Annotated[Path | None, typer.Option("--out", help="Project folder.", show_default="build/<model>")] = None,
    board: BoardName = None,
    backend: BackendName = None,
    config: ConfigFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """ONNX to an HLS project, its C simulation and the overlay of the emulated board."""
    from hls4attn.host.verbs import models as verbs

    choices = choices_given(io, reuse, lanes, parallel_heads, backend)
    verbs.convert(out, err, model, folder or Path("build") / model.stem, board, config, choices)


def estimate(
    model: ModelFile,
    board: BoardName = None,
    backend: BackendName = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    json: JsonFile = None,
    chart: ChartFile = None,
    rtl: Annotated[
        bool, typer.Option("--rtl", help="Of the RTL instead: its clocks, and which products are DSP blocks.")
    ] = False,
) -> None:
    """Cycles, resources and boards of a model's hardware, before any synthesis."""
    from hls4attn.host.estimate import print_estimate

    choices = choices_given(io or "io_stream", reuse, lanes, parallel_heads, backend)
    if rtl:
        from hls4attn.host.rtl_estimate import print_rtl

        if chart is not None:
            raise InputError("estimate --rtl draws no chart; leave --chart away, or --rtl")
        print_rtl(out, model, board, choices, json)
        return
    print_estimate(out, model, board, choices, json, chart)


def build(
    model: Annotated[
        Path | None, typer.Argument(help="ONNX model file.", show_default="the zoo's ConSmax digits")
    ] = None,
    board: BoardName = None,
    overlay: Annotated[str, typer.Option(help="digits (or any MODEL), operators, gaincell or all.")] = "digits",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Build folder; of all: what holds one each.", show_default="build/<overlay>-<board>"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write and check everything, run no tool of the vendor.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(help="Runs of Vivado at a time.", show_default="half of the processors")
    ] = None,
    backend: BackendName = None,
    config: ConfigFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    clock: Clock = None,
    rtl: Annotated[
        bool, typer.Option("--rtl", help="Kernels in Verilog: no high-level synthesis, and nothing of it needed.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """An overlay's bitstream with Vivado, with its reports and all that a board needs; it goes on after a stop."""
    from hls4attn.host.building.verb import build as build_overlays

    choices = choices_given(io, reuse, lanes, parallel_heads, backend, clock)
    build_overlays(
        out,
        err,
        model,
        overlay,
        board,
        folder,
        dry_run=dry_run,
        jobs=jobs,
        json=json,
        config=config,
        choices=choices,
        rtl=rtl,
    )
