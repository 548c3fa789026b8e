# SPDX-License-Identifier: Apache-2.0
"""The character GPT: its model, its training and what it writes."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from hls4attn.host import char_gpt as verb
from hls4attn.host.cli import main
from hls4attn.models.errors import InputError, ModelFileError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import NonIdeality
from hls4attn.models.zoo.char_gpt import data as data_module
from hls4attn.models.zoo.char_gpt.attention import ATTENTIONS
from hls4attn.models.zoo.char_gpt.checkpoint import TRAINED, TrainedGpt, load_gpt, save_gpt
from hls4attn.models.zoo.char_gpt.data import (
    encode,
    load_text,
    text_of,
)
from hls4attn.models.zoo.char_gpt.experiment import ROUTES, SWEEPS, Experiment
from hls4attn.models.zoo.char_gpt.gaincell import BIASES, KERNELS, UnevenCells
from hls4attn.models.zoo.char_gpt.generate import characters, generate
from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt, copy_weights
from hls4attn.models.zoo.char_gpt.recipe import Recipe, train_phase, validation_loss
from tests.models.gpt_text import TEXT, synthetic

EVIDENCE = TRAINED.with_name("evidence.json")
#: What the committed model writes after "ROMEO:" and a line break when it takes the likeliest character.
WRITTEN = "I would the some to the see the sears of"
ONE_LAYER = GptSize(layers=1, heads=1, head_dim=32, window=64)
TINY = Recipe(steps=2, batch=4)


@pytest.fixture(scope="module")
def models():
    tf.keras.utils.set_random_seed(3)
    return {name: char_gpt(name, len(TEXT.vocabulary), ONE_LAYER) for name in ATTENTIONS}


# --- model


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_shapes_and_causality(models, attention):
    model = models[attention]
    codes = np.random.default_rng(0).integers(0, len(TEXT.vocabulary), (3, 64)).astype(np.int32)
    changed = codes.copy()
    changed[:, 40] = (changed[:, 40] + 1) % len(TEXT.vocabulary)
    logits, other = (model(c, training=False).numpy() for c in (codes, changed))
    assert logits.shape == (3, 64, len(TEXT.vocabulary))
    np.testing.assert_array_equal(logits[:, :40], other[:, :40])
    assert np.all(np.any(logits[:, 40:] != other[:, 40:], axis=(0, 2))[:1])


def test_all_but_the_software_model_compute_in_integers(models):
    codes = np.zeros((1, 64), np.int32)
    for name, model in models.items():
        steps = model(codes, training=False).numpy() * 8
        assert np.array_equal(steps, np.rint(steps)) == (name != "softmax")
        table = model.get_layer("characters")
        rows = table(codes).numpy()[0, 0]
        np.testing.assert_array_equal(table.format.to_real(table.codes()[0]) == rows, name != "softmax")


def test_weights_pass_from_the_software_model_to_the_others(models):
    for name, target in models.items():
        missing = copy_weights(models["softmax"], target)
        assert all("attention/" in m and "_proj" not in m for m in missing)
        for layer in ("characters", "block0_expand", "block0_norm0", "head"):
            for a, b in zip(models["softmax"].get_layer(layer).weights, target.get_layer(layer).weights, strict=True):
                np.testing.assert_array_equal(a, b)
        for projection in ("wq", "wk", "wv", "wo"):
            a, b = (getattr(m.get_layer("block0_attention"), projection).kernel for m in (models["softmax"], target))
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_impossible_models_are_refused():
    with pytest.raises(SpecError, match="Unknown attention 'relu'; known: softmax"):
        char_gpt("relu", 65)
    for wrong in (dict(layers=5), dict(head_dim=16), dict(head_dim=65), dict(window=32), dict(window=257)):
        with pytest.raises(SpecError, match="char-gpt: .* must be"):
            GptSize(**wrong)
    with pytest.raises(SpecError, match="shape"):
        copy_weights(char_gpt("softmax", 5, ONE_LAYER), char_gpt("softmax", 6, ONE_LAYER))


# --- gain cells


def test_gain_cell_attention_is_what_integers_compute(models):
    layer = models["gaincell"].get_layer("block0_attention")
    rng = np.random.default_rng(4)
    for name in "qkvo":  # no scaler at its initial value
        layer.factor[name].assign([0.6 + rng.random()])
        layer.offset[name].assign(layer.offset[name] + [0.1 * rng.random()])
    codes = rng.integers(-40, 41, (2, 64, 32))
    spec, stored = layer.cells.spec(), []
    for name, fmt in zip("qkv", spec.in_formats, strict=True):
        kernel, bias = layer.codes(name)
        frac = 4 + KERNELS[name].frac
        products = codes @ kernel + (bias << (frac - BIASES[name].frac))
        stored.append(fmt.requantise(products, frac)[:, None])
    sums = spec.reference(*stored)[:, 0]
    assert min(np.unique(s).size for s in stored) > 2 and np.unique(sums).size > 10
    kernel, bias = layer.codes("o")
    result = Fixed(8, 4).requantise(sums @ kernel + (bias << (KERNELS["o"].frac - BIASES["o"].frac)), KERNELS["o"].frac)
    np.testing.assert_array_equal(layer(codes.astype(np.float32) / 16).numpy() * 16, result)


def test_folded_scalers_are_those_of_the_float_projections(models):
    layer = models["gaincell-linear"].get_layer("block0_attention")
    layer.factor["q"].assign([1.25])
    layer.offset["q"].assign([0.3])
    for name, exact in zip("qkvo", layer.code_projections(), strict=True):
        for folded, fmt, wanted in zip(layer.projection(name), (KERNELS[name], BIASES[name]), exact, strict=True):
            assert np.abs(folded - wanted).max() <= fmt.step / 2 + 1e-6


def test_adaptation_restores_the_statistics(tmp_path):
    experiment = Experiment(TEXT, tmp_path, Recipe(steps=2, batch=2), ONE_LAYER)
    tf.keras.utils.set_random_seed(8)
    source, model = (char_gpt(f"gaincell{k}", len(TEXT.vocabulary), ONE_LAYER) for k in ("-linear", ""))
    entries = experiment._adapt(0, source, model)
    for curve in (entries["adapted_errors"], entries["adapted_reset_errors"]):
        assert curve[0] > 0.1
        assert curve[-1] < 0.02
    assert min(entries["adapted_loss"], entries["adapted_reset_loss"], entries["reset_loss"]) > 0


def test_uneven_cells_are_the_same_for_a_seed_and_even_ones_without_noise():
    rng = np.random.default_rng(2)
    codes = [rng.integers(0, n, (2, 1, 64, 32)).astype(np.float32) for n in (16, 8, 8)]
    spec = GainCellSpec(heads=1, head_dim=32, window=64)
    even = spec.reference(*(c.astype(np.int64) for c in codes))

    def uneven(**conditions):
        return UnevenCells(replace(spec, nonideal=NonIdeality(**conditions)))([tf.constant(c) for c in codes]).numpy()

    quiet = uneven(read_noise=1e-12)  # pulses between the arrays are not quantised
    assert np.abs(quiet - even).max() <= 1 and np.mean(quiet != even) < 0.1
    noisy = [uneven(read_noise=0.1, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert np.any(noisy[0] != noisy[2]) and np.any(noisy[0] != quiet)


def test_noise_differs_from_block_to_block():
    model = char_gpt("gaincell", 5, GptSize(layers=2, heads=1), nonideal=NonIdeality(read_noise=0.1, seed=3))
    seeds = [model.get_layer(f"block{n}_attention").cells.spec().nonideal.seed for n in (0, 1)]
    assert seeds == [12, 13]


@pytest.mark.slow
def test_every_line_of_the_gain_cell_route(tmp_path):
    result = Experiment(TEXT, tmp_path, TINY, ONE_LAYER).run(["gaincell"], [0, 1])
    assert [row["steps"] for row in result["rows"]] == [2, 2, 3, 3, 3, 3, 3, 4]
    for row in result["rows"]:
        assert row["mean"] == pytest.approx(np.mean(row["losses"])) and len(row["losses"]) == 2
    sweeps = result["sweeps"]
    paper = next(point for point in sweeps["leak"] if point["value"] == 1.6e-4)
    assert paper["losses"] == sweeps["read_noise"][0]["losses"] == sweeps["mismatch"][0]["losses"]
    assert {name: len(points) for name, points in sweeps.items() if name != "characters"} == {
        name: len(values) for name, values in SWEEPS.items()
    }
    assert Experiment(TEXT, tmp_path, TINY, ONE_LAYER).run(["gaincell"], [0, 1]) == result


# --- training


def test_steps_on_one_batch_reduce_the_loss(models):
    piece = TEXT.train[:65]  # the only one: every step sees it
    for name in ("softmax", "consmax"):
        losses = train_phase(models[name], piece, Recipe(steps=6, batch=2), seed=0)
        assert losses[-1] < losses[0] - 0.1, name


def test_a_uniform_model_loses_the_logarithm_of_its_alphabet(models):
    model = models["softmax"]
    model.get_layer("head").set_weights([np.zeros_like(w) for w in model.get_layer("head").get_weights()])
    assert validation_loss(model, TEXT.validation) == pytest.approx(np.log(len(TEXT.vocabulary)), rel=1e-6)


def test_a_finished_phase_is_not_trained_again(tmp_path):
    told = []
    experiment = Experiment(TEXT, tmp_path, TINY, ONE_LAYER, lambda *a: told.append(a))
    first = experiment.run(["softmax"], [7])
    assert [t[2:] for t in told] == [(1, 2), (2, 2), (1, 1), (1, 1)]
    (tmp_path / "seed7" / "softmax+softmax+softmax.json").unlink()  # as if interrupted before it was written
    told.clear()
    again = experiment.run(["softmax"], [7])
    assert [t[1] for t in told] == [("softmax",) * 3]
    assert again["rows"] == first["rows"]  # bit for bit
    assert json.loads((tmp_path / "char-gpt-softmax.json").read_text()) == again
    told.clear()
    assert experiment.run(["softmax"], [7]) == again
    assert not told


def test_two_trainings_with_one_seed_are_the_same():
    runs = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(5)
        model = char_gpt("consmax", len(TEXT.vocabulary), ONE_LAYER)
        losses = train_phase(model, TEXT.train, TINY, seed=5)
        runs.append([losses, *model.get_weights()])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_of_another_recipe_are_not_mixed(tmp_path):
    Experiment(TEXT, tmp_path, TINY, ONE_LAYER).phase(0, ("softmax",))
    other = Experiment(TEXT, tmp_path, Recipe(steps=3, batch=4), ONE_LAYER)
    with pytest.raises(SpecError, match="trained with another recipe; choose another folder"):
        other.phase(0, ("softmax",))
    (tmp_path / "seed0" / "softmax.json").write_text("{")
    with pytest.raises(ModelFileError, match="remove it to train it again"):
        other.phase(0, ("softmax",))


def test_impossible_trainings_are_refused(tmp_path):
    experiment = Experiment(TEXT, tmp_path, TINY, ONE_LAYER)
    for attentions, seeds, message in (
        (["relu"], [0], "Received: \\['relu'\\]"),
        ([], [0], "is trained with"),
        (["softmax"], [], "distinct"),
        (["softmax"], [1, 1], "distinct"),
    ):
        with pytest.raises(SpecError, match=message):
            experiment.run(attentions, seeds)
    for wrong in (dict(steps=1), dict(batch=0), dict(rate=0.0), dict(decay=-1.0)):
        with pytest.raises(SpecError):
            Recipe(**wrong)
    with pytest.raises(InputError, match="give at least"):
        Experiment(text_of(b"abc" * 10, "short"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_routes_have_three_phases_and_end_with_their_attention():
    for name, route in ROUTES.items():
        assert len(route) == 3
        assert name.startswith(route[-1])


# --- command line


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["char-gpt", "--score", "consmax"], "char-gpt takes no --score"),
        (["char-gpt", "--epochs", "3", "--score", "sole"], "char-gpt takes no --score and no --epochs"),
        (["digits-vit", "--attention", "consmax"], "digits-vit takes no --attention"),
        (["digits-vit", "--text", "x", "--steps", "2"], "digits-vit takes no --text and no --steps"),
        (["char-gpt", "--attention", "relu"], "is trained with attention softmax,"),
        (["char-gpt", "--steps", "1"], "Steps are 2 to"),
        (["char-gpt", "--seeds", "1,1"], "distinct"),
    ],
)
def test_the_command_line_refuses(arguments, message, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_bytes(synthetic())
    given = [] if "--text" in arguments or arguments[0] != "char-gpt" else ["--text", str(text)]
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments, *given, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_table_of_the_command_line(tmp_path, capsys, monkeypatch):
    losses = dict(name="consmax", meaning="", steps=40, losses=[1.0, 2.0], mean=1.5, spread=0.70710678)
    sweeps = dict(characters=64, leak=[dict(value=0.2, losses=[2.0, 2.5], mean=2.25, spread=0.35355339)])
    result = dict(rows=[losses], seeds=[3, 4], validation_characters=100, sweeps=sweeps)
    monkeypatch.setattr(Experiment, "run", lambda self, attentions, seeds: result)
    text = tmp_path / "text.txt"
    text.write_bytes(synthetic())
    with pytest.raises(SystemExit) as stopped:
        main(["train", verb.NAME, "--text", str(text), "--out", str(tmp_path), "--json", str(tmp_path / "r.json")])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split() == ["model", "steps", "loss", "spread", "seed", "3", "seed", "4"]
    assert printed[2].split() == ["consmax", "40", "1.5000", "0.7071", "1.0000", "2.0000"]
    assert printed[6].split() == ["0.2", "2.2500", "0.3536"]
    assert json.loads((tmp_path / "r.json").read_text()) == result


# --- writing


def test_generated_text_is_the_same_for_a_seed(models):
    writes = [generate(models["consmax"], TEXT.vocabulary, "the ", 20, seed) for seed in (0, 0, 1)]
    assert writes[0] == writes[1] != writes[2]
    assert len(writes[0]) == 20
    assert set(writes[0]) <= set(TEXT.vocabulary)


def test_generation_reads_the_last_window():
    seen = []

    def predict(codes):
        seen.append(codes.copy())
        logits = np.zeros((4, 2))
        logits[np.arange(4), codes] = 1.0  # the likeliest character is the last one
        return logits

    text = "".join(characters(predict, 4, "ab", "aaab", 3, temperature=0))
    assert text == "bbb"
    np.testing.assert_array_equal(seen, [[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
    assert "".join(characters(predict, 4, "ab", "b", 2, temperature=0)) == "bb"
    np.testing.assert_array_equal(seen[3:], [[1, 0, 0, 0], [1, 1, 0, 0]])


def test_temperature_one_draws_as_the_model_says():
    logits = np.log([[0.7, 0.2, 0.1]])
    text = "".join(characters(lambda codes: logits, 1, "abc", "a", 4000, seed=1, temperature=1.0))
    shares = [text.count(c) / len(text) for c in "abc"]
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.03)


def test_impossible_prompts_are_refused(models):
    with pytest.raises(InputError, match="Characters \\['z', 'ß'\\] are not in the model's alphabet"):
        generate(models["softmax"], TEXT.vocabulary, "zoß", 1)
    with pytest.raises(InputError, match="prompt is empty"):
        generate(models["softmax"], TEXT.vocabulary, "", 1)
    for tokens, temperature in ((-1, 1.0), (1, -0.1), (1, float("nan"))):
        with pytest.raises(InputError, match="Received"):
            generate(models["softmax"], TEXT.vocabulary, "the", tokens, 0, temperature)
    assert encode("", TEXT.vocabulary).size == 0


# --- checkpoints


def test_a_checkpoint_holds_all_that_is_needed(tmp_path, models):
    path = tmp_path / "model.npz"
    save_gpt(path, TrainedGpt(models["consmax"], "consmax", TEXT.vocabulary), ONE_LAYER.to_json())
    loaded = load_gpt(path)
    assert (loaded.attention, loaded.vocabulary) == ("consmax", TEXT.vocabulary)
    codes = TEXT.validation[None, :64]
    np.testing.assert_array_equal(loaded.model(codes), models["consmax"](codes))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelFileError, match="not a readable .npz"):
        load_gpt(path)
    np.savez(path, header=np.frombuffer(b'{"attention": "relu", "vocabulary": "ab", "size": {}}', np.uint8))
    with pytest.raises(ModelFileError, match="not a character GPT's checkpoint: Unknown attention 'relu'"):
        load_gpt(path)


# --- what is committed


def test_the_committed_checkpoint_writes_the_same_text_everywhere():
    trained = load_gpt()
    assert (trained.attention, len(trained.vocabulary)) == ("gaincell", 65)
    text = generate(trained.model, trained.vocabulary, "ROMEO:\n", 40, temperature=0)
    assert text == WRITTEN


def test_the_committed_losses_are_summed_up_correctly():
    record = json.loads(EVIDENCE.read_text())
    assert record["text_sha256"] == data_module.SHA256
    assert record["vocabulary"] == load_gpt().vocabulary
    for row in record["rows"]:
        assert len(row["losses"]) == len(record["seeds"]) == 3
        assert row["mean"] == pytest.approx(np.mean(row["losses"]), abs=1e-12)
        assert row["spread"] == pytest.approx(np.std(row["losses"], ddof=1), abs=1e-12)
    means = {row["name"]: row["mean"] for row in record["rows"]}
    assert means["cubic cells, adapted"] < means["cubic cells, unadapted"] < means["cubic cells, scalers reset"]
    assert means["gaincell"] < means["cubic cells, adapted"]


@pytest.mark.slow
def test_the_committed_checkpoint_has_the_committed_loss():
    if not os.environ.get("HLS4ATTN_DATA"):
        pytest.skip(f"set HLS4ATTN_DATA to a folder with {data_module.FILE_NAME} to measure the committed model")
    rows = {row["name"]: row for row in json.loads(EVIDENCE.read_text())["rows"]}
    loss = validation_loss(load_gpt().model, load_text().validation)
    assert loss == pytest.approx(rows["gaincell"]["losses"][0], abs=1e-6)
