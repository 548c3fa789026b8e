# SPDX-License-Identifier: Apache-2.0
"""The units that ours are compared with: hls4ml's own C++ agrees, and they stand what every streaming unit stands."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from rtl_checks import icarus, lint, refuted

from hls4attn.hls.compiler import ap_types_dir, find_compiler
from hls4attn.hls.rtl.baselines import TableSoftmax, online_reference, online_unit, table_unit
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import SoftmaxSpec

TABLES = {
    "as generated": (TableSoftmax(Fixed(8, 4), 0.35), 40),
    "no wrap": (TableSoftmax(Fixed(8, 4), 0.35, norm_width=8), 200),
    "six bits": (TableSoftmax(Fixed(6, 2), 0.5, out_width=12, out_frac=11), 33),
}
ONLINE = {
    "8 bits": (SoftmaxSpec(Fixed(8, 4), (0.35,)), 100),
    "smallest": (SoftmaxSpec(Fixed(2, 0), (0.3,), out_width=4, out_frac=2, guard=0, exp_frac=4), 5),
    "wide sums": (SoftmaxSpec(Fixed(8, 4), (0.3,), out_frac=12, guard=6, exp_frac=20), 70),
    "largest": (SoftmaxSpec(Fixed(12, 8), (0.3,), out_frac=12, guard=6, exp_frac=20), 70),
}
#: In gates, a table of 12-bit codes takes minutes to compile.
NETLISTS = [name for name in (*TABLES, *ONLINE) if name != "largest"]
STALLS = [(0, 0), (0, 60), (50, 0), (40, 40), (5, 95)]

HLS4ML = """#include "nnet_utils/nnet_activation.h"
#include <cstdio>
typedef ap_fixed<{width}, {integer}> data_t;
typedef ap_ufixed<{out}, {out_integer}, AP_RND, AP_SAT> res_t;
typedef ap_fixed<18, 8, AP_RND, AP_SAT> table_type;
struct config {{
    static const unsigned n_in = {n}, n_slice = {n}, n_outer = 1, n_inner = 1;
    static const unsigned exp_table_size = {size}, inv_table_size = 1024;
    static constexpr float exp_scale = {scale}f;
    typedef table_type exp_table_t; typedef table_type inv_table_t; typedef table_type accum_t;
    typedef table_type inv_inp_t; typedef ap_ufixed<{norm}, {norm_integer}> inp_norm_t;
}};
int main() {{
    data_t x[{n}]; res_t p[{n}]; int code;
    while (true) {{
        for (int i = 0; i < {n}; i++) {{
            if (std::scanf("%d", &code) != 1) return 0;
            x[i].range() = code;
        }}
        nnet::softmax_stable<data_t, res_t, config>(x, p);
        for (int i = 0; i < {n}; i++) std::printf("%u\\n", unsigned(p[i].range()));
    }}
}}
"""


def unit_of(name: str) -> RtlUnit:
    return table_unit(*TABLES[name]) if name in TABLES else online_unit(*ONLINE[name])


def batch(name: str, rows: int, seed: int) -> tuple[Codes, np.ndarray, Codes, Codes]:
    """Codes, masks, lengths and results: short rows behind each other, narrow and wide ones, and extremes."""
    spec, longest = (TABLES | ONLINE)[name]
    rng = np.random.default_rng(seed)
    low, high = spec.in_format.min, spec.in_format.max
    codes = rng.integers(low, high + 1, (rows, longest))
    codes[::4] = np.clip(np.rint(rng.normal(0, 3, codes[::4].shape)), low, high)
    codes[1:3] = np.array([[low], [high]])
    codes[3] = np.linspace(low, high, longest).astype(int)  # a new maximum at almost every element
    lengths = rng.integers(1, longest + 1, rows)
    lengths[: rows // 3] = rng.integers(1, 4, rows // 3)
    lengths[3] = longest
    keep = rng.random(codes.shape) < np.where(rng.random(rows) < 0.5, 0.3, 1.0)[:, None]
    keep[np.arange(rows), rng.integers(0, lengths)] = True
    want = np.zeros_like(codes)
    for row, kept, n, result in zip(codes, keep, lengths, want, strict=True):
        if isinstance(spec, TableSoftmax):
            result[:n] = spec.reference(row[:n])
        else:
            result[:n] = online_reference(spec, row[None, :n], kept[None, :n])[0]
    return codes, keep, lengths, want[:, : lengths.max()]


@pytest.mark.compile
@pytest.mark.parametrize("name", TABLES)
def test_hls4ml_itself_gives_the_same(name: str, tmp_path: Path) -> None:
    spec, n = TABLES[name]
    rows = batch(name, 60, 1)[0][:, :n]
    integer = spec.in_format.width - spec.in_format.frac
    numbers = {
        "width": spec.in_format.width,
        "integer": integer,
        "out": spec.out_width,
        "out_integer": spec.out_width - spec.out_frac,
        "n": n,
        "size": 1 << spec.distance_bits,
        "scale": spec.score_scale,
        "norm": spec.distance_bits,
        "norm_integer": spec.distance_bits - spec.in_format.frac,
    }
    (tmp_path / "main.cpp").write_text(HLS4ML.format(**numbers))
    folders = [f"-I{ap_types_dir()}", f"-I{ap_types_dir().parent}"]
    command = [*find_compiler(), "-std=c++14", "-O1", "-w", *folders, "main.cpp", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    text = " ".join(map(str, rows.ravel()))
    done = subprocess.run([tmp_path / "main"], input=text, capture_output=True, text=True, check=True)
    assert np.array_equal(np.array(done.stdout.split(), dtype=int).reshape(rows.shape), spec.reference(rows))


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("name", [*TABLES, *ONLINE])
def test_rows_with_gaps_and_stalls(name: str, stalls: tuple[int, int]) -> None:
    codes, keep, lengths, want = batch(name, 90, sum(stalls))
    run = RtlSim(unit_of(name)).run(codes, keep=keep, stalls=stalls, seed=5, lengths=lengths)
    assert np.array_equal(run.outputs, want)


def test_an_element_a_clock() -> None:
    for name, extra in (("no wrap", 1), ("8 bits", 1)):
        n = unit_of(name).row_max
        rows = np.arange(21 * n).reshape(21, n) % 100
        sim = RtlSim(unit_of(name))
        one, many = (sim.run(part).cycles for part in (rows[:1], rows))
        assert many - one <= 20 * (n + extra)


def test_the_online_sum_is_near_the_exact_one() -> None:
    spec = ONLINE["8 bits"][0]
    rows = np.clip(np.rint(np.random.default_rng(0).normal(0, 24, (200, 100))), -128, 127).astype(int)
    error = online_reference(spec, rows) - spec.reference(rows[:, None, None])[:, 0, 0]
    assert np.abs(error).max() <= 1


def test_wide_rows_wrap_as_in_hls4ml() -> None:
    spec, row = TABLES["as generated"][0], np.array([[127, -1, -2]])  # 128 and 129 from the maximum: 0 and 1
    wrapped, right = spec.reference(row)[0], TABLES["no wrap"][0].reference(row)[0]
    assert wrapped[1] == wrapped[0]
    assert right[1] < right[0] / 4


@pytest.mark.parametrize("name", ["as generated", "8 bits"])
def test_another_simulator_agrees(tmp_path: Path, name: str) -> None:
    codes, keep, _, _ = batch(name, 12, 3)
    spec = (TABLES | ONLINE)[name][0]
    want = spec.reference(codes) if isinstance(spec, TableSoftmax) else online_reference(spec, codes, keep)
    assert np.array_equal(icarus(tmp_path, unit_of(name), codes, keep=keep, stall=40), want)


@pytest.mark.parametrize("name", [*TABLES, *ONLINE])
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    assert lint(tmp_path, unit_of(name)) == ""


MUTANTS = {
    "the sum wraps": ("no wrap", "wide[SUM_W] ? '1 : wide", "wide"),
    "a row keeps the last one's sum": ("no wrap", "starts ? '0 : sum", "sum"),
    "rounds down": ("no wrap", "product + HALF", "product"),
    "no rescaling": ("8 bits", "up_3 ? scaled[SUM_W+EXP_FRAC-1:EXP_FRAC] : carried", "carried"),
    "a masked score is the maximum": ("8 bits", "keep && score > top", "score > top"),
    "one row too many": ("8 bits", "\n    && taken[1:0] != {!divided[1], divided[0]};", ";"),
    "the reciprocal is not rounded": ("8 bits", "<= quotient + {{(RATIO_W - 1) {1'b0}}, !negative};", "<= quotient;"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_found(name: str) -> None:
    case, right, wrong = MUTANTS[name]
    codes, keep, lengths, want = batch(case, 150, 8)
    if name == "the sum wraps":
        codes, lengths = np.zeros_like(codes), np.full(150, codes.shape[1])
        want = TABLES[case][0].reference(codes)
    unit = unit_of(case)
    assert refuted(unit, unit.files[0], right, wrong, codes, want, (0, 40), keep=keep, lengths=lengths)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETLISTS)
def test_the_netlist_does_the_same(name: str) -> None:
    codes, keep, lengths, want = batch(name, 90, 4)
    run = RtlSim(unit_of(name), netlist=True).run(codes, keep=keep, stalls=(30, 30), lengths=lengths)
    assert np.array_equal(run.outputs, want)


def test_what_they_refuse() -> None:
    with pytest.raises(SpecError, match="2 to 10 bits"):
        TableSoftmax(Fixed(12, 4), 1.0)
    with pytest.raises(SpecError, match="norm_width must be 0, 7 or 8"):
        TableSoftmax(Fixed(8, 4), 1.0, norm_width=9)
    with pytest.raises(UnsupportedError, match="Received: 2"):
        online_unit(SoftmaxSpec(Fixed(8, 4), (0.3, 0.4)))
