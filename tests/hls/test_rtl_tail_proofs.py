# SPDX-License-Identifier: Apache-2.0
"""What ends every kernel of a network, proved for all values: each rounding with each limit."""

from __future__ import annotations

import pytest
from rtl_kernel_claims import requantised

from hls4attn.hls.rtl.proof import Module, counterexample
from hls4attn.hls.rtl.unit import RtlUnit

FILES = ("net/net_tail.sv", "net/net_product.sv")
PLAIN = {"CORE_W": 12, "SCALED_W": 12, "SUM_W": 12}
TERM = PLAIN | {"OFFSET": 1, "OFFSET_W": 12, "SUM_W": 14}
FACTOR = {"CORE_W": 9, "SCALE": 1, "SCALE_W": 5, "SCALED_W": 14, "OFFSET": 1, "OFFSET_W": 12, "SHIFT": 2, "SUM_W": 18}
SMALL = {"CORE_W": 6, "SCALE": 1, "SCALE_W": 4, "SCALED_W": 10, "OFFSET": 1, "OFFSET_W": 9, "SHIFT": 1, "SUM_W": 13}
#: Parameters of the module; ROUNDS says that the term has the half of rounding in it.
TAILS = {
    "floor": PLAIN | {"DROPPED": 3, "OUT_W": 6},
    "floor and wrap": PLAIN | {"DROPPED": 3, "OUT_W": 6, "LIMIT": 2},
    "zeros that come": PLAIN | {"DROPPED": -2, "OUT_W": 16},
    "zeros that come, limited": PLAIN | {"DROPPED": -2, "OUT_W": 8, "LIMIT": 1},
    "half up": TERM | {"DROPPED": 4, "OUT_W": 7, "ROUNDS": 1},
    "half up, natural": TERM | {"DROPPED": 4, "OUT_W": 7, "OUT_SIGNED": 0, "ROUNDS": 1},
    "half up and ReLU": TERM | {"DROPPED": 4, "OUT_W": 7, "RELU": 1, "ROUNDS": 1},
    "half up, symmetric": TERM | {"DROPPED": 4, "OUT_W": 7, "LIMIT": 1, "ROUNDS": 1},
    "half up and wrap": TERM | {"DROPPED": 4, "OUT_W": 7, "LIMIT": 2, "ROUNDS": 1},
    "to even": TERM | {"DROPPED": 4, "OUT_W": 7, "EVEN": 1, "ROUNDS": 1},
    "to even, symmetric": TERM | {"DROPPED": 1, "OUT_W": 8, "EVEN": 1, "LIMIT": 1, "ROUNDS": 1},
    "to even, more bits than there are": TERM | {"DROPPED": 4, "OUT_W": 16, "EVEN": 1, "ROUNDS": 1},
    "factor": FACTOR | {"DROPPED": 6, "OUT_W": 8, "ROUNDS": 1},
    "factor without DSP blocks, to even": SMALL | {"DROPPED": 3, "OUT_W": 6, "EVEN": 1, "DSP": 0, "ROUNDS": 1},
}
#: One mistake each, and a tail that shows it.
MUTANTS = {
    "ties up": ("tie ? ~ONE", "1'b0 ? ~ONE", "to even"),
    "lowest code": ("low == TOP_BIT ? BOTTOM", "1'b0 ? BOTTOM", "half up, symmetric"),
    "ceiling": ("minus ? BOTTOM : CEILING", "minus ? BOTTOM : BOTTOM", "floor"),
    "no ReLU": ("RELU != 0 && minus", "1'b0", "half up and ReLU"),
    "late term": ("held <= offset", "held <= held", "factor"),
    "no zeros": ("wide <<< UP", "wide", "zeros that come"),
}


def tail(name: str) -> tuple[RtlUnit, dict[str, int]]:
    settings = {"ROUNDS": 0} | TAILS[name]
    return RtlUnit("net_tail", FILES, {key: value for key, value in settings.items() if key != "ROUNDS"}), settings


@pytest.mark.parametrize("name", TAILS)
def test_every_value(name: str) -> None:
    unit, settings = tail(name)
    assert counterexample(Module.of(unit), requantised(settings)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", TAILS)
def test_every_value_through_the_netlist(name: str) -> None:
    unit, settings = tail(name)
    assert counterexample(Module.of(unit, netlist=True), requantised(settings), timeout_s=300) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_refuted(name: str) -> None:
    right, wrong, case = MUTANTS[name]
    unit, settings = tail(case)
    text = unit.sources()["net_tail.sv"]
    assert text.count(right) == 1, right
    spoiled = {"net_tail.sv": text.replace(right, wrong)}
    assert counterexample(Module.of(unit, spoiled), requantised(settings))
