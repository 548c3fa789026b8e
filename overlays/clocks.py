# SPDX-License-Identifier: Apache-2.0
"""The PL clock that a processing system can really make: a PLL divided by two 6-bit dividers.

A requested frequency is often not met exactly (100 MHz is 99.999 MHz on Zynq UltraScale+), so everything
that reports a clock reports the one computed here, or read back from the board, never the request.
"""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.models.errors import SpecError
from hls4attn.overlays.boards import Board

# IO PLL output = reference * feedback / output divider, with the feedback of the board's preset.
IO_PLL_DIVIDE = {"zynq": 1, "zynquplus": 2}
MAX_DIVISOR = 63


@dataclass(frozen=True)
class PlClock:
    """One PL clock: ``mhz = io_pll / (div0 * div1)``."""

    div0: int
    div1: int
    mhz: float


def io_pll_mhz(board: Board) -> float:
    """Output of the IO PLL in MHz."""
    return board.ps_clock_mhz * board.io_pll_feedback / IO_PLL_DIVIDE[board.family]


def pl_clock(board: Board, mhz: float) -> PlClock:
    """The fastest clock the board makes that is not above the request.

    Args:
        board: whose PLL is divided.
        mhz: requested frequency in MHz.

    Raises:
        SpecError: if no pair of dividers gives a clock at or below the request and above half of it.
    """
    pll = io_pll_mhz(board)
    pairs = ((d0, d1) for d0 in range(1, MAX_DIVISOR + 1) for d1 in range(1, d0 + 1))
    # the slack of one part in a million accepts an exact quotient that rounding put just above
    fitting = [(pll / (d0 * d1), d0, d1) for d0, d1 in pairs if pll / (d0 * d1) <= mhz * (1 + 1e-6)]
    best = max(fitting, default=None)
    if best is None or best[0] < mhz / 2:
        low = pll / MAX_DIVISOR**2
        raise SpecError(f"{board.name} makes PL clocks of {low:.3f} to {pll:g} MHz. Received: {mhz:g} MHz")
    return PlClock(best[1], best[2], round(best[0], 6))
