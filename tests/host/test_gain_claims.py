# SPDX-License-Identifier: Apache-2.0
"""Gain cells on the command line: claims with labelled figures, and the ladder."""

from __future__ import annotations

import json
import re

import pytest

from hls4attn.host import gain_claims
from hls4attn.host.cli import main
from hls4attn.models.errors import InputError
from hls4attn.models.operators.gain_cost import COMPUTED, GPUS, MEASURED, SIMULATED, head_cost, multiply_add_fj


def test_energy_of_the_papers_size_and_of_others():
    paper = head_cost()
    assert (paper.total, paper.label) == (6150.0, SIMULATED)
    assert multiply_add_fj(paper) == pytest.approx(46.9, abs=0.05)
    assert 1000 * paper.score / 65536 == pytest.approx(17.1, abs=0.05)
    assert 1000 * paper.context / 65536 == pytest.approx(10.7, abs=0.05)
    quarter = head_cost(256)
    assert (quarter.score, quarter.context, quarter.digital, quarter.dac) == (280.0, 175.0, 1000.0, 330.0)
    assert quarter.label == COMPUTED
    assert head_cost(1, 64).digital == 250.0  # one tile is read, however few slots it holds
    assert head_cost(1024, 128).total == 2 * paper.total
    with pytest.raises(InputError, match="at least 1"):
        head_cost(0)


def test_gpu_ratios_and_their_floor():
    """The specification's table: 344, 7,521 and no figure; floors of 48, 1,900 and 14 times."""
    rtx, nano, h100 = GPUS
    assert (round(rtx.speed_up), round(nano.speed_up), h100.speed_up) == (344, 7522, None)
    assert rtx.energy_ratio == pytest.approx(97_266, rel=1e-3)
    assert nano.energy_ratio == pytest.approx(43_981, rel=1e-3)
    assert [round(g.floor, 1) for g in GPUS] == [3.1, 122.9, 0.9]
    assert [round(g.floor_speed_up, -1 if g is nano else 0) for g in GPUS] == [48, 1890, 14]


def test_claims_are_labelled():
    rows = gain_claims.gain_rows("here")
    for claim, paper, found, command, not_shown in rows:
        assert found == "not measured" or found.startswith((COMPUTED, MEASURED)), claim
        assert bool(command) == (found != "not measured"), claim
        assert not_shown
        if re.search(r"\bx\d| ns|nJ|mm2", paper):
            assert SIMULATED in paper, claim
    assert sum(SIMULATED in row[1] for row in rows) == 6


def test_what_the_claims_measure():
    pulses = gain_claims.pulse_sweep(64)
    assert pulses[150][1] > pulses[600][1] > 0
    effects = gain_claims.effect_sweep(128)
    assert effects["0.2"] > effects["2e-3"] > effects["no leak"] > 0
    assert effects["linear"] > effects["no leak"]
    assert all(change > 0 for change in gain_claims.noise_sweep(32).values())
    assert gain_claims.steps_differ(150) == (0, 150 * 64)


@pytest.mark.compile
def test_ladder_up_to_the_kernels(tmp_path):
    path = tmp_path / "rungs.json"
    stages = ["onnx", "qonnx", "onnxruntime", "csim"]
    main_exit(
        ["verify", "--operator", "gaincell", "--samples", "100", "--stages", ",".join(stages), "--json", str(path)]
    )
    rungs = json.loads(path.read_text())
    assert {r["stage"] for r in rungs} >= set(stages)
    assert all(r["mismatches"] == 0 for r in rungs)


def main_exit(arguments, code=0):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code in (code, None if code == 0 else code)
