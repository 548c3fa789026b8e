# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of the exact softmax: rows of any length, masks, heads, back pressure, its clocks and its size."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rtl_checks import icarus, lint, refuted

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.softmax import row_interval, row_latency
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import SoftmaxSpec

SPECS = {
    "one head": (SoftmaxSpec(Fixed(8, 4), (0.35,)), 100),
    "three heads": (SoftmaxSpec(Fixed(6, 2), (0.3, 0.5, 0.8), out_width=16, out_frac=14, guard=5), 33),
    "smallest": (SoftmaxSpec(Fixed(2, 0), (0.3,), out_width=4, out_frac=2, guard=0, exp_frac=4), 5),
    "wide sums": (SoftmaxSpec(Fixed(8, 4), (0.3, 0.4), out_frac=12, guard=6, exp_frac=20), 70),
    "largest": (SoftmaxSpec(Fixed(12, 8), (0.3, 0.4), out_frac=12, guard=6, exp_frac=20), 70),
}
#: In gates, tables of 12-bit codes take minutes to compile.
NETLISTS = [name for name in SPECS if name != "largest"]


@cache
def sim_of(name: str) -> RtlSim:
    return RtlSim(rtl_unit(*SPECS[name]))


def expected(spec: SoftmaxSpec, rows: Codes, heads: Codes, keep: np.ndarray, lengths: Codes) -> Codes:
    """The reference, row by row: a masked score is one that the row does not have."""
    out = np.zeros_like(rows)
    for row, head, kept, n, result in zip(rows, heads, keep, lengths, out, strict=True):
        places = np.flatnonzero(kept[:n])
        every = spec.reference(np.broadcast_to(row[places], (spec.heads, 1, len(places))))
        result[places] = every[head, 0]
    return out


def batch(spec: SoftmaxSpec, longest: int, rows: int, seed: int) -> tuple[Codes, Codes, np.ndarray, Codes]:
    """Codes, heads, masks and lengths: short rows behind each other, narrow and wide ones, and extremes."""
    rng = np.random.default_rng(seed)
    low, high = spec.in_format.min, spec.in_format.max
    codes = rng.integers(low, high + 1, (rows, longest))
    codes[::4] = np.clip(np.rint(rng.normal(0, 3, codes[::4].shape)), low, high)
    codes[1:3] = np.array([[low], [high]])
    lengths = rng.integers(1, longest + 1, rows)
    lengths[: rows // 3] = rng.integers(1, 4, rows // 3)
    keep = rng.random(codes.shape) < np.where(rng.random(rows) < 0.5, 0.3, 1.0)[:, None]
    keep[np.arange(rows), rng.integers(0, lengths)] = True
    return codes, rng.integers(0, spec.heads, rows), keep, lengths


@pytest.mark.parametrize("stalls", [(0, 0), (0, 60), (50, 0), (40, 40), (5, 95)])
@pytest.mark.parametrize("name", SPECS)
def test_rows_with_masks_gaps_and_stalls(name: str, stalls: tuple[int, int]) -> None:
    spec, longest = SPECS[name]
    codes, heads, keep, lengths = batch(spec, longest, 90, sum(stalls))
    run = sim_of(name).run(codes, heads, keep, stalls, seed=5, lengths=lengths)
    assert np.array_equal(run.outputs, expected(spec, codes, heads, keep, lengths)[:, : lengths.max()])


@pytest.mark.parametrize("name", SPECS)
def test_clocks(name: str) -> None:
    spec, longest = SPECS[name]
    for length in sorted({1, 2, 5, min(14, longest), longest}):
        rows = np.arange(41 * length).reshape(41, length) % (spec.in_format.max + 1)
        one, many = (sim_of(name).run(part).cycles for part in (rows[:1], rows))
        assert one == row_latency(spec, length)
        assert many - one == 40 * row_interval(spec, length)


def test_another_simulator_agrees(tmp_path: Path) -> None:
    spec, longest = SPECS["three heads"]
    codes, heads, keep, _ = batch(spec, longest, 12, 3)
    packets = icarus(tmp_path, rtl_unit(spec, longest), codes, heads, keep, stall=40)
    assert np.array_equal(packets, expected(spec, codes, heads, keep, np.full(12, longest)))


@pytest.mark.parametrize("name", SPECS)
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    unit = rtl_unit(*SPECS[name])
    assert lint(tmp_path, unit) == ""
    text = next(iter(unit.sources().values()))
    assert "place" in lint(tmp_path, unit, {unit.files[0]: text.replace("place + 1'b1", "place + 9'd1")})


MUTANTS = {
    "a masked score is the maximum": ("else if (take && keep && higher)", "else if (take && higher)"),
    "a masked score counts": ("if (!keep_4)", "if (1'b0)"),
    "rounds the reciprocal down": ("quotient + {{(RATIO_W - 1){1'b0}}, !negative};", "quotient;"),
    "the divider meets the next row": (" && !pacing\n", "\n"),
    "overtakes the third pass": ("issued[0]} || moving)", "issued[0]} || 1'b1)"),
    "gives the bank back early": ("if (out_valid[3] && out_last[3])", "if (out_go && out_end)"),
    "wraps": ("if (over)", "if (1'b0)"),
    "the next row's head": ("out_head_2 <= out_head_1", "out_head_2 <= sum_head[issued[0]]"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_found(name: str) -> None:
    spec, longest = SPECS["one head" if name == "wraps" else "three heads"]
    codes, heads, keep, lengths = batch(spec, longest, 150, 8)
    if name == "wraps":
        keep[:] = np.arange(longest) == 0
    want = expected(spec, codes, heads, keep, lengths)[:, : lengths.max()]
    found = [
        refuted(
            rtl_unit(spec, longest),
            "op_softmax.sv",
            *MUTANTS[name],
            codes,
            want,
            stalls,
            heads=heads,
            keep=keep,
            lengths=lengths,
        )
        for stalls in ((0, 0), (0, 60), (5, 95))
    ]
    assert any(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETLISTS)
def test_the_netlist_does_the_same(name: str) -> None:
    spec, longest = SPECS[name]
    codes, heads, keep, lengths = batch(spec, longest, 90, 4)
    run = RtlSim(rtl_unit(spec, longest), netlist=True).run(codes, heads, keep, (30, 30), lengths=lengths)
    assert np.array_equal(run.outputs, expected(spec, codes, heads, keep, lengths)[:, : lengths.max()])


@pytest.mark.slow
def test_size() -> None:
    """Mark: 311 LUTs, 54 LUTs as memory, 265 flip-flops, a DSP and 4 block RAMs, with a reciprocal from a table."""
    size = resources(rtl_unit(SPECS["one head"][0], 1024))
    assert size.lut <= 150
    assert size.lutram <= 54
    assert size.ff <= 250
    assert (size.dsp, size.bram18) == (1, 3)
