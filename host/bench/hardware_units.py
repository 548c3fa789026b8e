# SPDX-License-Identifier: Apache-2.0
"""What `hls4attn bench hardware` compares: streaming units of 8 bits, and the marks that they were made to reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hls4attn.hls.rtl.baselines import TableSoftmax, online_reference, online_unit, table_unit
from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.gaincell import unit as gaincell_unit
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.toggles import activity
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.host.bench.hardware_heads import HEADS, NETWORKS
from hls4attn.host.bench.hardware_subject import CODES, Mark, RowCycles, Subject, score_rows
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

#: Slice of the online E2Softmax.
SLICE = 16
#: Rows of the activity: short enough for a netlist's simulation.
ACTIVE_ROWS, ACTIVE_LENGTH = 16, 64


def _row_clocks(unit: Callable[[int], RtlUnit], whole: bool = False) -> Callable[[int, int], RowCycles]:
    """Clocks of rows, counted in the simulated Verilog.

    Args:
        unit: makes the unit.
        whole: all of its rows are as long as it is made for, so that every length is another unit.
    """

    def clocks(length: int, row_max: int) -> RowCycles:
        sim, rows = RtlSim(unit(length if whole else row_max)), score_rows(9 if length > 128 else 33, length)
        one, many = (sim.run(part).cycles for part in (rows[:1], rows))
        return RowCycles(one, (many - one) / (len(rows) - 1))

    return clocks


def _subject(title: str, unit: Callable[[int], RtlUnit], whole: bool = False, **more: Any) -> Subject:
    return Subject(
        title,
        unit,
        _row_clocks(unit, whole),
        without_dsp=unit,
        activity=lambda: activity(unit(ACTIVE_LENGTH), score_rows(ACTIVE_ROWS, ACTIVE_LENGTH)),
        **more,
    )


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
    return _subject(title, lambda row_max: rtl_unit(spec, row_max), error=error, **more)


def _norm(title: str, make: Callable[[int], Any], marks: tuple[Mark, ...] = ()) -> Subject:
    return _subject(title, lambda channels: rtl_unit(make(channels), channels), whole=True, marks=marks)


def _affine(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rng = np.random.default_rng(channels)
    return tuple(rng.uniform(0.5, 1.5, channels)), tuple(rng.uniform(-1, 1, channels))


def _ailayernorm(channels: int) -> AILayerNormSpec:
    return AILayerNormSpec(CODES, CODES, *_affine(channels), tuple(k % 4 for k in range(channels)), shift=1)


def _table(title: str, norm_width: int) -> Subject:
    spec = TableSoftmax(CODES, 1.0, norm_width=norm_width)
    out = Fixed(spec.out_width, spec.out_frac, signed=False)
    error = _against_softmax(spec.reference, out)
    return _subject(title, lambda row_max: table_unit(spec, row_max), baseline=True, error=error)


def _gaincell(title: str, lane_dsp: bool, marks: tuple[Mark, ...]) -> Subject:
    """A head whose rows are tokens, with as many slots filled as a row is long."""
    spec = GainCellSpec()
    unit = gaincell_unit(spec, lane_dsp=lane_dsp)
    missing = {"toggles": _NO_TOKENS} | ({"without_dsp": _LANES} if lane_dsp else {"ecp5": _NO_ROUTE})
    return Subject(
        title,
        lambda _: unit,
        lambda filled, _: _token_cycles(unit, spec, filled),
        without_dsp=None if lane_dsp else lambda _: unit,
        marks=marks,
        missing=missing,
    )


_CONSMAX = (CODES, (1.5,), (100.0,), (1.0,), (11,))
_SOFTMAX = SoftmaxSpec(CODES, (1.0,))
_LANES = "its lanes in LUTs are the head above"
_NO_TOKENS = "without block RAMs and DSP blocks it has 49,600 nets; Verilator was stopped at 1.9 GB"
_NO_ROUTE = "it fills most of the part; one seed was stopped after 11 minutes"
_HANDSHAKE = "the mark is a table without back pressure; the handshake's spare word costs the rest"

UNITS: dict[str, Subject] = {
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
    "softmax-online": _subject(
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

#: Everything that is compared, in the order of the table.
SUBJECTS = UNITS | HEADS | NETWORKS
