# SPDX-License-Identifier: Apache-2.0
"""The interrupt line to the processing system, as Linux hands it to a program: an opened /dev/uio."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from hls4attn.host.emulated.board import EmulatedBoard
from hls4attn.host.emulated.faults import Fault
from hls4attn.models.errors import DeviceError


class Event(Protocol):
    """What waits for an interrupt: an `asyncio.Event`, or PYNQ's interrupt controller."""

    def set(self) -> object:
        """Wake up whoever waits."""


class EmulatedUio:
    """Wakes events when the line is high, like `pynq.uio.UioController`.

    While somebody waits, the event loop is what moves the board on: between two interrupts no host access does.

    Args:
        board: whose line it is.
    """

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board
        self._events: list[Event] = []
        self._masked = False  # Linux masks the line when it fires, until it is armed anew
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        board.listen(self)

    def add_event(self, event: Event, number: int) -> None:
        """Set an event when the line is high; called by PYNQ within the event loop that waits."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # those of a loop that has ended wait for nothing any more
            self._events, self._loop, self._scheduled = [], loop, False
        if not self._events:
            self._masked = False
        self._events.append(event)
        self._schedule()

    def changed(self) -> None:
        """Look at the line again soon; may be called by any thread."""
        if self._events and not self._scheduled and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if not self._scheduled and self._events and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._scheduled = False
        try:
            progress = self._board.tick()
        except DeviceError:  # from the kernel function: whoever waits meets it at the next register access
            self._fire()
            return
        if self._board.irq and not self._masked:
            self._fire()
        elif progress:
            self._schedule()

    def _fire(self) -> None:
        self._masked = True
        if self._board.faults.take(Fault.LOST_INTERRUPT):
            return
        events, self._events = self._events, []
        for event in events:
            event.set()
