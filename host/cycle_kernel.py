# SPDX-License-Identifier: Apache-2.0
"""What an emulated IP computes, with the clock cycles that the cycle model gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from hls4attn.models.formats import Codes


@dataclass(frozen=True)
class CycleKernel:
    """A kernel function with a cycle model.

    Args:
        run: codes in, codes out.
        packet_cycles: cycles of a packet of so many samples.
        cycles_are: where the cycles come from, in words.
    """

    run: Callable[[Codes], Codes]
    packet_cycles: Callable[[int], int]
    cycles_are: str

    def __call__(self, codes: Codes) -> Codes:
        """Output codes of a batch."""
        return self.run(codes)

    def cycles(self, samples: int) -> int:
        """Cycles with a packet of so many samples under way."""
        return self.packet_cycles(samples)


class Clocked(Protocol):
    """What runs clock by clock and counts."""

    cycles: int | None
    cycles_are: str

    def run(self, codes: Codes) -> Codes:
        """Codes in, codes out; sets `cycles`."""


class CountedKernel:
    """A kernel function that runs clock by clock: its cycles are those of the packet that just went through it.

    Args:
        open_stage: makes what runs; called with the first packet, since that may compile for a while.
        cycles_are: where the cycles come from, in words.
        made_as: how it is made, in words.
    """

    def __init__(self, open_stage: Callable[[], Clocked], cycles_are: str, made_as: str = "") -> None:
        self._open, self.cycles_are, self.made_as = open_stage, cycles_are, made_as

    @cached_property
    def _stage(self) -> Clocked:
        return self._open()

    def __call__(self, codes: Codes) -> Codes:
        """Output codes of a packet."""
        return self._stage.run(codes)

    def cycles(self, samples: int) -> int:
        """Cycles of that packet, whatever they depend on besides the number of samples."""
        del samples
        return self._stage.cycles or 0
