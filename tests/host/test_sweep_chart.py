# SPDX-License-Identifier: Apache-2.0
"""The picture of a sweep's points: each at its place, with what it stands for, as a file and in a page."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from sweep_results import RESULTS, result

from hls4attn.host.report.figures import figure_sweep
from hls4attn.host.sweep.chart import CROWD, NAMED, draw, drawable, scatter
from hls4attn.host.sweep.pareto import front, parse_objectives
from hls4attn.models.errors import InputError

THREE = parse_objectives(["accuracy:max", "interval_cycles:min", "dsp:min"])
TWO = parse_objectives(["accuracy:max", "dsp:min"])
SVG = "{http://www.w3.org/2000/svg}"


def drawn(results, objectives, **options):
    """Axes with the points, and the points of every collection that has some."""
    axis = Figure().subplots()
    scatter(axis, results, objectives, front(results, objectives), **options)
    found = [c for c in axis.collections if isinstance(c, PathCollection) and len(c.get_offsets())]
    return axis, [(c, np.asarray(c.get_offsets()).tolist()) for c in found]


def test_a_file_says_what_is_drawn_and_what_is_not():
    assert draw(RESULTS, THREE, "png").startswith(b"\x89PNG")
    svg = draw(RESULTS, THREE, "svg").decode()
    ET.fromstring(svg)
    for words in (  # matplotlib leaves texts as comments beside their outlines
        "interval cycles, less is better",
        "accuracy (fraction), more is better",
        "score: e2softmax",
        "does not fit its board",
        "not drawn: 1 failed, 1 timeout, 1 with mismatches or without a value",
        "7 points: 2 on the Pareto front of accuracy:max",
    ):
        assert f"<!-- {words}" in svg
    assert draw([], THREE, "png").startswith(b"\x89PNG")
    assert draw(RESULTS, THREE[:1], "png").startswith(b"\x89PNG")


def test_points_are_at_their_places_and_the_front_is_ringed_and_joined():
    axis, found = drawn(RESULTS, TWO)
    assert sorted(p for _, points in found for p in points) == [[1, 0.99], [3, 0.9], [9, 0.9], [20, 0.95]]
    ringed = [p for c, points in found if c.get_sizes()[0] == 70 for p in points]
    assert sorted(ringed) == [[3, 0.9], [20, 0.95]]
    assert np.array(axis.lines[0].get_xydata()).tolist() == [[3, 0.9], [20, 0.95]]
    assert len({tuple(c.get_facecolor()[0][:3]) for c, _ in found}) == 2  # a colour a score function
    assert "does not fit its board" in axis.get_legend_handles_labels()[1]
    assert "does not fit its board" not in drawn(RESULTS[:3], TWO)[0].get_legend_handles_labels()[1]


def test_points_with_mismatches_or_without_a_value_have_no_place():
    wrong = [result(8, mismatches=1), result(9, dsp=None), result(10, "failed"), result(11)]
    assert drawable(wrong, TWO) == [wrong[3]] and len(drawn(wrong, TWO)[1]) == 1


def test_values_far_apart_have_a_logarithmic_scale_with_plain_numbers():
    axis, _ = drawn([result(0, dsp=1), result(1, dsp=10_000_000)], TWO)
    assert axis.get_xscale() == "log" and axis.xaxis.get_major_formatter()(1e7, 0) == "10,000,000"
    assert drawn([result(0, dsp=0), result(1, dsp=10_000)], TWO)[0].get_xscale() == "linear"


def test_names_are_text_and_at_the_front_only():
    names = {r.key: f'<b onclick="x">p{k}&</b> url(#id) $\\frac{{{k}}}$' for k, r in enumerate(RESULTS)}
    svg = figure_sweep(RESULTS, THREE, front(RESULTS, THREE), name=lambda r: names[r.key])
    shown = ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]
    best = {r.key for r in front(RESULTS, THREE)}
    assert [names[r.key] in shown for r in RESULTS] == [r.key in best for r in RESULTS]
    assert "<b " not in svg and "score: softmax" in shown
    odd = [replace(r, settings={"model": f"/m/${k}$\\frac$.onnx"}) for k, r in enumerate(RESULTS[:3])]
    assert b"frac" in draw(odd, TWO, "svg")  # what looks like a formula of matplotlib is none


def test_many_points_are_pixels_and_few_are_named():
    rng = np.random.default_rng(0)
    x = rng.random((CROWD + 1000, 3))
    x[:60, 2] = 2 + x[:60, 0] - x[:60, 1]  # none of these beats another
    results = [
        result(i, accuracy=a + 9 * (i < 60), interval_cycles=b, dsp=c, fits=bool(i < 60 or i % 2))
        for i, (a, b, c) in enumerate(x.tolist())
    ]
    results = [replace(r, settings={"score": "softmax"}) for r in results]
    assert len(front(results, THREE)) > NAMED
    svg = figure_sweep(results, THREE, front(results, THREE), name=lambda r: f"p{r.key[:8]}")
    assert len(svg) < 600_000 and len(list(ET.fromstring(svg).iter(f"{SVG}image"))) >= 1
    shown = ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]
    assert sum(t in {f"p{r.key[:8]}" for r in results} for t in shown) == NAMED


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="nothing to draw"):
        figure_sweep(RESULTS[3:5], THREE, [])
