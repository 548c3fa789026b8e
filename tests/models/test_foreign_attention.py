# SPDX-License-Identifier: Apache-2.0
"""Softmax, masks and normalisations of a foreign file become the chosen operators, near what the file computes."""

import numpy as np
import pytest

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign import ImportChoices, import_model
from tests.models.foreign_nets import Net, attention


def test_both_factors_of_scaled_dot_product_attention_end_in_the_score_operator():
    """It multiplies q and k by the fourth root of 1/head_dim; in float32 the product is nearly, not quite, 1/2."""
    net = Net()
    x = net.quant("x", 2.0**-4)
    root = net.const(4.0**-0.25)
    q, k = (net.node("Mul", net.linear(x, 16, 4), root) for _ in "qk")
    assert float(np.float32(4.0**-0.25)) ** 2 != 0.5
    scores = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 2, 1]))
    p = net.quant(net.node("Softmax", net.quant(scores, 2.0**-3)), 2.0**-8, signed=False)
    found = import_model(net.model(net.quant(net.node("MatMul", p, x), 2.0**-4)))
    assert next(n.spec for n in read_graph(found.model).nodes if n.spec).score_scale == (0.5,)
    assert found.distance.mean < 0.6 * found.distance.step


@pytest.mark.parametrize(
    ("choices", "op_type"),
    [
        ({}, "IntegerSoftmax"),
        ({"softmax": "e2softmax"}, "E2Softmax"),
        ({"softmax": "e2softmax-online"}, "E2Softmax"),
        ({"softmax": "e2softmax-shift"}, "E2Context"),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
def test_softmax_becomes_the_chosen_operator_near_the_file(choices, op_type, causal):
    net = Net()
    mask = np.triu(np.full((8, 8), -np.inf), 1) if causal else None
    y = attention(net, net.quant("x", 2.0**-4), causal=mask)
    found = import_model(net.model(y), ImportChoices(**choices))
    nodes = [n for n in read_graph(found.model).nodes if n.op in ("Score", "Context")]
    assert [(n.spec or n.context).op_type for n in nodes] == [op_type]
    spec = nodes[0].spec or nodes[0].context
    assert spec.causal is causal and spec.score_scale == pytest.approx((8**-0.5,) * 2)
    assert found.distance.mean < (0.6 if op_type == "IntegerSoftmax" else 6) * found.distance.step


def test_masks_may_come_from_a_choice_as_well():
    net = Net()
    x = net.quant("x", 2.0**-4)
    scores = net.quant(net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1])), 2.0**-1)
    keep = net.node("Trilu", net.const(np.ones((8, 8)), bool), upper=0)
    seen = net.node("Where", keep, scores, net.const(-1e9))
    p = net.quant(net.node("Softmax", seen), 2.0**-8, signed=False)
    found = import_model(net.model(net.quant(net.node("MatMul", p, x), 2.0**-4)))
    assert next(n.spec for n in read_graph(found.model).nodes if n.spec).causal


def test_a_guard_against_rows_without_any_score_is_left_out():
    """PyTorch writes it behind the softmax of scaled_dot_product_attention with a boolean mask."""
    net = Net()
    x = net.quant("x", 2.0**-4)
    scores = net.quant(net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1])), 2.0**-1)
    p = net.node("Softmax", net.node("Add", scores, net.const(np.triu(np.full((8, 8), -np.inf), 1))))
    p = net.quant(net.node("Where", net.node("IsNaN", p), net.const(0.0), p, name="guard"), 2.0**-8, signed=False)
    found = import_model(net.model(net.quant(net.node("MatMul", p, x), 2.0**-4)))
    assert next(n.spec for n in read_graph(found.model).nodes if n.spec).causal
    assert [(c.became, c.exact) for c in found.changes if c.node == "guard"] == [
        ("left out, c7 is chosen nowhere", True)
    ]
    assert found.distance.mean < 0.6 * found.distance.step


def test_a_quantiser_behind_the_mask_changes_what_masked_entries_are_and_that_is_said():
    """Brevitas' attention adds the mask before it quantises: masked entries then have the smallest code."""
    net = Net()
    x = net.quant("x", 2.0**-4)
    scores = net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1]))
    seen = net.quant(net.node("Add", scores, net.const(np.triu(np.full((8, 8), -np.inf), 1))), 1.0, name="behind")
    p = net.quant(net.node("Softmax", seen), 2.0**-8, signed=False)
    found = import_model(net.model(net.quant(net.node("MatMul", p, x), 2.0**-4)))
    assert next(n.spec for n in read_graph(found.model).nodes if n.spec).causal
    assert [c.exact for c in found.changes if c.node == "behind"] == [False]
    assert found.distance.mean < 0.6 * found.distance.step


@pytest.mark.parametrize("written_out", [False, True])
@pytest.mark.parametrize("layernorm", ["layernorm", "ailayernorm"])
def test_layer_norms_become_the_chosen_operator_near_the_file(layernorm, written_out):
    net = Net("qdq")
    x = net.quant("x", 2.0**-4)
    model = net.model(net.quant(net.norm(x, 16, written_out), 2.0**-5))
    found = import_model(model, ImportChoices(layernorm=layernorm))
    (node,) = [n for n in read_graph(found.model).nodes if n.norm is not None]
    assert node.norm.op_type == {"layernorm": "IntegerLayerNorm", "ailayernorm": "AILayerNorm"}[layernorm]
    assert found.distance.mean < (0.3 if layernorm == "layernorm" else 1.5) * found.distance.step


def test_a_factor_behind_the_quantiser_of_a_norm_is_none_of_its_gamma():
    net = Net()
    y = net.quant(net.norm(net.quant("x", 2.0**-4), 16), 2.0**-5)
    y = net.node("Add", net.node("Mul", y, net.weight((16,), 2.0**-5)), net.weight((16,), 2.0**-6))
    found = import_model(net.model(net.quant(y, 2.0**-4)))
    ops = [n.op for n in read_graph(found.model).nodes if n.op != "Quant"]
    assert ops == ["Norm", "Mul", "Add"] and found.distance.mean < 0.3 * found.distance.step


def test_a_factor_of_each_token_is_none_of_the_gamma_of_a_norm():
    """A norm that was turned: its last axis is that of the tokens."""
    net = Net()
    turned = net.node("Transpose", net.norm(net.quant("x", 2.0**-4), 16), perm=[0, 2, 1])
    y = net.node("Mul", turned, net.weight((8,), 2.0**-5), name="tokens")
    message = r"tokens \(Mul\): its input '.*' \(from norm\) has no quantiser behind it"
    with pytest.raises(UnsupportedError, match=message):
        import_model(net.model(net.quant(y, 2.0**-4)))


@pytest.mark.parametrize("own_mean", [False, True])
@pytest.mark.parametrize("root", ["Div", "Reciprocal", "Pow"])
def test_layer_norms_written_by_hand_are_the_operator(root, own_mean):
    """``(x - x.mean(-1)) / sqrt(x.var(-1) + eps)``, times rsqrt, or to the power of 0.5; axes from the front."""
    net = Net(opset=18)
    x = net.quant("x", 2.0**-4)

    def centred():
        return net.node("Sub", x, net.node("ReduceMean", x, net.ints(2)))

    above = centred()
    below = centred() if own_mean else above
    total = net.node("Add", net.const(1e-5), net.node("ReduceMean", net.node("Mul", below, below), net.ints(2)))
    down = net.node("Pow", total, net.const(0.5)) if root == "Pow" else net.node("Sqrt", total)
    if root == "Reciprocal":
        y = net.node("Mul", net.node("Reciprocal", down), above, name="norm")
    else:
        y = net.node("Div", above, down, name="norm")
    found = import_model(net.model(net.quant(y, 2.0**-5)))
    count = 7 + 2 * own_mean + (root == "Reciprocal")
    assert f"{count} nodes of a written-out LayerNorm taken as one" in [c.became for c in found.changes]
    assert found.distance.mean < 0.3 * found.distance.step


def test_a_factor_behind_a_softmax_is_refused_or_kept_with_its_quantiser():
    net = Net()
    x = net.quant("x", 2.0**-4)
    scores = net.quant(net.node("MatMul", x, net.node("Transpose", x, perm=[0, 2, 1])), 1.0)
    p = net.quant(net.node("Mul", net.node("Softmax", scores), net.const(0.3)), 2.0**-9, signed=False, name="less")
    model = net.model(net.quant(net.node("MatMul", p, x), 2.0**-4))
    with pytest.raises(UnsupportedError, match=r"less \(Quant\): .*carries the factor 0\.3"):
        import_model(model)
    assert import_model(model, ImportChoices(scales="power-of-two")).distance.largest < 2.0**-3
