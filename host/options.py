# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several verbs of the command line share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFile = Annotated[Path, typer.Argument(help="ONNX model file.", show_default=False)]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the result to this file.", show_default=False)
]
BoardName = Annotated[
    str | None,
    typer.Option("--board", help="Board name; without it HLS4ATTN_EMULATED_BOARD, else pynq-z2.", show_default=False),
]
BackendName = Annotated[
    str | None, typer.Option("--backend", help="hls4ml backend: Vitis or Vivado [Vitis].", show_default=False)
]
IoType = Annotated[
    str | None,
    typer.Option(
        "--io",
        help="Between kernels: io_parallel (arrays) or io_stream (rows) [io_parallel; estimate, build: io_stream].",
        show_default=False,
    ),
]
Reuse = Annotated[
    int | None,
    typer.Option(
        "--reuse",
        help="Reuse factor: more cycles, fewer multipliers [1; io_stream: the smallest power of two that fits].",
        show_default=False,
    ),
]
Lanes = Annotated[
    int | None,
    typer.Option("--lanes", help="io_stream: keys that attention takes at a time [0: up to 4].", show_default=False),
]
ParallelHeads = Annotated[
    int | None,
    typer.Option("--parallel-heads", help="io_stream: heads that attention takes at a time [1].", show_default=False),
]
Clock = Annotated[
    float | None,
    typer.Option(
        "--clock", help="Clock in MHz that kernels are made for; the board makes one near it [100].", show_default=False
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with conversion options (reuse factors, clock, ...).", show_default=False),
]
ChartFile = Annotated[
    Path | None, typer.Option("--chart", help="Also draw the result, .png or .svg.", show_default=False)
]
