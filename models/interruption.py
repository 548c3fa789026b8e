# SPDX-License-Identifier: Apache-2.0
"""Ending long work from outside: every way to say so arrives as `KeyboardInterrupt`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

#: Ctrl-C, a request to end (of a cluster's queue, say), and a terminal that closes.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within this block SIGINT, SIGTERM and SIGHUP raise `KeyboardInterrupt`.

    SIGINT is among them since libraries take it for themselves: dask_jobqueue, once imported, makes Ctrl-C a silent
    success.  A signal that is ignored already stays so: `nohup` lets work outlive its terminal.  In a thread other
    than the main one nothing changes, since signals are handled there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    heard = [number for number in ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
