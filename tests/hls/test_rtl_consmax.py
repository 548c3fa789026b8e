# SPDX-License-Identifier: Apache-2.0
"""The streaming units of ConSmax: every code, every head, under back pressure, and wrong where they are made wrong."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rtl_checks import icarus, lint, refuted

from hls4attn.hls.rtl.consmax import narrow_shifts
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec

DIRECT = {
    "one head": ConSmaxSpec(Fixed(8, 4), (1.5,), (100.0,), (0.5,), (11,)),
    "three heads on a grid": ConSmaxSpec(
        Fixed(6, 3), (0.5, 1.5, 2.5), (20.0, 100.0, 1.0), (0.7, 1.0, 0.2), (4, 9, 6), out_width=7
    ),
    "12 bits to 16": ConSmaxSpec(Fixed(12, 8), (2.0,), (50.0,), (1.0,), (14,), out_width=16),
    "2 bits to 2": ConSmaxSpec(Fixed(2, 0), (0.0, 0.1), (1.0, 2.0), (1.0, 0.5), (1, 1), out_width=2),
}
SPLIT = {
    "one head": ConSmaxSplitSpec(Fixed(8, 4), (1.5,), (100.0,), (0.5,), (11,)),
    "saturating": ConSmaxSplitSpec(Fixed(8, 2), (0.0,), (1.0,), (1.0,), (4,)),
    "three heads on a grid": ConSmaxSplitSpec(
        Fixed(8, 3), (0.5, 1.5, 2.5), (20.0, 100.0, 1.0), (0.7, 1.0, 0.2), (4, 9, 6), mantissa_bits=11
    ),
    "16 bits": ConSmaxSplitSpec(Fixed(16, 11), (1.5, 0.5), (100.0, 10.0), (0.5, 0.25), (12, 10)),
    "16 bits to 16": ConSmaxSplitSpec(Fixed(16, 11), (1.5,), (100.0,), (0.5,), (20,), out_width=16, mantissa_bits=15),
}
CASES = [*(("direct", name) for name in DIRECT), *(("split", name) for name in SPLIT)]


def spec_of(case: tuple[str, str]) -> ConSmaxSpec:
    return (DIRECT if case[0] == "direct" else SPLIT)[case[1]]


@cache
def sim_of(case: tuple[str, str]) -> RtlSim:
    return RtlSim(rtl_unit(spec_of(case)))


def expected(spec: ConSmaxSpec, rows: Codes, heads: Codes, keep: np.ndarray) -> Codes:
    every = spec.reference(np.broadcast_to(rows[:, None, None, :], (len(rows), spec.heads, 1, rows.shape[1])))
    return every[np.arange(len(rows)), heads, 0] * keep


def every_code(spec: ConSmaxSpec) -> tuple[Codes, Codes]:
    """Each code for each head, in rows of up to 256."""
    codes = np.arange(spec.in_format.min, spec.in_format.max + 1).reshape(-1, min(256, 1 << spec.in_format.width))
    return np.tile(codes, (spec.heads, 1)), np.repeat(np.arange(spec.heads), len(codes))


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_every_code_of_every_head(case: tuple[str, str]) -> None:
    spec = spec_of(case)
    rows, heads = every_code(spec)
    want = expected(spec, rows, heads, np.ones(rows.shape, dtype=bool))
    run = sim_of(case).run(rows, heads)
    assert np.array_equal(run.outputs, want)
    assert len(np.unique(want)) > 2
    latency = 1 if case[0] == "direct" else 3 + spec.in_format.width // 8
    assert (run.first, run.cycles) == (latency, rows.size + latency)
    assert np.array_equal(run.ends - run.starts, np.full(len(rows), rows.shape[1] + latency))


def test_a_symmetric_format_gives_up_one_word_of_a_table() -> None:
    """Words are found by the bits of a code, and none of them by those of the lowest code, which does not occur."""
    spec = ConSmaxSpec(Fixed(6, 3, overflow="saturate_symmetric"), (0.5, 1.5), (20.0, 10.0), (0.7, 1.0), (4, 9))
    words = rtl_unit(spec).roms["TABLE"].words.reshape(spec.heads, 64)
    codes = np.arange(-31, 32)
    want = spec.reference(np.broadcast_to(codes, (spec.heads, 1, 63)))[:, 0]
    assert np.array_equal(words[:, codes & 63], want)


@pytest.mark.parametrize("stalls", [(0, 50), (50, 0), (40, 60), (90, 90)])
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_rows_of_any_length_with_gaps_stalls_and_masks(case: tuple[str, str], stalls: tuple[int, int]) -> None:
    spec = spec_of(case)
    rng = np.random.default_rng(sum(stalls))
    rows = rng.integers(spec.in_format.min, spec.in_format.max + 1, (60, 70))
    heads, keep = rng.integers(0, spec.heads, 60), rng.random(rows.shape) < 0.7
    lengths = np.where(rng.random(60) < 0.3, 1, rng.integers(1, 71, 60))
    run = sim_of(case).run(rows, heads, keep, stalls, seed=3, lengths=lengths)
    want = expected(spec, rows, heads, keep) * (np.arange(70) < lengths[:, None])
    assert np.array_equal(run.outputs, want[:, : lengths.max()])


@pytest.mark.parametrize("case", [CASES[1], CASES[6]], ids=" ".join)
def test_another_simulator_agrees(tmp_path: Path, case: tuple[str, str]) -> None:
    spec = spec_of(case)
    rows, heads = every_code(spec)
    keep = np.random.default_rng(2).random(rows.shape) < 0.8
    packets = icarus(tmp_path, rtl_unit(spec), rows, heads, keep, stall=40)
    assert np.array_equal(packets, expected(spec, rows, heads, keep))


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_linters_have_nothing_to_say(tmp_path: Path, case: tuple[str, str]) -> None:
    unit = rtl_unit(spec_of(case))
    assert lint(tmp_path, unit) == ""
    text = next(iter(unit.sources().values()))
    assert "s_tvalid" in lint(
        tmp_path, unit, {unit.files[0]: text.replace("input wire s_tvalid", "input wire valid_s")}
    )


MUTANTS = {
    "a masked element counts": ("direct", "op_consmax.sv", "if (!keep) p", "if (1'b0) p"),
    "stages run on": ("direct", "op_consmax.sv", "if (run) begin", "begin"),
    "a word is lost at a stall": ("direct", "op_hold.sv", "free <= m_ready || (free && !v)", "free <= 1'b1"),
    "a path from m_tready": ("direct", "op_hold.sv", "assign run = free;", "assign run = free || m_ready;"),
    "another head": ("direct", "op_consmax.sv", "{s_tuser[USER_W-2:0], s_tdata}", "{~s_tuser[USER_W-2:0], s_tdata}"),
    "rounds down": ("split", "op_consmax_split.sv", "{{(REST_W-1){1'b0}}, rest[0]}", "'0"),
    "wraps": ("split", "op_consmax_split.sv", "|rounded[REST_W-1:CODE_W] ? '1 :", ""),
    "a negative shift does not saturate": ("split", "op_consmax_split.sv", "if (sum[SUM_W-1]) rest", "if (1'b0) rest"),
    "TLAST is late": ("split", "op_consmax_split.sv", ".d({last[DEPTH], p})", ".d({last[DEPTH-1], p})"),
    "another word's head": (
        "split",
        "op_consmax_split.sv",
        "head[(DEPTH-1)*HEAD_W +: HEAD_W]",
        "head[(DEPTH-2)*HEAD_W +: HEAD_W]",
    ),
}
FEW = ("a masked element counts", "a word is lost at a stall", "rounds down", "TLAST is late")


def found(name: str) -> bool:
    kind, file, right, wrong = MUTANTS[name]
    spec = spec_of((kind, "three heads on a grid" if "negative" not in name and name != "wraps" else "saturating"))
    rng = np.random.default_rng(1)
    rows = rng.integers(spec.in_format.min, spec.in_format.max + 1, (40, 50))
    heads, keep = np.arange(40) % spec.heads, rng.random(rows.shape) < 0.8
    want = expected(spec, rows, heads, keep)
    return refuted(rtl_unit(spec), file, right, wrong, rows, want, heads=heads, keep=keep)


@pytest.mark.parametrize("name", FEW)
def test_mistakes_are_found(name: str) -> None:
    assert found(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MUTANTS) - set(FEW)))
def test_more_mistakes_are_found(name: str) -> None:
    assert found(name)


def test_shifts_keep_their_meaning_in_fewer_bits() -> None:
    rng = np.random.default_rng(0)
    shift = rng.integers(-30, 60, (2, 3, 16))
    narrow = narrow_shifts(shift, base=7, zero=10)
    right = shift[0][:, None, :] + shift[1][:, :, None] - 7
    made = narrow[0][:, None, :] + narrow[1][:, :, None]
    inside = (right >= 0) & (right < 10)
    assert inside.any()
    assert np.array_equal(made[inside], right[inside])
    assert (made[right < 0] < 0).all()
    assert (made[right >= 10] >= 10).all()
    assert narrow[0].min() == 0


# --- synthesis -------------------------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_netlist_does_the_same(case: tuple[str, str]) -> None:
    spec = spec_of(case)
    rows, heads = every_code(spec)
    keep = np.random.default_rng(4).random(rows.shape) < 0.9
    run = RtlSim(rtl_unit(spec), netlist=True).run(rows, heads, keep, (30, 30))
    assert np.array_equal(run.outputs, expected(spec, rows, heads, keep))


@pytest.mark.slow
def test_sizes() -> None:
    """Marks without handshake: 40 LUTs and 18 flip-flops for a direct table; 119 LUTs and a DSP for split ones.

    The spare word that a registered ``s_tready`` takes is 9 bits more, and its multiplexer about 9 LUTs; TLAST is 2
    flip-flops.
    """
    direct = resources(rtl_unit(DIRECT["one head"]))
    split = resources(rtl_unit(SPLIT["one head"]))
    assert direct.lut + direct.lutram <= 42
    assert (direct.ff, direct.dsp, direct.bram18) == (20, 0, 0)
    assert split.lut + split.lutram <= 70
    assert (split.ff <= 62, split.dsp, split.bram18) == (True, 1, 0)
    assert resources(rtl_unit(SPLIT["one head"]), dsp=False).dsp == 0
