# SPDX-License-Identifier: Apache-2.0
"""How a sweep shows its progress: a bar on a terminal, lines now and then in a file; and what it says at its end."""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from hls4attn.host.live import LiveDisplay, duration
from hls4attn.host.sweep.point import STATUSES, Result
from hls4attn.host.sweep.show import label

QUIET_S = 15.0  # at least between two lines of progress in a file


class _Rest(ProgressColumn):
    """The remaining time, which goes on between two results, too."""

    def render(self, task: Task) -> Text:
        """What is left of the time that the last result let expect."""
        return Text(_left(task.fields["ends"] - time.monotonic()))


def _left(seconds: float) -> str:
    return f"{duration(seconds)} left" if seconds > 0 else ""


class SweepDisplay(LiveDisplay):
    """Counts the results of one run, and shows them; use it in a `with` statement.

    Args:
        err: where progress goes.
        left: points to run.
        taken_over: points that were finished before.
        workers: how many points run at a time, at most; None if not known.
        names: settings that tell points apart.
    """

    def __init__(self, err: Console, left: int, taken_over: int, workers: int | None, names: list[str]) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[bad]}", style="red", markup=False),
            TimeElapsedColumn(),
            _Rest(),
        )
        super().__init__(err, *columns)
        self._names, self._workers = names, workers
        self._task = self._live.add_task("points", total=left + taken_over, completed=taken_over, bad="", ends=0.0)
        self._start = self._said = time.monotonic()
        self._seen: set[str] = set()
        self.left, self.taken_over = left, taken_over
        self.finished: Counter[str] = Counter()
        self.seconds = 0.0

    def arrived(self, result: Result) -> None:
        """A point is finished."""
        self.finished[result.status] += 1
        self.seconds += result.seconds
        self.left -= 1
        self._seen.add(result.worker)
        bad = ", ".join(f"{self.finished[s]} {s}" for s in STATUSES if s != "ok" and self.finished[s])
        rest = self.remaining_s
        self._live.update(self._task, advance=1, bad=bad, ends=time.monotonic() + rest)
        if result.status != "ok":
            chosen = ", ".join(f"{n}={label(n, result.settings.get(n))}" for n in self._names)
            self.say(": ".join(filter(None, (result.status, chosen, result.error))))
        now = time.monotonic()
        if not self._err.is_terminal and (now - self._said >= QUIET_S or not self.left):
            self._said = now
            done = self.taken_over + self.finished.total()
            self.say("; ".join(filter(None, (f"{done} of {done + self.left} points", bad, _left(rest)))))

    def interrupted(self, file: Path, total: int) -> None:
        """Say how many of all points are kept."""
        kept = self.taken_over + self.finished.total()
        words = f" and kept in {file}; the same command goes on with the others" if kept else ""
        self.say(f"{kept} of {total} points are finished{words}")

    @property
    def workers(self) -> int:
        """How many points run at a time, as far as was seen."""
        return self._workers or max(1, len(self._seen))

    @property
    def wall_s(self) -> float:
        """Time since the beginning of this run."""
        return time.monotonic() - self._start

    @property
    def remaining_s(self) -> float:
        """An estimate: what is left, by the mean time within finished points or that between them, if it is longer."""
        count = max(1, self.finished.total())
        between = 0.0 if count < 2 * self.workers else self.wall_s / count
        rounds = math.ceil(self.left / self.workers)  # the last one takes as long as any, however few are in it
        return max(rounds * self.seconds / count, self.left * between)

    def summary(self) -> str:
        """What came of this run."""
        count = self.finished.total()
        ends = [f"{self.finished[s]} {s}" for s in STATUSES if self.finished[s] or s == "ok"]
        text = f"{count} points run: {', '.join(ends)}; {self.taken_over} taken over; {duration(self.wall_s)}"
        if not count or not self.seconds:
            return text
        workers = min(self.workers, count)
        over = 100 * (self.wall_s * workers - self.seconds) / self.seconds
        return (
            f"{text} on {workers} workers, {duration(self.seconds)} within points, overhead {over:.1f} % a point "
            "(start, end and waiting included)"
        )
