# SPDX-License-Identifier: Apache-2.0
"""The report's figures show the numbers that they were given, and fit a page beside each other."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from sweep_results import result

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.estimate import estimate
from hls4attn.hls.lowering import lower_graph
from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_model
from hls4attn.host.report.attention import attention_maps
from hls4attn.host.report.drawing import model_svg
from hls4attn.host.report.estimated import figure_kernels
from hls4attn.host.report.figures import (
    bin_edges,
    figure_attention,
    figure_layer_errors,
    figure_row_sums,
    figure_sweep,
    layer_errors,
    shrunk,
)
from hls4attn.host.report.inline import short
from hls4attn.host.sweep.pareto import parse_objectives
from hls4attn.models.errors import InputError
from hls4attn.models.export import RealReference, Reference, load_model, quantise_input, random_codes, read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Fixed
from hls4attn.models.operators.distance import distance
from hls4attn.models.operators.gain_float import core
from hls4attn.models.zoo import zoo_model

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
ZOO = Path(zoo_model("digits-vit").folder)
OBJECTIVES = parse_objectives(["latency_cycles:min", "interval_cycles:min"])
WIDE = [
    result(0, latency_cycles=1_000_001, interval_cycles=3),
    result(1, latency_cycles=1_000_002, interval_cycles=400_000_000),
]


@pytest.fixture(scope="module")
def digits():
    graph = read_graph(load_model(ZOO / "consmax.onnx"))
    codes = quantise_input(graph, zoo_model("digits-vit").load_data().x_test[:60])
    return graph, codes, Reference(graph).trace(codes)


def case(operator, name):
    spec = next(c for c in OPERATORS[operator] if c.name == name).spec()
    graph = read_graph(operator_model(spec))
    codes = operator_codes(graph, 300, 0)
    return graph, codes, Reference(graph).trace(codes)


def texts(svg):
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]


def marks(svg, colour):
    """Places of the markers of a colour."""
    found = [e for e in ET.fromstring(svg).iter(f"{SVG}use") if colour in e.get("style", "")]
    return np.array([[float(e.get("x")), float(e.get("y"))] for e in found])


def coarse_chain(formats):
    b, rng = GraphBuilder("chain"), np.random.default_rng(0)
    x = b.quant(b.input("input", (4, 8)), Fixed(8, 4), "x", (4, 8))
    for n, fmt in enumerate(formats):
        w = b.quantised_constant(f"w{n}", rng.integers(-8, 8, (8, 8)), Fixed(4, 4))
        x = b.quant(b.node("MatMul", [x, w], f"product{n}", (4, 8)), fmt, f"layer{n}", (4, 8))
    return read_graph(b.model(["input"], [x], {}))


@pytest.mark.parametrize("coarse", [0, 2, 3])
def test_a_coarse_quantiser_is_the_layer_with_the_largest_error_of_its_own(coarse):
    graph = coarse_chain([Fixed(7, 1) if n == coarse else Fixed(12, 6) for n in range(4)])
    errors = layer_errors(graph, random_codes(graph.input, 40, 0))
    assert [e.tensor for e in errors] == [f"layer{n}" for n in range(4)]
    assert max(errors, key=lambda e: e.own.rms_real).tensor == f"layer{coarse}"
    assert max(errors, key=lambda e: e.own.mean_real).tensor == f"layer{coarse}"
    fine = layer_errors(coarse_chain([Fixed(12, 6)] * 4), random_codes(graph.input, 40, 0))
    for n, (one, other) in enumerate(zip(errors, fine, strict=True)):
        assert (one.grown.rms_real > 1.5 * other.grown.rms_real) == (n >= coarse)
        assert one.own.largest <= 0.5


def test_error_figures_are_what_they_are_called(digits, monkeypatch):
    graph, codes, trace = digits
    monkeypatch.setattr("hls4attn.host.report.layers._ELEMENTS", 1 << 18)  # in several parts
    errors = {e.tensor: e for e in layer_errors(graph, codes, all_nodes=True)}
    assert list(errors) == [n.output for n in graph.nodes]
    real = RealReference(graph)
    both = {"own": real.own(trace), "grown": real.trace(graph.input.format.to_real(codes))}
    for name in ("block0_attention_q", "block1_mlp", "logits", "block0_attention_pv"):
        tensor, found = graph.tensors[name], errors[name]
        assert found.elements == trace[name].size
        for which, values in both.items():
            error = np.abs(tensor.format.to_real(trace[name]) - values[name])
            figures = getattr(found, which)
            assert figures.largest_real == pytest.approx(error.max())
            assert figures.mean_real == pytest.approx(error.mean())
            assert figures.rms_real == pytest.approx(np.sqrt((error**2).mean()))
            assert figures.rms == pytest.approx(figures.rms_real / tensor.format.step)
            if error.any():
                power = (values[name] ** 2).mean() / (error**2).mean()
                assert figures.sqnr_db == pytest.approx(10 * np.log10(power))
            else:
                assert figures.sqnr_db is None
    clipped = graph.tensors["block1_attention_q"].format
    wide = trace["block1_attention_q_proj"] / 2.0 ** (graph.tensors["block1_attention_q_proj"].format.frac)
    beyond = (np.rint(wide / clipped.step) > clipped.max) | (np.rint(wide / clipped.step) < clipped.min)
    assert errors["block1_attention_q"].limited == beyond.sum() > 0
    assert errors["logits"].to_dict()["format"] == str(graph.output.format)


def test_steps_of_a_score_function_are_those_of_its_heads():
    graph, codes, _ = case("consmax", "consmax_direct")
    codes = np.clip(codes, -128, 60)  # where nothing is limited
    node = graph.nodes[-1]
    found = layer_errors(graph, codes)[-1]
    reference = distance(node.spec, codes)
    keep = found.limited == reference.saturated == 0
    assert keep and found.op == "ConSmax"
    assert found.own.largest == pytest.approx(reference.max_steps)
    assert found.own.mean == pytest.approx(reference.mean_steps)


def test_the_figure_of_errors_shows_them(digits):
    graph, codes, _ = digits
    errors = layer_errors(graph, codes)
    svg = figure_layer_errors(errors)
    assert [t for t in texts(svg) if t in graph.tensors] == [e.tensor for e in errors]
    for which, colour in (("own", "#3b82c4"), ("grown", "#e07b39")):
        found = marks(svg, colour)
        steps, ratio = found[: len(errors)], found[len(errors) : 2 * len(errors)]
        figures = [getattr(e, which) for e in errors]
        for places, values in ((steps, [np.log10(f.rms) for f in figures]), (ratio, [f.sqnr_db for f in figures])):
            assert np.corrcoef(places[:, 0], values)[0, 1] == pytest.approx(1, abs=1e-9)
            assert (np.diff(places[:, 1]) > 0).all()  # from top to bottom
    with pytest.raises(InputError, match="no errors to draw"):
        figure_layer_errors([])


@pytest.mark.parametrize("causal", ["softmax", "softmax_causal"])
def test_heat_maps_hold_the_probabilities(causal):
    graph, _, trace = case("softmax", causal)
    svg = figure_attention(graph, trace, sample=1)
    p = graph.output.format.to_real(trace[graph.output.name][1])
    pictures = [e.get(LINK) for e in ET.fromstring(svg).iter(f"{SVG}image")]
    heads = [np.array(Image.open(io.BytesIO(base64.b64decode(t.split(",")[1])))) for t in pictures]
    heads = [h for h in heads if h.shape[:2] == p.shape[1:]]
    assert len(heads) == len(p)
    for shown, values in zip(heads, p, strict=True):
        expected = colormaps["viridis"](values / p.max(), bytes=True)
        seen = np.tri(len(values), dtype=bool) if causal == "softmax_causal" else np.ones_like(values, dtype=bool)
        found = shown if np.abs(shown[seen][:, :3].astype(int) - expected[seen][:, :3]).max() <= 2 else shown[::-1]
        assert np.abs(found[seen][:, :3].astype(int) - expected[seen][:, :3]).max() <= 2
        assert (found[..., 3] > 0).tolist() == seen.tolist()  # what is masked shows the page
    assert f"head 0, row sum {p[0].sum(axis=-1).mean():.2f}" in texts(svg)


def test_maps_of_every_kind_of_attention():
    for operator, name in (("e2softmax", "e2softmax_shift"), ("gaincell", "gaincell"), ("consmax", "consmax_split")):
        graph, _, trace = case(operator, name)
        (found,) = attention_maps(graph, trace)
        node = graph.nodes[-1]
        if node.context is not None:
            v = node.context.v_format.to_real(trace[node.inputs[1]])
            exact = node.context.out_format.quantise(found.weights @ v)
            assert np.array_equal(exact, trace[node.output])
            assert found.exact_sum == 1.0 and 0.7 < found.gain < 1.3
        elif node.cells is not None:
            spec, (q, k, v) = node.cells, (trace[n] for n in node.inputs)
            volts = [np.minimum(c, n - 1) / (n - 1) * spec.vdd for c, n in ((k, spec.k_levels), (v, spec.v_levels))]
            phi = core(spec, q / (spec.q_levels - 1), *volts).phi
            assert np.abs(found.weights - phi).max() < 4 / spec.pulse_steps and phi.any()
            assert found.exact_sum is None and found.gain is None
        else:
            assert found.exact_sum is None and found.gain > 0
        assert "<image" in figure_attention(graph, trace)


def test_row_sums(digits):
    graph, _, trace = case("e2softmax", "e2softmax")
    (found,) = attention_maps(graph, trace)
    shown = texts(figure_row_sums(graph, trace))
    sums = graph.output.format.to_real(trace[graph.output.name]).sum(axis=-1)
    assert f"mean {sums.mean():.3f}" in shown and "exact 1" in shown
    assert found.gain == pytest.approx(sums.mean()) and any(f"gain {sums.mean():.4f}" in t for t in shown)
    graph, _, trace = digits
    assert not any("exact" in t for t in texts(figure_row_sums(graph, trace)))  # ConSmax does not normalise


def test_bins_have_equally_many_places_each():
    """Values that lie on a grid as evenly as can be give bars of one height."""
    for count, step in ((103, 1 / 256), (40, 1 / 256), (41, 1 / 600), (7, 0.25), (1, 1.0)):
        values = np.repeat(0.8125 + step * np.arange(count), 5)
        edges = bin_edges(values)
        heights, _ = np.histogram(values, edges)
        assert heights.sum() == len(values) and len(heights) <= 40
        assert len(set(heights[:-1])) <= 1 and 0 < heights[-1] <= heights[0]
    spread = np.random.default_rng(0).normal(size=1000)
    assert np.histogram(spread, bin_edges(spread))[0].sum() == 1000 and len(bin_edges(spread)) <= 41


def test_figures_fit_a_page_beside_each_other(digits):
    graph, codes, trace = digits

    def made():
        return [
            figure_layer_errors(layer_errors(graph, codes[:20])),
            figure_attention(graph, trace, 0),
            figure_attention(graph, trace, 1),
            figure_row_sums(graph, trace),
            figure_sweep(WIDE, OBJECTIVES, WIDE[:1], name=lambda r: r.key[:4]),
        ]

    figures = made()
    assert figures == made()
    page = ET.fromstring(f"<div>{''.join(figures)}</div>")
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) > 20
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', "".join(figures))
    assert used and set(used) <= set(ids)
    for svg in figures:
        assert svg.startswith("<svg ") and "<?xml" not in svg and "<!DOCTYPE" not in svg
        assert "metadata" not in svg and "<style" not in svg and "currentColor" in svg
        assert not re.search(r"(?:href|src)=\"https?:", svg) and len(svg) < 250_000
        first = ET.fromstring(svg)
        background = [e for e in first.iter(f"{SVG}path") if re.search(r"fill: #(?:fff|ffffff)\b", e.get("style", ""))]
        assert not background
        assert float(first.get("width")) > 100


def smallest(svg):
    """Size of the smallest text of a figure, in pixels of a page."""
    root = ET.fromstring(svg)
    pixels = float(root.get("width")) / float(root.get("viewBox").split()[2])
    sizes = [re.search(r"(?:font:|font-size:)[^;']*?([\d.]+)px", e.get("style")) for e in root.iter(f"{SVG}text")]
    return min(float(size.group(1)) for size in sizes) * pixels


def test_texts_are_plain_and_can_be_read(digits):
    """Numbers of axes, too: matplotlib's own labels of powers and of large numbers are markup that no browser shows."""
    graph, codes, trace = digits
    errors = layer_errors(graph, codes[:20])
    wide = [replace(e, own=replace(e.own, rms=10.0 ** (2 * k - 3))) for k, e in enumerate(errors[:4])]
    found = estimate(lower_graph(graph), HlsConfig())
    slow = replace(found, kernels=tuple(replace(k, interval=10 ** k.cycles.bit_length()) for k in found.kernels))
    figures = [
        *map(figure_layer_errors, (errors, wide)),
        *(figure_attention(graph, trace, 0), figure_row_sums(graph, trace)),
        figure_kernels(slow, "zynq"),
        figure_sweep(WIDE, OBJECTIVES, WIDE[:1], name=lambda r: r.key[:4]),
        model_svg(graph),
    ]
    for svg in figures:
        assert not re.search(r"\$|\\math|mathdefault", svg)
        factors = [t for t in texts(svg) if re.fullmatch(r"[+-]?1e[+-]?\d+", t)]  # of all labels, in a corner
        assert factors == []
    assert min(map(smallest, figures[:-1])) >= 10.0
    assert min(map(float, re.findall(r"font-size:([\d.]+)px", figures[-1]))) >= 10.0


def test_names_from_a_file_are_inert():
    b, evil = GraphBuilder("m<script>\x00"), ["</text><script>a\x1b", "$\\frac{1}$", "url(#x) #012345 &\x00"]
    x = b.quant(b.input("input", (4, 3)), Fixed(8, 4), "x", (4, 3))
    for name in evil:
        x = b.quant(x, Fixed(6, 2), name, (4, 3))
    graph = read_graph(b.model(["input"], [x], {}))
    svg = figure_layer_errors(layer_errors(graph, random_codes(graph.input, 5, 0)))
    assert {name.replace("\x1b", "\ufffd").replace("\x00", "\ufffd") for name in evil} <= set(texts(svg))
    assert "<script" not in svg


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_figure():
    """Without their middle: with it, matplotlib warns that nothing is left for the axes, and cuts the names off."""
    b, name = GraphBuilder("m"), "/model/encoder" + "/layer" * 40 + "/attention/key"
    x = b.quant(b.input("input", (4, 3)), Fixed(8, 4), "x", (4, 3))
    graph = read_graph(b.model(["input"], [b.quant(x, Fixed(6, 2), name, (4, 3))], {}))
    svg = figure_layer_errors(layer_errors(graph, random_codes(graph.input, 5, 0)))
    (label,) = [t for t in texts(svg) if t.startswith("/model")]
    assert label == short(name) and len(label) <= 41 and label.endswith("/attention/key") and "…" in label
    assert short("two\nlines") == "two lines" and short("x" * 41) == "x" * 41


def test_long_rows_are_averaged():
    values = np.arange(300.0 * 300).reshape(300, 300)
    values[np.triu_indices(300, 1)] = np.nan
    small = shrunk(values)
    assert small.shape == (100, 100) and np.isnan(small[0, 99])
    assert small[50, 10] == pytest.approx(values[150:153, 30:33].mean())
    assert shrunk(values[:60, :60]) is not None and shrunk(values[:60, :60]).shape == (60, 60)


def test_refusals(digits):
    _, _, trace = digits
    graph, codes, norm = case("layernorm", "layernorm")
    for draw in (figure_attention, figure_row_sums):
        with pytest.raises(InputError, match="no score function"):
            draw(graph, norm)
    with pytest.raises(InputError, match="sample must be 0 to 59. Received: 60"):
        figure_attention(digits[0], trace, 60)
    with pytest.raises(InputError, match="shape"):
        layer_errors(graph, codes[:0])
