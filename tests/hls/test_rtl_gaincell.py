# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of gain-cell heads gives the operator's integers, clock by clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gain_icarus import icarus, words_of
from gain_models import SPECS, random_codes, reference

from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.hls.rtl.gaincell import token_clocks, token_words, unit
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_dir, rtl_unit
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import NonIdeality

pytestmark = pytest.mark.compile

#: Those that compile in a few seconds; split tiles are in the fast tests with Icarus.
FAST = ("wraps", "levels of no power of two")
BEYOND = "fine currents"  # whose constants the unit does not take
EVERY = [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in SPECS if n != BEYOND]
TINY = GainCellSpec(2, 3, 6, 3, leak=0.05, score_saturation=12.0, context_saturation=8.0)
SPLIT = replace(TINY, tiling="absolute")


def _case(spec: GainCellSpec, tokens: int, seed: int = 7) -> tuple[Codes, Codes]:
    """Words and sums, a row a token."""
    codes = random_codes(spec, tokens, seed)
    return token_words(spec, *codes), reference(spec, *codes).reshape(tokens, -1)


@pytest.mark.parametrize("name", EVERY)
def test_tokens_equal_the_reference(name: str) -> None:
    """Without and with gaps and stalls; also how long each token takes."""
    spec, tokens = SPECS[name]
    rows, expected = _case(spec, tokens)
    sim = RtlSim(rtl_unit(spec))
    for number, stalls in enumerate(((0, 0), (60, 0), (0, 80), (30, 40))):
        run = sim.run(rows, stalls=stalls, seed=number)
        assert np.array_equal(run.outputs, expected), stalls
        if stalls == (0, 0):
            filled = np.minimum(np.arange(2, tokens + 1), spec.window)
            clocks = [token_clocks(spec, int(n)) for n in filled]
            assert np.diff(run.ends).tolist() == clocks
            assert run.first == latency(spec)
    assert len(np.unique(expected)) > 8


def latency(spec: GainCellSpec) -> int:
    """Clocks from a sequence's first word in to its first sum out, as op_gaincell.sv says."""
    rows, levels = (max(1, (n - 1).bit_length()) for n in (spec.head_dim, spec.k_levels))
    return spec.head_dim + 1 + spec.tile + 2 + rows + 4 + levels + 10


def test_sequences_in_a_row_and_the_compiled_kernel() -> None:
    """keep = 0 with a token's first word begins a sequence; with any other word it says nothing."""
    spec, _ = SPECS["wraps"]
    cells, sim = GainCellSim(spec), RtlSim(rtl_unit(spec))
    tokens = [3, 40, 1, 1, 17, 2]
    codes = [random_codes(spec, n, seed) for seed, n in enumerate(tokens)]
    expected = []
    for part in codes:
        cells.clear()
        expected.append(cells.step(*part).reshape(len(part[0]), -1))
    rows = np.concatenate([token_words(spec, *part) for part in codes])
    keep = np.random.default_rng(1).random(rows.shape) < 0.5
    keep[:, 0] = True
    keep[np.cumsum([0, *tokens[:-1]]), 0] = False
    assert np.array_equal(sim.run(rows, keep=keep, stalls=(10, 10)).outputs, np.concatenate(expected))


def test_extremes() -> None:
    """All codes at an end: the largest sums, charges and codes that there are."""
    spec, _ = SPECS["wraps"]
    sim, shape = RtlSim(rtl_unit(spec)), (40, spec.heads, spec.head_dim)
    for level in ((15, 7, 7), (15, 7, 0), (15, 0, 7), (0, 7, 7)):
        q, k, v = (np.full(shape, n) for n in level)
        expected = reference(spec, q, k, v).reshape(shape[0], -1)
        assert np.array_equal(sim.run(token_words(spec, q, k, v)).outputs, expected)
    assert reference(spec, *(np.full(shape, n) for n in (15, 7, 7))).max() == spec.tiles * spec.code_limit


# ---- Icarus: unknowns, resets, faults --------------------------------------------------------------------------------


def _in_icarus(
    folder: Path, spec: GainCellSpec, stalls: int, sources: Mapping[str, str] | None = None, lane_dsp: bool = False
) -> bool:
    """Whether 25 tokens, and 15 of a new sequence, give the reference's sums."""
    q, k, v = random_codes(spec, 40, 7)
    parts = [reference(spec, q[p], k[p], v[p]).reshape(-1, q[0].size) for p in (slice(25), slice(25, 40))]
    keep = np.arange(40) % 25 > 0
    found = icarus(folder, unit(spec, lane_dsp=lane_dsp), token_words(spec, q, k, v), keep, sources, stalls=stalls)
    return found == words_of(np.concatenate(parts))


@pytest.mark.parametrize("spec", [TINY, SPLIT])
def test_a_multiplier_for_each_lane_changes_nothing(tmp_path: Path, spec: GainCellSpec) -> None:
    assert _in_icarus(tmp_path, spec, stalls=20, lane_dsp=True)


@pytest.mark.parametrize("spec", [TINY, SPLIT])
def test_icarus_agrees_and_no_unknown_gets_through(tmp_path: Path, spec: GainCellSpec) -> None:
    assert _in_icarus(tmp_path, spec, stalls=20)


@pytest.mark.parametrize("clock", [40, 97, 151])
def test_a_reset_in_the_middle_of_the_work(tmp_path: Path, clock: int) -> None:
    """Nothing of what was there before comes out, and nothing of it counts."""
    rows, expected = _case(TINY, 12)
    assert icarus(tmp_path, unit(TINY), rows, np.ones(12, dtype=bool), reset_at=clock) == words_of(expected)


MUTANTS = {
    "ages run forwards": ("op_gaincell_cursor.sv", "age == '0 ? LAST_SLOT : age - 1'b1", "age + 1'b1"),
    "the window never wraps": ("op_gaincell_cursor.sv", "empty || wraps ? '0", "empty ? '0"),
    "an empty slot counts": ("op_gaincell_cursor.sv", "&& {{FILL_W - SLOT_W{1'b0}}, slot} < filled", ""),
    "old tokens of a split tile count twice": ("op_gaincell_cursor.sv", "scans && ahead == again", "scans"),
    "the heads share a window": ("op_gaincell_cursor.sv", ": base + NEXT_HEAD", ": base"),
    "q a clock too early": ("op_gaincell.sv", "if (taken) begin", "if (take) begin"),
    "values a clock too late": ("op_gaincell.sv", ".LENGTH(TO_PULSE - 1)", ".LENGTH(TO_PULSE)"),
    "clear is not seen": ("op_gaincell.sv", "clear <= !s_tuser[USER_W-1]", "clear <= 1'b0"),
    "no rounding of a pulse": ("op_gaincell_score.sv", "(scaled + HALF)", "scaled"),
    "no limit of a tile": ("op_gaincell_context.sv", "if (tile_charge < -TOP)", "if (1'b0)"),
    "tiles are not taken apart": ("op_gaincell_context.sv", "(fresh ? '0 : earlier[lanes[0]])", "'0"),
    "the first tile counts for the next head": ("op_gaincell_context.sv", "firsts[4] ? '0", "1'b0 ? '0"),
    "no room asked for": ("op_gaincell.sv", "full && !busy && room", "full && !busy"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_faults_are_found(name: str, tmp_path: Path) -> None:
    file, old, new = MUTANTS[name]
    text = (rtl_dir() / file).read_text()
    assert text.count(old) == 1
    mutant = {file: text.replace(old, new)}
    assert not (_in_icarus(tmp_path, TINY, 75, mutant) and _in_icarus(tmp_path, SPLIT, 75, mutant))


# ---- gates -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "lane_dsp"), [(SPECS["wraps"][0], False), (SPLIT, False), (SPLIT, True)])
def test_the_netlist_gives_the_same(spec: GainCellSpec, lane_dsp: bool) -> None:
    """Also where scores are scaled by a factor, before which Yosys takes the last adder into the DSP."""
    rows, expected = _case(spec, 100)
    sim = RtlSim(unit(spec, lane_dsp=lane_dsp), netlist=True)
    for stalls in ((0, 0), (30, 60)):
        assert np.array_equal(sim.run(rows, stalls=stalls).outputs, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("lane_dsp", "lut", "dsp"), [(False, 11_000, 17), (True, 6_700, 73)])
def test_size_of_the_head_of_the_paper(lane_dsp: bool, lut: int, dsp: int) -> None:
    """A head of 64 lanes and 1024 slots, synthesised whole."""
    found = resources(unit(GainCellSpec(), lane_dsp=lane_dsp))
    assert found.lut <= lut
    assert found.dsp == dsp
    assert found.bram18 <= 26
    assert found.ff <= 8_000


# ---- what there is no unit for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(TINY, nonideal=NonIdeality(read_noise=0.1)), "noise or spread"),
        (replace(TINY, k_levels=64), "levels at most"),
        (GainCellSpec(1, 512, 64, 64), "head_dim to 256"),
        (SPECS[BEYOND][0], "at most 31 bits"),
    ],
)
def test_refusals(spec: GainCellSpec, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        rtl_unit(spec)
