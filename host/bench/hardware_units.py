# SPDX-License-Identifier: Apache-2.0
"""What `hls4attn bench hardware` compares: streaming units of 8 bits, and the marks that they were made to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hls4attn.hls.rtl.baselines import TableSoftmax, online_reference, online_unit, table_unit
from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.gaincell import unit as gaincell_unit
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import (
    AILayerNormSpec,
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    IntegerLayerNormSpec,
    SoftmaxSpec,
)

CODES, STD = Fixed(8, 4), 1.5
#: Slice of the online E2Softmax.
SLICE = 16
#: Row length that sizes of the marks are for.
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
        latency: from the first element of a row to its last result, in a unit that has nothing else to do.
        interval: from one row to the next, mean over many.
    """

    latency: int
    interval: float


@dataclass(frozen=True)
class Subject:
    """One unit of the comparison.

    Args:
        title: as in the table.
        unit: makes it for rows up to a length.
        whole: all of its rows are as long as it is made for, so that every length is another unit.
        baseline: it is there to be compared with.
        error: root-mean-square difference from the real softmax in 1/256, for rows of score codes.
        marks: what it was made to reach with rows up to 1,024.
        tokens: a gain-cell head, whose rows are tokens.
    """

    title: str
    unit: Callable[[int], RtlUnit]
    whole: bool = False
    baseline: bool = False
    error: Callable[[Codes], float] | None = None
    marks: tuple[Mark, ...] = ()
    tokens: GainCellSpec | None = None

    def cycles(self, length: int, row_max: int) -> RowCycles:
        """Clocks of rows of a length, counted in the simulated Verilog; of a gain-cell head, with as many slots filled.

        Raises:
            ToolError: if Verilator or a compiler is missing.
        """
        if self.tokens is not None:
            return _token_cycles(self.unit(row_max), self.tokens, length)
        sim, rows = RtlSim(self.unit(length if self.whole else row_max)), score_rows(9 if length > 128 else 33, length)
        one, many = (sim.run(part).cycles for part in (rows[:1], rows))
        return RowCycles(one, (many - one) / (len(rows) - 1))


def score_rows(rows: int, length: int, seed: int = 0) -> Codes:
    """Codes of Gaussian scores, shape ``(rows, length)``."""
    return CODES.quantise(np.random.default_rng(seed).normal(0, STD, (rows, length)))


def _token_cycles(unit: RtlUnit, spec: GainCellSpec, filled: int) -> RowCycles:
    rng, tokens = np.random.default_rng(0), filled + 1
    codes = [
        rng.integers(0, n, (tokens, spec.heads, spec.head_dim)) for n in (spec.q_levels, spec.k_levels, spec.v_levels)
    ]
    rows = token_words(spec, *codes)
    keep = np.ones(rows.shape, dtype=bool)
    keep[0] = False  # begins a sequence
    run = RtlSim(unit).run(rows, keep=keep)
    return RowCycles(int(run.ends[-1] - run.starts[-1]), float(run.ends[-1] - run.ends[-2]))


def _against_softmax(reference: Callable[[Codes], Codes], out: Fixed) -> Callable[[Codes], float]:
    def error(codes: Codes) -> float:
        scores = CODES.to_real(codes)
        exact = np.exp(scores - scores.max(axis=-1, keepdims=True))
        exact /= exact.sum(axis=-1, keepdims=True)
        return float(np.sqrt(np.mean((out.to_real(reference(codes)) - exact) ** 2))) * 256

    return error


def _rows_of(spec: Any) -> Callable[[Codes], Codes]:
    return lambda codes: spec.reference(codes[:, None, None])[:, 0, 0]


def _score(title: str, spec: Any, **more: Any) -> Subject:
    error = None if isinstance(spec, ConSmaxSpec) else _against_softmax(_rows_of(spec), spec.out_format)
    return Subject(title, lambda row_max: rtl_unit(spec, row_max), error=error, **more)


def _norm(title: str, make: Callable[[int], Any], marks: tuple[Mark, ...] = ()) -> Subject:
    return Subject(title, lambda channels: rtl_unit(make(channels), channels), whole=True, marks=marks)


def _affine(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rng = np.random.default_rng(channels)
    return tuple(rng.uniform(0.5, 1.5, channels)), tuple(rng.uniform(-1, 1, channels))


def _ailayernorm(channels: int) -> AILayerNormSpec:
    return AILayerNormSpec(CODES, CODES, *_affine(channels), tuple(k % 4 for k in range(channels)), shift=1)


def _table(title: str, norm_width: int) -> Subject:
    spec = TableSoftmax(CODES, 1.0, norm_width=norm_width)
    out = Fixed(spec.out_width, spec.out_frac, signed=False)
    error = _against_softmax(spec.reference, out)
    return Subject(title, lambda row_max: table_unit(spec, row_max), baseline=True, error=error)


def _gaincell(title: str, lane_dsp: bool, marks: tuple[Mark, ...]) -> Subject:
    spec = GainCellSpec()
    return Subject(title, lambda row_max: gaincell_unit(spec, lane_dsp=lane_dsp), tokens=spec, marks=marks)


_CONSMAX = (CODES, (1.5,), (100.0,), (1.0,), (11,))
_SOFTMAX = SoftmaxSpec(CODES, (1.0,))
_HANDSHAKE = "the mark is a table without back pressure; the handshake's spare word costs the rest"

SUBJECTS: dict[str, Subject] = {
    "consmax": _score(
        "ConSmax, direct table",
        ConSmaxSpec(*_CONSMAX),
        marks=(Mark("lut", 40, _HANDSHAKE), Mark("ff", 18, _HANDSHAKE), Mark("dsp", 0)),
    ),
    "consmax-split": _score(
        "ConSmax, split tables", ConSmaxSplitSpec(*_CONSMAX), marks=(Mark("lut", 119), Mark("dsp", 1))
    ),
    "e2softmax": _score(
        "E2Softmax, two passes",
        E2SoftmaxSpec(CODES, (1.0,)),
        marks=(
            *(Mark("lut", 210), Mark("lutram", 27), Mark("ff", 207), Mark("bram18", 2), Mark("dsp", 0)),
            Mark("cycles_per_element", 1.003),
            Mark("ecp5_mhz", 126, "the mark is the best of seeds between 118 and 126, this a median", least=True),
        ),
    ),
    "e2softmax-online": _score(
        f"E2Softmax, online in slices of {SLICE}", E2SoftmaxSpec(CODES, (1.0,), slice_length=SLICE)
    ),
    "softmax": _score(
        "exact softmax, three passes",
        _SOFTMAX,
        baseline=True,
        marks=(
            *(Mark("lut", 311), Mark("lutram", 54), Mark("ff", 265), Mark("bram18", 4), Mark("dsp", 1)),
            Mark("ecp5_mhz", 98, least=True),
        ),
    ),
    "softmax-online": Subject(
        "softmax, online maximum, deferred division",
        lambda row_max: online_unit(_SOFTMAX, row_max),
        baseline=True,
        error=_against_softmax(lambda codes: online_reference(_SOFTMAX, codes), _SOFTMAX.out_format),
    ),
    "hls4ml": _table("hls4ml's softmax, types as generated", 0),
    "hls4ml-wide": _table("hls4ml's softmax, distances of 8 bits", 8),
    "ailayernorm": _norm("AILayerNorm", _ailayernorm, (Mark("lut", 450), Mark("dsp", 2))),
    "layernorm": _norm("exact LayerNorm", lambda n: IntegerLayerNormSpec(CODES, CODES, *_affine(n))),
    "gaincell": _gaincell(
        "gain-cell head, window 1024, width 64",
        False,
        (
            Mark("lut", 15_400),
            Mark("dsp", 9, "8 DSP more for 5,000 LUTs less; both marks at once are not reached"),
            Mark("cycles_1024", 1103),
        ),
    ),
    "gaincell-dsp": _gaincell(
        "gain-cell head, a DSP a lane",
        True,
        (Mark("lut", 8_000), Mark("dsp", 137), Mark("cycles_1024", 1103)),
    ),
}
