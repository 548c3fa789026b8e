# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of AILayerNorm: every option, rows overlapped, back pressure, and mistakes that are found."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hls_sole import NORMS, ailayernorm, row_codes
from rtl_checks import icarus, lint, refuted

from hls4attn.hls.rtl.ailayernorm import LATENCY, ROW_CLOCKS, row_clocks
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import SpecError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import AILayerNormSpec

#: Large factors make results that are far outside the output's range, on both sides of every limit.
LOUD = replace(
    ailayernorm(24, 11, squares="lut32", out_format=Fixed(8, 7)), gamma=(1.9, -1.9) * 12, beta=(0.9, -0.9) * 12
)
SPECS: dict[str, AILayerNormSpec] = {name: spec for name, spec, _ in NORMS if isinstance(spec, AILayerNormSpec)} | {
    "ai_loud": LOUD,
    "ai_flat": replace(LOUD, squares="paper", alpha=(0,) * 24),  # all squares of a row rounded alike
    "ai_symmetric": replace(LOUD, out_format=Fixed(6, 5, overflow="saturate_symmetric")),
    "ai_22": ailayernorm(22, 12, squares="lut32"),
    "ai_23": ailayernorm(23, 13, squares="exact"),
    "ai_1024": ailayernorm(1024, 14, in_format=Fixed(16, 8), shift=4),
    "ai_widest_mean": ailayernorm(1024, 15, squares="exact", mean_frac=7),
    "ai_small_steps": ailayernorm(5, 16, out_format=Fixed(8, 0), gamma_bits=12, rsqrt_bits=14, rsqrt_entries=1024),
}
#: The three kinds of squares, results beyond the limits, a multiplier and rows shorter than the once-a-row stage.
FEW = ("ai_exact", "ai_loud", "ai_multiplier")
MORE = tuple(name for name in SPECS if name not in FEW)


@cache
def sim_of(name: str) -> RtlSim:
    return RtlSim(rtl_unit(SPECS[name]))


@cache
def rows_of(name: str) -> Codes:
    spec = SPECS[name]
    samples = 20 if spec.channels > 300 else 300
    rows = row_codes(Tensor("", (1, spec.channels), spec.in_format), seed=5, samples=samples)[:, 0]
    # nearly constant ones: rounded squares leave next to nothing of their variance, or less
    rng = np.random.default_rng(6)
    centres = rng.integers(spec.in_format.min, spec.in_format.max, (samples, 1), endpoint=True)
    nearly = centres + rng.integers(-12, 13, (samples, spec.channels)) * rng.integers(0, 2, (samples, 1))
    return np.concatenate([rows, np.clip(nearly, spec.in_format.min, spec.in_format.max)])


def check_rows(name: str, stalls: tuple[int, int]) -> None:
    spec, rows = SPECS[name], rows_of(name)
    run = sim_of(name).run(rows, stalls=stalls, seed=7)
    assert np.array_equal(run.outputs, spec.reference(rows))


def check_clocks(name: str) -> None:
    """No clock is lost between rows, and `row_clocks` is right for one row and for many."""
    rows, n = rows_of(name), SPECS[name].channels
    for count in (1, 2, len(rows)):
        run = sim_of(name).run(rows[:count])
        assert run.first == n + LATENCY
        assert run.cycles == row_clocks(n, count)
    assert np.all(np.diff(run.ends) == max(n, ROW_CLOCKS))


@pytest.mark.parametrize("stalls", [(0, 0), (40, 0), (0, 40), (50, 60), (90, 90)])
@pytest.mark.parametrize("name", FEW)
def test_rows_equal_the_reference(name: str, stalls: tuple[int, int]) -> None:
    check_rows(name, stalls)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_rows_equal_the_reference_for_every_option(name: str) -> None:
    for stalls in ((0, 0), (30, 50), (60, 10)):
        check_rows(name, stalls)
    check_clocks(name)


@pytest.mark.parametrize("name", FEW)
def test_clocks(name: str) -> None:
    check_clocks(name)


def test_rows_reach_both_limits() -> None:
    results = LOUD.reference(rows_of("ai_loud"))
    share = [np.mean(results == code) for code in (LOUD.out_format.min, LOUD.out_format.max)]
    assert min(share) > 0.05
    assert np.abs(LOUD._unlimited(rows_of("ai_loud"))).max() > 4 * LOUD.out_format.max


def test_rows_are_counted_whatever_tlast_says() -> None:
    """Rows are the unit's own: TLAST in other places changes nothing, and rows out of step are normalised as such."""
    spec, rows = SPECS["ai_exact"], rows_of("ai_exact")[:30]
    lengths = np.tile([24, 40], 15)
    sent = np.zeros((30, 40), dtype=np.int64)
    sent[np.arange(40) < lengths[:, None]] = rows.ravel()
    run = sim_of("ai_exact").run(sent, lengths=lengths, out_lengths=np.full(30, 32))
    assert np.array_equal(run.outputs, spec.reference(rows))


def test_another_simulator_agrees(tmp_path: Path) -> None:
    spec, rows = SPECS["ai_loud"], rows_of("ai_loud")[:25]
    packets = icarus(tmp_path, rtl_unit(spec), rows, stall=30)
    assert np.array_equal(packets, spec.reference(rows))


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    assert lint(tmp_path, rtl_unit(SPECS[name])) == ""


def test_rows_longer_than_asked_for_are_refused() -> None:
    with pytest.raises(SpecError, match="rows have 32 elements. Received: row_max=31"):
        rtl_unit(SPECS["ai_32"], row_max=31)


MUTANTS = {
    "squares are truncated": ("op_ailn_stats.sv", "tap[4:1] + {3'd0, tap[0]}", "tap[4:1]"),
    "squares wrap": ("op_ailn_stats.sv", "&tap ? 4'd15 : ", ""),
    "codes wrap": ("op_ailn_stats.sv", "if (shifted[W-1]) q3 <= 8'h00;", ""),
    "codes round down": ("op_ailn_stats.sv", "((ONE << QUANT_SHIFT) >> 1) + (ZP", "(ZP"),
    "sums run on": ("op_ailn_stats.sv", "(power7 & {POWER_W{!f[6]}})", "power7"),
    "the mean rounds down": ("op_ailn_row.sv", "if (step == 4'd1) c <= ROUND;", "if (step == 4'd1) c <= '0;"),
    "low half of the power": ("op_ailn_row.sv", "if (step == 4'd3) c <= '0;", ""),
    "no least variance": ("op_ailn_row.sv", "if (minimum) index <= '0;", ""),
    "odd exponents": ("op_ailn_row.sv", "window[INDEX_BITS+1] ? window[INDEX_BITS+1:1] : ", ""),
    "a row starts while one is open": ("op_ailayernorm.sv", " && !(pending && wr_last)", ""),
    "the buffer runs over": ("op_ailayernorm.sv", "!(ahead[1] && wr == rd) && ", ""),
    "constants of the next row": ("op_ailn_affine.sv", "if (valid[5] && starts[5]) e6", "e6"),
    "constants too late": ("op_ailn_affine.sv", "if (valid[2] && starts[2]) v3", "if (valid[3] && starts[3]) v3"),
    "far results wrap": ("op_ailn_affine.sv", "far6 <= far5", "far6 <= 1'b0"),
    "both limits at once": ("op_ailn_affine.sv", "over8 || (!under8 && ", "over8 || ("),
    "digits without sign": ("op_ailn_affine.sv", "times ^ {HIGH_W{d[2]}}, d[2]", "times, 1'b0"),
    "a stage runs on": ("op_ailn_affine.sv", "if (advance) valid <=", "valid <="),
}
SOME = ("squares are truncated", "far results wrap", "the buffer runs over")


def found(name: str) -> bool:
    case = "ai_flat" if name == "no least variance" else "ai_loud"
    spec, rows = SPECS[case], rows_of(case)
    return refuted(rtl_unit(spec), *MUTANTS[name], rows, spec.reference(rows), stalls=(10, 30))


@pytest.mark.parametrize("name", SOME)
def test_mistakes_are_found(name: str) -> None:
    assert found(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MUTANTS) - set(SOME)))
def test_more_mistakes_are_found(name: str) -> None:
    assert found(name)


# --- synthesis -------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ai_loud", "ai_exact", "ai_3"])
def test_the_netlist_does_the_same(name: str) -> None:
    spec, rows = SPECS[name], rows_of(name)
    run = RtlSim(rtl_unit(spec), netlist=True).run(rows, stalls=(20, 30))
    assert np.array_equal(run.outputs, spec.reference(rows))


@pytest.mark.slow
@pytest.mark.parametrize(("squares", "luts", "brams"), [("paper", 450, 3), ("lut32", 450, 3), ("exact", 450, 5)])
def test_sizes(squares: str, luts: int, brams: int) -> None:
    for channels in (384, 768):
        size = resources(rtl_unit(ailayernorm(channels, 1, squares=squares)))
        assert (size.lut <= luts, size.dsp, size.bram18 <= brams) == (True, 2, True)
