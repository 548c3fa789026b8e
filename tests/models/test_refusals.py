# SPDX-License-Identifier: Apache-2.0
"""Every refusal of a model says three things: which node, why, and what to do.  Keras' are in test_keras_plain."""

import copy
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hls4attn.models.errors import Hls4attnError, UnsupportedError
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign import ImportChoices, import_model
from tests.models.builders import attention_model, specs

ENCODER = Path(__file__).parents[2] / "examples" / "data" / "brevitas_qonnx.onnx"


def node(model, name):
    return next(n for n in model.graph.node if n.name == name)


def set_attribute(name, key, value):
    def change(model):
        target = node(model, name)
        for attribute in [a for a in target.attribute if a.name == key]:
            target.attribute.remove(attribute)
        target.attribute.append(helper.make_attribute(key, value))

    return change


def set_constant(name, value, dtype=np.float32):
    def change(model):
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))

    return change


def operator(name, op, domain=""):
    """Another operator of one operand in a node's place."""

    def change(model):
        target = node(model, name)
        target.op_type, target.domain = op, domain
        del target.attribute[:]
        del target.input[1:]
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return change


def without(name):
    """The file without a quantiser: its users read its operand."""

    def change(model):
        gone = node(model, name)
        for user in model.graph.node:
            user.input[:] = [gone.input[0] if i == gone.output[0] else i for i in user.input]
        model.graph.node.remove(gone)

    return change


def second_output(model):
    model.graph.output.append(copy.deepcopy(model.graph.output[0]))
    model.graph.output[1].name = node(model, "dense").output[0]


_PUT = r"Put qnn\.QuantIdentity\(.*\) there in Brevitas, or a QuantizeLinear/DequantizeLinear pair, or .*--calibration"
#: File, what is done to it, and what the message says of node, reason and remedy.
CASES = {
    # our dialect, by the reader
    "step of no power of two": ("own", set_constant("scores_scale", 0.3), "scores", "power of two", "train with such"),
    "zero point": ("own", set_constant("scores_zero_point", 3), "scores", "zero point must be 0", "use a symmetric"),
    "half a bit": ("own", set_constant("scores_bits", 7.5), "scores", r"7\.5 bits", "use a whole number of bits"),
    "rounding": (
        "own",
        set_attribute("scores", "rounding_mode", "CEIL"),
        "scores",
        "rounding mode",
        "must be ROUND or FLOOR",
    ),
    "steps by channel": ("own", set_constant("kernel_scale", [0.5] * 8), "kernel", "Quant needs one", "for the whole"),
    "weights that are NaN": (
        "own",
        set_constant("kernel_value", np.full((8, 8), np.nan)),
        "kernel",
        "NaN",
        "look for a training that diverged",
    ),
    "a float softmax": ("own", operator("score", "Softmax"), "score", "no exact integer meaning", "use QSelfAttention"),
    "a sigmoid": ("own", operator("context", "Sigmoid"), "context", "no exact integer meaning", "supported: MatMul, "),
    "a foreign operator": (
        "own",
        operator("context", "Mish", "my.ops"),
        "context",
        "unknown operator my.ops::Mish",
        "export with standard operators",
    ),
    "a fixed batch": (
        "own",
        set_constant("split_shape", [1, 4, 2, 4], np.int64),
        "split",
        "must keep the batch axis",
        r"0 or -1",
    ),
    "two outputs": (
        "own",
        second_output,
        "model",
        "one input and one output",
        "export each part as a model of its own",
    ),
    "no quantiser of the input": ("own", without("tokens"), "input", "must feed one Quant node", "begin with a QAct"),
    # files from elsewhere, by the reader: it points to the import
    "a foreign file": ("foreign", lambda model: None, "node_Transpose_12", "batch axis", "hls4attn import FILE"),
    # files from elsewhere, by the import
    "imported step": (
        "import",
        set_constant("attention.score_quant.act_quant.export_handler.lifted_tensor_45", 0.3),
        r"node__symbolic_15 \(Quant\)",
        r"0\.3\d* is no power of two",
        "--scales power-of-two",
    ),
    "imported rounding": (
        "import",
        set_attribute("node__symbolic_5", "rounding_mode", "FLOOR"),
        r"node__symbolic_5 \(Quant\)",
        "rounding mode FLOOR",
        "only ROUND",
    ),
    "nothing quantises the input": ("import", without("node__symbolic"), r"node_MatMul_13", "has no quantiser", _PUT),
    "nothing quantises the scores": ("import", without("node__symbolic_15"), "node_softmax", "19 bits, more", _PUT),
    "nothing quantises probabilities": ("import", without("node__symbolic_16"), "node_matmul_1", "no quantiser", _PUT),
    "nothing quantises a normalisation": ("import", without("node__symbolic_22"), "node_MatMul_97", "no quant", _PUT),
    "float weights": (
        "import",
        without("node__symbolic_1"),
        r"node_MatMul_13 \(MatMul\)",
        "weight 'slice_1' .* is float and unquantised",
        "weight_quant=Int8WeightPerTensorFixedPoint.*--calibration",
    ),
    "float biases": (
        "import",
        without("node__symbolic_2"),
        r"node_linear \(Add\)",
        "bias 'embed.bias' .* is float and unquantised",
        "bias_quant=Int8Bias.*--calibration",
    ),
    "gelu": ("import", operator("node_relu", "Gelu"), r"node_relu \(Gelu\)", "no integer twin", r"nearest: nn\.ReLU"),
    "something else": ("import", operator("node_softmax", "Hardmax"), "node_softmax", "no integer twin", "supported: "),
    "operator of another domain": (
        "import",
        operator("node_relu", "Mish", "my.ops"),
        r"node_relu \(Mish\)",
        "domain 'my.ops'",
        "export with standard operators",
    ),
    "softmax over queries": (
        "import",
        set_attribute("node_softmax", "axis", 1),
        r"node_softmax \(Softmax\)",
        "axis=1 of 4",
        "transpose before it",
    ),
    "norm over two axes": (
        "import",
        set_attribute("node_layer_norm", "axis", 1),
        r"node_layer_norm \(LayerNormalization\)",
        "over several",
        r"nn\.LayerNorm\(channels\)",
    ),
}


def refusal(kind, change):
    """The message; None if the changed file is taken."""
    model = attention_model(specs()["consmax"]) if kind == "own" else onnx.load(ENCODER)
    change(model)
    try:
        if kind == "import":
            import_model(model, ImportChoices())
        else:
            read_graph(model)
    except Hls4attnError as error:
        assert isinstance(error, UnsupportedError)
        return str(error)
    return None


@pytest.mark.parametrize("case", CASES)
def test_each_refusal_names_the_node_the_reason_and_a_remedy(case):
    kind, change, where, reason, remedy = CASES[case]
    message = refusal(kind, change)
    assert message is not None
    assert "\n" not in message
    position = 0
    for part in (where, reason, remedy):
        found = re.search(part, message[position:], re.IGNORECASE)
        assert found, f"{part!r} is missing in: {message}"
        position += found.start()


def test_what_is_not_changed_is_not_refused():
    """Else the table above would show nothing."""
    assert refusal("own", lambda model: None) is None
    assert refusal("import", lambda model: None) is None
