# SPDX-License-Identifier: Apache-2.0
"""The committed models are what their recipe and exporter make, and as good as the README says."""

import json

import numpy as np
import pytest

from hls4attn.models.errors import SpecError
from hls4attn.models.export.execute import Reference, quantise_input
from hls4attn.models.export.keras_export import export_keras
from hls4attn.models.export.keras_stage import load_weights
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.zoo import zoo_model
from hls4attn.models.zoo.training import train_zoo

ZOO = zoo_model("digits-vit")
DATA = ZOO.load_data()


@pytest.mark.parametrize("score", ZOO.scores)
def test_accuracy_of_the_committed_model(score):
    graph = read_graph(ZOO.folder / f"{score}.onnx")
    logits = Reference(graph).run(quantise_input(graph, DATA.x_test))
    accuracy = float(np.mean(np.argmax(logits, axis=1) == DATA.y_test))
    record = json.loads((ZOO.folder / f"{score}.json").read_text())
    assert accuracy == record["accuracies"][0]
    assert min(record["accuracies"]) >= 0.95
    assert len(record["accuracies"]) == 3


def test_consmax_is_within_a_point_of_softmax():
    means = [json.loads((ZOO.folder / f"{s}.json").read_text())["mean"] for s in ("consmax", "softmax")]
    assert abs(means[0] - means[1]) <= 0.01


@pytest.mark.parametrize("score", ZOO.scores)
def test_the_committed_file_is_the_export_of_the_committed_weights(score):
    path = ZOO.folder / f"{score}.onnx"
    model = ZOO.build(score)
    load_weights(model, path.with_suffix(".npz"))
    committed = load_model(path)
    metadata = {p.key: p.value for p in committed.metadata_props}
    again = export_keras(model, metadata)
    assert again.SerializeToString(deterministic=True) == committed.SerializeToString(deterministic=True)


@pytest.mark.parametrize("score", ZOO.scores)
def test_eight_bits_or_fewer(score):
    graph = read_graph(ZOO.folder / f"{score}.onnx")
    quantised = [graph.tensors[n.output] for n in graph.nodes if n.op in ("Quant", "Score")]
    constants = [t for name in graph.tensors if (t := graph.constant(name))]
    assert max(t.format.width for t in (graph.input, *quantised, *constants)) == 8


@pytest.mark.slow
def test_training_repeats_bit_for_bit(tmp_path):
    results = [train_zoo(ZOO, "consmax", [5], tmp_path / str(k), epochs=2) for k in range(2)]
    assert results[0].accuracies == results[1].accuracies
    assert (tmp_path / "0" / "consmax.onnx").read_bytes() == (tmp_path / "1" / "consmax.onnx").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("score", ZOO.scores)
def test_the_recipe_learns(score, tmp_path):
    assert train_zoo(ZOO, score, [0], tmp_path).mean >= 0.95


def test_impossible_trainings_are_refused(tmp_path):
    with pytest.raises(SpecError, match="Unknown model 'mnist'; known: digits-vit"):
        zoo_model("mnist")
    with pytest.raises(SpecError, match="Received: score='relu'"):
        train_zoo(ZOO, "relu", [0], tmp_path)
    with pytest.raises(SpecError, match="distinct"):
        train_zoo(ZOO, "consmax", [1, 1], tmp_path)
    with pytest.raises(SpecError, match="at least 1"):
        train_zoo(ZOO, "consmax", [0], tmp_path, epochs=0)
    assert not list(tmp_path.iterdir())
