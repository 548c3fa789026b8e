# SPDX-License-Identifier: Apache-2.0
"""Small graphs and Keras models with SOLE operators, and their comparison stage by stage."""

from __future__ import annotations

import numpy as np

from hls4attn.models.export import Reference, random_codes, read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage

STAGES = (ReferenceEvaluatorStage, OnnxRuntimeStage, QonnxStage)


def one_node(shape, fmt, add):
    """A model of one quantised input and what `add(builder, name)` makes of it."""
    builder = GraphBuilder("one_node")
    builder.input("input", shape)
    codes = builder.quant("input", fmt, "codes", shape)
    return builder.model(["input"], [add(builder, codes)], {})


def small_and_uniform(tensor, samples, seed):
    """Uniform codes with corners, and codes near zero."""
    rng = np.random.default_rng(seed)
    near = np.clip(np.rint(rng.normal(scale=3, size=(samples, *tensor.shape))), tensor.format.min, tensor.format.max)
    return np.concatenate([random_codes(tensor, samples, seed), near.astype(np.int64)])


def assert_all_stages_equal(model, samples=12, keras_stage=None, traced=6, seed=0):
    """0 mismatches in output and intermediate tensors, against the reference; returns its output."""
    graph = read_graph(model)
    codes = small_and_uniform(graph.input, samples, seed)
    reference = Reference(graph)
    want, trace = reference.run(codes), reference.trace(codes[:traced])
    stages = [make(graph, model) for make in STAGES] + ([keras_stage(graph)] if keras_stage else [])
    for stage in stages:
        mismatches = int(np.count_nonzero(stage.run(codes) != want))
        assert mismatches == 0, f"{stage.name}: {mismatches}/{want.size} mismatches"
        for name, value in stage.trace(codes[:traced]).items():
            assert np.array_equal(value, trace[name]), f"{stage.name}: {name}"
    return want
