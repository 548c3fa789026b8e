# SPDX-License-Identifier: Apache-2.0
"""A random encoder of the same architecture, a tokeniser and a text for it."""

from types import SimpleNamespace

import numpy as np

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


class WordNumbers:
    """A tokeniser that numbers words by their letters."""

    def encode_batch(self, sentences):
        return [SimpleNamespace(ids=[1, *(sum(map(ord, w)) % 50 for w in s.split()), 2]) for s in sentences]


def prose(count):
    rng = np.random.default_rng(1)
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, 5)) for _ in range(300)]
    return " ".join("The " + " ".join(rng.choice(words, rng.integers(5, 12))) + "." for _ in range(count))
