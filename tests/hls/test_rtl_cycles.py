# SPDX-License-Identifier: Apache-2.0
"""The cycle model of the streaming units is the RTL, row by row: lengths, overlap, heads, and rows of all kinds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gain_models import SPECS as CELLS
from gain_models import random_codes
from hls_sole import ailayernorm, row_codes

from hls4attn.hls.rtl.cycles import RowClocks, unit_cycles
from hls4attn.hls.rtl.gaincell import token_words
from hls4attn.hls.rtl.sim import RtlRun, RtlSim
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import (
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2SoftmaxSpec,
    IntegerLayerNormSpec,
    ScoreSpec,
    SoftmaxSpec,
)

pytestmark = pytest.mark.compile

E2 = E2SoftmaxSpec(Fixed(8, 2), (0.5, 0.25))
SCORES: dict[str, tuple[ScoreSpec, int]] = {
    "consmax": (ConSmaxSpec(Fixed(8, 4), (1.5,), (100.0,), (0.5,), (11,)), 64),
    "consmax, two heads": (ConSmaxSpec(Fixed(6, 3), (0.5, 1.5), (20.0, 100.0), (0.7, 1.0), (4, 9)), 16),
    "split": (ConSmaxSplitSpec(Fixed(8, 4), (1.5,), (100.0,), (0.5,), (11,)), 64),
    "split, 16 bits": (ConSmaxSplitSpec(Fixed(16, 11), (1.5, 0.5), (100.0, 10.0), (0.5, 0.25), (12, 10)), 64),
    "softmax": (SoftmaxSpec(Fixed(8, 4), (0.35,)), 100),
    "softmax, short division": (SoftmaxSpec(Fixed(2, 0), (0.3,), out_width=4, out_frac=2, guard=0, exp_frac=4), 5),
    "softmax, long division": (SoftmaxSpec(Fixed(12, 8), (0.3, 0.4), out_frac=12, guard=6, exp_frac=20), 70),
    "e2softmax": (E2, 1024),
    "e2softmax, full buffer": (E2, 14),
    "e2softmax, online": (replace(E2, slice_length=5), 40),
    "e2softmax, online, full buffer": (replace(E2, slice_length=5), 62),
}
KINDS = ("one element", "alike", "longest", "any", "mostly short", "long, then short")


def lengths_of(kind: str, longest: int, rows: int = 40) -> Codes:
    rng = np.random.default_rng(len(kind))
    every = rng.integers(1, longest + 1, rows)
    few = np.minimum(rng.integers(1, 4, rows), longest)
    return {
        "one element": np.ones(rows, dtype=np.int64),
        "alike": np.full(rows, -(-longest // 3)),
        "longest": np.full(rows, longest),
        "any": every,
        "mostly short": np.where(rng.random(rows) < 0.3, every, few),
        "long, then short": np.where(np.arange(rows) % (rows - 1) == 0, longest, 1),
    }[kind]


@cache
def sim_of(name: str) -> RtlSim:
    return RtlSim(rtl_unit(*SCORES[name]))


def same(run: RtlRun, found: RowClocks) -> bool:
    clocks = np.array_equal(run.starts, found.starts) and np.array_equal(run.ends, found.ends)
    return clocks and run.cycles == found.cycles


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCORES)
def test_scores(name: str, kind: str) -> None:
    spec, longest = SCORES[name]
    lengths = lengths_of(kind, longest)
    rows = np.zeros((len(lengths), int(lengths.max())), dtype=np.int64)
    run = sim_of(name).run(rows, heads=np.arange(len(rows)) % spec.heads, lengths=lengths)
    assert same(run, unit_cycles(spec, len(rows), lengths, row_max=longest))


@pytest.mark.parametrize("channels", [1, 2, 22, 23, 32])
def test_ailayernorm(channels: int) -> None:
    spec = ailayernorm(channels, 11)
    rows = row_codes(Tensor("", (1, channels), spec.in_format), seed=5, samples=30)[:, 0]
    assert same(RtlSim(rtl_unit(spec)).run(rows), unit_cycles(spec, len(rows), channels))


@pytest.mark.parametrize(("channels", "bits"), [(1, 16), (2, 8), (33, 20), (64, 16)])
def test_layernorm(channels: int, bits: int) -> None:
    """Roots of all lengths, behind each other."""
    rng = np.random.default_rng(channels)
    one = tuple(np.ones(channels))
    spec = IntegerLayerNormSpec(Fixed(8, 4), Fixed(8, 4), one, one, root_bits=bits, rsqrt_bits=bits)
    spread = np.exp(rng.uniform(0, 4.5, (120, 1)))
    rows = np.clip(np.rint(rng.normal(0, spread, (120, channels))), -128, 127).astype(np.int64)
    rows[::9] = 3
    assert same(RtlSim(rtl_unit(spec)).run(rows), unit_cycles(spec, 120, channels, rows))


@pytest.mark.parametrize("name", ["wraps", "levels of no power of two"])
def test_gain_cells(name: str) -> None:
    spec, tokens = CELLS[name]
    sim, rows = RtlSim(rtl_unit(spec)), token_words(spec, *random_codes(spec, tokens, 1))
    assert same(sim.run(rows), unit_cycles(spec, tokens, rows.shape[1]))
    full = unit_cycles(spec, 5, rows.shape[1], empty=False)
    assert full.interval == unit_cycles(spec, spec.window + 9, rows.shape[1]).interval


SLOWER = {
    "paces more": ("softmax", "one element", "op_softmax.sv", "COUNT_W'(STEPS - DEPTH)", "COUNT_W'(STEPS + 1)"),
    "fewer rows wait": ("e2softmax, full buffer", "long, then short", "op_rowbuf.sv", "QUEUE_W = 4", "QUEUE_W = 3"),
    "a place is kept": ("e2softmax", "any", "op_rowbuf.sv", "r_enable && read", "r_enable && !fetched_valid && read"),
}


@pytest.mark.parametrize("mistake", SLOWER)
def test_a_unit_with_other_clocks_differs(mistake: str) -> None:
    name, kind, file, right, wrong = SLOWER[mistake]
    spec, longest = SCORES[name]
    unit, lengths = rtl_unit(spec, longest), lengths_of(kind, longest)
    assert unit.sources()[file].count(right) == 1
    slower = RtlSim(unit, sources={file: unit.sources()[file].replace(right, wrong)})
    run = slower.run(np.zeros((len(lengths), int(lengths.max())), dtype=np.int64), lengths=lengths)
    assert not same(run, unit_cycles(spec, len(lengths), lengths, row_max=longest))


def test_what_it_refuses() -> None:
    spec = SCORES["softmax"][0]
    norm = IntegerLayerNormSpec(Fixed(8, 4), Fixed(8, 4), (1.0,) * 8, (0.0,) * 8)
    with pytest.raises(InputError, match="rows of 1 to 100. Received: 101"):
        unit_cycles(spec, 3, 101, row_max=100)
    with pytest.raises(InputError, match="at least one row"):
        unit_cycles(spec, 0, 10)
    with pytest.raises(InputError, match="rows of 8. Received: 7"):
        unit_cycles(norm, 3, 7, np.zeros((3, 8), dtype=np.int64))
    with pytest.raises(InputError, match=r"codes has shape \(3, 8\)"):
        unit_cycles(norm, 3, 8)
    with pytest.raises(UnsupportedError, match="No streaming unit"):
        unit_cycles(object(), 3, 8)
