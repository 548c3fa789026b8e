# SPDX-License-Identifier: Apache-2.0
"""What several verbs share: progress on the terminal, conversion options, what was chosen for the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hls4attn.host.flow import Flow
from hls4attn.models.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from hls4attn.hls.config import HlsConfig


@contextmanager
def working(err: Console, text: str) -> Iterator[Any]:
    """A spinner on the error stream; call what it yields to change its text."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(text)
        yield lambda new: progress.update(task, description=new)


def hls_settings(
    board: str,
    config: Path | None = None,
    choices: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    rtl: bool = False,
) -> tuple[HlsConfig, bool]:
    """Conversion options from a file and from the command line, which must not contradict each other.

    Args:
        board: name of the board.
        config: the file.
        choices: from the command line.
        defaults: for what neither of them says.
        rtl: whether there must be RTL of the design, which is io_stream then.

    Returns:
        The options, and whether the reuse factor is left to us.
    """
    from hls4attn.hls.config import HlsConfig
    from hls4attn.overlays.boards import board as find_board

    part = find_board(board).part
    given = {name: value for name, value in (choices or {}).items() if value is not None} | {"part": part}
    if rtl:
        defaults = {"io_type": "io_stream", **(defaults or {})}
        if given.get("io_type") == "io_parallel":
            raise UnsupportedError("There is RTL of streaming designs only: leave --io io_parallel out, or --rtl")
    wished = {**(defaults or {}), **given}
    if config is None:
        return HlsConfig(**wished), "reuse_factor" not in given
    settings = HlsConfig.from_toml(config, **wished)
    for name, wanted in given.items():
        received = getattr(settings, name)
        if wanted != received:
            raise InputError(f"{config} says {name}={received!r}, the command line {wanted!r} (board {board})")
    # Another default tells whether the file has one of its own.
    probe = HlsConfig.from_toml(config, **{"reuse_factor": settings.reuse_factor + 1, **wished})
    return settings, probe.reuse_factor != settings.reuse_factor


def tell_reuse(out: Console, flow: Flow) -> None:
    """Say what was chosen for the user."""
    settings = flow.settings
    if flow.fastest:
        for note in flow.rtl_choice.notes:
            out.print(note, soft_wrap=True, markup=False, highlight=False)
    elif flow.fitted and settings.io_type == "io_stream":
        out.print(f"io_stream, reuse factor {settings.reuse_factor}: the smallest that fits {flow.board}", markup=False)
