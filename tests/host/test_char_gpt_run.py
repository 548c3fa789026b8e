# SPDX-License-Identifier: Apache-2.0
"""Text from the character GPT: the same from Keras, from integers, and with its attention on the emulated board."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("pynq")
tf = pytest.importorskip("tensorflow")
from hls4attn.hls.gaincell_sim import GainCellSim  # noqa: E402
from hls4attn.host import char_gpt as verb  # noqa: E402
from hls4attn.host.cli import main  # noqa: E402
from hls4attn.models.errors import DeviceError, InputError, UnsupportedError  # noqa: E402
from hls4attn.models.export.keras_export import freeze_weights  # noqa: E402
from hls4attn.models.zoo.char_gpt import checkpoint  # noqa: E402
from hls4attn.models.zoo.char_gpt.checkpoint import TrainedGpt, save_gpt  # noqa: E402
from hls4attn.models.zoo.char_gpt.generate import continuation, generate  # noqa: E402
from hls4attn.models.zoo.char_gpt.integer import IntegerGpt, Reader, ReferenceCells  # noqa: E402
from hls4attn.models.zoo.char_gpt.model import GptSize, char_gpt  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")
ALPHABET = "\n !',-.:;?" + "".join(map(chr, range(65, 91))) + "".join(map(chr, range(97, 123)))
SIZE = GptSize(layers=2, heads=2, head_dim=32, window=64)
PROMPT = "ROMEO:"


@pytest.fixture(scope="module")
def models():
    """Untrained models, with no scaler, norm or bias at its initial value."""
    found = {}
    for attention in ("gaincell", "gaincell-linear"):
        tf.keras.utils.set_random_seed(7)
        model = char_gpt(attention, len(ALPHABET), SIZE)
        rng = np.random.default_rng(1)
        for weight in model.weights:
            if "kernel" not in weight.name and "embedding" not in weight.name:
                weight.assign(weight * rng.uniform(0.7, 1.3, weight.shape) + rng.normal(0, 0.05, weight.shape))
        freeze_weights(model)
        found[attention] = model
    return found


@pytest.fixture(scope="module")
def gpt(models):
    return IntegerGpt.of(models["gaincell"])


@pytest.fixture(scope="module")
def weights(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("gpt") / "gaincell.npz"
    save_gpt(path, TrainedGpt(models["gaincell"], "gaincell", ALPHABET), SIZE.to_json())
    return path


def drawn(tokens, seed):
    return np.random.default_rng(seed).integers(0, len(ALPHABET), tokens)


# --- integers


@pytest.mark.parametrize("attention", ["gaincell", "gaincell-linear"])
def test_integers_are_what_keras_computes(models, attention):
    model, gpt = models[attention], IntegerGpt.of(models[attention])
    wrong = 0
    for seed in range(4):
        codes = drawn(64, seed)
        logits = gpt.head.out.to_real(gpt.logits(codes, ReferenceCells(gpt.specs)))
        wrong += np.count_nonzero(logits != model(codes[None].astype(np.int32), training=False).numpy()[0])
        assert np.unique(logits).size > 20
    assert wrong == 0


def test_token_by_token_or_at_once(gpt):
    codes = drawn(64, 9)
    whole = gpt.logits(codes, ReferenceCells(gpt.specs))
    for cuts in (range(1, 64), (5, 6, 40), ()):
        cells = ReferenceCells(gpt.specs)
        parts = [gpt.logits(p, cells, len(codes) - len(r)) for p, r in pieces(codes, cuts)]
        assert np.array_equal(np.concatenate(parts), whole)
    with pytest.raises(InputError, match="sees 64 characters. Received: 65"):
        gpt.logits(codes, ReferenceCells(gpt.specs), 1)


def pieces(codes, cuts):
    """Each piece, and what is left from its beginning on."""
    edges = [0, *cuts, len(codes)]
    return [(codes[a:b], codes[a:]) for a, b in pairwise(edges)]


def test_other_attentions_are_refused():
    with pytest.raises(UnsupportedError, match="attention is QSelfAttention, .* --attention gaincell"):
        IntegerGpt.of(char_gpt("consmax", 5, replace(SIZE, layers=1)))


def test_a_reader_computes_each_token_once_while_the_window_holds_it(gpt):
    codes, reader = drawn(70, 2), Reader(gpt, ReferenceCells(gpt.specs))
    for n in range(6, 65):
        reader(codes[:n])
    assert reader.tokens == 64
    reader(codes[1:65])  # every position moved
    assert reader.tokens == 128
    reader(codes[1:65])  # nothing new: again from the first
    assert reader.tokens == 192
    fresh = Reader(gpt, ReferenceCells(gpt.specs))
    assert np.array_equal(reader(codes[3:40]), fresh(codes[3:40]))


def test_a_reader_begins_again_after_a_failure(gpt):
    class Failing(ReferenceCells):
        broken = False

        def step(self, q, k, v, layer=0):
            if self.broken and layer == 1:
                raise DeviceError("gone")
            return super().step(q, k, v, layer)

    codes, cells = drawn(20, 3), Failing(gpt.specs)
    reader = Reader(gpt, cells)
    reader(codes[:10])
    cells.broken = True
    with pytest.raises(DeviceError, match="gone"):
        reader(codes[:11])
    cells.broken = False
    assert np.array_equal(reader(codes[:11]), Reader(gpt, ReferenceCells(gpt.specs))(codes[:11]))


# --- the board


@pytest.mark.compile
@pytest.mark.parametrize("attention", ["gaincell", "gaincell-linear"])
def test_keras_integers_and_board_write_the_same_text(models, attention):
    """Beyond the window, where every new character moves all positions."""
    model, gpt = models[attention], IntegerGpt.of(models[attention])
    wanted = generate(model, ALPHABET, PROMPT, 80, seed=4)
    reader = Reader(gpt, ReferenceCells(gpt.specs))
    assert "".join(continuation(reader, gpt.window, ALPHABET, PROMPT, 80, seed=4)) == wanted
    with verb.on_board(gpt, "aup-zu3") as cells:
        on_board = Reader(gpt, cells)
        assert "".join(continuation(on_board, gpt.window, ALPHABET, PROMPT, 80, seed=4)) == wanted
        assert on_board.tokens == reader.tokens == 64 + 64 * (6 + 79 - 64)
        assert cells.tokens == 2 * on_board.tokens
        assert cells.cycles == cells.tokens * (2 * 64 + 32)  # one tile of 64 slots a head, and its 32 codes
        assert cells.device_tag == "emulated:aup-zu3"


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "char-gpt", *map(str, arguments)])
    return stopped.value.code


@pytest.mark.compile
def test_the_command_line_writes_the_same_text_with_and_without_a_board(weights, tmp_path, capsys):
    given = "--weights", weights, "--tokens", 70, "--seed", 5
    found = {}
    for board in ("emulated", "none", "kv260"):
        assert run(*given, "--board", board, "--json", tmp_path / "out.json") == 0
        found[board] = json.loads((tmp_path / "out.json").read_text()), capsys.readouterr().out
    texts = {summary["text"] for summary, _ in found.values()}
    assert len(texts) == 1 and len(texts.pop()) == 70
    for summary, printed in found.values():
        assert printed.startswith(f"{PROMPT}{summary['text']}\n")
    assert {board: summary["device"] for board, (summary, _) in found.items()} == {
        "emulated": "emulated:pynq-z2",
        "none": "none",
        "kv260": "emulated:kv260",
    }
    summary, printed = found["emulated"]
    assert summary["cycles_per_token"] == 160
    assert summary["cycles"] == 160 * summary["counter"] == 160 * 2 * summary["tokens"]
    assert "160 cycles a token and layer, by the heads' formula, not measured; 1.60 us at an assumed clock" in printed
    assert "attention on emulated:pynq-z2, seed 5" in printed
    assert "cycles" not in found["none"][0]
    assert run("--weights", weights, "--tokens", 70, "--seed", 6, "--board", "none") == 0
    assert summary["text"] not in capsys.readouterr().out


@pytest.mark.compile
def test_the_committed_model_writes_the_same_text_on_the_board():
    trained = checkpoint.load_gpt()
    gpt = IntegerGpt.of(trained.model)
    wanted = generate(trained.model, trained.vocabulary, PROMPT, 70, seed=3)
    with verb.on_board(gpt) as cells:
        for used in (cells, ReferenceCells(gpt.specs)):
            text = "".join(continuation(Reader(gpt, used), gpt.window, trained.vocabulary, PROMPT, 70, seed=3))
            assert text == wanted
        assert cells.filled(0) == cells.filled(1) == 64


@pytest.mark.compile
def test_the_text_comes_from_the_board_s_cells(gpt, monkeypatch):
    step = GainCellSim.step
    monkeypatch.setattr(GainCellSim, "step", lambda self, q, k, v: -step(self, q, k, v))
    texts = []
    with verb.on_board(gpt) as cells:
        for used in (cells, ReferenceCells(gpt.specs)):
            texts.append("".join(continuation(Reader(gpt, used), gpt.window, ALPHABET, PROMPT, 20)))
    assert texts[0] != texts[1]


def test_no_characters_are_no_error(weights, capsys):
    assert run("--weights", weights, "--tokens", 0, "--board", "none") == 0
    assert capsys.readouterr().out.startswith("\n")


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["--prompt", "ROMEO§"], 2, "Characters ['§'] are not in the model's alphabet"),
        (["--prompt", ""], 2, "The prompt is empty"),
        (["--tokens", "-1"], 2, "0 or more tokens"),
        (["--seed", "-1"], 2, "seed must not be negative"),
        (["--board", "zedboard"], 2, "Unknown board 'zedboard'"),
        (["--input", "x.npy", "--io", "io_stream"], 2, "char-gpt takes no --input and no --io; see hls4attn run"),
        (["--json", "/proc/nowhere/x.json"], 2, "Cannot write"),
    ],
)
def test_the_command_line_refuses(models, weights, capsys, monkeypatch, arguments, code, match):
    loaded = TrainedGpt(models["gaincell"], "gaincell", ALPHABET)
    monkeypatch.setattr(checkpoint, "load_gpt", lambda path: loaded)
    assert run("--weights", weights, *arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and match in error
    assert error.count("\n") == 1


def test_weights_that_do_not_fit_are_refused(weights, tmp_path, capsys, monkeypatch):
    assert run("--weights", tmp_path / "none.npz") == 2
    assert "none.npz" in capsys.readouterr().err
    assert run("--weights", weights, "--json", weights) == 2
    assert "choose another name" in capsys.readouterr().err
    softmax = tmp_path / "softmax.npz"
    save_gpt(softmax, TrainedGpt(char_gpt("softmax", 5, SIZE), "softmax", "abcde"), SIZE.to_json())
    assert run("--weights", softmax) == 2
    assert "not in gain cells; train char-gpt with --attention gaincell" in capsys.readouterr().err
    monkeypatch.setattr(checkpoint, "TRAINED", tmp_path / "none.npz")
    assert run() == 2
    assert "hls4attn train char-gpt, then give --weights" in capsys.readouterr().err


def test_options_of_the_text_belong_to_the_character_model(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "some.onnx", "--prompt", "x", "--seed", "0"])
    assert stopped.value.code == 2
    assert "some.onnx takes no --prompt and no --seed; see hls4attn run --help" in capsys.readouterr().err


def test_layers_that_differ_are_refused(gpt):
    first, second = gpt.blocks
    other = replace(gpt, blocks=(first, replace(second, spec=replace(second.spec, leak=0.1))))
    with pytest.raises(UnsupportedError, match="layers' gain cells differ"), verb.on_board(other):
        pass
