# SPDX-License-Identifier: Apache-2.0
"""Faults of an emulated board: what a driver must survive, at will."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hls4attn.models.errors import InputError


class Fault(Enum):
    """What goes wrong; the value says it in words."""

    SEND_INTERNAL = "MM2S fails with an internal error"
    SEND_SLAVE = "MM2S fails with a slave error"
    SEND_DECODE = "MM2S fails with a decode error"
    RECEIVE_INTERNAL = "S2MM fails with an internal error"
    RECEIVE_SLAVE = "S2MM fails with a slave error"
    RECEIVE_DECODE = "S2MM fails with a decode error"
    NO_INPUT = "the stream into the logic stalls until a reset"
    NO_ANSWER = "the stream out of the logic stalls until a reset"
    NO_LAST = "the answer comes without TLAST"
    SHORT_ANSWER = "the last word of an answer is missing"
    NO_COMPLETION = "MM2S delivers its packet but never says so"
    LOST_INTERRUPT = "an interrupt is not delivered"
    STUCK_RESET = "a reset of the DMA does not end"
    NO_BUS = "no register of the logic answers"
    ALL_ONES = "every register of the logic reads as 0xffffffff"


@dataclass
class _Pending:
    after: int
    times: int | None


class Faults:
    """Faults that wait for their occasion.

    An occasion is a packet, an interrupt, a reset, or for the last two faults a register access.
    """

    def __init__(self) -> None:
        self._pending: dict[Fault, _Pending] = {}

    def inject(self, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Let a fault happen; it replaces one of the same kind.

        Args:
            fault: what goes wrong.
            times: on how many occasions; all until `clear` if None.
            after: occasions that pass first.

        Raises:
            InputError: for what is no fault, or counts that are none.
        """
        if not isinstance(fault, Fault) or after < 0 or (times is not None and times < 1):
            raise InputError(f"No such fault: {fault!r:.80}, times={times}, after={after}. Known: {', '.join(_NAMES)}")
        self._pending[fault] = _Pending(after, times)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._pending.clear()

    def take(self, fault: Fault) -> bool:
        """Whether a fault happens on this occasion, which counts."""
        pending = self._pending.get(fault)
        if pending is None:
            return False
        if pending.after:
            pending.after -= 1
            return False
        if pending.times is not None:
            pending.times -= 1
            if not pending.times:
                del self._pending[fault]
        return True


_NAMES = [fault.name for fault in Fault]
