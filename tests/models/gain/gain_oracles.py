# SPDX-License-Identifier: Apache-2.0
"""Gain-cell attention written down once more, element by element, from the equations alone."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL, MeasuredCurve, PolynomialCurve

C = (0.52136361391, 13.612260634, -2.620445619, 46.05483778)
#: Currents of the authors' circuit simulation at the eight stored voltages.
MEASURED = MeasuredCurve(
    (*(0.9 * c / 7 for c in range(7)), 0.9), (-10.149, -5.777, -2.413, -0.297, 1.238, 3.312, 6.364, 9.973)
)
SMALL = {"head_dim": 5, "window": 12, "tile": 4, "score_saturation": 20.0, "context_saturation": 6.0}
#: Parameters that between them reach every branch: wrap-around, strong leak, other levels, tiles of one slot and all.
CASES = {
    "small": SMALL,
    "one tile": SMALL | {"tile": 12},
    "tiles of one slot": SMALL | {"tile": 1, "context_saturation": 1.0},
    "strong leak": SMALL | {"leak": 0.4},
    "no leak": SMALL | {"leak": 0.0},
    "absolute tiles": SMALL | {"tiling": "absolute"},
    "absolute, one tile": SMALL | {"tiling": "absolute", "tile": 12},
    "linear cell": SMALL | {"cell": LINEAR_CELL},
    "fifth power": SMALL | {"cell": PolynomialCurve((0.1, 5.0, 0.0, 0.0, 0.0, 300.0))},
    "measured cell": SMALL | {"cell": MEASURED},
    "other levels": SMALL | {"q_levels": 11, "k_levels": 5, "v_levels": 16, "out_levels": 18, "pulse_steps": 37},
    "coarse": SMALL | {"q_levels": 2, "k_levels": 2, "v_levels": 3, "out_levels": 3, "pulse_steps": 1},
    "wide": SMALL | {"current_frac": 20, "pulse_steps": 4095, "out_levels": 4096},
    "one token window": SMALL | {"window": 1, "tile": 1},
    "never saturates": SMALL | {"score_saturation": 1e4, "context_saturation": 1e4},
    "always saturates": SMALL | {"score_saturation": 0.5, "context_saturation": 0.05, "pulse_steps": 64},
}


def random_codes(spec: GainCellSpec, *lead: int, seed: int = 0):
    """q, k and v of shape ``(*lead[:-1], heads, tokens, head_dim)``; some tokens hold extremes."""
    rng = np.random.default_rng(seed)
    *batch, tokens = lead
    found = []
    for levels in (spec.q_levels, spec.k_levels, spec.v_levels):
        codes = rng.integers(0, levels, (*batch, spec.heads, tokens, spec.head_dim))
        codes[..., 2::7, :], codes[..., 5::9, :] = levels - 1, 0
        found.append(codes)
    return found


def cell(spec, w):
    """Current for a deviation w from mid-rail, in Python floats."""
    if isinstance(spec.cell, PolynomialCurve):
        return sum(c * w**i for i, c in enumerate(spec.cell.coefficients))
    points = list(zip(spec.cell.voltages, spec.cell.currents, strict=True))
    v = spec.vdd / 2 + w
    for (v0, i0), (v1, i1) in pairwise(points):
        if v <= v1:
            return i0 + (i1 - i0) * (v - v0) / (v1 - v0)
    return points[-1][1]


def tile_of(spec, position):
    return (position % spec.window if spec.tiling == "circular" else position) // spec.tile


def multiplier(numerator, denominator):
    """17 bits, rounded up, as few as give the same product."""
    shift = 0
    while (numerator << shift) < denominator << 16:
        shift += 1
    m = -(-(numerator << shift) // denominator)
    while shift and m % 2 == 0:
        m, shift = m // 2, shift - 1
    return m, shift


def integer_oracle(spec, q, k, v):
    """One head: codes ``(tokens, head_dim)`` in Python integers, one slot after the other."""
    one = 2**spec.current_frac
    charge_one = round(1000 * one * spec.score_saturation) * (spec.q_levels - 1)  # saturations are thousandths
    m1, s1 = multiplier(1000 * spec.pulse_steps, charge_one)
    limit = math.floor(spec.pulse_steps * one * spec.context_saturation + 0.5)
    m2, s2 = multiplier(
        1000 * (spec.out_levels - 1), 2 * spec.pulse_steps * round(1000 * one * spec.context_saturation)
    )
    top = {0.5: 0, 1.0: 1, 8.5: 8, 15.5: 16, 2047.5: 2048}[(spec.out_levels - 1) / 2]

    def current(age, code, levels):
        w = code * spec.vdd / (levels - 1) - spec.vdd / 2
        return math.floor(cell(spec, w * math.exp(-spec.leak * age)) * one + 0.5)

    result = []
    for t in range(len(q)):
        charges = {}
        for j in range(max(0, t - spec.window + 1), t + 1):
            s = sum(int(a) * current(t - j, int(b), spec.k_levels) for a, b in zip(q[t], k[j], strict=True))
            p = min(max((s * m1 + (1 << s1 >> 1)) >> s1, 0), spec.pulse_steps)
            row = charges.setdefault(tile_of(spec, j), [0] * spec.head_dim)
            for d in range(spec.head_dim):
                row[d] += p * current(t - j, int(v[j][d]), spec.v_levels)
        codes = [
            [min(max((min(max(a, -limit), limit) * m2 + (1 << s2 >> 1)) >> s2, -top), top) for a in row]
            for row in charges.values()
        ]
        result.append([sum(column) for column in zip(*codes, strict=True)])
    return np.array(result)


def float_oracle(spec, q, k, v, quantised=True):
    """One head of real values ``(tokens, head_dim)``, from section 0 of the equations."""
    s = {n: getattr(spec.scalers, n)[0] for n in spec.scalers.NAMES}

    def quant(x, step):
        return step * round(x / step) if quantised else x

    def stored(x, a, b, high, levels):
        return quant(min(max(a * x + b, 0.0), high), high / (levels - 1))

    qs = [[stored(x, s["q_a"], s["q_b"], 1.0, spec.q_levels) for x in row] for row in q]
    ks = [[stored(x, s["k_a"], s["k_b"], spec.vdd, spec.k_levels) for x in row] for row in k]
    vs = [[stored(x, s["v_a"], s["v_b"], spec.vdd, spec.v_levels) for x in row] for row in v]
    result = []
    for t in range(len(q)):
        charges = {}
        for j in range(max(0, t - spec.window + 1), t + 1):
            g = math.exp(-spec.leak * (t - j))
            score = sum(a * cell(spec, (b - spec.vdd / 2) * g) for a, b in zip(qs[t], ks[j], strict=True))
            phi = min(max(score / spec.score_saturation, 0.0), 1.0)
            row = charges.setdefault(tile_of(spec, j), [0.0] * spec.head_dim)
            for d in range(spec.head_dim):
                row[d] += phi * cell(spec, (vs[j][d] - spec.vdd / 2) * g)
        step = 2 / (spec.out_levels - 1)
        y = [
            sum(quant(min(max(row[d] / spec.context_saturation, -1.0), 1.0), step) for row in charges.values())
            for d in range(spec.head_dim)
        ]
        result.append([s["o_a"] * x + s["o_b"] for x in y])
    return np.array(result)


def run_steps(step, state, arrays):
    """A sequence token by token: results and the last state."""
    rows = []
    for t in range(arrays[0].shape[-2]):
        y, state = step(*(a[..., t, :] for a in arrays), state)
        rows.append(y)
    return np.stack(rows, axis=-2), state
