# SPDX-License-Identifier: Apache-2.0
"""The character GPT as a file: one-hot text to codes of logits, the same integers in every stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("qkeras")

from hls4attn.hls.config import HlsConfig  # noqa: E402
from hls4attn.host.cli import main  # noqa: E402
from hls4attn.host.flow import Flow  # noqa: E402
from hls4attn.host.samples import verification_codes  # noqa: E402
from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError  # noqa: E402
from hls4attn.models.export import Reference, load_model, read_graph  # noqa: E402
from hls4attn.models.export.graph import Constant  # noqa: E402
from hls4attn.models.export.keras_export import export_keras, freeze_weights  # noqa: E402
from hls4attn.models.export.keras_stage import KerasStage, keras_stage  # noqa: E402
from hls4attn.models.formats import Fixed  # noqa: E402
from hls4attn.models.operators.gain_scaling import NonIdeality  # noqa: E402
from hls4attn.models.zoo import saved_model  # noqa: E402
from hls4attn.models.zoo.char_gpt.checkpoint import (  # noqa: E402
    KEY_VOCABULARY,
    TRAINED,
    TrainedGpt,
    export_gpt,
    load_gpt,
    save_gpt,
)
from hls4attn.models.zoo.char_gpt.data import encode, one_hot, text_of, windows  # noqa: E402
from hls4attn.models.zoo.char_gpt.experiment import Experiment  # noqa: E402
from hls4attn.models.zoo.char_gpt.gaincell import BIASES, KERNELS, QGainCellAttention  # noqa: E402
from hls4attn.models.zoo.char_gpt.generate import generate  # noqa: E402
from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt  # noqa: E402
from hls4attn.models.zoo.char_gpt.recipe import loss_on  # noqa: E402

VOCABULARY = "\n adehinorst"
SIZE = GptSize(layers=1, heads=2, head_dim=32, window=64)
ATTENTION = "block0_attention"


def scrambled(attention: str = "gaincell", seed: int = 5, size: GptSize = SIZE):
    """A model of which no weight is at its initial value."""
    tf.keras.utils.set_random_seed(seed)
    model = char_gpt(attention, len(VOCABULARY), size)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign_add(0.3 * rng.standard_normal(weight.shape))
    for layer in model.layers:
        if isinstance(layer, QGainCellAttention):
            for name in "qkvo":
                layer.factor[name].assign(0.3 + rng.random(size.heads))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Checkpoint of frozen random weights, its file beside it."""
    model = scrambled()
    freeze_weights(model)
    path = tmp_path_factory.mktemp("gpt") / "gpt.npz"
    save_gpt(path, TrainedGpt(model, "gaincell", VOCABULARY), SIZE.to_json())
    export_gpt(path)
    return path


@pytest.fixture(scope="module")
def flow(saved) -> Flow:
    return Flow.open(saved.with_suffix(".onnx"))


@pytest.fixture(scope="module")
def codes(flow):
    return verification_codes(flow.graph, 24, seed=2)[0]


@pytest.fixture(scope="module")
def expected(flow, codes):
    return Reference(flow.graph).run(codes)


# --- the same integers


def test_text_as_codes_and_as_rows_give_the_same_logits(saved, flow):
    """The model that is trained and generates takes codes; the file takes rows."""
    trained = load_gpt(saved)
    text = np.random.default_rng(0).integers(0, len(VOCABULARY), (5, 64))
    rows = one_hot(text, len(VOCABULARY))
    assert rows.shape == (5, 64, 12) and np.array_equal(rows.argmax(-1), text) and np.all(rows.sum(-1) == 1)
    want = Reference(flow.graph).run(rows.astype(np.int64))
    assert np.array_equal(trained.model(text.astype(np.int32)).numpy(), flow.graph.output.format.to_real(want))
    assert np.unique(want).size > 60
    text[:, 40] = (text[:, 40] + 1) % 12
    changed = Reference(flow.graph).run(one_hot(text, 12).astype(np.int64))
    assert np.array_equal(changed[:, :40], want[:, :40]) and np.any(changed[:, 41:] != want[:, 41:])


@pytest.mark.parametrize("stage", ["keras", "onnx", "qonnx", "onnxruntime"])
def test_software_stages(flow, codes, expected, stage):
    with flow.stage(stage) as opened:
        assert np.count_nonzero(opened.run(codes) != expected) == 0
        truth, shown = Reference(flow.graph).trace(codes[2:6]), opened.trace(codes[2:6])
        inside = {f"{ATTENTION}_{name}" for name in ("q", "k", "v", "cells", "out")}
        assert inside | {"characters", "embedded", "block0_norm0", "block0_hidden", "logits"} <= set(shown)
        for name, value in shown.items():
            assert np.array_equal(value, truth[name]), name
        assert all(np.unique(truth[name]).size > 3 for name in inside)


@pytest.mark.compile
@pytest.mark.parametrize("io_type", ["io_parallel", "io_stream"])
def test_hardware_stages(flow, codes, expected, io_type, tmp_path):
    made = Flow(flow.name, flow.model, folder=tmp_path / "project", config=HlsConfig(io_type=io_type))
    with made.stage("csim") as csim:
        assert np.count_nonzero(csim.run(codes) != expected) == 0
    with made.stage("board") as board:
        assert np.count_nonzero(board.run(codes) != expected) == 0


@pytest.mark.parametrize("attention", ["gaincell-linear", "consmax", "integer-softmax"])
def test_other_integer_attentions(attention):
    size = GptSize(layers=1, heads=1)
    source = scrambled(attention, size=size)
    freeze_weights(source)
    model = char_gpt(attention, len(VOCABULARY), size, one_hot=True)
    model.set_weights(source.get_weights())
    graph = read_graph(export_keras(model))
    codes = saved_model("char-gpt").inputs(graph.input.shape, 8, 0).astype(np.int64)
    want = Reference(graph).run(codes)
    assert np.array_equal(KerasStage(graph, model).run(codes), want)
    assert np.unique(want).size > 60


def test_attention_by_hand(saved, flow, codes):
    """From the input of the attention to its result with the layer's integers, one operation at a time."""
    layer = load_gpt(saved).model.get_layer(ATTENTION)
    trace = Reference(flow.graph).trace(codes)
    x, stored = trace["block0_norm0"], []
    for name, fmt in zip("qkv", layer.spec().in_formats, strict=True):
        kernel, bias = layer.codes(name)
        frac = 4 + KERNELS[name].frac
        rows = fmt.requantise(x @ kernel + (bias << (frac - BIASES[name].frac)), frac)
        stored.append(rows.reshape(-1, 64, 2, 32).transpose(0, 2, 1, 3))
    sums = layer.spec().reference(*stored).transpose(0, 2, 1, 3).reshape(-1, 64, 64)
    kernel, bias = layer.codes("o")
    frac = KERNELS["o"].frac
    want = Fixed(8, 4).requantise(sums @ kernel + (bias << (frac - BIASES["o"].frac)), frac)
    assert np.array_equal(trace[f"{ATTENTION}_out"], want)
    assert np.unique(want).size > 60


# --- weights


def test_frozen_weights_are_off_every_edge_of_rounding():
    """Other machines round sums of floats otherwise; the codes of a checkpoint must not depend on it."""
    model = scrambled()
    text = np.random.default_rng(1).integers(0, len(VOCABULARY), (4, 64)).astype(np.int32)
    before, layer = model(text).numpy(), model.get_layer(ATTENTION)
    codes, scalers = {n: layer.codes(n) for n in "qkvo"}, layer.spec().scalers
    freeze_weights(model)
    assert np.array_equal(model(text).numpy(), before)
    assert layer.spec().scalers == scalers
    projections = dict(zip("qkvo", layer.code_projections(), strict=True))
    for name in "qkvo":
        for exact, want, fmt in zip(projections[name], codes[name], (KERNELS[name], BIASES[name]), strict=True):
            assert np.abs(np.ldexp(exact, fmt.frac) - want).max() < 1e-3


def test_what_the_file_says_about_itself(saved, flow):
    said = flow.graph.metadata
    assert (said["hls4attn.model"], said["hls4attn.score"]) == ("char-gpt", "gaincell")
    assert said["hls4attn.weights"] == "gpt.npz"
    assert said[KEY_VOCABULARY] == VOCABULARY
    assert flow.graph.input.format == Fixed(1, 0, signed=False)
    assert (flow.graph.input.shape, flow.graph.output.shape) == ((64, 12), (64, 12))
    node = next(n for n in flow.graph.nodes if n.op == "Cells")
    scalers = load_gpt(saved).model.get_layer(ATTENTION).spec().scalers
    assert node.cells.scalers == scalers and len(set(scalers.q_a)) == 2


# --- samples


def test_samples_are_corners_text_and_random_codes(flow):
    codes, said = verification_codes(flow.graph, 41, seed=3)
    assert said == "4 corner + 19 random-text + 18 random (seed 3) samples"
    assert np.all(codes[0] == 0) and np.all(codes[1] == 1)
    sums = codes.sum(axis=-1)
    assert np.all(sums[4:23] == 1) and np.all(np.any(sums[23:] != 1, axis=1))
    assert np.unique(codes[4:23].argmax(-1)).size == 12
    assert not np.array_equal(codes, verification_codes(flow.graph, 41, seed=4)[0])
    assert verification_codes(flow.graph, 2, 0)[1] == "2 corner samples"
    assert verification_codes(flow.graph, 5, 0)[1] == "4 corner + 1 random-text samples"


# --- refusals


def test_what_has_no_exact_integers_is_refused(tmp_path):
    tiny = GptSize(layers=1, heads=1)
    with pytest.raises(UnsupportedError, match="characters: built with quantised=False"):
        export_keras(char_gpt("softmax", 5, tiny, one_hot=True))
    with pytest.raises(UnsupportedError, match=r"takes one-hot rows \(length, 5\), not codes of shape \(64,\)"):
        export_keras(char_gpt("gaincell", 5, tiny))
    noisy = char_gpt("gaincell", 5, tiny, one_hot=True, nonideal=NonIdeality(read_noise=0.1))
    with pytest.raises(UnsupportedError, match="block0_attention: noise and spread have no exact integer meaning"):
        export_keras(noisy)
    integer = char_gpt("gaincell", 5, tiny, one_hot=True)
    integer.get_layer(ATTENTION).cells.quantised = False
    with pytest.raises(UnsupportedError, match="block0_attention: built with quantised=False"):
        export_keras(integer)
    path = tmp_path / "float.npz"
    save_gpt(path, TrainedGpt(char_gpt("softmax", 3, tiny), "softmax", "abc"), tiny.to_json())
    with pytest.raises(UnsupportedError, match="quantised=False"):
        export_gpt(path)
    assert not path.with_suffix(".onnx").exists()


def test_the_way_back_needs_the_checkpoint_of_the_export(saved, tmp_path):
    graph = read_graph(saved.with_suffix(".onnx"))
    with pytest.raises(ModelFileError, match=r"gpt.npz are not there"):
        keras_stage(graph, tmp_path)
    save_gpt(tmp_path / "gpt.npz", TrainedGpt(scrambled(seed=6), "gaincell", VOCABULARY), SIZE.to_json())
    with pytest.raises(ModelFileError, match="changed since the export"):
        keras_stage(graph, tmp_path)
    with pytest.raises(SpecError, match="Unknown model 'mnist'"):
        saved_model("mnist")


# --- command line


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return int(stopped.value.code or 0)


def test_export_and_verify(saved, tmp_path, capsys):
    beside, elsewhere = saved.parent / "again.onnx", tmp_path / "elsewhere.onnx"
    assert run("export", saved, beside) == run("export", saved, elsewhere, "--model", "char-gpt") == 0
    assert beside.read_bytes() == elsewhere.read_bytes() == saved.with_suffix(".onnx").read_bytes()
    assert run("verify", beside, "--samples", 10, "--stages", "keras,onnxruntime", "--json", tmp_path / "r.json") == 0
    rungs = json.loads((tmp_path / "r.json").read_text())
    assert [(r["stage"], r["mismatches"], r["samples"]) for r in rungs] == [("keras", 0, 10), ("onnxruntime", 0, 10)]
    assert "4 corner + 3 random-text + 3 random (seed 0) samples" in capsys.readouterr().out
    for wrong in (("--score", "consmax"), ("--model", "digits-vit")):
        assert run("export", saved, elsewhere, *wrong) == 2
        assert "is a char-gpt and says itself which; leave out --model and --score" in capsys.readouterr().err
    assert run("run", beside) == 2
    assert "brings no test set; give a batch with --input FILE.npy" in capsys.readouterr().err


def test_training_writes_files_of_integer_models(tmp_path, monkeypatch):
    text = text_of((VOCABULARY * 500).encode(), "text")
    models = {"softmax": scrambled("softmax"), "gaincell": scrambled()}
    experiment = Experiment(text, tmp_path, size=SIZE)
    monkeypatch.setattr(Experiment, "trained", lambda self, seed, route: models[route[-1]])
    experiment._save_checkpoints(list(models), 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "char-gpt-gaincell.npz",
        "char-gpt-gaincell.onnx",
        "char-gpt-softmax.npz",
    ]
    graph = read_graph(tmp_path / "char-gpt-gaincell.onnx")
    codes = verification_codes(graph, 8, 0)[0]
    assert np.array_equal(keras_stage(graph, tmp_path).run(codes), Reference(graph).run(codes))


# --- the trained one


def test_the_trained_model_is_the_file_beside_it(tmp_path):
    shipped = read_graph(TRAINED.with_suffix(".onnx"))
    again = read_graph(export_gpt(TRAINED, tmp_path / "gaincell.onnx"))
    assert shipped.metadata == again.metadata
    assert [(n.op, n.name, n.inputs, n.cells, n.norm) for n in shipped.nodes] == [
        (n.op, n.name, n.inputs, n.cells, n.norm) for n in again.nodes
    ]
    constants = {name: t for name, t in shipped.tensors.items() if isinstance(t, Constant)}
    assert len(constants) == 2 * (2 * 4 + 2 * 2) + 4
    for name, constant in constants.items():
        assert constant.format == again.tensors[name].format
        assert np.array_equal(constant.codes, again.tensors[name].codes), name
    onnx.checker.check_model(load_model(TRAINED.with_suffix(".onnx")), full_check=True)
    codes = verification_codes(shipped, 12, 1)[0]
    assert np.array_equal(keras_stage(shipped, TRAINED.parent).run(codes), Reference(shipped).run(codes))


def test_the_trained_model_has_learnt_english():
    trained = load_gpt()
    line = "ROMEO:\nWhat say you now, my lord? The king is dead, and all his men are gone to the house of the duke.\n"
    pieces = windows(encode(line * 2, trained.vocabulary), 64)
    shuffled = np.random.default_rng(0).permuted(pieces, axis=1)
    assert loss_on(trained.model, pieces) < 2.3
    assert loss_on(trained.model, shuffled) > 3.5


def test_integers_lose_as_much_as_the_float_model_of_the_cells():
    """On text that the model wrote, whose losses are small enough for a difference to show."""
    trained, exact = load_gpt(), load_gpt().model
    for layer in exact.layers:
        if isinstance(layer, QGainCellAttention):
            layer.cells.quantised = False
    text = "ROMEO:\n" + generate(trained.model, trained.vocabulary, "ROMEO:\n", 250, seed=1)
    pieces = windows(encode(text * 4, trained.vocabulary), 64)
    integers, floats = loss_on(trained.model, pieces), loss_on(exact, pieces)
    logits = [np.asarray(m(pieces[:1, :-1])) for m in (trained.model, exact)]
    assert not np.array_equal(*logits)
    assert abs(integers - floats) < 0.01
