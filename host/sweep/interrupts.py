# SPDX-License-Identifier: Apache-2.0
"""Moments of a sweep that no interruption may fall into: a cluster that is half there leaves processes behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

from hls4attn.models.interruption import ENDING


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
    """Interruptions that have a handler wait until the end of the block; then the first of them is handled.

    Blocking the signals alone would not do: a thread that was there before, such as that of a progress bar, takes them
    all the same, and Python handles them in the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    heard = [number for number in ENDING if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if seen:
            signal.raise_signal(seen[0])


@contextlib.contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Threads and processes that are started in the block never hear Ctrl-C.

    A terminal sends it to all processes of a sweep; but it is the one who started them that ends them.
    """
    resource_tracker.ensure_running()  # now, since starting it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
