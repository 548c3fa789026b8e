# SPDX-License-Identifier: Apache-2.0
"""Where the time of a prediction goes: the driver calls `lap` after each of its phases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: In the order in which the driver passes them.
PHASES = ("pack", "check", "copy in", "flush", "dma", "invalidate", "copy out", "unpack")


class Laps:
    """Seconds of each phase, added up over the runs that were recorded."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def start(self) -> None:
        """A new run begins: what has passed since the last lap belongs to no phase."""
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """The phase that has just ended."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


_recording: ContextVar[Laps | None] = ContextVar("hls4attn_laps", default=None)


def lap(phase: str) -> None:
    """Say that a phase has ended; costs next to nothing where nobody records."""
    laps = _recording.get()
    if laps is not None:
        laps.lap(phase)


@contextmanager
def record_laps() -> Iterator[Laps]:
    """Record the phases of what runs inside, in this thread or task."""
    laps = Laps()
    token = _recording.set(laps)
    try:
        yield laps
    finally:
        _recording.reset(token)
