# SPDX-License-Identifier: Apache-2.0
"""What a file must not be: each defect is refused by name, whatever else is in the file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hls4attn.models.errors import Hls4attnError, ModelFileError, UnsupportedError
from hls4attn.models.export.builder import GraphBuilder, save_model
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage, ReferenceEvaluatorStage
from hls4attn.models.formats import Fixed
from tests.models.builders import attention_model, specs


@pytest.fixture
def model():
    return attention_model(specs()["consmax"])


def initialiser(model, name):
    return next(t for t in model.graph.initializer if t.name == name)


def replace(model, name, value):
    initialiser(model, name).CopyFrom(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))


def node(model, name):
    return next(n for n in model.graph.node if n.name == name)


def test_missing_truncated_foreign_and_empty_files(model, tmp_path):
    path = tmp_path / "model.onnx"
    save_model(model, path)
    whole = path.read_bytes()
    with pytest.raises(ModelFileError, match="Cannot read model"):
        load_model(tmp_path / "absent.onnx")
    for damaged in (whole[: len(whole) // 2], whole[:-7], b"GIF89a" + bytes(100), b""):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match="not a valid ONNX file"):
            load_model(path)
    for damaged, kind in (
        (b"PK\x03\x04" + whole, "if of Keras, first: hls4attn export"),
        (b"\x89HDF", "HDF5"),
        (b"", "empty"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=kind):
            load_model(path)


def test_external_weights_are_not_followed(model, tmp_path):
    tensor = initialiser(model, "kernel_value")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../secret"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="self-contained"):
        load_model(tmp_path / "m.onnx")


def test_external_data_in_an_attribute_is_not_followed_either(model, tmp_path):
    attribute = next(a for a in node(model, "score").attribute if a.name == "beta")
    attribute.t.ClearField("raw_data")
    attribute.t.data_location = TensorProto.EXTERNAL
    entry = attribute.t.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="self-contained"):
        load_model(tmp_path / "m.onnx")


def test_randomly_damaged_files_never_raise_anything_but_typed_errors(model, tmp_path):
    """Bytes flipped, cut out or doubled, away from the file's beginning as well."""
    whole = bytearray(model.SerializeToString())
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "m.onnx", 0
    for _ in range(400):
        data = bytearray(whole)
        at = int(rng.integers(len(data)))
        kind = int(rng.integers(3))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 9))]
        else:
            data[at:at] = data[at : at + 8]
        path.write_bytes(bytes(data))
        try:
            read_graph(path)
        except Hls4attnError as error:
            refused += 1
            assert str(error).strip()
    assert refused > 200


def test_executors_that_cannot_run_a_file_say_so(model):
    """Without function bodies nobody else knows our operators."""
    del model.functions[:]
    graph = read_graph(model)
    for stage in (ReferenceEvaluatorStage, OnnxRuntimeStage):
        with pytest.raises(ModelFileError, match=f"{stage.name} cannot run this file"):
            stage(graph, model).run(np.zeros((1, 4, 8), dtype=np.int64))


def test_a_reshape_that_fixes_the_batch_is_refused(model):
    name = node(model, "split").input[1]
    initialiser(model, name).CopyFrom(numpy_helper.from_array(np.array([1, 4, 2, 4], dtype=np.int64), name))
    with pytest.raises(UnsupportedError, match="split: Reshape must keep the batch axis"):
        read_graph(model)


@pytest.mark.parametrize(
    ("op", "remedy"),
    [
        ("Softmax", "use QSelfAttention with score='softmax'"),
        ("Sigmoid", "supported: MatMul, Add"),
        ("Div", "multiply by a quantised reciprocal"),
    ],
)
def test_operators_without_integer_meaning_name_a_remedy(model, op, remedy):
    target = node(model, "residual")
    target.op_type = op
    if op != "Div":
        del target.input[1]
    with pytest.raises(UnsupportedError, match=f"residual: operator {op} .*{remedy}"):
        read_graph(model)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores_scale", 0.3, "scores: Quant scale must be a power of two. Received: 0.3"),
        ("scores_scale", -0.5, "power of two"),
        ("scores_scale", [0.5, 0.25], "one constant scale"),
        ("scores_zero_point", 3, "zero point must be 0"),
        ("scores_bits", 7.5, "7.5 bits"),
        ("scores_bits", 99, "scores: Fixed width"),
        ("kernel_value", np.full((8, 8), np.nan), "kernel: constant holds NaN"),
    ],
)
def test_unrepresentable_quantisers_and_weights(model, name, value, message):
    replace(model, name, value)
    with pytest.raises(UnsupportedError, match=message):
        read_graph(model)


def test_score_nodes_must_get_the_format_they_were_built_for(model):
    replace(model, "scores_scale", 0.125)
    with pytest.raises(UnsupportedError, match="score: ConSmax takes scores in fixed<8,2.*Received: fixed<8,3"):
        read_graph(model)


def test_tampered_tables_are_refused(model):
    for attribute in node(model, "score").attribute:
        if attribute.name == "table":
            table = numpy_helper.to_array(attribute.t).copy()
            table[7] += 1 / 256
            attribute.t.CopyFrom(numpy_helper.from_array(table))
    with pytest.raises(UnsupportedError, match="score: ConSmax: attribute 'table' does not follow"):
        read_graph(model)


def test_input_must_be_quantised():
    b = GraphBuilder("raw")
    x = b.input("input", (4,))
    w = b.quantised_constant("w", np.ones((4, 4), dtype=int), Fixed(4, 0))
    with pytest.raises(UnsupportedError, match="'input' must feed one Quant node"):
        read_graph(b.model([x], [b.node("MatMul", [x, w], "y", (4,))], {}))


def test_raw_constants_pass_only_if_few_bits_hold_them():
    def scaled(value):
        b = GraphBuilder("scaled")
        x = b.quant(b.input("input", (4,)), Fixed(8, 4), "x", (4,))
        return b.model(["input"], [b.node("Mul", [x, b.constant("c", value)], "y", (4,))], {})

    assert read_graph(scaled(0.375)).constant("c").format.frac == 3
    with pytest.raises(UnsupportedError, match="c: constant is not quantised"):
        read_graph(scaled(1 / np.sqrt(8)))


def test_values_beyond_float32_are_refused():
    b = GraphBuilder("wide")
    x = b.quant(b.input("input", (512,)), Fixed(16, 0), "x", (512,))
    w = b.quantised_constant("w", np.full((512, 1), 127), Fixed(8, 0))
    model = b.model(["input"], [b.node("MatMul", [x, w], "y", (1,))], {})
    with pytest.raises(UnsupportedError, match="y: values need fixed<.*more than the 24 bits"):
        read_graph(model)


def test_dead_nodes_and_second_outputs_are_refused(model):
    extra = helper.make_node("Relu", ["dense"], ["unused"], name="unused")
    model.graph.node.append(extra)
    with pytest.raises(UnsupportedError, match="without effect on the output: \\['unused'\\]"):
        read_graph(model)
    model.graph.output.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["batch", 4, 8]))
    with pytest.raises(UnsupportedError, match="one input and one output. Received: 1 and 2"):
        read_graph(model)


def test_quant_nodes_may_share_their_parameters():
    """hls4ml itself loses the second of two such nodes; here both keep their meaning."""
    b = GraphBuilder("shared")
    x = b.quant(b.input("input", (4,)), Fixed(8, 4), "x", (4,))
    w = b.quantised_constant("w", np.arange(16).reshape(4, 4) - 8, Fixed(5, 2))
    y = b.quant(b.node("MatMul", [x, w], "product", (4,)), Fixed(8, 4), "y", (4,))
    model = b.model(["input"], [y], {})
    for used, kept in zip(node(model, "y").input[1:], node(model, "x").input[1:], strict=True):
        node(model, "y").input[list(node(model, "y").input).index(used)] = kept
    onnx.checker.check_model(model)
    graph = read_graph(model)
    assert graph.tensors["y"].format == graph.tensors["x"].format == Fixed(8, 4)
