# SPDX-License-Identifier: Apache-2.0
"""Each construct of a foreign file alone: what is linear stays bit-exact, rearrangements keep every element."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.execute import Reference, quantise_input, random_codes
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage
from hls4attn.models.foreign import ImportChoices, import_model
from hls4attn.models.foreign.original import Original
from hls4attn.models.foreign.views import Frame, find_frame, moves, restored, sample_index, whole
from tests.models.foreign_nets import Net


def outputs(imported, model, inputs, batch=2):
    """What the integer model and the file itself (by onnxruntime) give."""
    graph = read_graph(imported)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for node in fixed.graph.node:
        if node.domain == "onnx.brevitas":
            node.domain = "qonnx.custom_op.general"
    ours = graph.output.format.to_real(Reference(graph).run(quantise_input(graph, inputs)))
    theirs = Original(fixed, batch).run(inputs)[model.graph.output[0].name]
    return ours, theirs.reshape(ours.shape)


def exact(net, y, shape=("batch", 8, 16), **choices):
    model = net.model(y, shape)
    found = import_model(model, ImportChoices(**choices))
    inputs = np.random.default_rng(5).normal(0, 2, (6, *shape[1:])).astype(np.float32)
    ours, theirs = outputs(found.model, model, inputs)
    np.testing.assert_array_equal(ours, theirs)
    assert found.distance.largest == 0 and found.distance.equal == 1
    return read_graph(found.model)


@pytest.mark.parametrize("dialect", ["quant", "brevitas", "qdq"])
def test_dense_layers_and_residual_sums_are_bit_exact(dialect):
    net = Net(dialect)
    x = net.quant("x", 2.0**-4)
    y = net.quant(net.node("Relu", net.linear(x, 16, 24, None)), 2.0**-4, signed=False, bits=6)
    y = net.quant(net.node("Add", x, net.linear(y, 24, 16)), 2.0**-3)
    exact(net, net.quant(net.node("Sub", y, net.weight((8, 16), 2.0**-3)), 2.0**-3))


def test_the_newer_name_of_quant_nodes_means_the_same():
    net = Net()
    y = net.linear(net.quant("x", 2.0**-4), 16, 4)
    model = net.model(y)
    before = import_model(model).model
    for node in model.graph.node:
        node.op_type = {"Quant": "IntQuant"}.get(node.op_type, node.op_type)
    assert import_model(model).model == before


def test_a_scale_may_be_a_number_here_and_a_vector_of_one_there():
    net = Net("qdq")
    codes = net.node("QuantizeLinear", "x", net.const(2.0**-4), net.const(0, np.int8))
    x = net.node("DequantizeLinear", codes, net.const([2.0**-4]), net.const([0], np.int8))
    exact(net, net.linear(net.node("Clip", x), 16, 4))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_weights_counted_from_the_other_end_keep_their_values(kind):
    net = Net("qdq")
    zero = -128 if kind is np.int8 else 128
    codes = net.const(net.rng.integers(*((-128, 128) if kind is np.int8 else (0, 256)), (16, 4)), kind)
    w = net.node("DequantizeLinear", codes, net.const(2.0**-7), net.const(zero, kind))
    exact(net, net.quant(net.node("MatMul", net.quant("x", 2.0**-4), w), 2.0**-2))


def test_position_codes_may_be_computed_in_the_file():
    """As exporters leave them, that fold no Range, Exp or Sin."""
    net = Net()
    x = net.quant("x", 2.0**-4)
    place = net.node("Unsqueeze", net.node("Range", *(net.const(v) for v in (0.0, 8.0, 1.0))), net.ints(1))
    rate = net.node("Exp", net.node("Mul", net.const(np.arange(8)), net.node("Neg", net.node("Log", net.const(3.0)))))
    angle = net.node("Mul", place, rate)
    codes = net.node("Concat", net.node("Sin", angle), net.node("Cos", angle), axis=-1)
    exact(net, net.quant(net.node("Add", x, net.quant(codes, 2.0**-6)), 2.0**-4))


def test_gemm_of_flattened_tokens_and_scales_of_channels():
    net = Net("qdq")
    x = net.quant("x", 2.0**-4)
    flat = net.node("Reshape", x, net.ints(-1, 16))
    steps = np.ldexp(1.0, -net.rng.integers(4, 8, 12))
    w = net.quant(net.const(net.rng.normal(0, 0.4, (12, 16))), steps, zero=np.zeros(12), axis=0)
    y = net.node("Gemm", flat, w, net.weight((12,), 2.0**-6), transB=1)
    exact(net, net.node("Reshape", net.quant(y, 2.0**-3), net.ints(-1, 8, 12)))


def test_an_integer_bias_of_32_bits_keeps_only_the_bits_it_needs():
    net = Net("qdq")
    x = net.quant("x", 2.0**-4)
    y = net.node("MatMul", x, net.weight((16, 4)))
    codes = net.const([5, -900, 70000, 1], np.int32)
    bias = net.node("DequantizeLinear", codes, net.const(2.0**-11), net.const(0, np.int32), name="bias")
    graph = exact(net, net.quant(net.node("Add", y, bias, name="sum"), 2.0**-3))
    assert graph.constant("sum_bias").format.width == 18


def test_a_factor_moves_into_quantisers_weights_and_products():
    net = Net()
    x = net.quant(net.node("Mul", "x", net.const(0.25)), 2.0**-6)
    y = net.quant(net.node("Div", net.linear(x, 16, 16), net.const(8.0)), 2.0**-7)
    graph = exact(net, net.linear(y, 16, 4))
    assert {n.op for n in graph.nodes} == {"MatMul", "Add", "Quant"}


def test_a_mean_over_a_power_of_two_of_rows_is_exact_and_others_are_refused():
    def net_of(rows):
        net = Net()
        pooled = net.node("ReduceMean", net.quant("x", 2.0**-4), axes=[1], keepdims=0, name="pool")
        return net, net.quant(pooled, 2.0**-5, name="pooled")

    exact(*net_of(8))
    net, y = net_of(10)
    model = net.model(y, ("batch", 10, 16))
    with pytest.raises(
        UnsupportedError, match=r"pooled \(Quant\): its input 'pool_out' carries the factor 0\.1.*2\*\*n rows"
    ):
        import_model(model)
    found = import_model(model, ImportChoices(scales="power-of-two"))
    assert found.distance.largest <= found.distance.step and not all(c.exact for c in found.changes)
    assert any("factor 0.1 became 0.100098, 8 bits" in c.became for c in found.changes)


def test_a_batch_of_one_inside_a_file_with_an_open_batch_is_said():
    net = Net()
    x = net.linear(net.quant("x", 2.0**-4), 16, 16)
    y = net.node("Transpose", net.node("Reshape", x, net.ints(1, 8, 2, 8)), perm=[0, 2, 1, 3])
    y = net.quant(net.node("MatMul", y, net.node("Transpose", y, perm=[0, 1, 3, 2])), 2.0**-1)
    found = import_model(net.model(y))
    assert found.distance.largest == 0
    assert [c.became for c in found.changes] == ["batch axis taken as 1, which the file fixes inside"]


def test_the_name_of_the_input_is_told_whatever_else_stands_among_the_inputs():
    """Before IR version 4 the initialisers are inputs too, in any order."""
    net = Net()
    model = net.model(net.linear(net.node("Reshape", net.quant("x", 2.0**-4), net.ints(1, 8, 16)), 16, 4))
    for tensor in model.graph.initializer:
        model.graph.input.insert(0, helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert [c.node for c in import_model(model).changes] == ["x"]


def test_a_mean_over_everything_is_one_number_a_sample():
    net = Net()
    pooled = net.quant(net.node("ReduceMean", net.quant("x", 2.0**-4), axes=[1, 2], keepdims=0), 2.0**-6)
    model = net.model(pooled)
    found = import_model(model)
    graph = read_graph(found.model)
    codes = random_codes(graph.input, 6, 1)
    np.testing.assert_array_equal(OnnxRuntimeStage(graph, found.model).run(codes), Reference(graph).run(codes))
    assert found.distance.largest == 0 and found.distance.equal == 1


def test_a_batch_axis_of_one_may_go():
    """Then the first axis is that of the tokens."""
    for op, options in (("Squeeze", {}), ("ReduceMean", {"keepdims": 0})):
        net = Net(opset=18)
        x = net.node(op, net.quant("x", 2.0**-4), net.ints(0), **options)
        y = net.node("MatMul", x, net.node("Transpose", x, perm=[1, 0]))
        assert import_model(net.model(net.quant(y, 2.0**-1), (1, 8, 16))).distance.largest == 0


def test_nodes_that_nothing_reads_are_left_out_and_that_is_said():
    net = Net()
    x = net.quant("x", 2.0**-4)
    net.node("Tanh", net.node("Gelu", "x", name="first"), name="second")
    model = net.model(net.linear(x, 16, 4))
    found = import_model(model)
    assert [(c.node, c.became) for c in found.changes] == [("second", "left out (2 such), nothing reads it")]
    read = net.node("MatMul", net.node("Tanh", x), net.weight((16, 4)))
    with pytest.raises(UnsupportedError, match="Tanh has no integer twin"):
        import_model(net.model(read))


EQUATIONS = {
    "bhid,bhjd->bhij": ((2, 8, 4), (2, 8, 4)),  # scores
    "bhij,bhjd->bihd": ((2, 8, 4), (2, 4, 8)),  # heads back behind the tokens at once
    "bihd,bjhd->bhij": ((8, 2, 4), (8, 2, 4)),
    "bid , bd -> bi": ((8, 16), (16,)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_of_two_activations_is_a_product(equation):
    """As hand-written attention has it, by onnxruntime's own Einsum; other letters and orders alike."""
    first, second = EQUATIONS[equation]
    net = Net()
    x = net.quant("x", 2.0**-4)
    rows = net.linear(x, 16, 8)
    parts = []
    for shape in (first, second):
        whole_of = x if np.prod(shape) == 128 else net.node("Gather", x, net.const(0, np.int64), axis=1)
        parts.append(net.node("Reshape", rows if np.prod(shape) == 64 else whole_of, net.ints(-1, *shape)))
    exact(net, net.quant(net.node("Einsum", *parts, equation=equation), 2.0**-1))


@pytest.mark.parametrize("equation", ["bnd,hdk->bhnk", "hdk,bnd->nbhk"])
def test_einsum_with_weights_keeps_their_scales_of_channels(equation):
    net = Net()
    x = net.quant("x", 2.0**-4)
    w = net.weight((2, 16, 4), np.ldexp(1.0, -np.array([[[4, 5, 6, 7]], [[7, 6, 5, 4]]])))
    y = net.node("Einsum", *((x, w) if equation[0] == "b" else (w, x)), equation=equation)
    y = net.node("Transpose", y, perm=[0, 1, 2, 3] if equation[0] == "b" else [1, 0, 2, 3])
    exact(net, net.quant(y, 2.0**-3))


def test_one_token_and_a_part_of_the_channels_can_be_chosen():
    net = Net()
    x = net.linear(net.quant("x", 2.0**-4), 16, 16)
    first = net.node("Gather", x, net.const(0, np.int64), axis=1)
    exact(net, net.quant(net.node("Relu", net.node("Slice", first, net.ints(3), net.ints(9), net.ints(1))), 2.0**-3))


def test_sequence_first_and_merged_heads_as_torch_arranges_them():
    net = Net()
    x = net.node("Transpose", net.quant("x", 2.0**-4), perm=[1, 0, 2])  # tokens, batch, channels
    y = net.linear(x, 16, 16)
    shape = net.node("Shape", y)
    batch = net.node("Gather", shape, net.ints(1))
    merged = net.node("Mul", batch, net.ints(2))
    target = net.node("Concat", net.ints(8), merged, net.ints(8), axis=0)
    heads = net.node("Transpose", net.node("Reshape", y, target), perm=[1, 0, 2])  # batch * heads, tokens, head_dim
    product = net.quant(net.node("MatMul", heads, net.node("Transpose", heads, perm=[0, 2, 1])), 2.0**-1)
    context = net.node("Transpose", net.node("MatMul", product, heads), perm=[1, 0, 2])
    back = net.node("Reshape", context, net.node("Concat", net.ints(8), batch, net.ints(16), axis=0))
    y = net.node("Transpose", net.quant(back, 2.0**2), perm=[1, 0, 2])
    graph = exact(net, y)
    assert graph.output.shape == (8, 16)


@pytest.mark.parametrize("axis", [-2, -1, 1, 2])
def test_flatten_counts_its_axis_from_either_end(axis):
    net = Net()
    flat = net.node("Flatten", net.quant("x", 2.0**-4), axis=axis)
    width = 128 if axis in (1, -2) else 16
    y = net.node("MatMul", flat, net.weight((width, 4)))
    exact(net, net.quant(net.node("Reshape", y, net.ints(-1, 128 // width, 4)), 2.0**-4))


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("step", [2.0**-7, 0.01])
def test_inputs_that_the_model_scales_itself_are_quantised_where_they_come_in(step, calibrated):
    """Pixels of 0 to 255 divided by 255 before the first quantiser: only integers can be multiplied."""
    net = Net()
    x = net.quant(net.node("Mul", "x", net.const(1 / 255)), step, name="tokens")
    model = net.model(net.linear(x, 16, 4))
    with pytest.raises(
        UnsupportedError, match=r"tokens \(Quant\): .*(factor 0.0039.*scale the inputs before|scale 0.0099)"
    ):
        import_model(model)
    data = np.random.default_rng(0).uniform(-255, 255, (20, 8, 16)) if calibrated else None
    found = import_model(model, ImportChoices(scales="power-of-two", calibration=data))
    assert 2 <= read_graph(found.model).input.format.step <= 4
    assert found.distance.mean < 0.2 * found.distance.step


@pytest.mark.parametrize("width", [16, 256])
def test_a_sum_is_quantised_before_it_is_scaled(width):
    """A residual branch times 0.3: its sums have up to 32 bits with the factor, and 24 are held."""
    net = Net()
    hidden = net.node("Relu", net.node("MatMul", "x", net.const(net.rng.normal(0, 0.3, (16, width)))))
    y = net.node("MatMul", hidden, net.const(net.rng.normal(0, 0.3, (width, 16))))
    y = net.node("Add", y, net.const(net.rng.normal(0, 0.3, 16)))
    model = net.model(net.node("Add", "x", net.node("Mul", y, net.const(0.3))))
    data = np.random.default_rng(0).normal(0, 1, (16, 8, 16))
    found = import_model(model, ImportChoices(calibration=data))
    assert any("factor 0.3 became" in c.became for c in found.changes)
    assert found.distance.mean < 0.05 * np.sqrt(width)


def test_sums_keep_their_sign_even_if_calibration_saw_none():
    net = Net()
    net.rng.normal(size=7)
    y = net.node("MatMul", net.quant("x", 2.0**-4), net.weight((16, 2)), name="sums")
    model = net.model(net.node("MatMul", y, net.weight((2, 1), 1.0, spread=0.0)), ("batch", 1, 16))
    inputs = np.random.default_rng(1).normal(size=(400, 1, 16)).astype(np.float32)
    sums = Original(model, 2).run(inputs, ["sums_out"])["sums_out"].reshape(-1, 2)
    found = import_model(model, ImportChoices(calibration=inputs[np.all(sums > 0, axis=1)]))
    graph = read_graph(found.model)
    (codes,) = [n for n in graph.nodes if n.op == "Quant"]
    assert graph.tensors[codes.output].format.signed and np.any(sums < 0)
    assert graph.input.format.signed


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=4), st.randoms(use_true_random=False), st.data())
def test_any_chain_of_moves_is_one_reshape_transpose_reshape(shape, random, data):
    """The batch of 2 wanders as well; what `moves` says gives back the same elements."""
    base, batch = tuple(shape), 2
    index = whole(base, batch)
    for _ in range(data.draw(st.integers(0, 4))):
        order = list(range(index.ndim))
        random.shuffle(order)
        index = index.transpose(order)
        if data.draw(st.booleans()) and index.ndim > 2:
            index = index.reshape(*index.shape[: index.ndim - 2], -1)
    size = int(np.prod(base))
    try:
        frame = find_frame(index, size, batch, "here")
    except UnsupportedError:
        return  # the batch was merged as an inner factor
    sample = sample_index(index, size, batch, frame, "here")
    found = moves(sample, base)
    assert found is not None
    values = np.arange(size).reshape(base)
    values = values if found.split is None else values.reshape(found.split)
    values = values if found.permutation is None else values.transpose(found.permutation)
    values = values if found.merge is None else values.reshape(found.merge)
    np.testing.assert_array_equal(values, sample)
    again = restored(index.shape, frame, batch)
    np.testing.assert_array_equal(sample_index(again, size, batch, frame, "here").ravel(), np.arange(size))


def test_samples_that_are_mixed_are_noticed():
    with pytest.raises(UnsupportedError, match="here: the batch is mixed"):
        find_frame(whole((4,), 2).T.reshape(2, 4), 4, 2, "here")
    assert find_frame(whole((4,), 2).T, 4, 2, "here") == Frame(1, 1)
