# SPDX-License-Identifier: Apache-2.0
"""An hls4ml user's script with three lines more: exact where it was refused or wrong before."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hls4attn.models.export import Reference, read_graph
from hls4attn.models.export.builder import GraphBuilder, save_model
from hls4attn.models.export.stages import OnnxRuntimeStage
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec
from tests.examples.running import EXAMPLES, run

PLAIN, OURS = EXAMPLES / "hls4ml_plain.py", EXAMPLES / "hls4ml_script.py"
A8, ROWS, WIDTH = Fixed(8, 4), 6, 4
SCORE = ConSmaxSpec(Fixed(8, 2), beta=(1.0,), gamma=(8.0,), score_scale=(0.125,), out_frac=(8,))


def attention() -> onnx.ModelProto:
    """A head as our exporter writes it: projections, scores, ConSmax, context."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("attention")
    x = b.quant(b.input("tokens", (ROWS, WIDTH)), A8, "tokens_codes", (ROWS, WIDTH))
    parts = []
    for name in "qkv":
        w = b.quantised_constant(f"{name}_weights", rng.integers(-128, 128, (WIDTH, WIDTH)), Fixed(8, 7))
        parts.append(b.quant(b.node("MatMul", [x, w], name, (ROWS, WIDTH)), A8, f"{name}_codes", (ROWS, WIDTH)))
    q, k, v = parts
    products = b.node("MatMul", [q, b.transpose(k, (1, 0), "turned")], "products", (ROWS, ROWS))
    s = b.reshape(b.quant(products, SCORE.in_format, "scores", (ROWS, ROWS)), (1, ROWS, ROWS), "heads")
    p = b.reshape(b.score(s, SCORE, "consmax", (1, ROWS, ROWS)), (ROWS, ROWS), "rows")
    y = b.quant(b.node("MatMul", [p, v], "context", (ROWS, WIDTH)), A8, "context_codes", (ROWS, WIDTH))
    return b.model(["tokens"], [y], {})


def products() -> onnx.ModelProto:
    """Its two products alone, of the tokens with themselves, in standard nodes."""
    b = GraphBuilder("products")
    x = b.quant(b.input("tokens", (ROWS, WIDTH)), A8, "tokens_codes", (ROWS, WIDTH))
    s = b.node("MatMul", [x, b.transpose(x, (1, 0), "turned")], "products", (ROWS, ROWS))
    s = b.quant(s, SCORE.in_format, "scores", (ROWS, ROWS))
    y = b.quant(b.node("MatMul", [s, x], "context", (ROWS, WIDTH)), A8, "context_codes", (ROWS, WIDTH))
    return b.model(["tokens"], [y], {})


def stock(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same file as other exporters write it: a batch of one and no function bodies."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.functions[:]
    for info in (*plain.graph.input, *plain.graph.output, *plain.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    return plain


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Real numbers off the grid, beyond the range and on half steps."""
    x = np.random.default_rng(1).normal(scale=4, size=(40, ROWS, WIDTH))
    x[:10] = (np.rint(x[:10] * 16) + 0.5) / 16
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    return tmp_path / "x.npy"


def reference(model: onnx.ModelProto, inputs: Path) -> np.ndarray:
    graph = read_graph(model)
    y: np.ndarray = graph.output.format.to_real(Reference(graph).run(graph.input.format.quantise(np.load(inputs))))
    return y.reshape(len(y), -1)


def test_exactly_three_lines_are_added() -> None:
    before, after = ([line for line in p.read_text().splitlines() if line] for p in (PLAIN, OURS))
    code = [line for line in difflib.ndiff(before, after) if line[0] in "+-" and "python examples/" not in line]
    added = [line for line in code if '"""' not in line]
    assert added == [
        "+ from hls4attn.hls import check_hls_model, for_hls4ml",
        "+ model = for_hls4ml(model)",
        "+ check_hls_model(hls_model, model, config)",
    ]


@pytest.mark.compile
def test_predict_is_the_reference_bit_for_bit(tmp_path: Path, inputs: Path) -> None:
    model = attention()
    save_model(model, tmp_path / "m.onnx")
    done = run(OURS, tmp_path / "m.onnx", tmp_path / "project", inputs, tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    expected, found = reference(model, inputs), np.load(tmp_path / "y.npy")
    assert np.array_equal(found.reshape(expected.shape), expected)
    assert len(np.unique(expected)) > 30


@pytest.mark.compile
def test_hls4ml_alone_computes_attention_wrongly_and_the_guard_refuses_it(tmp_path: Path, inputs: Path) -> None:
    model = products()
    expected = reference(model, inputs)
    graph = read_graph(model)
    runtime = OnnxRuntimeStage(graph, model).run(graph.input.format.quantise(np.load(inputs)))
    assert np.array_equal(graph.output.format.to_real(runtime).reshape(expected.shape), expected)  # others agree

    onnx.save(stock(model), tmp_path / "m.onnx")
    done = run(PLAIN, tmp_path / "m.onnx", tmp_path / "plain", inputs, tmp_path / "wrong.npy")
    assert done.returncode == 0, done.stderr
    wrong = np.load(tmp_path / "wrong.npy").reshape(expected.shape)
    assert np.mean(np.any(wrong != expected, axis=1)) > 0.9

    guarded = tmp_path / "guarded.py"  # the guard alone, without the line that converts our nodes
    lines = OURS.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if "model = for_hls4ml" not in line)
    guarded.write_text(text.replace("check_hls_model(hls_model, model, config)", "check_hls_model(hls_model)"))
    done = run(guarded, tmp_path / "m.onnx", tmp_path / "guarded", inputs, tmp_path / "none.npy")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "no C++ is emitted for it, so its result would be uninitialised memory" in last
    assert "convert hls4attn.hls.for_hls4ml(model) instead" in last
    assert not (tmp_path / "none.npy").exists()


def test_a_float_softmax_is_refused_by_the_first_of_the_lines(tmp_path: Path, inputs: Path) -> None:
    model = stock(products())
    node = next(n for n in model.graph.node if n.name == "context")
    softmax = helper.make_node("Softmax", [node.input[0]], ["p"], name="softmax", axis=-1)
    model.graph.node.insert([*model.graph.node].index(node), softmax)
    model.graph.value_info.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, ROWS, ROWS]))
    node.input[0] = "p"
    onnx.save(model, tmp_path / "m.onnx")
    done = run(OURS, tmp_path / "m.onnx", tmp_path / "project", inputs, tmp_path / "y.npy")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "UnsupportedError: softmax: operator Softmax has no exact integer meaning here; use QSelfAttention" in last
    assert not (tmp_path / "project").exists()
