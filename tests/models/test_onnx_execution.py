# SPDX-License-Identifier: Apache-2.0
"""One file, four executors that share no code, one answer."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.functions import IR_VERSION, OPSET, QUANT_DOMAIN, functions
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OFF_GRID, OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage, to_codes
from hls4attn.models.formats import Fixed
from tests.models.builders import attention_model, specs

STAGES = {"onnx": ReferenceEvaluatorStage, "onnxruntime": OnnxRuntimeStage, "qonnx": QonnxStage}


@pytest.mark.parametrize("name", specs())
@pytest.mark.parametrize("stage", STAGES)
def test_every_executor_gives_the_reference_tensor_by_tensor(name, stage):
    model = attention_model(specs()[name])
    graph = read_graph(model)
    codes = random_codes(graph.input, 100, seed=3)
    reference, executor = Reference(graph), STAGES[stage](graph, model)
    expected = reference.run(codes)
    assert len(np.unique(expected)) > 50
    assert np.count_nonzero(executor.run(codes) != expected) == 0
    shown, truth = executor.trace(codes), reference.trace(codes)
    assert set(shown) == {t.name for t in graph.activations()}
    assert sum(np.count_nonzero(shown[n] != truth[n]) for n in shown) == 0


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_the_quant_function_is_qonnx_quant(signed, narrow, bits):
    from qonnx.custom_op.general.quant import quant

    x = np.concatenate([np.arange(-300, 300) / 7, np.arange(-40, 40) / 4]).astype(np.float32)
    node = helper.make_node(
        "Quant", ["x", "s", "z", "b"], ["y"], domain=QUANT_DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND"
    )
    scalars = {"s": 0.5, "z": 0.0, "b": float(bits)}
    graph = helper.make_graph(
        [node],
        "quant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(x)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [len(x)])],
        initializer=[helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in scalars.items()],
    )
    model = helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(QUANT_DOMAIN, 1)],
        functions=[functions()["Quant"]],
    )
    import onnxruntime

    got = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    expected = quant(x, np.float32(0.5), np.float32(0), np.float32(bits), signed, narrow, "ROUND")
    assert np.array_equal(got, expected)


def test_values_off_the_grid_never_pass_for_codes():
    got = to_codes([0.5, 0.3, float("nan"), float("inf"), -1.0], Fixed(8, 1))
    assert got.tolist() == [1, OFF_GRID, OFF_GRID, OFF_GRID, -2]


def test_a_wrong_function_body_is_seen():
    """Swapping the rounding of the file's own Quant must show as mismatches."""
    model = attention_model(specs()["consmax"])
    graph = read_graph(model)
    for function in model.functions:
        for node in function.node:
            if function.name == "Quant" and node.op_type == "Round":
                node.op_type = "Floor"
    onnx.checker.check_model(model)
    codes = random_codes(graph.input, 50, seed=0)
    assert np.count_nonzero(OnnxRuntimeStage(graph, model).run(codes) != Reference(graph).run(codes)) > 0
