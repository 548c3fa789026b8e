# SPDX-License-Identifier: Apache-2.0
"""What has no integer twin is refused with the node's name, what was found there, and the nearest thing that works."""

import re

import numpy as np
import pytest
from onnx import TensorProto, helper

from hls4attn.models.errors import InputError, MismatchError, SpecError, UnsupportedError
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign import ImportChoices, import_model, translation
from tests.models.foreign_nets import Net, attention, encoder

COLUMNS = np.arange(8)


def refused(net, y, message, shape=("batch", 8, 16), **options):
    with pytest.raises(UnsupportedError, match=message):
        import_model(net.model(y, shape, **options))


@pytest.mark.parametrize(
    ("op", "attributes", "nearest"),
    [
        ("Gelu", {}, "nearest: nn.ReLU"),
        ("Erf", {}, "GELU written out; nearest: nn.ReLU"),
        ("Sigmoid", {}, "nn.ReLU"),
        ("LogSoftmax", {}, "leave it out behind the classifier"),
        ("GlobalAveragePool", {}, r"x.mean\(dim=1\)"),
        ("Exp", {}, "use torch.softmax"),
        ("Ceil", {}, "supported: MatMul, Gemm"),
    ],
)
def test_operators_without_a_twin(op, attributes, nearest):
    net = Net(opset=20)
    y = net.node(op, net.quant("x", 2.0**-4), name="odd", **attributes)
    refused(net, y, rf"odd \({op}\): operator {op} has no integer twin here; .*{nearest}")


def test_control_flow():
    net = Net()
    x = net.quant("x", 2.0**-4)
    branch = helper.make_graph(
        [helper.make_node("Identity", [x], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    y = net.node("If", net.const(True, bool), then_branch=branch, else_branch=branch, name="choice")
    refused(net, y, r"choice \(If\): .*nothing here decides at run time")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": 2}, r"softmax \(Softmax\): axis=2 of 4; the last one"),
        ({"axis": 1}, r"softmax \(Softmax\): axis=1 of 4"),
        ({"quantiser": "none"}, r"softmax \(Softmax\): its input 'scale_out' .*19 bits, more than 12.*QuantIdentity"),
        ({"quantiser": "behind"}, r"score_codes \(Quant\): quantises .* factor 0.353553 .*before the division"),
        (
            {"probabilities": False},
            r"context \(MatMul\): its input 'softmax_out' .*no quantiser behind it.*--calibration",
        ),
        ({"causal": np.where(COLUMNS > 5, -np.inf, 0.0)[None, :].repeat(8, 0)}, r"mask \(Add\): a mask .*not causal"),
        ({"causal": np.triu(np.full((8, 8), -1e9), 1) + 1}, r"mask \(Add\): adds a mask and other numbers"),
    ],
)
def test_attention_that_no_operator_is(options, message):
    net = Net()
    refused(net, attention(net, net.quant("x", 2.0**-4), **options), message)


def test_a_choice_between_scores_and_other_numbers_is_no_mask():
    """Above the diagonal one entry is 0.5 and not hidden: the file gives it a probability."""
    other = np.where(np.triu(np.ones((8, 8)), 1) > 0, -1e9, 0)
    other[0, 5] = 0.5
    net = Net()
    x = net.quant("x", 2.0**-4)
    scores = net.quant(net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1])), 1.0)
    seen = net.node("Where", net.const(np.tril(np.ones((8, 8))), bool), scores, net.const(other), name="choice")
    p = net.quant(net.node("Softmax", seen), 2.0**-8, signed=False)
    refused(net, net.quant(net.node("MatMul", p, x), 2.0**-4), r"choice \(Where\): a choice that is no constant mask")


def test_layer_norms_over_other_axes():
    net = Net()
    x = net.quant("x", 2.0**-4)
    y = net.node("LayerNormalization", x, net.const(np.ones((8, 16))), axis=-2, name="norm")
    refused(net, y, r"norm \(LayerNormalization\): axis=-2 .*over several; only over the last")
    net = Net()
    x = net.quant("x", 2.0**-4)
    centred = net.node("Sub", x, net.node("ReduceMean", x, axes=[1]))
    variance = net.node("ReduceMean", net.node("Mul", centred, centred), axes=[1])
    root = net.node("Sqrt", net.node("Add", variance, net.const(1e-5)))
    refused(net, net.node("Div", centred, root, name="norm"), r"norm \(LayerNormalization\): axis=1 of a tensor with 3")
    net = Net()
    x = net.quant("x", 2.0**-4)
    mean = net.node("ReduceMean", x, axes=[1])
    refused(
        net, net.node("Sub", x, mean, name="centred"), r"centred \(Sub\): subtracts something that depends on the input"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n, x: n.node("Mul", x, x, name="gate"), r"gate \(Mul\): product of two activations.*Relu instead of"),
        (lambda n, x: n.node("Div", n.const(1.0), x, name="d"), r"d \(Div\): divides by something"),
        (
            lambda n, x: n.node("Concat", x, n.const(np.zeros((2, 1, 16))), axis=1, name="j"),
            r"j \(Concat\).*class token",
        ),
        (
            lambda n, x: n.node("MatMul", n.const(np.ones((8, 8))), x, name="m"),
            r"m \(MatMul\): a constant left operand",
        ),
        (lambda n, x: n.node("ReduceMean", x, axes=[0], name="r"), r"r \(ReduceMean\): over the batch"),
        (
            lambda n, x: n.node("Clip", x, n.const(-1.0), n.const(1.0), name="c"),
            r"c \(Clip\): limits values to \[-1.0, 1.0\]",
        ),
        (lambda n, x: n.node("Cast", x, to=TensorProto.INT8, name="k"), r"k \(Cast\): casts activations to type 3"),
        (lambda n, x: n.node("Expand", x, n.ints(2, 2, 8, 16), name="e"), r"e \(Expand\): repeats"),
        (lambda n, x: n.node("Add", n.node("ReduceMean", x, axes=[1]), x, name="a"), r"a \(Add\): sum of"),
        (
            lambda n, x: n.node("Dropout", x, n.const(0.5), n.const(True, bool), name="t"),
            r"t \(Dropout\): in training mode",
        ),
        (
            lambda n, x: n.node("Gemm", n.node("Reshape", x, n.ints(-1, 16)), n.weight((16, 4)), alpha=0.5, name="g"),
            r"g \(Gemm\): alpha=0.5, beta=1; 1 and 1",
        ),
        (
            lambda n, x: n.node("Slice", x, n.ints(5), n.ints(5), n.ints(1), name="s"),
            r"s \(Slice\): nothing is left of \(2, 8, 16\)",
        ),
        (
            lambda n, x: n.node(
                "Add", n.node("Gather", x, n.ints(1, 0), axis=1), n.node("Gather", x, n.ints(0, 1), axis=1), name="r"
            ),
            r"r \(Add\): elements of quant0_row_0 are rearranged",
        ),
        (
            lambda n, x: n.node(
                "Relu", n.node("LayerNormalization", x, n.const(np.ones(16)), outputs=2, name="l")[1], name="m"
            ),
            r"m \(Relu\): reads 'l_out1', a further output of l \(LayerNormalization\)",
        ),
        *(
            (
                lambda n, x, e=e: n.node("Einsum", x, x, equation=e, name="e"),
                rf"e \(Einsum\): equation '{re.escape(e)}'; supported: two operands",
            )
            for e in ("bid,bjk->bij", "bii,bij->bj", "...id,...jd->...ij", "bid,bjd")
        ),
        (
            lambda n, x: n.node("Einsum", x, n.weight((8, 16, 4)), equation="bnd,ndk->bnk", name="e"),
            r"e \(Einsum\): weights of their own for each of \['n'\]",
        ),
        (
            lambda n, x: n.node("BatchNormalization", x, *[n.const(np.ones(8))] * 4, name="b"),
            r"b \(BatchNorm.*merge_bn",
        ),
    ],
)
def test_arithmetic_that_no_hardware_does(make, message):
    net = Net()
    refused(net, make(net, net.quant("x", 2.0**-4)), message)


def test_zero_points_and_scales():
    net = Net("qdq")
    refused(net, net.quant("x", 2.0**-4, signed=False, zero=100, name="tokens"), r"tokens.*zero point 100.*Symmetric")
    net = Net()
    refused(net, net.quant("x", [[2.0**-4], [0.5]] * 4, name="tokens"), r"tokens \(Quant\): 8 scales .*per tensor only")
    net = Net()
    refused(
        net,
        net.quant("x", 0.3, name="tokens"),
        r"tokens \(Quant\): scale 0.3.* \(nearest: 2\*\*-2 = 0.25\).*power-of-two",
    )
    net = Net("qdq")
    codes = net.node("QuantizeLinear", "x", net.const(0.25), net.const(0, np.int8))
    y = net.node("DequantizeLinear", codes, net.const(0.5), net.const(0, np.int8), name="dq")
    refused(net, y, r"dq \(DequantizeLinear\): dequantises with the scale \[0.5\] .*quantised with \[0.25\] ")
    net = Net("qdq")
    codes = net.node("QuantizeLinear", "x", net.const(0.5), net.const(128, np.uint8))
    y = net.node("DequantizeLinear", codes, net.const(0.5), net.const(0, np.uint8), name="dq")
    refused(net, y, r"dq \(DequantizeLinear\): dequantises with another zero point than 128")
    net = Net("qdq")
    steps, zeros = net.const(np.ldexp(1.0, -np.arange(16) % 4 - 4)), net.const(np.zeros(16), np.int8)
    codes = net.node("QuantizeLinear", net.const(np.eye(16)), steps, zeros, axis=0)
    w = net.node("DequantizeLinear", codes, steps, zeros, axis=1, name="dq")
    y = net.node("MatMul", net.quant("x", 2.0**-4), w)
    refused(net, y, r"dq \(DequantizeLinear\): .* \(shape \(1, 16\)\) what was quantised with .*along the same axis")
    net = Net()
    y = net.node("Quant", "x", net.const(0.5), domain="qonnx.custom_op.general", name="q")
    refused(net, y, r"q \(Quant\): has no zero point \(operand 2\)")


def test_unquantised_weights_and_biases_that_fit_no_format():
    net = Net()
    x = net.quant("x", 2.0**-4)
    y = net.node("MatMul", x, net.const(np.full((16, 4), 0.1), name="w"), name="dense")
    refused(net, y, r"dense \(MatMul\): its weight 'w' .*float and unquantised.*weight_quant=")
    net = Net()
    y = net.node("MatMul", net.quant("x", 2.0**-4), net.weight((16, 4)))
    refused(
        net,
        net.node("Add", y, net.const([0.1, 1.3, 2.7, 0.2], name="b"), name="sum"),
        r"sum \(Add\): its bias 'b'.*bias_quant=",
    )
    net = Net()
    y = net.node("MatMul", net.quant("x", 2.0**-4), net.weight((16, 4)))
    bias = net.quant(net.const([0.1, 300.3, 2.7, 0.2]), 2.0**-24, bits=32)
    refused(net, net.node("Add", y, bias, name="sum"), r"its constants need 31 bits")


def test_inputs():
    net = Net()
    x = net.quant("x", 2.0**-4)
    refused(net, x, "quantised input; there is nothing to import")
    refused(net, net.linear(x, 16, 4), "of which \\[0, 1\\] are not fixed.*dynamic_axes", shape=("batch", "tokens", 16))
    refused(net, "quant0_out", "is INT64; FLOAT is read.*Token numbers", kind=TensorProto.INT64)
    net = Net()
    y = net.node("MatMul", "x", net.weight((16, 4)), name="dense")
    refused(net, y, r"dense \(MatMul\): its input 'x' .*no quantiser behind it")
    net = Net()
    a, b = net.quant("x", 2.0**-4), net.quant("x", 2.0**-3)
    with pytest.raises(UnsupportedError, match="quantised twice"):
        import_model(net.model(net.node("Add", a, b)))


def test_rows_that_the_file_takes_for_samples():
    """An unbatched input: attention would mix what counts as the batch here."""
    net = Net()
    x = net.quant("x", 2.0**-4)
    y = net.node("MatMul", x, net.node("Transpose", x, perm=[1, 0]), name="scores")
    message = r"scores \(MatMul\): product of shapes \(8, 16\) and \(16, 8\) mixes samples.* \(batch, rows, channels\)"
    refused(net, y, message, shape=(8, 16))


def test_cross_attention_opsets_domains_and_our_own_dialect():
    model = encoder()
    model.graph.input.append(helper.make_tensor_value_info("memory", TensorProto.FLOAT, ["batch", 8, 16]))
    with pytest.raises(UnsupportedError, match=r"inputs \['x', 'memory'\].*Cross-attention"):
        import_model(model)
    for version in (11, 99):
        old = encoder()
        old.opset_import[0].version = version
        with pytest.raises(UnsupportedError, match=f"opset {version}; 13 to 23 are read.*opset_version=17"):
            import_model(old)
    odd = encoder()
    odd.graph.node[-1].domain = "com.somebody"
    with pytest.raises(UnsupportedError, match="domain 'com.somebody', which is not known"):
        import_model(odd)
    with pytest.raises(UnsupportedError, match="dialect of this package already"):
        import_model(import_model(encoder()).model)


def test_choices_and_calibration_data():
    for wrong in (
        {"softmax": "hard"},
        {"layernorm": "rms"},
        {"scales": "any"},
        {"weight_bits": 40},
        {"bias_bits": "8"},
        {"samples": 0},
    ):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            ImportChoices(**wrong)
    for data, message in (
        (np.zeros((0, 8, 16)), "empty"),
        (np.zeros((4, 8, 15)), "samples"),
        (np.ones((4, 8, 16)), "constant"),
        (np.full((4, 8, 16), np.nan), "NaN"),
    ):
        with pytest.raises(InputError, match=message):
            import_model(encoder(), ImportChoices(calibration=data))


def test_a_translation_that_computes_something_else_is_an_error_that_names_the_node(monkeypatch):
    """The fault: heads that are swapped where the file's are not."""
    compute = translation._FUNCTIONS["Transpose"]
    monkeypatch.setitem(translation._FUNCTIONS, "Transpose", lambda x, a: np.flip(compute(x, a), axis=1))
    with pytest.raises(MismatchError, match=r"scores \(MatMul\): its translation gives other numbers than the file"):
        import_model(encoder())


def test_the_reader_points_foreign_files_here():
    with pytest.raises(UnsupportedError, match="hls4attn import FILE.onnx OUT.onnx"):
        read_graph(encoder("qdq"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n, x: n.node("Mul", x, n.const(np.inf), name="m"), r"m \(Mul\): its factor .*NaN or infinity"),
        (
            lambda n, x: n.node("MatMul", x, n.const(np.full((16, 4), np.nan)), name="m"),
            r"m \(MatMul\): its weight .*NaN",
        ),
        (lambda n, x: n.node("Div", x, n.const(np.arange(16.0)), name="d"), r"d \(Div\): divides by 'c\d+', .*zeros"),
        (lambda n, x: n.node("ReduceSum", x, n.ints(), name="r"), r"r \(ReduceSum\): over all axes"),
        (
            lambda n, x: n.node("LayerNormalization", x, n.const(np.ones(16)), epsilon=-1.0, name="l"),
            r"l \(LayerNorm.*epsilon -1.0",
        ),
        (lambda n, x: n.node("Split", x, n.ints(9, 9), axis=2, outputs=2, name="s")[0], r"s \(Split\): 2 parts of the"),
        (
            lambda n, x: n.node("Add", n.node("Gather", x, n.ints(1, 1), axis=1), n.weight((2, 16)), name="a"),
            r"a \(Add\): elements that are there several times",
        ),
        (
            lambda n, x: n.node("Add", x, n.node("RandomNormal", shape=[16], name="noise")),
            r"noise \(RandomNormal\): operator RandomNormal on constants",
        ),
        (
            lambda n, x: n.node("Reshape", x, n.node("Tile", n.ints(1), n.ints(1 << 40), name="t")),
            r"t \(Tile\): a constant of 1.1e\+12 elements",
        ),
        (
            lambda n, x: n.node("Reshape", x, n.node("Range", n.const(0.0), n.const(1e12), n.const(1.0), name="t")),
            r"t \(Range\): a constant of 1e\+12 elements",
        ),
        (
            lambda n, x: n.node("Reshape", x, n.node("Concat", *[n.const(np.zeros(1 << 20))] * 17, axis=0, name="t")),
            r"t \(Concat\): a constant of 1.78e\+07 elements",
        ),
        (
            lambda n, x: n.node("Concat", *[n.node("Concat", *[x] * 256, axis=1)] * 512, axis=1, name="t"),
            r"t \(Concat\): 512 times \(2, 2048, 16\)",
        ),
        (
            lambda n, x: n.node("MatMul", x, n.quant(n.const(np.ones((16, 4))), 1e-45), name="m"),
            r"quant\d+ \(Quant\): ",
        ),
    ],
)
def test_parameters_that_mean_nothing(make, message):
    net = Net()
    refused(net, make(net, net.quant("x", 2.0**-4)), message)


@pytest.mark.parametrize("shape", [("batch", 1 << 20, 16), (2, -8, 16)])
def test_shapes_that_nothing_holds(shape):
    net = Net()
    refused(net, net.linear(net.quant("x", 2.0**-4), 16, 4), "The input 'x' has the shape .*positive", shape=shape)
