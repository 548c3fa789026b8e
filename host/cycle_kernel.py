# SPDX-License-Identifier: Apache-2.0
"""What an emulated IP computes, with the clock cycles that the cycle model gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
