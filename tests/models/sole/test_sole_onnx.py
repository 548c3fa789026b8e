# SPDX-License-Identifier: Apache-2.0
"""Exported SOLE operators executed by onnx, onnxruntime and qonnx: the reference's codes, and refusals."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from sole_models import assert_all_stages_equal, one_node

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export import read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import AILayerNormSpec, E2ContextSpec, E2SoftmaxSpec, IntegerLayerNormSpec
from hls4attn.models.operators.e2stages import FOUR_WAY_DIVIDER

S8 = Fixed(8, 4)
E2_OPTIONS = [
    {},
    {"slice_length": 4},
    {"slice_length": 1, "causal": True},
    {"slice_length": 64, "divider": FOUR_WAY_DIVIDER, "code_width": 5, "sum_frac": 31},
    {"code_width": 3, "causal": True, "sum_frac": 10},
    {"score_scale": (0.3, 0.07), "log2e": "folded"},
]


def score_model(spec, rows, cols):
    shape = (spec.heads, rows, cols)
    return one_node(shape, spec.in_format, lambda b, x: b.score(x, spec, "score", shape))


def norm_model(spec, rows=5):
    shape = (rows, spec.channels)
    return one_node(shape, spec.in_format, lambda b, x: b.norm(x, spec, "norm", shape))


def context_model(spec, cols, dim):
    """Scores and values cut from one input by products with constant selections."""
    builder = GraphBuilder("context")
    shape = (spec.heads, cols, cols + dim)
    builder.input("input", shape)
    x = builder.quant("input", spec.in_format, "codes", shape)

    def cut(name, first, width):
        choice = np.zeros((cols + dim, width), np.int64)
        choice[np.arange(first, first + width), np.arange(width)] = 1
        chosen = builder.node("MatMul", [x, builder.quantised_constant(name, choice, Fixed(2, 0))], f"{name}_cut", ())
        builder.shapes[chosen] = (spec.heads, cols, width)
        return builder.quant(chosen, spec.in_format, f"{name}_codes", (spec.heads, cols, width))

    out = builder.context(cut("s", 0, cols), cut("v", cols, dim), spec, "context", (spec.heads, cols, dim))
    return builder.model(["input"], [out], {})


@pytest.mark.parametrize("options", E2_OPTIONS)
@pytest.mark.parametrize("cols", [1, 5, 33])
def test_e2softmax(options, cols):
    spec = E2SoftmaxSpec(S8, **{"score_scale": (0.5, 1.0), **options})
    assert_all_stages_equal(score_model(spec, cols, cols))


@pytest.mark.parametrize("out", [("half_up", 12), ("floor", 8), ("floor", 3)])
def test_e2softmax_outputs(out):
    rounding, width = out
    spec = E2SoftmaxSpec(S8, (1.0,), out_width=width, out_frac=max(width, 8), out_rounding=rounding)
    assert_all_stages_equal(score_model(spec, 2, 9))


def test_e2softmax_of_the_longest_row():
    spec = E2SoftmaxSpec(S8, (1.0,), slice_length=32)
    assert_all_stages_equal(score_model(spec, 1, 1024), samples=3, traced=2)


@pytest.mark.parametrize("options", E2_OPTIONS)
@pytest.mark.parametrize("cols", [1, 7])
def test_e2context(options, cols):
    formats = {"v_format": S8, "out_format": Fixed(9, 5)}
    spec = E2ContextSpec(S8, **{"score_scale": (0.5, 1.0), **options, **formats, "sum_frac": 15})
    out = assert_all_stages_equal(context_model(spec, cols, 3))
    assert out.min() < 0 < out.max()


def test_e2context_saturates_alike():
    spec = E2ContextSpec(S8, (1.0,), v_format=S8, out_format=Fixed(4, 4, overflow="saturate_symmetric"))
    out = assert_all_stages_equal(context_model(spec, 4, 2))
    assert (out.min(), out.max()) == (-7, 7)


def ailn(channels, **options):
    rng = np.random.default_rng(channels)
    gamma, beta, alpha = rng.normal(size=channels), rng.normal(size=channels), rng.integers(0, 4, channels)
    return AILayerNormSpec(Fixed(10, 5), Fixed(8, 5), tuple(gamma), tuple(beta), tuple(alpha), **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shift": 1, "zero_point": 0},
        {"squares": "lut32", "rsqrt_entries": 16, "rsqrt_bits": 8, "mean_frac": 0},
        {"squares": "exact", "multiplier": 12345, "shift": 14, "zero_point": 77, "mean_frac": 7, "bias_frac": 0},
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 32, 1024])
def test_ailayernorm(options, channels):
    assert_all_stages_equal(norm_model(ailn(channels, **options)))


@pytest.mark.parametrize("options", [{}, {"root_bits": 8, "rsqrt_bits": 20}, {"root_bits": 20, "bias_frac": 0}])
@pytest.mark.parametrize(("channels", "width"), [(1, 8), (3, 10), (32, 8), (1024, 16)])
def test_integer_layernorm(options, channels, width):
    rng = np.random.default_rng(channels)
    vectors = tuple(rng.normal(size=channels)), tuple(rng.normal(size=channels))
    assert_all_stages_equal(norm_model(IntegerLayerNormSpec(Fixed(width, 5), Fixed(8, 5), *vectors, **options)))


def test_integer_layernorm_of_zero_gamma():
    spec = IntegerLayerNormSpec(S8, Fixed(8, 5), (0.0, 0.0), (0.5, -0.5), root_bits=20, rsqrt_bits=20, bias_frac=0)
    assert np.unique(assert_all_stages_equal(norm_model(spec))).tolist() == [-16, 16]


def test_operators_take_exactly_their_format_and_shape():
    norm, score = ailn(4), E2SoftmaxSpec(S8, (1.0,))
    with pytest.raises(UnsupportedError, match=r"takes codes in fixed<10,5"):
        read_graph(one_node((2, 4), Fixed(10, 4), lambda b, x: b.norm(x, norm, "norm", (2, 4))))
    with pytest.raises(UnsupportedError, match="channels=4"):
        read_graph(one_node((2, 5), Fixed(10, 5), lambda b, x: b.norm(x, norm, "norm", (2, 5))))
    with pytest.raises(UnsupportedError, match="takes scores in"):
        read_graph(one_node((1, 2, 2), Fixed(8, 3), lambda b, x: b.score(x, score, "s", (1, 2, 2))))
    context = E2ContextSpec(S8, (1.0,), v_format=S8, out_format=S8)
    with pytest.raises(UnsupportedError, match=r"\(heads, cols, head_dim\)"):
        read_graph(one_node((1, 2, 3), S8, lambda b, x: b.context(x, x, context, "c", (1, 2, 3))))


@pytest.mark.parametrize("operator", ["score", "context"])
def test_rows_beyond_max_length_are_refused_when_read(operator):
    if operator == "score":
        model = score_model(E2SoftmaxSpec(S8, (1.0,), max_length=4), 5, 5)
    else:
        model = context_model(E2ContextSpec(S8, (1.0,), max_length=4, v_format=S8, out_format=S8), 5, 2)
    with pytest.raises(UnsupportedError, match="max_length=4"):
        read_graph(model)


@pytest.mark.parametrize("value", [float("inf"), "many", np.array([1, 2])])
def test_attributes_of_a_wrong_type_are_refused(value):
    model = score_model(E2SoftmaxSpec(S8, (1.0,)), 5, 5)
    node = next(n for n in model.graph.node if n.op_type == "E2Softmax")
    attribute = next(a for a in node.attribute if a.name == "code_width")
    node.attribute.remove(attribute)
    plain = onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
    node.attribute.append(onnx.helper.make_attribute("code_width", plain))
    with pytest.raises(UnsupportedError, match="code_width"):
        read_graph(model)


def test_edited_files_are_refused():
    model = norm_model(ailn(4))
    node = next(n for n in model.graph.node if n.op_type == "AILayerNorm")
    attribute = next(a for a in node.attribute if a.name == "gamma_codes")
    attribute.t.CopyFrom(onnx.numpy_helper.from_array(np.zeros(4, np.int64)))
    with pytest.raises(UnsupportedError, match="gamma_codes"):
        read_graph(model)
    node.attribute.remove(attribute)
    with pytest.raises(UnsupportedError, match="missing"):
        read_graph(model)
