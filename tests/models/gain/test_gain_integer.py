# SPDX-License-Identifier: Apache-2.0
"""The integers of gain-cell attention: against Python integers slot by slot, and token by token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gain_oracles import CASES, SMALL, integer_oracle, random_codes, run_steps

from hls4attn.models.errors import FormatError, InputError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.distance import gain_distance
from hls4attn.models.operators.gain_scaling import NonIdeality

PAPER = GainCellSpec()


def test_constants_of_the_paper():
    """Section 5.2 of the specification: its tables, shifts and limits."""
    assert PAPER.tables[0][0].tolist() == [-1322, -724, -324, -48, 179, 433, 788, 1320]
    assert PAPER.tables[1][1023].tolist() == [-977, -554, -253, -30, 162, 369, 637, 1012]
    assert PAPER.tables[0][1024].tolist() == [0] * 8
    assert PAPER.rescales == ((1, 8), (86683, 34))
    assert (PAPER.charge_limit, PAPER.code_limit) == (3_072_000, 16)
    assert str(PAPER.out_format) == str(Fixed(10, 0))
    assert [GainCellSpec(pulse_steps=n).rescales[0] for n in (150, 300)] == [(1, 10), (1, 9)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tokens", [1, 3, 30])
def test_sequence_is_the_oracle(name, tokens):
    spec = GainCellSpec(**CASES[name], heads=2)
    q, k, v = random_codes(spec, 2, tokens)
    got = spec.reference(q, k, v)
    for n, h in np.ndindex(2, 2):
        assert np.array_equal(got[n, h], integer_oracle(spec, q[n, h], k[n, h], v[n, h]))
    assert spec.out_format.contains(got)


@pytest.mark.parametrize("name", CASES)
def test_token_by_token_is_the_sequence(name):
    """200 tokens: the window of 12 wraps many times, and so do the blocks of the sequence form."""
    spec = GainCellSpec(**CASES[name], heads=3)
    q, k, v = random_codes(spec, 2, 200, seed=1)
    want = spec.reference(q, k, v)
    got, state = run_steps(spec.step, spec.empty_state(2), (q, k, v))
    assert np.array_equal(got, want)
    assert (state.count, state.pointer) == (200, 200 % spec.window)
    if name not in ("coarse", "never saturates"):
        assert np.unique(want).size > 3


def test_paper_size_wraps_around():
    """M = 1024, D = 64, 1300 tokens: the last steps, from a state made of the first ones, are the sequence's."""
    q, k, v = random_codes(PAPER, 1300, seed=2)
    want = PAPER.reference(q, k, v)
    state = PAPER.empty_state()
    for t in range(1290):
        state = state.written(PAPER, k[:, t], v[:, t])
    got, _ = run_steps(PAPER.step, state, [a[:, 1290:] for a in (q, k, v)])
    assert np.array_equal(got, want[:, 1290:])
    assert np.ptp(want) > 20


def test_tilings_differ_only_after_the_window_wrapped():
    specs = [GainCellSpec(**SMALL, tiling=t) for t in ("circular", "absolute")]
    q, k, v = random_codes(specs[0], 40)
    circular, absolute = (s.reference(q, k, v) for s in specs)
    assert np.array_equal(circular[:, :12], absolute[:, :12])
    assert np.count_nonzero(circular[:, 12:] != absolute[:, 12:]) > 0


def test_saturated_tiles_end_at_the_last_codes():
    spec = GainCellSpec(**SMALL | {"window": 4})
    full = np.full((1, 4, 5), 7)
    top = spec.reference(full * 2 + 1, full, full)
    bottom = spec.reference(full * 2 + 1, full, full * 0)
    assert (top[0, -1, 0], bottom[0, -1, 0]) == (16, -16)
    assert spec.saturations(full * 2 + 1, full, full) > 0
    loose = GainCellSpec(**CASES["never saturates"])
    assert loose.saturations(*random_codes(loose, 20)) == 0


def test_codes_beyond_the_levels_mean_the_last_level():
    spec = GainCellSpec(**SMALL | {"q_levels": 11, "k_levels": 5})
    q, k, v = random_codes(spec, 9)
    limited = spec.reference(np.where(q == 10, 15, q), np.where(k == 4, 7, k), v)
    assert np.array_equal(limited, spec.reference(q, k, v))


def test_refused_operands():
    spec = GainCellSpec(**SMALL, heads=2)
    q, k, v = random_codes(spec, 3)
    with pytest.raises(InputError, match="heads=2"):
        spec.reference(q[:1], k, v)
    with pytest.raises(InputError, match="v must be integer codes of shape"):
        spec.reference(q, k, v[:, :2])
    with pytest.raises(InputError, match="float64"):
        spec.reference(q, k * 1.0, v)
    with pytest.raises(FormatError, match="q outside ufixed<4,0"):
        spec.reference(q + 16, k, v)
    with pytest.raises(UnsupportedError, match="no noise"):
        replace(spec, nonideal=NonIdeality(mismatch=0.1)).reference(q, k, v)
    assert spec.reference(q[:, :0], k[:, :0], v[:, :0]).shape == (2, 0, 5)


def test_refused_states():
    spec = GainCellSpec(**SMALL)
    state = spec.empty_state()
    token = [np.zeros((1, 5), np.int64)] * 3
    _, after = spec.step(*token, state)
    assert (state.count, after.count) == (0, 1)
    assert not state.keys.any()
    with pytest.raises(InputError, match="a state of spec"):
        replace(spec, leak=0.1).step(*token, after)
    with pytest.raises(InputError, match=r"shape \(1, 12, 5\)"):
        spec.step(*token, replace(after, keys=after.keys[:, :4]))
    with pytest.raises(InputError, match="float64"):
        spec.step(*token, spec.empty_real_state())
    with pytest.raises(InputError, match="pointer"):
        spec.step(*token, replace(after, pointer=3))
    with pytest.raises(FormatError, match="state values outside"):
        spec.step(*token, replace(after, values=after.values + 8))


def test_distance_to_the_float_model_shrinks_with_the_pulse_steps():
    """Published for T = M = 1024: 4 % of the sums differ with 600 steps, 14 % with 150, by 2 at most."""
    found = []
    for steps in (37, 150, 600):
        spec = GainCellSpec(pulse_steps=steps, window=256)
        found.append(gain_distance(spec, *random_codes(spec, 256)))
    assert found[0].mean_steps > found[1].mean_steps > found[2].mean_steps > 0
    assert found[2].mean_steps < 0.06
    assert found[2].max_steps <= 2
    assert found[0].elements == 256 * 64
