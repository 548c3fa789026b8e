# SPDX-License-Identifier: Apache-2.0
"""The importer's own checks catch what it could do wrong, and what they let through is equal to the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hls4attn.models.errors import MismatchError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.reader import read_graph
from hls4attn.models.foreign import ImportChoices, emit, exprs, import_model, importer, masks, softmax
from hls4attn.models.foreign.emit import identifier
from tests.models.foreign_nets import encoder

FILES = Path(__file__).parents[2] / "examples" / "data"
IMAGES = np.load(FILES / "expected.npz")["images"]
CAUSAL = np.triu(np.full((8, 8), -np.inf, dtype=np.float32), 1)
#: A file and choices for each of the three ways of an import: exact, rounded scales, chosen formats.
WAYS = {
    "exact": ("brevitas_qonnx", {}),
    "power-of-two": ("ort_qdq_symmetric", {"scales": "power-of-two"}),
    "calibrated": ("torch_mha", {"calibration": IMAGES}),
}


def wrong(model, message, **choices):
    with pytest.raises(MismatchError, match=message):
        import_model(model, ImportChoices(**choices))


def handler(monkeypatch, op, change):
    """Let the importer do something else with an operator."""
    known = importer._HANDLERS[op]
    monkeypatch.setitem(importer._HANDLERS, op, lambda *a: change(known(*a)))


@pytest.mark.parametrize("way", WAYS)
def test_a_lost_factor_is_noticed(monkeypatch, way):
    """1 / sqrt(head_dim), or its root on q and k."""
    name, choices = WAYS[way]
    for op in ("Div", "Mul"):
        handler(monkeypatch, op, lambda made: [replace(made[0], factor=1.0)])
    wrong(onnx.load(FILES / f"{name}.onnx"), r"\((Div|Mul)\): its translation gives other numbers", **choices)


@pytest.mark.parametrize("way", WAYS)
def test_a_factor_lost_inside_the_score_operator_is_noticed(monkeypatch, way):
    name, choices = WAYS[way]
    make = softmax._operator
    monkeypatch.setattr(softmax, "_operator", lambda c, s, x, factor, *a: make(c, s, x, 2 * factor, *a))
    wrong(onnx.load(FILES / f"{name}.onnx"), "operator .*oftmax.* off", **choices)


@pytest.mark.parametrize("choices", [{}, {"scales": "power-of-two"}])
@pytest.mark.parametrize(("cut", "op"), [("split", "Split"), ("gather", "Transpose")])
def test_keys_and_values_in_each_others_place_are_noticed(monkeypatch, cut, op, choices):
    def swapped(made):
        if len(made) == 3:
            return [made[0], made[2], made[1]]
        turned = made[0].index.ndim == 5
        return [replace(made[0], index=made[0].index[[0, 2, 1]])] if turned else made

    handler(monkeypatch, op, swapped)
    wrong(encoder(cut=cut), rf"\({op}\): its translation", **choices)


@pytest.mark.parametrize("choices", [{}, {"scales": "power-of-two"}])
def test_other_columns_of_a_fused_projection_are_noticed(monkeypatch, choices):
    narrow = exprs.Exprs._narrow
    monkeypatch.setattr(exprs.Exprs, "_narrow", lambda self, x, columns: narrow(self, x, columns[::-1]))
    wrong(encoder(), "columns .*_from_", **choices)


def test_a_lost_mask_is_noticed(monkeypatch):
    make = masks._causal
    monkeypatch.setattr(masks, "_causal", lambda *a: replace(make(*a), causal=False))
    wrong(encoder(causal=CAUSAL), r"mask \(Add\)")


def test_a_mask_lost_inside_the_score_operator_is_noticed(monkeypatch):
    make = softmax._operator
    monkeypatch.setattr(softmax, "_operator", lambda c, s, x, factor, causal, fmt: make(c, s, x, factor, False, fmt))
    wrong(encoder(causal=CAUSAL), "operator softmax")


def test_a_constant_that_is_written_wrong_is_noticed_bit_by_bit(monkeypatch):
    write = emit._Writer._constant

    def off_by_one(self, x):
        codes = x.tensor.codes.copy()
        codes.ravel()[0] += 1 if codes.ravel()[0] < x.format.max else -1
        return write(self, replace(x, tensor=replace(x.tensor, codes=codes)))

    monkeypatch.setattr(emit._Writer, "_constant", off_by_one)
    wrong(onnx.load(FILES / "brevitas_qonnx.onnx"), "codes of the integer model differ from the file's")


def test_what_comes_before_the_first_softmax_is_the_files_own_bit_by_bit():
    """By onnxruntime alone, on real images, without the importer's own means."""
    model = onnx.load(FILES / "brevitas_qcdq.onnx")
    imported = import_model(model)
    graph = read_graph(imported.model)
    ours = Reference(graph).trace(quantise_input(graph, IMAGES))
    first = next(n for n, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    quantised = [
        n for n in model.graph.node[:first] if n.op_type == "DequantizeLinear" and identifier(n.name) in graph.tensors
    ]
    for node in quantised:
        model.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    for node in quantised:
        name = identifier(node.name)
        theirs = np.concatenate([session.run([node.output[0]], {source: image[None]})[0] for image in IMAGES])
        codes = graph.tensors[name].format.to_real(ours[name])
        np.testing.assert_array_equal(codes.reshape(theirs.shape), theirs, err_msg=name)
    assert len(quantised) == imported.statistics["tensors_equal"] > 5


@pytest.mark.parametrize("way", WAYS)
def test_every_tensor_of_real_files_passes(way):
    name, choices = WAYS[way]
    found = import_model(onnx.load(FILES / f"{name}.onnx"), ImportChoices(**choices))
    assert found.statistics["tensors_checked"] > 40
    assert (found.statistics["tensors_equal"] > 0) is (way == "exact")
