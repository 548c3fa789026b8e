# SPDX-License-Identifier: Apache-2.0
"""The command itself: its options for every verb, and where it prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hls4attn.overlays.boards import use_boards

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    name="hls4attn",
    help="Quantised attention from QKeras to a PYNQ board, bit-exact at every step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(emoji=False, width=None if sys.stdout.isatty() else 160)  # tables in files are not squeezed
err = Console(stderr=True, emoji=False)


class Debug:
    """Whether errors keep their traceback."""

    on = False


def _print_version(wanted: bool) -> None:
    if wanted:
        from hls4attn.host.versions import this_version

        out.print(f"hls4attn {this_version()}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    boards: Annotated[
        Path | None,
        typer.Option("--boards", help="TOML file with further boards; else HLS4ATTN_BOARDS.", show_default=False),
    ] = None,
) -> None:
    del version  # printed already
    Debug.on = debug
    use_boards(boards)
