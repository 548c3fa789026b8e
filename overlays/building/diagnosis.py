# SPDX-License-Identifier: Apache-2.0
"""Why a run failed, from its exit status and what it wrote.

The texts are the tools' own, seen in published logs of 2018 to 2026: `[Common 17-345]` is the licence, the launchers
(`rdiArgs.sh`) say Killed or Segmentation fault of the program behind them, a full disk shows in several ways.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hls4attn.models.errors import BuildError

MAX_LOG = 4 << 20  # from the end of a log
EXCERPT = 12  # lines
LITTLE = 256 << 20  # bytes of free disk with which a failure is taken for a full one
_NO_ERROR = ("INFO", "WARNING", "CRITICAL WARNING", "#")
_ERROR = re.compile(r"(?:ERROR|FATAL|CRITICAL ERROR)\b[: ]|.*\bNo space left on device")


@dataclass(frozen=True)
class Cause:
    """A known reason for a failure.

    Args:
        name: a word for it.
        signs: what the log then holds.
        remedy: what to do.
    """

    name: str
    signs: re.Pattern[str]
    remedy: str


_LICENCE = Cause(
    "licence",
    re.compile(r"\[Common 17-345\]|[Vv]alid license was not found|[Ll]icense checkout failed"),
    "check XILINXD_LICENSE_FILE and the Vivado License Manager (vlm); the free edition covers Zynq-7000 and only the "
    "smaller Zynq UltraScale+",
)
_DISK = Cause(
    "disk full",
    re.compile(r"No space left on device|HDDMProto::writeMessage failed|[Dd]isk quota exceeded"),
    "free some space there (a build takes about 2 GB), or choose another --out",
)
_KILLED = Cause(
    "killed",
    re.compile(r"\d+ Killed\b|\bout of memory\b|std::bad_alloc|[Cc]annot allocate memory"),
    "the machine probably ran out of memory: close other programs, or use a smaller --jobs",
)
_CRASH = Cause(
    "crash",
    re.compile(r"Segmentation fault|[Aa]bnormal program termination|An unexpected error has occurred|Stack trace is"),
    "the tool itself crashed: run the same command again, it continues with this stage; if it happens again, see the "
    "hs_err_pid*.log beside the log, or take another release of the tool",
)
_PART = Cause(
    "part not installed",
    re.compile(r"\[Coretcl 2-106\]|\[Common 17-69\].*part|\[HLS 200-1023\]|Specified part could not be found"),
    "add the device family with the installer (Add Design Tools or Devices)",
)
_BOARD = Cause(
    "board files missing",
    re.compile(r"no board file for|\[Board 49-71\]|[Bb]oard_part definition was not found"),
    "install the board's files (Tools > Vivado Store > Boards), or set HLS4ATTN_BOARD_FILES to their folder",
)
_FULL = Cause(
    "does not fit",
    re.compile(r"\[Place 30-640\]|\[DRC UTLZ-\d\]|over-utilized|requires more .+ than are available"),
    "choose a larger --reuse, fewer --lanes, or a larger board",
)
_SCRIPT = Cause("error", re.compile(""), "see the log")
_CAUSES = (_LICENCE, _DISK, _PART, _BOARD, _FULL, _CRASH, _KILLED)


class StageError(BuildError):
    """A stage that failed.

    Args:
        stage: which.
        cause: a word for it.
        message: what happened.
        remedy: what to do.
        log: where the tool's output is.
        excerpt: its decisive lines.
    """

    def __init__(
        self, stage: str, cause: str, message: str, remedy: str, log: Path | None = None, excerpt: Sequence[str] = ()
    ) -> None:
        where = f" (log: {log})" if log is not None else ""
        super().__init__(f"{stage} failed, {cause}: {message}{where}. {remedy[:1].upper()}{remedy[1:]}")
        self.stage = stage
        self.cause = cause
        self.remedy = remedy
        self.log = log
        self.excerpt = tuple(excerpt)


def explain(stage: str, status: int, log: Path, run_logs: Iterable[Path], folder: Path) -> StageError:
    """The error of a tool that ended badly.

    Args:
        stage: that failed.
        status: exit status of the tool, negative a signal, 0 if it claims success.
        log: its output.
        run_logs: logs of the runs that it launched, where the reason often is.
        folder: of the build; its file system is looked at.
    """
    texts = {path: read_end(path) for path in (log, *run_logs)}
    cause, path, line = _find(texts, log)
    if cause is _SCRIPT:
        cause, line = _from_status(status, folder, line)
    if not line:
        line = f"the tool ended with exit status {status} and no error message"
    return StageError(stage, cause.name, line.rstrip(" ."), cause.remedy, path, _excerpt(texts[path], line))


def _find(texts: dict[Path, str], log: Path) -> tuple[Cause, Path, str]:
    """The known cause, else the first error line, and where."""
    for cause in _CAUSES:
        for path, text in texts.items():
            for line in text.splitlines():
                if not line.lstrip().startswith(_NO_ERROR) and cause.signs.search(line):
                    return cause, path, _short(line)
    # A run's own error comes before the "run failed" of who launched it.
    for path in (*[p for p in texts if p != log], log):
        for line in texts[path].splitlines():
            if _ERROR.match(line):
                return _SCRIPT, path, _short(line)
    return _SCRIPT, log, ""


def _from_status(status: int, folder: Path, line: str) -> tuple[Cause, str]:
    """What an exit status and the disk say, where the log does not."""
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return _KILLED, line or "the tool was killed (signal 9)"
    if status in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, 128 + signal.SIGSEGV, 128 + signal.SIGABRT):
        return _CRASH, line or f"the tool crashed (status {status})"
    free = shutil.disk_usage(folder).free
    if free < LITTLE:
        said = f"; the tool said: {line}" if line else ""
        return _DISK, f"{free >> 20} MiB are left in {folder}{said}"
    return _SCRIPT, line


def read_end(path: Path) -> str:
    """The last part of a log; nothing if it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - MAX_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _excerpt(text: str, line: str) -> list[str]:
    """The lines around the decisive one, else the last ones."""
    lines = [kept for raw in text.splitlines() if (kept := raw.rstrip())]
    at = next((n for n, kept in enumerate(lines) if _short(kept) == line), len(lines) - 1)
    return [kept[:200] for kept in lines[max(0, at - EXCERPT // 2) : at + EXCERPT // 2]]


def _short(line: str) -> str:
    return " ".join(line.split())[:300]
