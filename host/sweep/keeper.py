# SPDX-License-Identifier: Apache-2.0
"""A process that keeps watch over the evaluation of one point, and outlives none of it.

worker thread --control socket--> keeper --forks--> evaluation (a session of its own) --starts--> compilers, tools

The keeper ends the evaluation with everything that it started when the time is over, and when the control socket
closes: the worker died, or wants no result any more.  Whatever the evaluation prints is read to the end, and its last
part kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hls4attn.host.sweep.messages import Tail, pack, receive, unpack
from hls4attn.host.sweep.work import run_work

#: More than this is no result.
RESULT_BYTES = 8 * 1024 * 1024
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def keep(control: socket.socket) -> None:
    """Run one request to its end and answer it.

    Args:
        control: where the request comes from and the answer goes.
    """
    request = receive(control)
    if request is None:
        return
    try:
        answer = _Evaluation(control, request).run()
    except OSError as error:  # no room for files, no memory, no processes
        answer = {"status": "failed", "error": f"the evaluation could not begin: {error}"}
    with contextlib.suppress(OSError):  # nobody is waiting for the answer any more
        control.sendall(pack(answer))


class _Evaluation:
    """One child process.

    Args:
        control: closed by the other side when the result is not wanted any more.
        request: what to run, for how long.
    """

    def __init__(self, control: socket.socket, request: dict[str, Any]) -> None:
        self._control, self._request = control, request
        self._log, self._result = Tail(), bytearray()

    def run(self) -> dict[str, Any]:
        """The answer: status, seconds, log, and metrics or error."""
        scratch = tempfile.mkdtemp(prefix="hls4attn-point-")
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the evaluation leaves behind becomes ours to end
        wake, wake_write = socket.socketpair()
        wake_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        try:
            return self._watched(wake, scratch)
        finally:
            end_descendants()
            shutil.rmtree(scratch, ignore_errors=True)

    def _watched(self, wake: socket.socket, scratch: str) -> dict[str, Any]:
        log, log_write = os.pipe()
        result, result_write = os.pipe()
        keeper, start = os.getpid(), time.monotonic()
        pid = os.fork()
        if pid == 0:
            _become_evaluation(self._control, log_write, result_write, keeper, scratch, self._request)
        os.close(log_write)
        os.close(result_write)
        os.set_blocking(log, False)
        os.set_blocking(result, False)
        status, code = self._wait(pid, wake, log, result, start + self._request["timeout_s"])
        seconds = time.monotonic() - start
        self._drain(log, result)
        return self._answer(status, code) | {"seconds": seconds, "log": self._log.text()}

    def _wait(self, pid: int, wake: socket.socket, log: int, result: int, deadline: float) -> tuple[str, int]:
        """Until the child is gone: why it ended ("" by itself), and its exit code."""
        poll, why = select.poll(), ""
        for source in (self._control.fileno(), wake.fileno(), log, result):
            poll.register(source, select.POLLIN)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return why, os.waitstatus_to_exitcode(status)
            left = deadline - time.monotonic()
            if left <= 0 and not why:
                why = "timeout"
            ready = [] if why else poll.poll(max(1, min(left, 3600) * 1000))
            for source, event in ready:
                if source == self._control.fileno():
                    why = "unwanted"  # nothing is ever sent after the request
                elif source == wake.fileno():
                    wake.recv(4096)
                elif not self._take(source, log) and not event & select.POLLIN:
                    poll.unregister(source)
            if why:
                with contextlib.suppress(ProcessLookupError):  # just born: no group of its own yet
                    os.killpg(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
                _, status = os.waitpid(pid, 0)
                return why, os.waitstatus_to_exitcode(status)

    def _take(self, source: int, log: int) -> bool:
        """Read what is there; False at the end of the stream."""
        try:
            data = os.read(source, 1 << 16)
        except BlockingIOError:
            return True
        if source == log:
            self._log.add(data)
        elif len(self._result) <= RESULT_BYTES:
            self._result += data
        return bool(data)

    def _drain(self, log: int, result: int) -> None:
        """What is left in the pipes; not what a descendant that is still alive goes on printing."""
        for source in (log, result):
            limit = time.monotonic() + 1
            while select.select([source], [], [], 0)[0] and time.monotonic() < limit:
                if not self._take(source, log):
                    break
            os.close(source)

    def _answer(self, why: str, code: int) -> dict[str, Any]:
        if why == "timeout":
            return {"status": "timeout", "error": f"not finished after {self._request['timeout_s']:g} s"}
        if why:
            return {"status": why, "error": "the result is not wanted any more"}
        answer = unpack(bytes(self._result)) if len(self._result) <= RESULT_BYTES else None
        if answer is not None:
            return dict(answer)
        if len(self._result) > RESULT_BYTES:
            return {"status": "failed", "error": f"a result of more than {RESULT_BYTES:,} bytes"}
        if code < 0:
            name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
            hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return {"status": "failed", "error": f"the evaluation was killed by {name}{hint}"}
        return {"status": "failed", "error": f"the evaluation ended without a result, exit status {code}"}


def _become_evaluation(
    control: socket.socket, log: int, result: int, keeper: int, scratch: str, request: dict[str, Any]
) -> None:
    """What the child does: evaluate, answer through a pipe, end.  It never returns."""
    code = 1
    try:
        os.setsid()  # one group with everything that it starts
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # it died before the line above
            os._exit(1)
        control.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ["TMPDIR"] = tempfile.tempdir = scratch  # removed by the keeper, whatever happens here
        answer = pack(run_work(request["work"], request["settings"]))
        with os.fdopen(result, "wb") as file:
            file.write(answer)
        code = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def end_descendants() -> None:
    """End and reap all processes that are left below this one, those that went into a session of their own too."""
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for pid in _children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)


def _children() -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int(entry.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.parent.name))
    return found


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the worker's death still ends the evaluation, through the control socket."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
