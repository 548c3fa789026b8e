# SPDX-License-Identifier: Apache-2.0
"""Foreign files that are damaged or hostile: a typed error, in time, and no traceback."""

import numpy as np
import onnx
import pytest
from onnx import helper

from hls4attn.models.errors import Hls4attnError, ModelFileError
from hls4attn.models.export.reader import load_model
from hls4attn.models.foreign import ImportChoices, import_model
from tests.models.foreign_nets import Net, encoder


def test_external_data(tmp_path):
    model = encoder()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ModelFileError, match="self-contained"):
        load_model(tmp_path / "m.onnx")


def test_damaged_files_never_raise_anything_but_typed_errors():
    rng = np.random.default_rng(0)
    refusals = 0
    for number in range(40):
        model = encoder(("quant", "qdq")[number % 2])
        node = model.graph.node[int(rng.integers(len(model.graph.node)))]
        kind = int(rng.integers(4))
        if kind == 0 and node.input:
            del node.input[int(rng.integers(len(node.input)))]
        elif kind == 1 and node.input:
            node.input[0] = model.graph.node[int(rng.integers(len(model.graph.node)))].output[0]
        elif kind == 2 and node.attribute:
            del node.attribute[:]
        else:
            tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
            tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
        try:
            import_model(model, ImportChoices(samples=4))
        except Hls4attnError as error:
            refusals += 1
            assert str(error).strip()
    assert refusals > 20


def test_broken_attributes_name_their_node():
    net = Net()
    y = net.node("Transpose", net.quant("x", 2.0**-4), perm=[0, 1], name="turn")
    with pytest.raises(ModelFileError, match=r"turn \(Transpose\): malformed .*export the model again"):
        import_model(net.model(y))


def test_a_function_that_calls_itself_is_refused():
    model = encoder()
    call = helper.make_node("Again", ["a"], ["b"], domain="local")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function("local", "Again", ["a"], ["b"], [call], opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("Again", ["x"], ["unused"], domain="local"))
    with pytest.raises(ModelFileError, match="Function local.Again calls itself"):
        import_model(model)


def test_functions_that_unfold_without_end_are_refused():
    model = encoder()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for level in range(40):
        inner = helper.make_node(f"F{level + 1}" if level < 39 else "Relu", ["a"], ["c"])
        outer = helper.make_node(f"F{level + 1}" if level < 39 else "Relu", ["c"], ["b"])
        for node in (inner, outer) if level < 39 else ():
            node.domain = "local"
        model.functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], [inner, outer], opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node.append(helper.make_node("F0", ["x"], ["unused"], domain="local"))
    with pytest.raises(ModelFileError, match="nodes when unfolded"):
        import_model(model)
