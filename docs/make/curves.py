# SPDX-License-Identifier: Apache-2.0
"""Functions of the operators in integers beside the float ones, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from drawing import Drawing
from numpy.typing import NDArray

from hls4attn.host.gain_claims import gain_codes
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import (
    ConSmaxSpec,
    ConSmaxSplitSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    IntegerLayerNormSpec,
    SoftmaxSpec,
)
from hls4attn.models.operators.ailn_stages import rsqrt, rsqrt_table, square_scale, square_table
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.models.operators.gain_float import code_sums

Values = NDArray[np.float64]
#: Colours that are told apart on a light and on a dark page; the first is the float function.
_COLOURS = ("#888888", "#3f7fd6", "#d9782b")
_W, _H, _GAP = 350, 210, 75


@dataclass(frozen=True)
class Line:
    """A curve; `steps` draws it as a staircase."""

    name: str
    x: Values
    y: Values
    colour: int = 1
    steps: bool = False


def panel(d: Drawing, left: float, title: str, below: str, lines: Sequence[Line]) -> None:
    """Axes with lines, at `left`."""
    top, bottom = 45.0, 45.0 + _H
    xs, ys = (np.concatenate([getattr(line, axis) for line in lines]) for axis in "xy")
    (x0, x1), (y0, y1) = (_limits(v) for v in (xs, ys))

    def to_x(v: float) -> float:
        return left + _W * (v - x0) / (x1 - x0)

    def to_y(v: float) -> float:
        return bottom - _H * (v - y0) / (y1 - y0)

    d.text(left + _W / 2, 14, title, weight=600)
    d.text(left + _W / 2, bottom + 36, below, size=12)
    d.parts.append(f'<rect x="{left:g}" y="{top:g}" width="{_W}" height="{_H}" stroke-width="1" opacity="0.6"/>')
    for v in _ticks(x0, x1):
        d.parts.append(f'<path d="M{to_x(v):.1f} {bottom:g}v5" stroke-width="1"/>')
        d.text(to_x(v), bottom + 15, f"{v:g}", size=11)
    for v in _ticks(y0, y1):
        d.parts.append(f'<path d="M{left:g} {to_y(v):.1f}h{_W}" stroke-width="0.5" opacity="0.3"/>')
        d.text(left - 6, to_y(v), f"{v:g}", "end", 11)
    for number, line in enumerate(lines):
        points = [(to_x(a), to_y(b)) for a, b in zip(line.x, line.y, strict=True)]
        if line.steps:
            points = [p for a, b in pairwise(points) for p in (a, (b[0], a[1]))] + points[-1:]
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        d.parts.append(f'<polyline points="{shown}" stroke="{_COLOURS[line.colour]}" stroke-width="1.8"/>')
        x = left + number * (_W / 3) + 4
        d.parts.append(f'<path d="M{x:g} 33h16" stroke="{_COLOURS[line.colour]}" stroke-width="3"/>')
        d.text(x + 20, 33, line.name, "start", 11)


def _limits(values: Values) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two limits, four to eight of them."""
    rough = (high - low) / 6
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(float(m * unit) for m in (1, 2, 5, 10) if m * unit >= rough)
    return [round(k * step, 10) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def figure(title: str, left: tuple[str, str, Sequence[Line]], right: tuple[str, str, Sequence[Line]]) -> Drawing:
    """Two panels: the function, the error."""
    d = Drawing(860, 300, title)
    panel(d, 55, *left)
    panel(d, 55 + _W + _GAP, *right)
    return d


_SCORES = Fixed(8, 4)


def _codes() -> NDArray[np.int64]:
    return np.arange(_SCORES.min, _SCORES.max + 1)


def consmax() -> Drawing:
    """The table, and the split tables, over every score code."""
    x = _codes()
    made = [cls(_SCORES, (1.0,), (12.0,), (0.5,)) for cls in (ConSmaxSpec, ConSmaxSplitSpec)]
    exact = made[0].real(made[0].in_format.to_real(x)[None, None, :])[0, 0]
    direct, split = (spec.out_format.to_real(spec.reference(x[None, None, :])[0, 0]) for spec in made)
    real, step = _SCORES.to_real(x), made[0].out_format.step
    below = exact < made[0].out_format.max * step  # beyond, the integers are limited on purpose
    return figure(
        "ConSmax over all score codes",
        ("exp(0.5 x − 1) / 12", "x", [Line("float", real, exact, 0), Line("integers", real, direct, 1, True)]),
        (
            "error in output steps",
            "x",
            [
                Line("direct table", real[below], (direct - exact)[below] / step, 1, True),
                Line("split tables", real[below], (split - exact)[below] / step, 2, True),
            ],
        ),
    )


def _against_zeros(spec: E2SoftmaxSpec | SoftmaxSpec) -> tuple[Values, Values]:
    """Probability of a score behind 15 zeros, in integers and in float."""
    rows = np.zeros((1, 1, 256, 16), dtype=np.int64)
    rows[..., -1] = _codes()
    got = spec.out_format.to_real(spec.reference(rows))[0, 0, :, -1]
    return got, spec.real(_SCORES.to_real(rows))[0, 0, :, -1]


def _softmax_figure(name: str, made: dict[str, E2SoftmaxSpec | SoftmaxSpec]) -> Drawing:
    real = _SCORES.to_real(_codes())
    found = {label: _against_zeros(spec) for label, spec in made.items()}
    exact = next(iter(found.values()))[1]
    lines = [Line(label, real, got, n, True) for n, (label, (got, _)) in enumerate(found.items(), start=1)]
    errors = [Line(line.name, real, (line.y - exact) * 256, line.colour, True) for line in lines]
    title = "probability of a score x behind 15 zeros"
    return figure(name, (title, "x", [Line("float", real, exact, 0), *lines]), ("error in output steps", "x", errors))


def e2softmax() -> Drawing:
    """Two passes, and online in slices of 4."""
    return _softmax_figure(
        "E2Softmax against softmax",
        {
            "two passes": E2SoftmaxSpec(_SCORES, (0.5,)),
            "online, slices of 4": E2SoftmaxSpec(_SCORES, (0.5,), slice_length=4),
        },
    )


def softmax() -> Drawing:
    """The exact baseline."""
    return _softmax_figure("Integer softmax against softmax", {"integers": SoftmaxSpec(_SCORES, (0.5,))})


def ailayernorm() -> Drawing:
    """Squares of compressed magnitudes, and the table of reciprocal roots, as relative errors."""
    x = np.arange(4, 256, dtype=np.float64)
    tables = {
        "paper": np.array(square_table("paper")) << square_scale("paper"),
        "lut32": np.array(square_table("lut32")) << square_scale("lut32"),
    }
    squares = [Line(name, x, 100 * (t[4:] / x**2 - 1), n, True) for n, (name, t) in enumerate(tables.items(), start=1)]
    variance = np.arange(256, 1024, dtype=np.int64)
    roots = []
    for number, (entries, width) in enumerate(((16, 8), (64, 9)), start=1):
        v, e = rsqrt(variance, np.array(rsqrt_table(entries, width)))
        got = v / 2.0 ** (width + e)
        name = f"{entries} × {width} bits"
        roots.append(Line(name, variance.astype(float), 100 * (got * np.sqrt(variance) - 1), 3 - number, True))
    return figure(
        "AILayerNorm: errors of its two approximations",
        ("square of a magnitude, error in %", "magnitude |XQ − zp|", squares),
        ("1/√variance from a table, error in %", "variance (repeats every factor of 4)", roots),
    )


def layernorm() -> Drawing:
    """A Gaussian row in rising order."""
    channels, fmt = 768, Fixed(12, 6)
    spec = IntegerLayerNormSpec(fmt, Fixed(8, 4), (1.0,) * channels, (0.0,) * channels)
    row = np.sort(np.rint(np.random.default_rng(0).normal(0, fmt.max / 6, channels))).astype(np.int64)
    got, exact = spec.out_format.to_real(spec.reference(row)), spec.real(fmt.to_real(row))
    x = fmt.to_real(row)
    return figure(
        "Integer LayerNorm of a Gaussian row",
        ("normalised value", "x", [Line("float", x, exact, 0), Line("integers", x, got, 1, True)]),
        ("error in output steps", "x", [Line("integers", x, (got - exact) / spec.out_format.step, 1)]),
    )


def gaincell() -> Drawing:
    """The cell's current, and the difference to the float model over uniform codes."""
    spec = GainCellSpec(window=256)
    w = np.linspace(0, spec.vdd, 91) - spec.mid_rail
    voltage = np.linspace(0, spec.vdd, 911)
    level = np.rint(voltage / spec.vdd * (spec.k_levels - 1)).astype(int)
    stored = spec.tables[0][0][level] / 2.0**spec.current_frac
    lines = [
        Line("cubic cell", w + spec.mid_rail, spec.cell.current(w, spec.mid_rail), 0),
        Line("straight cell", w + spec.mid_rail, LINEAR_CELL.current(w, spec.mid_rail), 2),
        Line("table, 8 levels", voltage, stored, 1),
    ]
    codes = gain_codes(spec, 256)
    difference = spec.reference(*codes) - code_sums(spec, *codes)
    edges = np.arange(-3.5, 4.0)
    share = 100 * np.histogram(difference, edges)[0] / difference.size
    bars = Line("share of sums", np.repeat(edges, 2)[1:-1], np.repeat(share, 2), 1)
    return figure(
        "Gain cells: current of a cell, and the integers' distance to the float model",
        ("current in µA", "stored voltage", lines),
        ("integers less float model, % of the sums", "codes", [bars]),
    )


FIGURES: dict[str, Callable[[], Drawing]] = {
    f.__name__: f for f in (consmax, e2softmax, ailayernorm, gaincell, softmax, layernorm)
}
