# SPDX-License-Identifier: Apache-2.0
"""In a Dask worker: one point in a process of its own, which can be ended with all that it started."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hls4attn.host.sweep.messages import pack, unpack
from hls4attn.host.sweep.zygote import start_zygote
from hls4attn.models.errors import ToolError

#: How often a waiting thread looks whether its result is still wanted, in s.
LOOK_EVERY = 0.25
#: How long importing what a work needs, and ending what is over, may take together, in s.
START_S = 300.0


class _Zygotes:
    """The one zygote of this process for each function."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[str, tuple[subprocess.Popen[bytes], socket.socket]] = {}

    def open(self, work: str) -> socket.socket:
        """The control socket of a new keeper; a zygote that died is replaced."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            for _ in range(2):
                process, server = self._there.get(work) or start_zygote(work)
                self._there[work] = process, server
                if process.poll() is None:
                    with contextlib.suppress(OSError):
                        socket.send_fds(server, [b"p"], [theirs.fileno()])
                        return ours
                server.close()
                del self._there[work]
        ours.close()
        raise ToolError(f"The process that starts evaluations ended at once, exit status {process.returncode}")

    def end(self, work: str) -> None:
        """Kill a zygote; evaluations that it has begun go on."""
        with self._lock:
            process, _ = self._there.get(work, (None, None))
        if process is not None:
            process.kill()

    def pids(self) -> list[int]:
        """Of the zygotes that run."""
        with self._lock:
            return [process.pid for process, _ in self._there.values() if process.poll() is None]


zygotes = _Zygotes()


def run_child(
    work: str, settings: Mapping[str, Any], timeout_s: float, wanted: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """Evaluate one point in a process of its own.

    Args:
        work: the function, ``module:function``.
        settings: its argument.
        timeout_s: after so many seconds the process is killed, with all that it started; what it is forked from has
            `START_S` more for its imports.
        wanted: asked now and then; once it says no, the process is killed, too.

    Returns:
        ``status`` ("ok", "failed", "timeout" or "unwanted"), ``error``, ``metrics``, ``seconds``, ``log``.
    """
    blank = {"metrics": {}, "seconds": 0.0, "log": ""}
    deadline = time.monotonic() + timeout_s + START_S
    for _ in range(2):
        with zygotes.open(work) as control:
            control.settimeout(LOOK_EVERY)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                control.sendall(pack({"work": work, "settings": dict(settings), "timeout_s": timeout_s}))
                data = _read(control, wanted, deadline)
                if data is None:
                    return blank | {"status": "unwanted", "error": "the result is not wanted any more"}
                answer = unpack(data)
                if answer is not None:
                    return blank | answer
                if data:
                    break  # the keeper died amid its answer
            if time.monotonic() > deadline:
                zygotes.end(work)
                words = f"neither begun nor ended {START_S:g} s after its time of {timeout_s:g} s"
                return blank | {"status": "timeout", "error": words}
    return blank | {"status": "failed", "error": "the process that watches over the evaluation died"}


def _read(control: socket.socket, wanted: Callable[[], bool], deadline: float) -> bytes | None:
    """All that comes until the other side closes or the time is over; None if it is not wanted any more."""
    data = bytearray()
    while True:
        try:
            more = control.recv(1 << 16)
        except TimeoutError:
            if not wanted():
                return None
            if time.monotonic() > deadline:
                return bytes(data)
            continue
        if not more:
            return bytes(data)
        data += more
