# SPDX-License-Identifier: Apache-2.0
"""The claims table holds what its functions measure; those are checked against closed forms and published notes."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from hls4attn.host import claims, hardware_claims
from hls4attn.models.errors import InputError, ModelFileError


def test_divider_error_is_the_integral_over_the_mantissa():
    """C(s) * s - 1 over s in [1, 2): constants 209/256 and 145/256 on the two halves."""
    a, b = 209 / 256, 145 / 256
    bias = a * (1.5**2 - 1) / 2 + b * (2**2 - 1.5**2) / 2 - 1
    second = a**2 * (1.5**3 - 1) / 3 + b**2 * (2**3 - 1.5**3) / 3 - 2 * (bias + 1) + 1
    measured = claims.divider_error()
    assert measured == pytest.approx((bias, second**0.5), abs=1e-6)
    assert 0.09 < measured[1] < 0.11


def test_compression_is_twice_as_wrong_as_printed():
    second, deviation = claims.compression_error()
    assert (round(second, 4), round(deviation, 4)) == (-0.0042, -0.0084)


def test_four_bits_are_the_knee():
    sweep = claims.width_sweep()
    assert sweep[3] > sweep[4] * 1.03
    assert sweep[4] < sweep[6] * 1.02


def test_row_sums_are_in_their_bands():
    two, online = claims.row_sums(0), claims.row_sums(32)
    assert 0.80 <= two[0] < two[1] < two[2] <= 1.24
    assert 0.45 <= online[0] < online[1] < online[2] <= 1.9


def test_direct_table_is_exact_and_the_split_one_nearly():
    direct, split = claims.consmax_table_hits()
    assert direct == 256
    assert 240 <= split < 256


def test_hardware_rows_are_the_committed_figures(monkeypatch, tmp_path):
    units = {
        u["name"]: u
        for u in json.loads((Path(claims.__file__).parent / "bench" / "hardware.json").read_text())["units"]
    }
    rows = {c.claim: c for c in claims.consmax_claims() + claims.sole_claims()}
    area, power = rows["2.75x and 13.75x area"], rows["3.35x and 7.5x power"]
    for name in ("consmax", "consmax-split", "softmax"):
        size = units[name]["size"]
        memory = f" ({size['lutram']} as memory)" if size["lutram"] else ""
        assert f"{units[name]['title']} {size['lut'] + size['lutram']} LUT{memory}, {size['ff']} FF" in area.measured
        assert f"{units[name]['toggles']['per_row']:,.0f}" in power.measured
    ratio = units["layernorm"]["toggles"]["per_row"] / units["ailayernorm"]["toggles"]["per_row"]
    assert f"x{ratio:.1f}" in rows["3.04x and 3.86x energy efficiency"].measured
    assert "proxy" in power.not_shown
    monkeypatch.setattr(hardware_claims, "__file__", str(tmp_path / "hardware_claims.py"))
    with pytest.raises(ModelFileError, match="hardware.json is missing"):
        claims.consmax_claims()


def test_table_and_json(tmp_path):
    path = tmp_path / "claims.json"
    console = Console(record=True, width=160)
    claims.print_claims(console, None, path)
    rows = json.loads(path.read_text())
    assert {r["section"] for r in rows} == {"ConSmax", "SOLE", "Gain cells"}
    for row in rows:
        assert row["not_shown"]
        assert bool(row["command"]) == (row["measured"] != "not measured")
    assert any("MiniLM" in r["measured"] for r in rows)
    with pytest.raises(InputError, match="Unknown section 'fpga'"):
        claims.print_claims(console, "fpga", None)
