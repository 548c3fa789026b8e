# SPDX-License-Identifier: Apache-2.0
"""A process that has imported what evaluations need and forks one for each point: starting costs milliseconds.

It is started by a Dask worker as an ordinary program: Dask's worker processes may have no children of
`multiprocessing`.  It ends when the worker's end of its socket closes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys

from hls4attn.host.sweep.keeper import keep
from hls4attn.host.sweep.work import preload

#: Evaluations are run side by side: threads of linear algebra in each of them would only be in each other's way.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def start_zygote(work: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start one; it serves once its imports are done.

    Args:
        work: the function that it will run, ``module:function``.

    Returns:
        The process, and the socket that takes one byte with one control socket (SCM_RIGHTS) a point.
    """
    ours, theirs = socket.socketpair()
    code = f"import sys; sys.path[:] = {sys.path!r}; from hls4attn.host.sweep.zygote import main; main()"
    environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno()), work],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,  # Ctrl-C at the terminal is for the one who started the sweep
        )
    return process, ours


def main() -> None:
    """The process: preload, then fork a keeper for each request."""
    server, work = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    with contextlib.suppress(Exception):  # the evaluation says what is wrong with it
        preload(work)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need nobody to reap them
    while True:
        _, (*controls,), _, _ = socket.recv_fds(server, 1, 1)
        if not controls:
            return
        control = socket.socket(fileno=controls[0])
        if os.fork() == 0:
            try:
                server.close()
                keep(control)
            finally:
                os._exit(0)
        control.close()
