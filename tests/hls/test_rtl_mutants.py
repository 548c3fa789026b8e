# SPDX-License-Identifier: Apache-2.0
"""One mistake in each operator's Verilog, found by every layer: rows in two simulators, the netlist, the proof.

Every layer is also shown to accept the unit as it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtl_cases import OPERATORS, Case, case_of
from rtl_checks import icarus

from hls4attn.hls.rtl.proof import Module, counterexample
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import SimulationError


def by_rows(case: Case, unit: RtlUnit, _: Path, netlist: bool = False) -> bool:
    try:
        run = RtlSim(unit, netlist=netlist).run(case.rows, case.heads, case.keep, stalls=(20, 20))
    except SimulationError:
        return False
    return np.array_equal(run.outputs, case.expected)


def by_gates(case: Case, unit: RtlUnit, folder: Path) -> bool:
    return by_rows(case, unit, folder, netlist=True)


def by_icarus(case: Case, unit: RtlUnit, folder: Path) -> bool:
    found = icarus(folder, unit, case.rows, case.heads, case.keep, stall=20)
    return len(found) == len(case.rows) and np.array_equal(np.array(found), case.expected)


def by_proof(case: Case, unit: RtlUnit, _: Path) -> bool:
    return counterexample(Module.of(unit), case.claim) is None


LAYERS = [by_rows, by_icarus, pytest.param(by_gates, marks=pytest.mark.slow), by_proof]


@pytest.mark.compile
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_layer_refutes_the_mistake(operator: str, layer, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    case = case_of(operator)
    assert layer(case, case.unit, tmp_path)
    assert not layer(case, case.mutant(), tmp_path)
