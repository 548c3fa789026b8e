# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of E2Softmax, in two passes and online, against the reference, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import SimulationError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import E2SoftmaxSpec
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER
from tests.hls.hls_sole import SOFTMAX
from tests.hls.rtl_checks import Kept, icarus, lint, refuted

PAPER = E2SoftmaxSpec(Fixed(8, 4), (1.0,))
TWO_PASS = replace(PAPER, score_scale=(1.0, 0.5))
ONLINE = replace(PAPER, score_scale=(0.35, 1.7), log2e="folded", divider=FOUR_WAY_DIVIDER, slice_length=5)
STALLS = [(0, 0), (40, 30)]


@cache
def sim(spec: E2SoftmaxSpec, row_max: int, netlist: bool = False) -> RtlSim:
    return RtlSim(rtl_unit(spec, row_max), netlist=netlist)


def reference(spec: E2SoftmaxSpec, rows: Codes, heads: Codes, keep: Kept, lengths: Codes) -> Codes:
    """Codes of rows of several heads and lengths; what lies behind the end of a row is zero."""
    out = np.zeros_like(rows)
    for n, head in product(np.unique(lengths), range(spec.heads)):
        (these,) = np.nonzero((lengths == n) & (heads == head))
        if these.size:
            shape = (spec.heads, these.size, n)
            out[these, :n] = spec.reference(
                np.broadcast_to(rows[these, :n], shape), np.broadcast_to(keep[these, :n], shape)
            )[head]
    return out


def drawn(spec: E2SoftmaxSpec, longest: int, count: int, seed: int) -> tuple[Codes, Codes, Kept, Codes]:
    """Rows of all lengths, narrow and wide ones and the extremes; masks leave at least one element."""
    rng = np.random.default_rng(seed)
    low, high = spec.in_format.min, spec.in_format.max
    spread = rng.choice([0, 2, 8, 32, 128, 4096], (count, 1))
    middle = rng.integers(low, high + 1, (count, 1))
    rows = np.clip(middle + rng.integers(-spread, spread + 1, (count, longest)), low, high)
    rows[: count // 10] = rng.choice([low, high], (count // 10, longest))
    lengths = np.where(rng.random(count) < 0.3, longest, rng.integers(1, longest + 1, count))
    short = min(count // 2, longest)
    lengths[:short] = np.arange(1, short + 1)
    lengths[-1] = longest
    heads = rng.integers(0, spec.heads, count)
    keep = rng.random((count, longest)) < rng.choice([0.05, 0.5, 1.0], (count, 1))
    keep[np.arange(count), rng.integers(0, lengths)] = True
    order = rng.permutation(count)
    return rows[order], heads[order], keep[order], lengths[order]


def check(spec: E2SoftmaxSpec, longest: int, count: int, netlist: bool = False) -> None:
    rows, heads, keep, lengths = drawn(spec, longest, count, seed=count)
    expected = reference(spec, rows, heads, keep, lengths)
    assert len(np.unique(expected)) > 1 or longest == 1
    for seed, stalls in enumerate(STALLS):
        run = sim(spec, longest, netlist).run(rows, heads, keep, stalls, seed, lengths)
        np.testing.assert_array_equal(run.outputs, expected, err_msg=f"stalls {stalls}")


def test_two_passes_are_the_reference() -> None:
    check(TWO_PASS, 1024, 200)


def test_slices_are_the_reference() -> None:
    check(ONLINE, 40, 2000)


@pytest.mark.parametrize("head", [0, 1])
def test_every_pair_of_codes(head: int) -> None:
    codes = np.arange(-128, 128)
    rows = np.stack(np.meshgrid(codes, codes), axis=-1).reshape(-1, 2)
    run = sim(TWO_PASS, 1024).run(rows, heads=np.full(len(rows), head))
    expected = TWO_PASS.reference(np.broadcast_to(rows, (2, *rows.shape)))[head]
    np.testing.assert_array_equal(run.outputs, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 511, 1024])
def test_cycles_of_two_passes(n: int) -> None:
    rows = np.zeros((100, n), dtype=np.int64)
    unit = sim(TWO_PASS, 1024)
    assert unit.run(rows[:1]).cycles == 3 * n + 10
    run = unit.run(rows)
    assert set(np.diff(run.ends)[10:]) == {n + 2 if n == 1024 else n}
    assert run.cycles <= 100 * (n + 2) + 2 * n + 10


@pytest.mark.parametrize("n", [1, 4, 5, 6, 23, 40])
def test_cycles_of_slices(n: int) -> None:
    rows = np.zeros((100, n), dtype=np.int64)
    unit = sim(ONLINE, 40)
    assert unit.run(rows[:1]).cycles == 2 * n + min(n, 5) + 13
    assert unit.run(rows).cycles == 101 * n + min(n, 5) + 13


def test_a_row_that_is_too_long_never_ends() -> None:
    with pytest.raises(SimulationError, match="op_e2softmax"):
        sim(ONLINE, 40).run(np.zeros((1, 65), dtype=np.int64), patience=500)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("op_log2exp.sv", "shifted[0]}", "1'b0}"),  # no rounding
        ("op_e2softmax.sv", "k_keep, {SUM_FRAC", "1'b1, {SUM_FRAC"),  # masked elements counted
        ("op_rowbuf.sv", "read != complete", "read != write"),  # rows that come out before their end
        pytest.param("op_rowbuf.sv", "!ring_full &&", "", marks=pytest.mark.slow),
        pytest.param("op_e2softmax.sv", "sum >> rise", "sum", marks=pytest.mark.slow),
        pytest.param("op_e2softmax.sv", "both[CODE_W] ?", "1'b0 ?", marks=pytest.mark.slow),
        pytest.param("op_e2softmax.sv", "s_tlast ? '0 : risen", "risen", marks=pytest.mark.slow),
        pytest.param("op_e2softmax.sv", "!index_keep", "1'b0", marks=pytest.mark.slow),
        pytest.param("op_e2softmax.sv", "assign slice_end = s_tlast || full_slice",
                     "assign slice_end = s_tlast", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_mutants_are_refuted(file: str, right: str, wrong: str) -> None:
    rows, heads, keep, lengths = drawn(ONLINE, 40, 300, seed=5)
    expected = reference(ONLINE, rows, heads, keep, lengths)
    unit = rtl_unit(ONLINE, 40)
    assert refuted(unit, file, right, wrong, rows, expected, heads=heads, keep=keep, lengths=lengths)


@pytest.mark.parametrize("spec", [TWO_PASS, ONLINE], ids=["two_passes", "online"])
def test_icarus_agrees(spec: E2SoftmaxSpec, tmp_path: Path) -> None:
    rows, heads, keep, _ = drawn(spec, 13, 20, seed=2)
    keep[:, -1] = True
    expected = reference(spec, rows, heads, keep, np.full(20, 13))
    found = icarus(tmp_path, rtl_unit(spec, 13), rows, heads, keep, stall=30)
    np.testing.assert_array_equal(np.array(found), expected)


@pytest.mark.parametrize("row_max", [1, 7, 1024])
@pytest.mark.parametrize("spec", [PAPER, TWO_PASS, ONLINE, replace(PAPER, slice_length=1)])
def test_linters_are_silent(spec: E2SoftmaxSpec, row_max: int, tmp_path: Path) -> None:
    assert lint(tmp_path, rtl_unit(spec, row_max)) == ""


def test_a_slice_as_long_as_the_row_is_two_passes() -> None:
    assert rtl_unit(replace(PAPER, slice_length=32), 32).parameters["SLICE"] == 0
    assert rtl_unit(replace(PAPER, slice_length=32), 33).parameters["SLICE"] == 32
    assert rtl_unit(replace(PAPER, max_length=50), 1024).row_max == 50


def test_tables_only_where_heads_differ() -> None:
    assert set(rtl_unit(replace(PAPER, score_scale=(0.5, 0.5))).roms) == {"CODE_FILE"}
    assert set(rtl_unit(TWO_PASS).roms) == {"CODE_FILE", "HEAD_FILE"}


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "cols"), [(c[1], c[3]) for c in SOFTMAX], ids=[c[0] for c in SOFTMAX])
def test_every_option(spec: E2SoftmaxSpec, cols: int) -> None:
    check(replace(spec, causal=False), cols, 400)


@pytest.mark.slow
def test_a_causal_mask_is_the_stream_s_keep() -> None:
    spec = replace(ONLINE, causal=True)
    rows = np.random.default_rng(0).integers(-128, 128, (2, 40, 40))
    run = sim(spec, 40).run(
        rows.reshape(80, 40), heads=np.repeat([0, 1], 40), keep=np.tile(np.tri(40, dtype=bool), (2, 1))
    )
    np.testing.assert_array_equal(run.outputs.reshape(2, 40, 40), spec.reference(rows))


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [TWO_PASS, ONLINE, replace(PAPER, out_width=16, out_frac=16), replace(PAPER, score_scale=(0.35,), log2e="folded")],
    ids=["two_passes", "online", "sixteen_bits", "folded"],
)
def test_netlist(spec: E2SoftmaxSpec) -> None:
    check(spec, 24, 400, netlist=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "marks"),
    [(replace(PAPER, out_width=16, out_frac=16), (210, 27, 207, 0, 2)), (ONLINE, (330, 80, 270, 3, 2))],
    ids=["two_passes", "online"],
)
def test_size_is_within_the_marks(spec: E2SoftmaxSpec, marks: tuple[int, ...]) -> None:
    size = resources(rtl_unit(spec))
    found = (size.lut, size.lutram, size.ff, size.dsp, size.bram18)
    assert all(a <= b for a, b in zip(found, marks, strict=True)), size
