# SPDX-License-Identifier: Apache-2.0
"""Gain-cell attention in a file: onnx, onnxruntime and qonnx give the reference's codes, as sequence and as steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from gain_oracles import CASES, SMALL, random_codes

from hls4attn.host.operator_models import operator_codes, operator_model
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export import Reference, read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.gain_step import GainCellSession, step_model
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import NonIdeality


@pytest.mark.parametrize("name", CASES)
def test_sequence(name):
    """16 tokens in windows of 12: partly filled, full, wrapped."""
    spec = GainCellSpec(**CASES[name], heads=2)
    model = operator_model(spec)
    graph = read_graph(model)
    codes = operator_codes(graph, 200, seed=1)
    reference = Reference(graph)
    want, trace = reference.run(codes), reference.trace(codes[:3])
    assert np.array_equal(want, spec.reference(*(reference.trace(codes)[n] for n in ("q", "k", "v"))))
    for make in (ReferenceEvaluatorStage, OnnxRuntimeStage, QonnxStage):
        stage = make(graph, model)
        assert np.count_nonzero(stage.run(codes) != want) == 0, stage.name
        for tensor, value in stage.trace(codes[:3]).items():
            assert np.array_equal(value, trace[tensor]), (stage.name, tensor)
    assert reference.saturations(codes)["cells"][1] == want.size


@pytest.mark.parametrize(("tokens", "window", "tile"), [(1, 8, 4), (5, 64, 4), (70, 32, 8), (40, 8, 8)])
@pytest.mark.parametrize("tiling", ["circular", "absolute"])
def test_sequence_of_other_lengths(tokens, window, tile, tiling):
    spec = GainCellSpec(**SMALL | {"window": window, "tile": tile, "tiling": tiling})
    model = operator_model(spec, tokens)
    graph = read_graph(model)
    codes = operator_codes(graph, 3 * tokens, seed=0)
    assert np.array_equal(OnnxRuntimeStage(graph, model).run(codes), Reference(graph).run(codes))


@pytest.mark.parametrize("name", CASES)
def test_steps(name):
    """A stock onnxruntime carries the window from step to step; so does the onnx package's evaluator."""
    spec = GainCellSpec(**CASES[name], heads=2)
    q, k, v = random_codes(spec, 3, 30, seed=4)
    want = spec.reference(q, k, v)
    session = GainCellSession(step_model(spec), batch=3)
    for t in range(30):
        assert np.array_equal(session.step(q[:, :, t], k[:, :, t], v[:, :, t]), want[:, :, t]), t
    assert (session.count, session.pointer) == (30, 30 % spec.window)


def test_steps_in_the_reference_evaluator():
    from onnx.reference import ReferenceEvaluator

    spec = GainCellSpec(**SMALL, tiling="absolute")
    q, k, v = random_codes(spec, 1, 15)
    state = [*(np.zeros((1, 1, 12, 5), np.uint8),) * 2, *(np.array(0, np.int64),) * 2]
    evaluator = ReferenceEvaluator(step_model(spec))
    for t in range(15):
        token = [a[:, :, t].astype(np.float32) for a in (q, k, v)]
        y, *state = evaluator.run(None, dict(zip(evaluator.input_names, [*token, *state], strict=True)))
        assert np.array_equal(y, spec.reference(q, k, v)[:, :, t])


def gain_model(spec, shape, formats=None):
    b = GraphBuilder("gain")
    b.input("input", shape)
    x = b.quant("input", Fixed(4, 0, False), "codes", shape)
    q, k, v = (b.quant(x, f, n, shape) for n, f in zip("qkv", formats or spec.in_formats, strict=True))
    return b.model(["input"], [b.cells(q, k, v, spec, "cells", shape)], {})


def test_refused_files():
    spec = GainCellSpec(**SMALL)
    read_graph(gain_model(spec, (1, 3, 5)))
    for shape in ((2, 3, 5), (1, 3, 6)):
        with pytest.raises(UnsupportedError, match=r"\(heads=1, tokens, head_dim=5\)"):
            read_graph(gain_model(spec, shape))
    with pytest.raises(UnsupportedError, match=r"takes keys in ufixed<3,0"):
        read_graph(gain_model(spec, (1, 3, 5), (spec.q_format, spec.q_format, spec.v_format)))
    with pytest.raises(UnsupportedError, match="noise or spread"):
        read_graph(gain_model(replace(spec, nonideal=NonIdeality(read_noise=0.1)), (1, 3, 5)))
    model = gain_model(spec, (1, 3, 5))
    node = next(n for n in model.graph.node if n.op_type == "GainCell")
    attribute = next(a for a in node.attribute if a.name == "value_currents")
    attribute.t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(attribute.t) * 2))
    with pytest.raises(UnsupportedError, match="value_currents"):
        read_graph(model)
    del node.input[2]
    with pytest.raises(UnsupportedError, match=r"takes 3 input\(s\)"):
        read_graph(model)
