# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several verbs of the command line share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hls4attn.models.errors import InputError

ModelFile = Annotated[Path, typer.Argument(help="ONNX model file.", show_default=False)]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the result to this file.", show_default=False)
]
BoardName = Annotated[
    str | None,
    typer.Option("--board", help="Board name; without it HLS4ATTN_EMULATED_BOARD, else pynq-z2.", show_default=False),
]
BackendName = Annotated[
    str | None, typer.Option("--backend", help="hls4ml backend: Vitis or Vivado.", show_default="Vitis")
]
IoType = Annotated[
    str | None,
    typer.Option(
        "--io",
        help="Between kernels: io_parallel (arrays) or io_stream (rows).",
        show_default="io_parallel; estimate, build, report: io_stream",
    ),
]
Reuse = Annotated[
    int | None,
    typer.Option(
        "--reuse",
        help="Reuse factor: more cycles, fewer multipliers.",
        show_default="1; io_stream: the smallest power of two that fits",
    ),
]
Lanes = Annotated[
    int | None,
    typer.Option("--lanes", help="io_stream: keys that attention takes at a time.", show_default="0: up to 4"),
]
ParallelHeads = Annotated[
    int | None,
    typer.Option("--parallel-heads", help="io_stream: heads that attention takes at a time.", show_default="1"),
]
Rtl = Annotated[
    bool,
    typer.Option(
        "--rtl",
        help="The emulated board runs the Verilog, clock by clock; as with --io io_stream, --lanes 1.",
        show_default=False,
    ),
]
Clock = Annotated[
    float | None,
    typer.Option(
        "--clock", help="Clock in MHz that kernels are made for; the board makes one near it.", show_default="100"
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with conversion options (reuse factors, clock, ...).", show_default=False),
]
ChartFile = Annotated[
    Path | None, typer.Option("--chart", help="Also draw the result, .png or .svg.", show_default=False)
]


def choices_given(
    io: str | None,
    reuse: int | None = None,
    lanes: int | None = None,
    parallel_heads: int | None = None,
    backend: str | None = None,
    clock_mhz: float | None = None,
) -> dict[str, Any]:
    """Conversion options that were given, by the names that a configuration file has for them."""
    if clock_mhz is not None and not 1 <= clock_mhz <= 1000:
        raise InputError(f"--clock must be from 1 to 1000 MHz. Received: {clock_mhz:g}")
    given = {
        "backend": backend,
        "io_type": io,
        "reuse_factor": reuse,
        "lanes": lanes,
        "parallel_heads": parallel_heads,
        "clock_period_ns": None if clock_mhz is None else 1000 / clock_mhz,
    }
    return {name: value for name, value in given.items() if value is not None}


def refuse_options(model: str, verb: str, **options: Any) -> None:
    """Refuse options that a model has no use for."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{model} takes no {' and no '.join(given)}; see hls4attn {verb} --help")


def parse_seeds(text: str) -> list[int]:
    """Seeds with commas between them."""
    try:
        seeds = [int(s) for s in text.split(",")]
    except ValueError as error:
        raise InputError(f"Seeds are comma-separated integers such as 0,1,2. Received: {text!r}") from error
    if not all(0 <= s < 1 << 32 for s in seeds):
        raise InputError(f"Seeds are from 0 to {(1 << 32) - 1}. Received: {text!r}")
    return seeds
