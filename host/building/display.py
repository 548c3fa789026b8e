# SPDX-License-Identifier: Apache-2.0
"""How a build shows its progress: one live line on a terminal, plain lines in a file."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from hls4attn.overlays.scripts import Script

QUIET_S = 30.0  # at least between two phases in a file, where a build of an hour has hundreds


class BuildDisplay:
    """Told by the runner; use it in a `with` statement.

    Args:
        err: where progress goes.
    """

    def __init__(self, err: Console) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._err = err
        self._live = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task: TaskID | None = None
        self._title = ""
        self._told = 0.0

    def __enter__(self) -> BuildDisplay:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, script: Script, number: int, count: int) -> None:
        """A script starts."""
        self._title = f"[{number}/{count}] {title(script)}"
        self._told = time.monotonic()
        self._task = self._live.add_task(self._title)
        if not self._err.is_terminal:
            self._say(f"{self._title} ...")

    def phase(self, text: str) -> None:
        """What the tool is doing now."""
        if self._task is not None:
            self._live.update(self._task, description=f"{self._title}: {text}")
        if not self._err.is_terminal and time.monotonic() - self._told >= QUIET_S:
            self._told = time.monotonic()
            self._say(f"{self._title}: {text}")

    def end(self, script: Script, seconds: float) -> None:
        """It is done."""
        if self._task is not None:
            self._live.remove_task(self._task)
            self._task = None
        self._say(f"{self._title}: done in {duration(seconds)}")

    def kept(self, script: Script) -> None:
        """It was done before."""
        self._say(f"{title(script)}: done before")

    def _say(self, line: str) -> None:
        self._err.print(line, soft_wrap=True, markup=False, highlight=False)


def title(script: Script) -> str:
    """A script as a user knows it: its stage, and its name where that says more."""
    return script.stage if script.name == script.stage else f"{script.stage} ({script.name})"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
