# SPDX-License-Identifier: Apache-2.0
"""What would stop a real board without a word."""

from __future__ import annotations

from hls4attn.host.errors import DeviceGoneError, TransferTimeoutError


class BusError(DeviceGoneError):
    """An access that nothing answers: on a board an external abort, or a hang."""


class EmulationDeadlock(TransferTimeoutError):  # noqa: N818  # a state of the board, not a kind of mistake
    """The host waits for something that can never happen: on a board it would wait for ever."""
