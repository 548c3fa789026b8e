# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of the exact LayerNorm: extremes, constant rows, back pressure, its clocks and its size."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rtl_checks import icarus, lint, refuted

from hls4attn.hls.rtl.layernorm import root_steps, row_interval, row_latency
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import ToolError, UnsupportedError
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import IntegerLayerNormSpec


def norm(channels: int, source: Fixed, to: Fixed, **options: Any) -> IntegerLayerNormSpec:
    rng = np.random.default_rng(channels)
    gamma, beta = rng.normal(1, 0.3, channels), rng.normal(0, 1, channels)
    return IntegerLayerNormSpec(source, to, tuple(gamma), tuple(beta), **options)


SPECS = {
    "64": norm(64, Fixed(8, 4), Fixed(8, 4)),
    "1": norm(1, Fixed(8, 4), Fixed(8, 4)),
    "2, narrow": norm(2, Fixed(4, 2), Fixed(6, 2), root_bits=8, rsqrt_bits=8),
    "5, wide": norm(5, Fixed(16, 4), Fixed(16, 8), root_bits=20, rsqrt_bits=20, gamma_bits=12, bias_frac=6),
    "33, unsigned": norm(33, Fixed(8, 4, signed=False), Fixed(8, 2), bias_frac=0),
    "9, coarse": norm(9, Fixed(8, 4), Fixed(16, 10), rsqrt_bits=8),
    "70": norm(70, Fixed(7, 4), Fixed(5, 1), root_bits=9, rsqrt_bits=20),
}


@cache
def sim_of(name: str) -> RtlSim:
    return RtlSim(rtl_unit(SPECS[name]))


def batch(spec: IntegerLayerNormSpec, rows: int = 60, seed: int = 0) -> Codes:
    """Rows of every width, constant ones, and those of the largest and smallest variance."""
    rng = np.random.default_rng(seed)
    low, high, n = spec.in_format.min, spec.in_format.max, spec.channels
    codes = rng.integers(low, high + 1, (rows, n))
    spread = np.exp(rng.uniform(0, np.log(high / 2), (rows // 2, 1)))
    codes[: rows // 2] = np.clip(np.rint(rng.normal((low + high) / 2, spread, (rows // 2, n))), low, high)
    codes[:5] = np.array([[low], [high], [0], [high], [low]])
    codes[3, : n // 2], codes[4, -1] = low, low + 1
    return codes


@pytest.mark.parametrize("stalls", [(0, 0), (0, 60), (50, 0), (40, 40), (5, 95)])
@pytest.mark.parametrize("name", SPECS)
def test_rows_with_gaps_and_stalls(name: str, stalls: tuple[int, int]) -> None:
    codes = batch(SPECS[name], seed=sum(stalls))
    assert np.array_equal(sim_of(name).run(codes, stalls=stalls).outputs, SPECS[name].reference(codes))


@pytest.mark.parametrize("name", SPECS)
def test_clocks(name: str) -> None:
    spec = SPECS[name]
    for row in batch(spec)[:8, None]:
        steps = int(root_steps(spec, row)[0])
        if np.ptp(row):
            one, many = (sim_of(name).run(np.repeat(row, n, axis=0)).cycles for n in (1, 21))
            assert one == row_latency(spec, steps)
            assert many - one == 20 * row_interval(spec, steps)


def test_another_simulator_agrees(tmp_path: Path) -> None:
    spec = SPECS["33, unsigned"]
    codes = batch(spec, 12)
    assert np.array_equal(icarus(tmp_path, rtl_unit(spec), codes, stall=40), spec.reference(codes))


@pytest.mark.parametrize("name", SPECS)
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    unit = rtl_unit(SPECS[name])
    assert lint(tmp_path, unit) == ""
    text = next(iter(unit.sources().values()))
    assert "put" in lint(tmp_path, unit, {unit.files[0]: text.replace("put + 1'b1", "put + 30'd1")})


MUTANTS = {
    "the sum with the element": ("    total_2 <= total;", "    total_2 <= total_next;"),
    "rounds the reciprocal down": ("quotient + {{(RATIO_W - 1){1'b0}}, !negative};", "quotient;"),
    "root without its restoring": ("!below, !below}", "!below, 1'b1}"),
    "a constant row hangs": ("root[ROOT_BITS-1] || exponent == '0", "root[ROOT_BITS-1]"),
    "five rows under way": ("crowded = rows == {!freed[2], freed[1:0]}", "crowded = 1'b0"),
    "writes over what waits": ("put != {!get[BUFFER_W], get[BUFFER_W-1:0]} && ", ""),
    "another row's exponent": (">>> exponents[row_7]", ">>> exponents[row_4]"),
    "wraps": ("fits ? whole", "1'b1 ? whole"),
}


SHOWN_BY = {"five rows under way": "2, narrow", "rounds the reciprocal down": "9, coarse"}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistakes_are_found(name: str) -> None:
    spec = SPECS[SHOWN_BY.get(name, "64")]
    codes = batch(spec, 40)
    if name == "wraps":
        codes[:] = np.where(np.arange(spec.channels) == np.arange(40)[:, None], spec.in_format.max, 0)
        assert spec.saturations(codes) > 0
    unit, want = rtl_unit(spec), spec.reference(codes)
    assert any(refuted(unit, "op_layernorm.sv", *MUTANTS[name], codes, want, s) for s in ((0, 0), (5, 95)))


def test_rows_longer_than_asked_for_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="64 channels"):
        rtl_unit(SPECS["64"], 63)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_the_netlist_does_the_same(name: str) -> None:
    codes = batch(SPECS[name])
    run = RtlSim(rtl_unit(SPECS[name]), netlist=True).run(codes, stalls=(30, 30))
    assert np.array_equal(run.outputs, SPECS[name].reference(codes))


@pytest.mark.slow
def test_bits_that_yosys_loses_are_an_error() -> None:
    unit = rtl_unit(SPECS["64"])
    right, wrong = "reg signed [ADDED_W-1:0] product_4", "reg signed [VARIANCE_W-1:0] product_4"
    text = unit.sources()["op_layernorm.sv"]
    assert text.count(right) == 1
    with pytest.raises(ToolError, match="no driver"):
        RtlSim(unit, {"op_layernorm.sv": text.replace(right, wrong)}, netlist=True)


@pytest.mark.slow
def test_size() -> None:
    size = resources(rtl_unit(SPECS["64"]))
    assert size.lut <= 400
    assert size.lutram <= 90
    assert size.ff <= 350
    assert (size.dsp, size.bram18) == (3, 0)
