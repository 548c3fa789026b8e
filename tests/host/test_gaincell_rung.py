# SPDX-License-Identifier: Apache-2.0
"""The gain cells' rung of `verify` on the emulated board."""

import json

import numpy as np
import pytest

from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.host import operator_models
from hls4attn.host.cli import main

pytestmark = [pytest.mark.usefixtures("pynq_state"), pytest.mark.compile]


@pytest.mark.parametrize("broken", [False, True])
def test_the_rung_of_the_ladder(monkeypatch, tmp_path, capsys, broken: bool) -> None:
    """It passes, and it finds a board that keeps a token too long."""
    step = GainCellSim.step

    def late(self, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        return step(self, q, k, v) if self.count < 4 else step(self, q, k[::-1], v)

    if broken:
        monkeypatch.setattr(GainCellSim, "step", late)
    monkeypatch.setattr(operator_models, "OPERATORS", {"gaincell": operator_models.OPERATORS["gaincell"][:1]})
    path = tmp_path / "rungs.json"
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "--operator", "gaincell", "--samples", "320", "--stages", "board", "--json", str(path)])
    assert stopped.value.code == broken
    rows = {r["stage"]: r for r in json.loads(path.read_text())}
    assert set(rows) == {"board", "coprocessor"}
    assert rows["coprocessor"]["samples"] == 320
    assert rows["board"]["mismatches"] == 0
    assert (rows["coprocessor"]["mismatches"] > 0) == broken
    assert ("stages that differ from the reference: coprocessor" in capsys.readouterr().err) == broken
