# SPDX-License-Identifier: Apache-2.0
"""A text made of words, for character models."""

import numpy as np

from hls4attn.models.zoo.char_gpt.data import (
    text_of,
)


def synthetic(words=2000, seed=0):
    """Sentences of few words, drawn at random: an alphabet, and something to learn."""
    known = ["the", "king", "is", "dead", "long", "live", "a", "horse", "my", "kingdom", "for"]
    drawn = np.random.default_rng(seed).choice(known, size=words)
    return " ".join(w + (".\n" if n % 7 == 6 else "") for n, w in enumerate(drawn)).encode()


TEXT = text_of(synthetic(), "synthetic")
