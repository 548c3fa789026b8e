# SPDX-License-Identifier: Apache-2.0
"""Interrupts of an overlay in the event loop that runs now.

PYNQ ties an interrupt to the event loop that ran, or was the default, when the overlay was loaded.  A script that calls
`asyncio.run` twice, or once after loading, would wait for ever.  So what is bound here is bound anew for each loop, and
on the overlay's own device rather than on the active one.
"""

from __future__ import annotations

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
        finally:
            for name, value in before.items():
                setattr(_InterruptController, name, value)

    async def wait(self) -> None:
        """Return when the interrupt came, which may have been a moment ago."""
        await self._interrupt.wait()


def _lines(device: Any) -> dict[int, Any]:
    """Opened lines by number: those of an emulated device; a real one's are found by PYNQ in /proc and /sys."""
    lines: dict[int, Any] = {}
    with suppress(AttributeError):
        lines.update(device.open_interrupts())
    return lines
