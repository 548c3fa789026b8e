# SPDX-License-Identifier: Apache-2.0
"""The five silent wrong answers of the stock flow, and every configuration key that would have no effect."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hls_models import A8, ModelMaker, classifier, consmax

from hls4attn.hls import CSim, check_hls_model, convert, lower, lower_graph, register
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export import Reference, random_codes, read_graph
from hls4attn.models.formats import Fixed

hls4ml = pytest.importorskip("hls4ml")


def to_hls4ml(model: onnx.ModelProto, folder: Path, hls_config: Any = None, **more: Any) -> Any:
    """hls4ml's own conversion, quietly."""
    options = {"backend": "Vitis", "io_type": "io_parallel"} | more
    with contextlib.redirect_stdout(io.StringIO()):
        return hls4ml.converters.convert_from_onnx_model(
            model, hls_config=hls_config, output_dir=str(folder), **options
        )


def stock(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the stock front end wants: a batch of one and no function bodies."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.functions[:]
    for info in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = 1
    return copy


def exact(model: onnx.ModelProto, folder: Path) -> bool:
    graph = read_graph(model)
    codes = random_codes(graph.input, 64, 1)
    return bool(np.array_equal(CSim(convert(model, folder)).run(codes), Reference(graph).run(codes)))


def dynamic_matmul() -> onnx.ModelProto:
    m = ModelMaker("scores", (4, 3), A8, 1)
    t = m.b.transpose(m.x, (1, 0), "turn")
    s = m.op("MatMul", [m.x, t], "scores", (4, 4))
    return m.model(m.b.quant(s, A8, "scores_q", (4, 4)))


def shared_quantiser() -> onnx.ModelProto:
    """A residual whose two quantisers read the same scale, zero point and width."""
    m = ModelMaker("residual", (4,), A8, 2)
    first = m.b.quant(m.op("Relu", [m.x], "relu", (4,)), A8, "first", (4,))
    second = m.b.quant(m.op("Add", [first, m.x], "residual", (4,)), A8, "second", (4,))
    model = m.model(second)
    nodes = {n.name: n for n in model.graph.node}
    del nodes["second"].input[1:]
    nodes["second"].input.extend(nodes["first"].input[1:])
    unused = ("second_scale", "second_zero_point", "second_bits")
    for part in (model.graph.initializer, model.graph.value_info):
        for item in [i for i in part if i.name in unused]:
            part.remove(item)
    return model


def sequence_dense(last: bool = True) -> onnx.ModelProto:
    m = ModelMaker("sequence", (4, 3), A8, 3)
    y = m.op("MatMul", [m.x, m.constant("w", (3, 5))], "dense", (4, 5))
    return m.model(m.b.quant(y, Fixed(5, 2), "dense_q", (4, 5)) if last else y)


def trailing_quantiser() -> onnx.ModelProto:
    m = ModelMaker("mlp", (6,), A8, 4)
    h = m.dense(m.x, (6,), 5, "hidden", Fixed(6, 3, False), relu=True)
    return m.model(m.dense(h, (5,), 3, "classes", Fixed(4, 1)))


@pytest.mark.compile
@pytest.mark.parametrize("make", [dynamic_matmul, shared_quantiser, sequence_dense, trailing_quantiser])
def test_silent_wrong_answers_are_right_here(tmp_path: Path, make: Any) -> None:
    assert exact(make(), tmp_path / "p")


def test_stock_dynamic_matmul_is_refused(tmp_path: Path) -> None:
    model = to_hls4ml(stock(dynamic_matmul()), tmp_path / "p")
    with pytest.raises(UnsupportedError, match=r"scores.*\(.*\): no C\+\+ is emitted"):
        check_hls_model(model)


def test_stock_shared_quantisers_are_refused(tmp_path: Path) -> None:
    model = to_hls4ml(stock(shared_quantiser()), tmp_path / "p")
    with pytest.raises(UnsupportedError, match=r"hls4attn\.hls"):
        check_hls_model(model)
    assert any(not n.get_attr("function_cpp") for n in model.get_layers() if n.class_name == "Quant")


def test_stock_softmax_of_rank_three_is_refused(tmp_path: Path) -> None:
    m = ModelMaker("softmax", (4, 3), A8, 5)
    proto = m.model(m.b.node("Softmax", [m.x], "softmax", (4, 3), attributes={"axis": -1}))
    with pytest.raises(UnsupportedError, match=r"softmax: operator Softmax .*score='softmax'"):
        lower(proto)
    with pytest.raises(UnsupportedError, match=r"stock hls4ml layer|no C\+\+"):
        check_hls_model(to_hls4ml(stock(proto), tmp_path / "p"))


def test_stock_sequence_dense_is_refused(tmp_path: Path) -> None:
    with contextlib.suppress(AssertionError):  # the stock front end itself fails for some shapes
        model = to_hls4ml(stock(sequence_dense()), tmp_path / "p")
        with pytest.raises(UnsupportedError, match=r"stock hls4ml layer|no C\+\+"):
            check_hls_model(model)


def test_stock_mlp_is_refused(tmp_path: Path) -> None:
    model = to_hls4ml(stock(trailing_quantiser()), tmp_path / "p")
    with pytest.raises(UnsupportedError, match="stock hls4ml layer, whose types and rounding"):
        check_hls_model(model)


@pytest.fixture(scope="module")
def lowered() -> onnx.ModelProto:
    register()
    return lower(classifier(1, 4, 4, 8, consmax(2)))


def test_a_lowered_model_passes(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    config = {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 2}, "LayerName": {"embed": {"ReuseFactor": 1}}}
    model = to_hls4ml(lowered, tmp_path / "p", config)
    design = lower_graph(read_graph(classifier(1, 4, 4, 8, consmax(2))))
    check_hls_model(model, design, config)


def test_hls4mls_own_default_configuration_passes(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        config = hls4ml.utils.config_from_onnx_model(lowered, granularity="name", backend="Vitis")
    check_hls_model(to_hls4ml(lowered, tmp_path / "p", config), hls_config=config)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"LayerName": {"nonsense": {"ReuseFactor": 2}}}, "'nonsense' names nothing in this model; it has: .*embed"),
        ({"LayerType": {"Dense": {"ReuseFactor": 2}}}, "'Dense' names nothing"),
        ({"LayerName": {"embed": {"Strategy": "Resource"}}}, "key 'Strategy' has no effect on embed"),
        ({"LayerName": {"embed": {"Colour": "red"}}}, "key 'Colour' has no effect"),
        ({"LayerName": {"embed": {"Precision": {"result": "fixed<8,2>"}}}}, "result='fixed<8,2>' would be ignored"),
        ({"LayerName": {"embed": {"Precision": {"weight": "fixed<8,2>"}}}}, "weight='fixed<8,2>' would be ignored"),
        ({"LayerName": {"embed": {"Precision": "fixed<8,2>"}}}, "would be ignored"),
        ({"LayerType": {"AttnDense": {"Precision": "fixed<8,2>"}}}, "would be ignored"),
        ({"LayerName": {"input_quant_in": {"Precision": "fixed<8,2>"}}}, "would be ignored"),
        ({"LayerName": {"input_quant_in": {"ReuseFactor": 4}}}, "no effect on an input port"),
        ({"Model": {"Strategy": "Resource"}}, "Strategy 'Resource': no kernel reads it; use ReuseFactor"),
        ({"Model": {"Compression": True}}, "Model key 'Compression' has no effect"),
        ({"Model": {"PipelineStyle": "dataflow"}}, "several readers"),
        ({"Model": {"PipelineInterval": 4}}, "PipelineInterval is read with"),
        ({"Nonsense": {}}, r"sections \['Nonsense'\] have no effect"),
    ],
)
def test_settings_without_effect_are_refused(
    tmp_path: Path, lowered: onnx.ModelProto, section: dict[str, Any], message: str
) -> None:
    model = to_hls4ml(lowered, tmp_path / "p", section, backend="Vivado")
    with pytest.raises(UnsupportedError, match=message):
        check_hls_model(model, hls_config=section)


def test_a_model_lowered_for_arrays_does_not_stream(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    with pytest.raises(UnsupportedError, match=r"lowered for io_parallel, .*lower\(model, io_type='io_stream'\)"):
        to_hls4ml(lowered, tmp_path / "p", io_type="io_stream")


def test_a_changed_type_is_refused(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    model = to_hls4ml(lowered, tmp_path / "p")
    model.graph["block0_up"].get_output_variable().type.precision.integer += 1
    with pytest.raises(UnsupportedError, match=r"block0_up: its result is .* the model says ufixed<8,4,half_even"):
        check_hls_model(model)


def test_a_node_without_code_is_refused(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    model = to_hls4ml(lowered, tmp_path / "p")
    model.graph["block0_up"].set_attr("function_cpp", "")
    with pytest.raises(UnsupportedError, match=r"block0_up \(AttnDense\): no C\+\+ is emitted"):
        check_hls_model(model)


def test_another_design_is_refused(tmp_path: Path, lowered: onnx.ModelProto) -> None:
    model = to_hls4ml(lowered, tmp_path / "p")
    for other, message in (
        (classifier(1, 4, 4, 9, consmax(2)), "block0_up: hls4ml changed its parameters"),
        (classifier(2, 4, 4, 8, consmax(2)), "changed the list of nodes"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            check_hls_model(model, lower_graph(read_graph(other)))
