# SPDX-License-Identifier: Apache-2.0
"""Whole encoders: written as several exporters do, and real files of PyTorch, Brevitas and onnxruntime."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant

from hls4attn.host.cli import main
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OnnxRuntimeStage, QonnxStage, ReferenceEvaluatorStage
from hls4attn.models.foreign import ImportChoices, import_model
from tests.models.foreign_nets import encoder

FILES = Path(__file__).parents[2] / "examples" / "data"
MASK = np.triu(np.full((8, 8), -np.inf, dtype=np.float32), 1)


def codes_of(model, count=12):
    graph = read_graph(model)
    codes = random_codes(graph.input, count, 3)
    return graph, codes, Reference(graph).run(codes)


def onnx_file(name):
    return onnx.load(FILES / f"{name}.onnx")


@pytest.mark.parametrize(
    "options",
    [
        {"dialect": "brevitas"},
        {"dialect": "qdq", "cut": "split", "written_out": True},
        {"cut": "slice", "shape": (1, 8, 16)},
        {"shape": (3, 8, 16)},
    ],
)
def test_the_same_encoder_in_any_dialect_is_the_same_integer_model(options):
    found = import_model(encoder(**options))
    _, codes, ours = codes_of(found.model)
    np.testing.assert_array_equal(ours, codes_of(import_model(encoder()).model)[2])
    assert found.distance.mean < 0.5 * found.distance.step and found.distance.agreement > 0.9
    assert found.statistics["tensors_checked"] > 30 and len(codes) == 12


@pytest.mark.parametrize("softmax", ["softmax", "e2softmax", "e2softmax-online", "e2softmax-shift"])
def test_every_choice_of_operators_runs_alike_in_all_executors(softmax):
    causal = MASK if softmax != "e2softmax" else None
    norm = "ailayernorm" if softmax.startswith("e2") else "layernorm"
    found = import_model(encoder(causal=causal), ImportChoices(softmax=softmax, layernorm=norm))
    graph, codes, ours = codes_of(found.model, 6)
    for stage in (ReferenceEvaluatorStage, OnnxRuntimeStage, QonnxStage):
        np.testing.assert_array_equal(stage(graph, found.model).run(codes), ours)


@pytest.mark.parametrize("name", ["brevitas_qonnx", "brevitas_qcdq", "brevitas_per_channel"])
def test_brevitas_files_with_power_of_two_scales(name):
    found = import_model(onnx_file(name))
    graph, codes, ours = codes_of(found.model)
    np.testing.assert_array_equal(OnnxRuntimeStage(graph, found.model).run(codes), ours)
    assert found.distance.mean < 0.6 * found.distance.step and found.distance.agreement > 0.85
    changed = {c.op for c in found.changes if not c.exact}
    assert changed <= {"Softmax", "LayerNormalization", "Mul", "Add"}  # the last two: gamma and beta, written out


def test_quant_nodes_and_quantise_linear_of_one_model_are_the_same_integer_model():
    first, second = (codes_of(import_model(onnx_file(n)).model)[2] for n in ("brevitas_qonnx", "brevitas_qcdq"))
    np.testing.assert_array_equal(first, second)


def test_what_qonnx_makes_of_quantise_linear_is_imported_alike():
    """An independent way from one dialect to the other."""
    model = encoder("qdq", shape=(1, 8, 16))
    theirs = ModelWrapper(model).transform(InferShapes()).transform(QCDQToQuant()).model
    assert not any("Linear" in n.op_type for n in theirs.graph.node)
    first, second = (codes_of(import_model(m).model)[2] for m in (model, theirs))
    np.testing.assert_array_equal(first, second)


def test_onnxruntime_quantised_files_are_refused_or_rounded():
    model = onnx_file("ort_qdq_symmetric")
    with pytest.raises(UnsupportedError, match="scale 0.00787.* is no power of two"):
        import_model(model)
    found = import_model(model, ImportChoices(scales="power-of-two"))
    assert sum("rounded to" in c.became for c in found.changes) > 20
    graph, codes, ours = codes_of(found.model)
    np.testing.assert_array_equal(OnnxRuntimeStage(graph, found.model).run(codes), ours)


def test_unquantised_files_are_refused_or_quantised_on_calibration_data():
    model = onnx_file("torch_mha")
    with pytest.raises(UnsupportedError, match="no quantiser behind it.*QuantIdentity.*--calibration"):
        import_model(model)
    data = np.random.default_rng(0).uniform(0, 1, (40, 16, 4))
    found = import_model(model, ImportChoices(calibration=data))
    assert found.distance.samples == 40 and found.distance.inputs == "calibration inputs"
    coarse = import_model(model, ImportChoices(calibration=data, activation_bits=5, weight_bits=4, bias_bits=6))
    assert coarse.distance.mean > 2 * found.distance.mean  # fewer bits are visible in what is reported


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_the_verb_prints_every_change_and_the_distance(tmp_path, capsys):
    target, report = tmp_path / "out.onnx", tmp_path / "out.json"
    source = FILES / "brevitas_qonnx.onnx"
    code, out, _ = run(capsys, "import", source, target, "--json", report, "--samples", 8)
    assert code == 0 and "IntegerSoftmax" in out and "distance of the integer model to the file: largest" in out
    found = json.loads(report.read_text())
    assert len(found["changes"]) == 3 and found["distance"]["samples"] == 8
    metadata = {p.key: p.value for p in onnx.load(target).metadata_props}
    assert metadata["hls4attn.import.source"] == source.name
    assert (
        re.fullmatch("[0-9a-f]{64}", metadata["hls4attn.import.source_sha256"])
        and found["source_sha256"] in metadata.values()
    )
    assert metadata["hls4attn.import.scales"] == "exact"


def test_the_verb_refuses_in_one_line_and_writes_nothing(tmp_path, capsys):
    target = tmp_path / "out.onnx"
    code, _, err = run(capsys, "import", FILES / "torch_mha.onnx", target)
    assert code == 2 and err.count("\n") == 1 and "node_MatMul" in err and not target.exists()
    code, _, err = run(capsys, "import", FILES / "torch_mha.onnx", FILES / "torch_mha.onnx")
    assert code == 2 and "choose another name" in err
    code, _, err = run(capsys, "verify", FILES / "brevitas_qonnx.onnx")
    assert code == 2 and "hls4attn import FILE.onnx OUT.onnx" in err
