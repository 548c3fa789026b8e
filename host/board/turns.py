# SPDX-License-Identifier: Apache-2.0
"""Who may use the DMA: threads and tasks, one after the other."""

from __future__ import annotations

import asyncio
import threading

from hls4attn.host.errors import DeviceBusyError

LOOK_S = 500e-6  # between two looks of a task that waits for its turn


class Turns:
    """A lock for `with` in threads and `async with` in tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop_thread: int | None = None  # of the task whose turn it is

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        if self._loop_thread == threading.get_ident():  # it would wait for a task that cannot go on while it waits
            raise DeviceBusyError(
                "A task of this event loop is in the middle of a transfer: await it first, or await the _async method"
            )
        self._lock.acquire()

    def __exit__(self, *_error: object) -> None:
        self._lock.release()

    async def __aenter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            await asyncio.sleep(LOOK_S)
        self._loop_thread = threading.get_ident()

    async def __aexit__(self, *_error: object) -> None:
        self._loop_thread = None
        self._lock.release()
