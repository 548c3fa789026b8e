# SPDX-License-Identifier: Apache-2.0
"""Progress of long work: live on a terminal, lines in a file."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn

Self = TypeVar("Self", bound="LiveDisplay")


class LiveDisplay:
    """A live line as long as a `with` statement lasts; nothing of it where there is no terminal.

    Args:
        err: where progress goes.
        columns: of the live line.
    """

    def __init__(self, err: Console, *columns: ProgressColumn) -> None:
        self._err = err
        self._live = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)

    def __enter__(self: Self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._err.print(line, soft_wrap=True, markup=False, highlight=False)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
