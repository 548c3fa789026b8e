# SPDX-License-Identifier: Apache-2.0
"""One run of a tool: in its own session, its output in a log, stopped with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hls4attn.models.errors import ToolError

POLL_S = 0.1
STOP_S = 10.0  # Vivado writes its journal before it goes


class Tail:
    """New lines of a file that somebody else writes; a file that is not there yet has none."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._rest = b""

    def lines(self) -> list[str]:
        """Complete lines since the last call."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:  # begun anew, as by a run that is reset
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]


def run_tool(
    command: Sequence[str],
    folder: Path,
    log: Path,
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    further: Callable[[], Sequence[Path]] = tuple,
) -> int:
    """Run a command until it ends; whatever ends this function also ends the command and its children.

    Args:
        command: the command line.
        folder: where it runs.
        log: file that gets its output.
        on_line: called with each line of it.
        environment: variables besides those of this process.
        keep_open: file descriptors that it inherits: a lock on one of them is held as long as any child lives.
        further: other logs that it is writing; their lines go to `on_line` too.

    Returns:
        Its exit status, negative the signal that ended it.

    Raises:
        ToolError: if it cannot be started.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                pass_fds=tuple(keep_open),
                start_new_session=True,
            )
    except OSError as error:
        raise ToolError(f"{command[0]} does not start: {error.strerror} ({error.filename})") from error
    # Logs of an earlier, interrupted run are read from where they end now.
    tails = {path: Tail(path, _size(path)) for path in further()} | {log: Tail(log)}
    try:
        while True:
            ended = process.poll() is not None
            for path in further():
                tails.setdefault(path, Tail(path))
            for tail in tails.values():
                for line in tail.lines():
                    on_line(line)
            if ended:
                return process.returncode
            time.sleep(POLL_S)
    finally:
        stop_session(process)


def stop_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and all others of its session: politely, then not."""
    try:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            members = _members(process.pid)
            if not members and process.poll() is not None:
                break
            _signal(process, members, sign)
            deadline = time.monotonic() + STOP_S
            while time.monotonic() < deadline and (process.poll() is None or _members(process.pid)):
                time.sleep(POLL_S / 5)
    finally:
        if process.poll() is None:  # a second interruption cut the waiting short
            _signal(process, _members(process.pid), signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], members: Sequence[int], sign: signal.Signals) -> None:
    for pid in members or ([process.pid] if process.poll() is None else []):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            continue


def _members(session: int) -> list[int]:
    """Live processes of a session.

    Runs that Vivado launches have process groups of their own, so that a signal to one group would miss them.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group session ...; the name may hold anything
            state, _parent, _group, of = entry.read_text(errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just ended
        if int(of) == session and state not in "ZX":
            found.append(int(entry.parent.name))
    return found


def modified(path: Path) -> float:
    """When a file was written last; long ago if it has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
