# SPDX-License-Identifier: Apache-2.0
"""Energy and latency of gain-cell attention, computed from the figures of the authors' circuit simulation.

Nothing here was measured on a chip, by anybody.  The authors simulated one size, a window of 1024 tokens and heads of
64; other sizes follow by counting what is read, written and added, and that is this package's reckoning, not theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from hls4attn.models.errors import InputError

#: Labels that every figure carries.
SIMULATED, COMPUTED, MEASURED = "authors' circuit simulation", "computed", "measured here"

#: The authors' size: window, head and the cells of one array's side.
WINDOW, HEAD_DIM, ARRAY = 1024, 64, 64
#: Their energies for one token and head, in picojoule, and their latency in nanoseconds.
SCORE_PJ, CONTEXT_PJ, DIGITAL_PJ, DAC_PJ = 1120.0, 700.0, 4000.0, 330.0
LATENCY_NS = 65.0
#: The model of their comparison: heads that work at the same time, in one layer.
GPU_HEADS = 12


@dataclass(frozen=True)
class HeadCost:
    """Energy of one token and head, in picojoule.

    Attributes:
        score: first array.
        context: second array.
        digital: counters, adders, control and routing.
        dac: writing the token's key and value.
        label: where the figures come from.
    """

    score: float
    context: float
    digital: float
    dac: float
    label: str

    @property
    def total(self) -> float:
        """All of it."""
        return self.score + self.context + self.digital + self.dac


def head_cost(window: int = WINDOW, head_dim: int = HEAD_DIM) -> HeadCost:
    """Energy of one token and head.

    The arrays' shares scale with the cells that are read (17.1 and 10.7 fJ each), the digital one with the results
    that tiles of 64 slots give, and the converters' with the cells that are written.

    Raises:
        InputError: for a size below 1.
    """
    if window < 1 or head_dim < 1:
        raise InputError(f"window and head_dim must be at least 1. Received: {window} and {head_dim}")
    cells = window * head_dim / (WINDOW * HEAD_DIM)
    results = -(-window // ARRAY) * head_dim / (WINDOW // ARRAY * HEAD_DIM)
    label = SIMULATED if (window, head_dim) == (WINDOW, HEAD_DIM) else COMPUTED
    return HeadCost(SCORE_PJ * cells, CONTEXT_PJ * cells, DIGITAL_PJ * results, DAC_PJ * head_dim / HEAD_DIM, label)


def multiply_add_fj(cost: HeadCost, window: int = WINDOW, head_dim: int = HEAD_DIM) -> float:
    """Energy of one multiply-add of both arrays, all shares included, in femtojoule."""
    return 1000 * cost.total / (2 * window * head_dim)


@dataclass(frozen=True)
class Gpu:
    """A device that the authors compare with.

    Attributes:
        name: its name.
        microseconds: their time of one token in 12 heads of 1024 tokens; None where they publish none.
        millijoules: their energy of it.
        gigabytes: memory bandwidth by its data sheet, per second.
        speed: the ratio that the paper prints.
        energy: the same of the energies.
    """

    name: str
    microseconds: float | None
    millijoules: float | None
    gigabytes: float
    speed: str
    energy: str

    @property
    def floor(self) -> float:
        """Microseconds that reading the keys and values once, in 16 bits, takes at full bandwidth."""
        return GPU_HEADS * WINDOW * HEAD_DIM * 2 * 2 / (self.gigabytes * 1e3)

    @property
    def speed_up(self) -> float | None:
        """Their time over 65 ns."""
        return None if self.microseconds is None else self.microseconds * 1e3 / LATENCY_NS

    @property
    def floor_speed_up(self) -> float:
        """The memory-bound floor over 65 ns."""
        return self.floor * 1e3 / LATENCY_NS

    @property
    def energy_ratio(self) -> float | None:
        """Their energy over that of 12 heads."""
        return None if self.millijoules is None else self.millijoules * 1e9 / (GPU_HEADS * head_cost().total)


GPUS = (
    Gpu("RTX 4090", 22.37, 7.178, 1008.0, "x300", "x90,000"),
    Gpu("Jetson Nano", 488.9, 3.246, 25.6, "x7,000", "x40,000"),
    Gpu("H100", None, None, 3350.0, "x100", "x70,000"),
)
