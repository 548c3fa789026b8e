# SPDX-License-Identifier: Apache-2.0
"""The notebooks' pictures show what the report computes."""

import matplotlib as mpl
import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_model
from hls4attn.host.pictures import plot_attention, plot_digits, plot_errors, save_figure
from hls4attn.models.errors import InputError
from hls4attn.models.export import Reference, read_graph


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "backend", "agg")


def causal(seed=0):
    graph = read_graph(operator_model(next(c for c in OPERATORS["consmax"] if "causal" in c.name).spec()))
    codes = np.clip(operator_codes(graph, 200, seed), -128, 30)
    return graph, Reference(graph).trace(codes)


def test_attention_received_by_each_key(tmp_path):
    graph, trace = causal()
    image = np.arange(64.0).reshape(8, 8)
    figure = plot_attention(graph, trace, image, sample=2)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    p = graph.output.format.to_real(trace[graph.output.name][2])
    assert np.array_equal(shown[0], image) and len(shown) == 1 + len(p)
    for head, values in enumerate(shown[1:]):
        assert np.allclose(values.ravel(), p[head].mean(axis=0))
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_causal_mask_hides_is_no_error(tmp_path):
    graph, trace = causal()
    figure = plot_errors(graph, trace)
    (outline,) = figure.axes[0].patches
    places, counts = outline.get_xy()[:, 0], outline.get_xy()[:, 1]
    assert counts.max() > 0 and np.abs(places[counts > 0]).max() <= 0.6
    save_figure(figure, tmp_path / "e.png")


def test_wrong_digits_are_red(tmp_path):
    figure = plot_digits(np.zeros((3, 8, 8)), np.array([1, 2, 3]), np.array([1, 7, 3]), "title")
    assert [(a.get_title(), a.title.get_color()) for a in figure.axes] == [("1", "black"), ("7", "red"), ("3", "black")]
    save_figure(figure, tmp_path / "d.png")


def test_no_attention():
    graph = read_graph(operator_model(OPERATORS["layernorm"][0].spec()))
    with pytest.raises(InputError, match="no score function"):
        plot_attention(graph, {}, np.zeros((8, 8)))
