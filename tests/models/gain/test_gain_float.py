# SPDX-License-Identifier: Apache-2.0
"""The float model of gain-cell attention, its gradient, its noise; and the spec with its attributes and refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from gain_oracles import CASES, MEASURED, SMALL, C, cell, float_oracle, random_codes, run_steps

from hls4attn.models.errors import InputError, ModelFileError, SpecError, UnsupportedError
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import CUBIC_CELL, LINEAR_CELL, MeasuredCurve, PolynomialCurve
from hls4attn.models.operators.gain_float import gradient
from hls4attn.models.operators.gain_scaling import NonIdeality, Scalers

SCALERS = Scalers((0.7, 0.9), (0.1, -0.2), (0.3, 0.2), (0.5, 0.4), (0.25, 0.3), (0.44, 0.5), (1.7, 0.5), (-0.05, 0.2))


def real_values(spec, *lead, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*lead[:-1], spec.heads, lead[-1], spec.head_dim)) for _ in range(3)]


def head(spec, n):
    one = Scalers(*((getattr(spec.scalers, name)[n],) for name in Scalers.NAMES))
    return replace(spec, heads=1, scalers=one)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("quantised", [True, False])
def test_sequence_is_the_oracle(name, quantised):
    spec = GainCellSpec(**CASES[name], heads=2, scalers=SCALERS)
    q, k, v = real_values(spec, 2, 30)
    got = spec.real(q, k, v, quantised)
    for n, h in np.ndindex(2, 2):
        want = float_oracle(head(spec, h), q[n, h], k[n, h], v[n, h], quantised)
        assert np.allclose(got[n, h], want, rtol=1e-9, atol=1e-9)
    assert got.std() > 0.01


@pytest.mark.parametrize("name", CASES)
def test_token_by_token_is_the_sequence(name):
    spec = GainCellSpec(**CASES[name], heads=2, scalers=SCALERS)
    arrays = real_values(spec, 3, 50)
    got, state = run_steps(spec.real_step, spec.empty_real_state(3), arrays)
    assert np.allclose(got, spec.real(*arrays), rtol=1e-9, atol=1e-9)
    assert (state.count, state.pointer) == (50, 50 % spec.window)


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize("name", ["small", "strong leak", "linear cell", "one tile", "other levels"])
def test_gradient_is_the_surrogate_slot_by_slot(name, quantised):
    spec = GainCellSpec(**CASES[name], heads=2, scalers=SCALERS)
    values = dict(zip("qkv", real_values(spec, 2, 17, seed=3), strict=True))
    up = np.random.default_rng(5).normal(size=values["q"].shape)
    found, want = gradient(spec, **values, upstream=up, quantised=quantised), surrogate(spec, values, up, quantised)
    for x in (*"qkv", *Scalers.NAMES):
        assert np.allclose(found[x], want[x], rtol=1e-9, atol=1e-9), x
        assert np.abs(want[x]).max() > 0, x


def test_gradient_is_the_derivative_where_the_model_is_smooth():
    """Without quantisers and with the straight cell: central differences."""
    spec = GainCellSpec(**SMALL, cell=LINEAR_CELL, heads=2, scalers=SCALERS)
    rng = np.random.default_rng(3)
    values = dict(zip("qkv", real_values(spec, 2, 17, seed=3), strict=True))
    up = rng.normal(size=values["q"].shape)
    found = gradient(spec, **values, upstream=up, quantised=False)

    def slope(ends):
        high, low = ((up * s.real(**v, quantised=False)).sum() for s, v in ends)
        return (high - low) / 2e-6

    for x in "qkv":
        by = 1e-6 * rng.normal(size=values[x].shape)
        got = slope([(spec, values | {x: values[x] + sign * by}) for sign in (1, -1)])
        assert got == pytest.approx((found[x] * by).sum() * 1e6, rel=1e-5), x
    for x in Scalers.NAMES:
        for h, one in enumerate(np.eye(2)):
            moved = [replace(SCALERS, **{x: tuple(getattr(SCALERS, x) + sign * 1e-6 * one)}) for sign in (1, -1)]
            got = slope([(replace(spec, scalers=s), values) for s in moved])
            assert got == pytest.approx(found[x][h], rel=1e-5), x


def surrogate(spec, values, up, quantised):
    """Section 2.6, head by head, slot by slot."""
    s = spec.scalers
    found = {n: np.zeros_like(x) for n, x in values.items()} | {n: np.zeros(spec.heads) for n in Scalers.NAMES}
    tokens = up.shape[-2]
    for n, h in np.ndindex(*up.shape[:2]):
        a, b = ({x: getattr(s, f"{x}_{y}")[h] for x in "qkvo"} for y in "ab")
        pre = {x: a[x] * values[x][n, h] + b[x] for x in "qkv"}
        high = {"q": 1.0, "k": spec.vdd, "v": spec.vdd}
        step = {"q": 1 / (spec.q_levels - 1), "k": spec.vdd / (spec.k_levels - 1), "v": spec.vdd / (spec.v_levels - 1)}
        stored = {x: np.clip(pre[x], 0, high[x]) for x in "qkv"}
        if quantised:
            stored = {x: step[x] * np.rint(stored[x] / step[x]) for x in "qkv"}
        qs, ks, vs = stored.values()
        inner = {x: np.zeros_like(qs) for x in "qkv"}
        for t in range(tokens):
            seen = range(max(0, t - spec.window + 1), t + 1)
            g = {j: math.exp(-spec.leak * (t - j)) for j in seen}
            score = {j: float(qs[t] @ cell_array(spec, ks[j] - spec.vdd / 2, g[j])) for j in seen}
            phi = {j: min(max(score[j] / spec.score_saturation, 0), 1) for j in seen}
            charge = {}
            for j in seen:
                tile = charge.setdefault(j % spec.window // spec.tile, np.zeros(spec.head_dim))
                tile += phi[j] * cell_array(spec, vs[j] - spec.vdd / 2, g[j])
            y = sum(tile_result(spec, c, quantised) for c in charge.values())
            found["o_a"][h] += up[n, h, t] @ y
            found["o_b"][h] += up[n, h, t].sum()
            for j in seen:
                ratio = charge[j % spec.window // spec.tile] / spec.context_saturation
                d_charge = up[n, h, t] * a["o"] / spec.context_saturation * (np.abs(ratio) <= 1)
                d_phi = spec.slope * g[j] * d_charge @ (vs[j] - spec.vdd / 2)
                inner["v"][j] += spec.slope * phi[j] * g[j] * d_charge
                d_score = d_phi / spec.score_saturation * (0 <= score[j] / spec.score_saturation <= 1)
                inner["q"][t] += spec.slope * d_score * g[j] * (ks[j] - spec.vdd / 2)
                inner["k"][j] += spec.slope * d_score * g[j] * qs[t]
        for x in "qkv":
            passed = inner[x] * ((pre[x] >= 0) & (pre[x] <= high[x]))
            found[x][n, h] = passed * a[x]
            found[f"{x}_a"][h] += (passed * values[x][n, h]).sum()
            found[f"{x}_b"][h] += passed.sum()
    return found


def tile_result(spec, charge, quantised):
    clipped, step = np.clip(charge / spec.context_saturation, -1, 1), 2 / (spec.out_levels - 1)
    return step * np.rint(clipped / step) if quantised else clipped


def cell_array(spec, w, g):
    return np.array([cell(spec, x * g) for x in w])


def test_noise_and_spread_are_seeded_and_off_by_default():
    base = GainCellSpec(**SMALL, heads=2)
    arrays = real_values(base, 2, 20)
    plain = base.real(*arrays)
    for kind in ("read_noise", "mismatch", "retention_spread"):
        spec = replace(base, leak=0.1, nonideal=NonIdeality(**{kind: 0.3}, seed=1))
        noisy = spec.real(*arrays)
        assert np.array_equal(noisy, spec.real(*arrays)), kind
        assert not np.array_equal(noisy, replace(base, leak=0.1).real(*arrays)), kind
        assert not np.array_equal(noisy, replace(spec, nonideal=NonIdeality(**{kind: 0.3}, seed=2)).real(*arrays)), kind
        stepped, _ = run_steps(spec.real_step, spec.empty_real_state(2), arrays)
        assert np.array_equal(stepped, noisy), kind
    assert np.array_equal(replace(base, nonideal=NonIdeality(seed=9)).real(*arrays), plain)
    with pytest.raises(UnsupportedError, match="without noise"):
        gradient(replace(base, nonideal=NonIdeality(read_noise=0.1)), *arrays, upstream=arrays[0])


def test_read_noise_has_its_standard_deviation():
    """Empty keys and values at mid-rail: what is left in an unquantised tile is the noise alone."""
    spec = GainCellSpec(1, 64, 4, 4, cell=LINEAR_CELL, nonideal=NonIdeality(read_noise=0.01))
    zero = np.zeros((1, 200, 64))
    y = spec.real(zero, zero, zero, quantised=False)
    assert y.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("name", CASES)
def test_attributes_are_loss_free(name):
    spec = GainCellSpec(**CASES[name], heads=2, scalers=SCALERS, nonideal=NonIdeality(0.1, 0.2, 1 / 3, 7))
    assert GainCellSpec.from_attributes(spec.to_attributes()) == spec
    assert GainCellSpec.from_attributes(spec.to_attributes()).digest == spec.digest
    assert spec.digest != replace(spec, leak=math.nextafter(spec.leak, 1)).digest
    for attribute, value in spec.to_attributes().items():
        assert isinstance(value, (int, str, np.ndarray)), attribute


def test_changed_attributes_are_refused():
    attributes = GainCellSpec(**SMALL).to_attributes()
    with pytest.raises(SpecError, match="'key_currents' does not follow"):
        GainCellSpec.from_attributes(attributes | {"key_currents": attributes["key_currents"] + 1})
    with pytest.raises(SpecError, match="'leak' must be of type float"):
        GainCellSpec.from_attributes(attributes | {"leak": "fast"})
    with pytest.raises(SpecError, match="missing"):
        GainCellSpec.from_attributes({n: v for n, v in attributes.items() if n != "cell"})
    with pytest.raises(SpecError, match="Unknown cell"):
        GainCellSpec.from_attributes(attributes | {"cell_kind": "quartic"})


def test_leak_from_retention():
    """12 layers of 65 ns in cells of 5 ms, the paper's 1.6e-4."""
    assert GainCellSpec.with_retention(5e-3, 12 * 65e-9).leak == pytest.approx(1.56e-4)
    with pytest.raises(SpecError, match="Retention must be positive"):
        GainCellSpec.with_retention(0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 5}, "tile=5 does not divide window=12"),
        ({"leak": -1e-9}, "leak must be 0 or more"),
        ({"leak": math.nan}, "leak must be 0 or more"),
        ({"vdd": 0.0}, "vdd must be positive"),
        ({"score_saturation": math.inf}, "score_saturation must be positive"),
        ({"q_levels": 1}, "q_levels must be 2 to 256"),
        ({"pulse_steps": 0}, "pulse_steps must be"),
        ({"heads": 0}, "heads must be"),
        ({"tiling": "diagonal"}, "tiling must be one of"),
        ({"scalers": SCALERS}, "scalers of 2 heads for heads=1"),
        ({"context_saturation": 1e-9}, "less than one charge unit"),
        ({"cell": PolynomialCurve((1e12,))}, "do not fit 32 bits"),
        ({"score_saturation": 1e-12, "current_frac": 20, "pulse_steps": 4096}, "no shift gives"),
        ({"out_levels": 4096, "context_saturation": 1e11}, "tile code takes 70 bits"),
        ({"cell": MeasuredCurve((0.1, 0.9), (0.0, 1.0))}, r"measured from 0.1 to 0.9 V, but stores 0 to 0.9 V"),
    ],
)
def test_refused_specs(options, message):
    with pytest.raises(SpecError, match=message):
        GainCellSpec(**SMALL | options)


def test_refused_float_operands():
    spec = GainCellSpec(**SMALL)
    q, k, v = real_values(spec, 4)
    with pytest.raises(InputError, match="head_dim=5"):
        spec.real(q, k, v[..., :4])
    with pytest.raises(InputError, match="k must be finite"):
        spec.real(q, np.where(k == k[0, 0, 0], np.nan, k), v)
    with pytest.raises(InputError, match="must be int64|must be float64"):
        spec.real_step(q[:, 0], k[:, 0], v[:, 0], spec.empty_state())
    with pytest.raises(SpecError, match="q_a must be positive"):
        replace(SCALERS, q_a=(1.0, 0.0))
    with pytest.raises(SpecError, match="mismatch must be 0 or more"):
        NonIdeality(mismatch=-1)


def test_measured_curves(tmp_path):
    path = tmp_path / "cell.csv"
    rows = [f"{v},{i}" for v, i in zip(MEASURED.voltages, MEASURED.currents, strict=True)]
    for text in ("\n".join(rows), "V_store,I_out\n" + "\n\n".join(reversed(rows)) + "\n"):
        path.write_text(text)
        assert MeasuredCurve.from_csv(path) == MEASURED
    assert MEASURED.current([-0.45, 0.0, 0.45], 0.45) == pytest.approx([-10.149, (-0.297 + 1.238) / 2, 9.973])
    spec = GainCellSpec(**SMALL, cell=MEASURED)
    assert spec.tables[0][0].tolist() == [math.floor(128 * i + 0.5) for i in MEASURED.currents]
    for text, message in (
        ("0,1\n0.9,x", "row 2: expected"),
        ("0,1,2\n", "row 1"),
        ("", "2 to 4096 voltages"),
        ("0,1\n", "2 to 4096 voltages"),
        ("0,1\n0,2\n", "must increase"),
        ("0,1\n0.9,nan\n", "NaN"),
    ):
        path.write_text(text)
        with pytest.raises((ModelFileError, SpecError), match=message):
            MeasuredCurve.from_csv(path)
    with pytest.raises(ModelFileError, match="Cannot read"):
        MeasuredCurve.from_csv(tmp_path / "none.csv")
    with pytest.warns(UserWarning, match=r"not monotone: it turns near 0.4 V"):
        MeasuredCurve((0.0, 0.2, 0.4, 0.9), (0.0, 1.0, 3.0, 2.0))
    with pytest.raises(SpecError, match="1 to 16 finite"):
        PolynomialCurve((1.0, math.nan))


def test_a_fully_leaked_cell_still_conducts():
    assert CUBIC_CELL.coefficients == C
    spec = GainCellSpec(**SMALL | {"leak": 50.0})
    assert np.unique(spec.tables[0][1:-1]).tolist() == [math.floor(128 * C[0] + 0.5)]


def test_unquantised_measured_cells_and_codes():
    spec = GainCellSpec(**CASES["measured cell"], heads=2, scalers=SCALERS)
    q, k, v = real_values(spec, 6)
    assert np.allclose(spec.real(q, k, v, False)[1], float_oracle(head(spec, 1), q[1], k[1], v[1], False))
    assert spec.reference(*random_codes(spec, 6)).shape == (2, 6, 5)
