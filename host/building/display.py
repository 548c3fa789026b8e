# SPDX-License-Identifier: Apache-2.0
"""How a build shows its progress: one live line on a terminal, plain lines in a file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from hls4attn.host.live import LiveDisplay, duration
from hls4attn.overlays.scripts import Script

QUIET_S = 30.0  # at least between two phases in a file, where a build of an hour has hundreds


class BuildDisplay(LiveDisplay):
    """Told by the runner; use it in a `with` statement.

    Args:
        err: where progress goes.
    """

    def __init__(self, err: Console) -> None:
        super().__init__(err, SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._task: TaskID | None = None
        self._title = ""
        self._told = 0.0

    def begin(self, script: Script, number: int, count: int) -> None:
        """A script starts."""
        self._title = f"[{number}/{count}] {title(script)}"
        self._told = time.monotonic()
        self._task = self._live.add_task(self._title)
        if not self._err.is_terminal:
            self.say(f"{self._title} ...")

    def phase(self, text: str) -> None:
        """What the tool is doing now."""
        if self._task is not None:
            self._live.update(self._task, description=f"{self._title}: {text}")
        if not self._err.is_terminal and time.monotonic() - self._told >= QUIET_S:
            self._told = time.monotonic()
            self.say(f"{self._title}: {text}")

    def end(self, script: Script, seconds: float) -> None:
        """It is done."""
        if self._task is not None:
            self._live.remove_task(self._task)
            self._task = None
        self.say(f"{self._title}: done in {duration(seconds)}")

    def kept(self, script: Script) -> None:
        """It was done before."""
        self.say(f"{title(script)}: done before")


def title(script: Script) -> str:
    """A script as a user knows it: its stage, and its name where that says more."""
    return script.stage if script.name == script.stage else f"{script.stage} ({script.name})"
