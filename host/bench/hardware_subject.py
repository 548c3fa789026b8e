# SPDX-License-Identifier: Apache-2.0
"""One row of `hls4attn bench hardware`: how its unit is made, what is counted of it, and what it was made to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hls4attn.hls.rtl.toggles import Activity
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.formats import Codes, Fixed

CODES, STD = Fixed(8, 4), 1.5
#: Row length that marks of units are for.
MARKED = 1024


@dataclass(frozen=True)
class Mark:
    """A figure to reach.

    Attributes:
        metric: name of the figure in `hardware.figures`.
        limit: at most this, or at least if `least`.
        missed: why it is not reached, where that is known.
        least: whether more is better.
    """

    metric: str
    limit: float
    missed: str = ""
    least: bool = False


@dataclass(frozen=True)
class RowCycles:
    """Clocks with both sides always ready.

    Attributes:
        latency: from the first element of a row to its last result, in a unit that has nothing else to do; of an
            attention head or a network, from the first row of a sequence to the last one's result.
        interval: from one row to the next, mean over many; of a network from one sample to the next.
    """

    latency: int
    interval: float


@dataclass(frozen=True)
class Subject:
    """One row of the table.

    Attributes:
        title: as in the table.
        unit: makes it for rows up to a length.
        clocks: of rows of a length, in the unit that is made for another one.
        without_dsp: the same unit to be synthesised without DSP blocks; None where it is not.
        activity: changes of its netlist; None where they are not counted.
        baseline: it is there to be compared with.
        error: root-mean-square difference from the real softmax in 1/256, for rows of score codes.
        marks: what it was made to reach.
        rows: the only length that it is made for, of an attention head or a network; 0 for a unit of any.
        missing: why figures are not there, by their names.
    """

    title: str
    unit: Callable[[int], RtlUnit]
    clocks: Callable[[int, int], RowCycles]
    without_dsp: Callable[[int], RtlUnit] | None = None
    activity: Callable[[], Activity] | None = None
    baseline: bool = False
    error: Callable[[Codes], float] | None = None
    marks: tuple[Mark, ...] = ()
    rows: int = 0
    missing: Mapping[str, str] = field(default_factory=dict)


def score_rows(rows: int, length: int, seed: int = 0) -> Codes:
    """Codes of Gaussian scores, shape ``(rows, length)``."""
    return CODES.quantise(np.random.default_rng(seed).normal(0, STD, (rows, length)))
