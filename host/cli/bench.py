# SPDX-License-Identifier: Apache-2.0
"""The verb `bench` and its subjects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hls4attn.host.cli.console import err, out
from hls4attn.host.cli.options import (
    ChartFile,
    IoType,
    JsonFile,
    Lanes,
    ParallelHeads,
    Reuse,
    Rtl,
    choices_given,
)
from hls4attn.models.errors import InputError


class _BenchGroup(TyperGroup):
    """`bench --board B [MODEL]` and `bench MODEL` mean `bench board ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that was left out."""
        named = bool(args) and args[0] in self.commands
        own = {name for option in self.get_params(ctx) for name in option.opts}
        # Whatever is no option of `bench` itself is for the board, and so are all options beside --board.
        wants = any(a.partition("=")[0] not in own for a in args[:1]) or any(a.startswith("--board") for a in args)
        return list(super().parse_args(ctx, ["board", *args] if wants and not named else list(args)))


group = typer.Typer(invoke_without_command=True, cls=_BenchGroup)


@group.callback()
def throughput(context: typer.Context, json: JsonFile = None) -> None:
    """Throughput of references and C simulation on this machine; with --board or MODEL, of an overlay on a board."""
    if context.invoked_subcommand is None:
        from hls4attn.host.bench.throughput import print_throughput

        print_throughput(out, json)
    elif json is not None:
        raise InputError(f"Give --json after the word {context.invoked_subcommand}")


@group.command("board")
def bench_board(
    model: Annotated[str, typer.Argument(help="Overlay by name, or the ONNX file it was built from.")] = "digits",
    board: Annotated[
        str | None,
        typer.Option("--board", help="Board name, emulated or emulated:NAME.", show_default="the board here"),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples of a batch.")] = 64,
    seconds: Annotated[float, typer.Option(help="How long to repeat each timing on a real board.")] = 1.0,
    rail: Annotated[
        str | None, typer.Option(help="Power rail whose energy counts, where there are several.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--overlays", help="Folder of built overlays, searched first.", show_default=False)
    ] = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    rtl: Rtl = False,
) -> None:
    """An overlay on a board: quality and cycles; on a real one time, clock and energy too."""
    from hls4attn.host.bench.report import bench_board as measure_board

    choices = choices_given(io, reuse, lanes, parallel_heads) | ({"model": "rtl"} if rtl else {})
    measure_board(out, model, board, batch=batch, seconds=seconds, rail=rail, folder=folder, json=json, **choices)


@group.command()
def attention(
    lengths: Annotated[str, typer.Option(help="Comma-separated lengths of the sequence.")] = "16,64,256,1024",
    score: Annotated[str, typer.Option(help="consmax, softmax, e2softmax, e2softmax-online or e2context.")] = "consmax",
    head_dim: Annotated[int, typer.Option(help="Width of a head.")] = 64,
    heads: Annotated[int, typer.Option(help="Number of heads, one after the other.")] = 1,
    lanes: Annotated[int, typer.Option(help="Keys at a time.")] = 1,
    json: JsonFile = None,
    chart: ChartFile = None,
) -> None:
    """Streaming attention as sequences grow: cycles, buffers, compile time and speed of its C simulation."""
    from hls4attn.host.bench.attention import parse_lengths, print_growth

    print_growth(out, err, parse_lengths(lengths), score, head_dim, heads, lanes, json, chart)


@group.command()
def hardware(
    units: Annotated[str | None, typer.Option(help="Comma-separated names of units.", show_default="all")] = None,
    lengths: Annotated[
        str, typer.Option(help="Comma-separated row lengths; units are made for the longest.")
    ] = "16,64,256,1024",
    part: Annotated[str, typer.Option(help="Family of the sizes: xc7.")] = "xc7",
    ecp5: Annotated[bool, typer.Option("--ecp5", help="Also place and route for an ECP5.")] = False,
    toggles: Annotated[bool, typer.Option(help="Count what changes in the netlists.")] = True,
    vivado: Annotated[bool, typer.Option(help="Implement with the Vivado on PATH, if there is one.")] = True,
    networks: Annotated[bool, typer.Option("--networks", help="Also whole networks: minutes of synthesis.")] = False,
    chipdb: Annotated[
        Path | None,
        typer.Option(help="Chip database of an xc7z020clg400: place and route with nextpnr-xilinx (openXC7), too."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Streaming units in logic: size by Yosys, cycles, relative speed and activity, beside softmaxes of others."""
    from hls4attn.host.bench.hardware_table import parse_row_lengths, parse_units, print_hardware

    names, rows = parse_units(units, networks), parse_row_lengths(lengths)
    print_hardware(out, err, names, rows, part, ecp5, toggles, vivado, chipdb, json)


@group.command()
def sweep(
    points: Annotated[int, typer.Option(help="Points of each run.")] = 10_000,
    workers: Annotated[int, typer.Option(help="Processes of the cluster on this machine.")] = 2,
    json: JsonFile = None,
) -> None:
    """What a sweep costs beside its points: time a point, and memory as points go by."""
    from hls4attn.host.sweep.cluster import require_dask

    require_dask()
    from hls4attn.host.bench.sweep import print_overhead

    print_overhead(out, err, points, workers, json)


@group.command("gpu-attention")
def gpu_attention(json: JsonFile = None) -> None:
    """Single-token cached attention on this machine's GPU, the baseline of the gain-cell figures."""
    from hls4attn.host.bench.gpu_attention import print_gpu_attention
    from hls4attn.host.paths import check_output

    check_output(json)
    print_gpu_attention(out, json)
