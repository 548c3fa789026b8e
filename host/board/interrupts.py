# SPDX-License-Identifier: Apache-2.0
"""Interrupts of an overlay in the event loop that runs now.

PYNQ ties an interrupt to the event loop that ran, or was the default, when the overlay was loaded.  A script that calls
`asyncio.run` twice, or once after loading, would wait for ever.  So what is bound here is bound anew for each loop, and
on the overlay's own device rather than on the active one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hls4attn.host.pynq_compat import active, import_pynq

import_pynq()  # explains itself where the import below would not
from pynq.interrupt import Interrupt, _InterruptController  # noqa: E402


class BoundInterrupt:
    """One interrupt pin, in the event loop that runs when this is made.

    Args:
        device: with the overlay loaded.
        pin: its full name, `cell/pin`.

    Raises:
        ValueError: if the overlay has no such pin, or Linux no device for it.
    """

    def __init__(self, device: Any, pin: str) -> None:
        kept = ("_controllers", "_uio_devices", "_last_timestamp")
        before = {name: getattr(_InterruptController, name) for name in kept}
        _InterruptController._controllers, _InterruptController._uio_devices = [], _lines(device)
        try:
            with active(device):
                self._interrupt = Interrupt(pin)
                self._controller = self._interrupt.parent()  # PYNQ holds it weakly
                self._loop = asyncio.get_running_loop()
        finally:
            for name, value in before.items():
                setattr(_InterruptController, name, value)

    async def wait(self) -> None:
        """Return when the interrupt came, which may have been a moment ago."""
        await self._interrupt.wait()

    def close(self) -> None:
        """Stop listening.

        The event loop holds an opened line of Linux, and with it who waits, until the loop ends.  In a notebook that is
        never: a forgotten listener would take the next interrupt from its successor, and acknowledge it.
        """
        line: Any = self._controller
        while not hasattr(line, "uio") and hasattr(line, "parent"):  # controllers may be chained
            line = line.parent
        if hasattr(line, "wait_events"):
            line.wait_events = []
            with suppress(RuntimeError, ValueError, OSError):  # the loop has ended, or the file is closed
                self._loop.remove_reader(line.uio)


def _lines(device: Any) -> dict[int, Any]:
    """Opened lines by number: those of an emulated device; a real one's are found by PYNQ in /proc and /sys."""
    lines: dict[int, Any] = {}
    with suppress(AttributeError):
        lines.update(device.open_interrupts())
    return lines
