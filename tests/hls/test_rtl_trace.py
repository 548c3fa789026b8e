# SPDX-License-Identifier: Apache-2.0
"""Traces of streaming units: the same words and clocks as everywhere else, and signals from inside."""

import numpy as np
import pytest

from hls4attn.hls.rtl.cycles import unit_cycles
from hls4attn.hls.rtl.trace import trace
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2SoftmaxSpec

SPEC = E2SoftmaxSpec(Fixed(8, 4), (1.0,))
ROWS = Fixed(8, 4).quantise(np.random.default_rng(0).normal(0, 1.5, (3, 9)))
UNIT = rtl_unit(SPEC, 16)


def test_words_clocks_and_inner_signals() -> None:
    clocks = unit_cycles(SPEC, 3, 9, row_max=16)
    found = trace(UNIT, ROWS, clocks.cycles, ["top", "sum", "waiting.write"])
    assert np.array_equal(found.outputs().reshape(3, 9), SPEC.reference(ROWS[None])[0])
    valid = found.signals["m_tvalid"] == 1
    assert found.clocks == clocks.cycles and valid[-1]
    last = np.flatnonzero(valid & (found.signals["m_tlast"] == 1))
    assert np.array_equal(last + 1, clocks.ends)
    shifted = np.maximum.accumulate(ROWS[0]) + 128  # the maximum as it rises, above the lowest code
    assert np.array_equal(found.signals["top"][1:9], shifted[:8])
    assert found.signals["waiting.write"][:4].tolist() == [0, 1, 2, 3]
    assert found.signals["sum"][0] == -1  # not known before the first row


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="op_e2softmax has no signal nothing"):
        trace(UNIT, ROWS, 5, ["nothing"])
    with pytest.raises(InputError, match="no name of a signal"):
        trace(UNIT, ROWS, 5, ["sum); $finish; //"])
    with pytest.raises(InputError, match="needs integer rows"):
        trace(UNIT, ROWS[0], 5)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="apt-get install iverilog"):
        trace(UNIT, ROWS, 5)
