# SPDX-License-Identifier: Apache-2.0
"""The real function of a typed graph: near the integers by what their formats say, far where they are coarse."""

from pathlib import Path

import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_model
from hls4attn.models.errors import InputError
from hls4attn.models.export import RealReference, Reference, load_model, quantise_input, random_codes, read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.formats import Fixed
from hls4attn.models.operators.base import causal_mask
from hls4attn.models.operators.gain_float import code_sums
from hls4attn.models.zoo import zoo_model
from tests.models.builders import attention_model, specs

ZOO = Path(zoo_model("digits-vit").folder).parent
FILES = ["digits_vit/consmax.onnx", "digits_vit/softmax.onnx", "digits_vit/sole.onnx", "char_gpt/gaincell.onnx"]
ROUNDING = ("Quant", "Score", "Context", "Norm", "Cells")
CASES = [c for cases in OPERATORS.values() for c in cases]


def chain(first: Fixed, second: Fixed):
    """Two dense layers with a rectifier between them, each behind a quantiser."""
    rng = np.random.default_rng(3)
    b = GraphBuilder("chain")
    x = b.quant(b.input("input", (4, 8)), Fixed(8, 4), "x", (4, 8))
    for number, (fmt, columns) in enumerate(((first, 16), (second, 6))):
        rows = 8 if number == 0 else 16
        w = b.quantised_constant(f"w{number}", rng.integers(-8, 8, (rows, columns)), Fixed(4, 3))
        y = b.node("MatMul", [x, w], f"product{number}", (4, columns))
        y = b.quant(y, fmt, f"quantised{number}", (4, columns))
        x = b.node("Relu", [y], f"relu{number}", (4, columns)) if number == 0 else y
    return read_graph(b.model(["input"], [x], {}))


def real_input(graph, codes):
    return graph.input.format.to_real(codes)


def test_wide_formats_agree_within_what_their_steps_allow():
    first, second = Fixed(14, 6), Fixed(19, 8)
    graph = chain(first, second)
    codes = random_codes(graph.input, 50, 0)
    real = RealReference(graph).run(real_input(graph, codes))
    error = np.abs(graph.output.format.to_real(Reference(graph).run(codes)) - real)
    weights = np.abs(graph.tensors["w1"].format.to_real(graph.constant("w1").codes))
    bound = first.step / 2 * weights.sum(axis=0) + second.step / 2
    assert (error <= bound).all()
    assert error.max() > second.step / 2  # both roundings are in it
    coarse = chain(Fixed(9, 1), second)
    far = np.abs(coarse.output.format.to_real(Reference(coarse).run(codes)) - RealReference(coarse).run(
        real_input(coarse, codes)
    ))  # fmt: skip
    assert (far > bound).any()


@pytest.mark.parametrize("name", FILES)
def test_every_activation_of_the_zoo(name):
    graph = read_graph(load_model(ZOO / name))
    codes = random_codes(graph.input, 6, 1)
    if "digits" in name:
        codes = quantise_input(graph, zoo_model("digits-vit").load_data().x_test[:40])
    integers, real = Reference(graph).trace(codes), RealReference(graph)
    grown, own = real.trace(real_input(graph, codes)), real.own(integers)
    assert set(grown) == set(integers) and set(own) == {n.output for n in graph.nodes}
    for node in graph.nodes:
        tensor = graph.tensors[node.output]
        got = tensor.format.to_real(integers[node.output])
        assert grown[node.output].shape == own[node.output].shape == got.shape
        assert grown[node.output].dtype == np.float64
        assert np.isfinite(grown[node.output]).all() and np.isfinite(own[node.output]).all()
        error = np.abs(own[node.output] - got).max()
        if node.op not in ROUNDING:
            assert error == 0, node.name
        if node.op == "Quant":
            assert error <= tensor.format.step / 2, node.name
    assert np.array_equal(real.run(real_input(graph, codes)), grown[graph.output.name])


def test_the_real_function_reads_digits():
    """What is compared with is a model that works, also where an unsigned quantiser is the only rectifier."""
    data = zoo_model("digits-vit").load_data()
    for name in FILES[:3]:
        graph = read_graph(load_model(ZOO / name))
        right = RealReference(graph).run(data.x_test).argmax(axis=1) == data.y_test
        assert right.mean() > 0.95, name


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_operators_alone(case):
    graph = read_graph(operator_model(case.spec()))
    node, fmt = graph.nodes[-1], graph.output.format
    codes = operator_codes(graph, 300, 0)
    if hasattr(node.norm, "alpha"):  # channels as wide as calibration found them
        wide = np.random.default_rng(0).normal(0, 300, codes.shape) * 2.0 ** (np.array(node.norm.alpha) - 3)
        codes = graph.input.format.quantise(graph.input.format.to_real(np.rint(wide).astype(np.int64)))
    integers = Reference(graph).trace(codes)
    own = RealReference(graph).own(integers)
    got = fmt.to_real(integers[node.output])
    assert np.isfinite(own[node.output]).all()
    if node.spec is not None and node.spec.causal:
        assert not own[node.output][..., ~causal_mask(*got.shape[-2:])].any()
    assert np.abs(own[node.output] - got).mean() < 0.6 * got.std()
    assert np.corrcoef(own[node.output].ravel(), got.ravel())[0, 1] > 0.9


def test_gain_cells_are_their_float_model_but_for_the_tiles_rounding():
    graph = read_graph(operator_model(OPERATORS["gaincell"][0].spec()))
    node = graph.nodes[-1]
    integers = Reference(graph).trace(operator_codes(graph, 200, 0))
    operands = [integers[n] for n in node.inputs]
    exact, real = code_sums(node.cells, *operands), RealReference(graph).own(integers)[node.output]
    assert np.abs(exact - real).max() <= node.cells.tiles / 2 + 1e-9
    assert np.abs(exact - real).max() > 0.4


def test_limits_can_be_left_out_but_not_the_rectifier():
    b = GraphBuilder("limits")
    x = b.quant(b.input("input", (8,)), Fixed(8, 2), "x", (8,))
    w = b.quantised_constant("w", 3 * np.eye(8, dtype=np.int64), Fixed(4, 0))
    y = b.node("MatMul", [x, w], "product", (8,))
    y = b.quant(b.quant(y, Fixed(6, 2), "signed", (8,)), Fixed(5, 2, signed=False), "unsigned", (8,))
    graph = read_graph(b.model(["input"], [y], {}))
    values = np.array([[-30.0, -2.0, -0.1, 0.0, 0.1, 2.0, 4.0, 30.0]])
    limited, free = (RealReference(graph, limits=choice).trace(values) for choice in (True, False))
    assert np.allclose(limited["signed"], np.clip(3 * values, -8, 7.75))
    assert np.allclose(limited["unsigned"], np.clip(3 * values, 0, 7.75))
    assert np.allclose(free["signed"], 3 * values)
    assert np.allclose(free["unsigned"], np.maximum(3 * values, 0))


@pytest.mark.parametrize("name", ["consmax-causal", "softmax-causal", "split"])
def test_chunks_do_not_matter(name, monkeypatch):
    graph = read_graph(attention_model(specs()[name]))
    values = np.random.default_rng(0).normal(0, 2, (7, *graph.input.shape))
    whole = RealReference(graph).trace(values)
    monkeypatch.setattr("hls4attn.models.export.real.chunk_size", lambda tensor: 3)
    parts = RealReference(graph)
    assert all(np.allclose(whole[k], v, rtol=1e-12, atol=0) for k, v in parts.trace(values).items())
    assert np.allclose(parts.run(values), whole[graph.output.name], rtol=1e-12, atol=0)


def test_refusals():
    graph = chain(Fixed(8, 3), Fixed(8, 3))
    real = RealReference(graph)
    with pytest.raises(InputError, match="shape"):
        real.run(np.zeros((2, 3)))
    with pytest.raises(InputError, match="NaN"):
        real.trace(np.full((1, 4, 8), np.nan))
    with pytest.raises(InputError, match="product1.*no codes of its operand 'relu0'"):
        trace = Reference(graph).trace(random_codes(graph.input, 2, 0))
        del trace["relu0"]
        real.own(trace)
