# SPDX-License-Identifier: Apache-2.0
"""The trained transformers as streaming hardware: sequences of any length back to back, under random stalls."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hls4attn.hls import CSim, HlsConfig, convert, lower_graph
from hls4attn.hls.stream.dataflow import DataflowRun, DataflowSim
from hls4attn.hls.stream.network import to_stream
from hls4attn.models.export import Graph, read_graph
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.lengths import shortened
from hls4attn.models.formats import Codes

ZOO = Path(__file__).parents[2] / "models/zoo/digits_vit"
NAMES = ("consmax", "softmax", "sole")
TOKENS = 16
MANY = 10_000


def graph_of(name: str) -> Graph:
    return read_graph(ZOO / f"{name}.onnx")


@cache
def simulation(name: str) -> DataflowSim:
    return DataflowSim(to_stream(lower_graph(graph_of(name)), HlsConfig(io_type="io_stream", reuse_factor=16)))


def expected(graph: Graph, codes: Codes, lengths: Codes) -> Codes:
    """What the shortened graph gives: the patches of an image that are there are its first ones."""
    patches = next(n.output for n in graph.nodes if n.op == "Reshape" and graph.tensors[n.output].shape == (TOKENS, 4))
    tokens = Reference(graph).trace(codes)[patches]
    results = np.empty((len(codes), *graph.output.shape), dtype=np.int64)
    for n in np.unique(lengths):
        some = lengths == n
        results[some] = Reference(shortened(graph, patches, int(n))).run(tokens[some][:, :n])
    return results


def stalled(name: str, samples: int, seed: int) -> tuple[DataflowRun, int]:
    """A run of random lengths under random stalls, and how many of its samples differ."""
    graph = graph_of(name)
    codes = random_codes(graph.input, samples, seed)
    lengths = np.random.default_rng(seed).integers(1, TOKENS + 1, samples)
    run = simulation(name).run(codes, lengths, seed=seed, stalls=(20 + seed, 30), interrupts=10)
    return run, int((run.codes != expected(graph, codes, lengths)).any(axis=1).sum())


@pytest.mark.compile
def test_stalls_and_lengths_change_no_code() -> None:
    run, wrong = stalled("consmax", 300, 1)
    assert wrong == 0
    assert all(f["high_water"] <= f["depth"] for f in run.fifos.values())


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_sequences_of_any_length_under_stalls(name: str, seed: int) -> None:
    assert stalled(name, MANY, seed)[1] == 0


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_images_in_a_project(tmp_path: Path, name: str) -> None:
    graph = graph_of(name)
    sim = CSim(convert(ZOO / f"{name}.onnx", tmp_path / name, HlsConfig(io_type="io_stream", reuse_factor=16)))
    codes = random_codes(graph.input, MANY, 4)
    assert int((sim.run(codes) != Reference(graph).run(codes)).any(axis=1).sum()) == 0
