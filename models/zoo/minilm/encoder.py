# SPDX-License-Identifier: Apache-2.0
r"""A BERT-class sentence encoder in NumPy float32, with softmax and LayerNorm as arguments.

Formula, for tokens t of a sentence (post-LayerNorm: after each residual sum)::

    x  = LN_0(word[t] + position + segment_0)
    a  = concat_h softmax(Q_h K_h^T / sqrt(d)) V_h          Q, K, V = x W + b, split into heads of d channels
    x  = LN_{2l+1}(x + a W_o + b_o)                         layer l = 0, 1, ...
    x  = LN_{2l+2}(x + gelu(x W_up + b_up) W_down + b_down)
    embedding = mean over tokens of x, scaled to length 1

All but attention works on the tokens of a batch packed to shape ``(tokens, hidden)``, without padding; attention
pads to ``(sentences, heads, length, length)`` and masks.  So a normalisation never sees padding.

Reference: BERT (arXiv 1810.04805), GELU (arXiv 1606.08415), mean pooling as in Sentence-BERT (arXiv 1908.10084).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import InputError

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
#: ``softmax(layer, scores, keep)``: scores ``(sentences, heads, length, length)``; keep ``(sentences, length)`` is
#: True for tokens, False for padding.  Rows and columns of padding may hold anything; they must come back as zeros
#: in columns.
Softmax = Callable[[int, Float32, Mask], Float32]
#: ``norm(index, x)``: x of shape ``(tokens, hidden)``; index 0 is the embedding's, 2l+1 and 2l+2 are layer l's.
Norm = Callable[[int, Float32], Float32]

#: Limits of a batch: sentences, and entries of one head's padded score matrices (bounds the memory).
MAX_SENTENCES, MAX_ENTRIES = 32, 1 << 17


class Linear(NamedTuple):
    """Weight of shape ``(in, out)`` and bias of shape ``(out,)``."""

    weight: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        """``x W + b``."""
        return cast(Float32, x @ self.weight + self.bias)


class NormWeights(NamedTuple):
    """Weights of a LayerNorm, each of shape ``(hidden,)``."""

    gamma: Float32
    beta: Float32


class Layer(NamedTuple):
    """Linear maps of a transformer layer."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Encoder:
    """Weights of the encoder.

    Args:
        heads: attention heads.
        epsilon: added to the variance by the float LayerNorm.
        words: shape ``(vocabulary, hidden)``.
        positions: shape ``(longest sentence, hidden)``.
        segment: embedding of the first segment, shape ``(hidden,)``.
        layers: the transformer layers.
        norms: LayerNorm of the embedding, then two a layer.
    """

    heads: int
    epsilon: float
    words: Float32
    positions: Float32
    segment: Float32
    layers: tuple[Layer, ...]
    norms: tuple[NormWeights, ...]

    @property
    def hidden(self) -> int:
        """Channels of a token."""
        return int(self.words.shape[1])


class Batch(NamedTuple):
    """Tokens of several sentences, one after the other.

    Attributes:
        ids: token numbers, shape ``(tokens,)``.
        sentence: which sentence each belongs to.
        place: its position there.
        keep: shape ``(sentences, length)``, True for tokens.
    """

    ids: NDArray[np.int64]
    sentence: NDArray[np.int64]
    place: NDArray[np.int64]
    keep: Mask


def pack(sentences: Sequence[Sequence[int]]) -> Batch:
    """Batch of tokenised sentences."""
    lengths = np.array([len(s) for s in sentences])
    keep = np.arange(lengths.max()) < lengths[:, None]
    sentence, place = np.nonzero(keep)
    return Batch(np.concatenate([np.asarray(s, dtype=np.int64) for s in sentences]), sentence, place, keep)


def gelu(x: Float32) -> Float32:
    """``x/2 * (1 + erf(x/sqrt(2)))``, with erf to 1.5e-7: the resolution of float32 near 1.

    Source: Abramowitz and Stegun, formula 7.1.26; NumPy has no erf.
    """
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.zeros_like(t)
    for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = (tail + np.float32(c)) * t
    tail *= np.exp(-z * z)  # 1 - erf(|x|/sqrt 2)
    return cast(Float32, np.maximum(x, 0) - np.float32(0.5) * np.abs(x) * tail)


def attend(encoder: Encoder, index: int, x: Float32, batch: Batch, softmax: Softmax) -> Float32:
    """Context of all heads before the output projection, shape ``(tokens, hidden)``."""
    layer, heads = encoder.layers[index], encoder.heads
    size = encoder.hidden // heads

    def split(packed: Float32) -> Float32:
        padded = np.zeros((*batch.keep.shape, heads, size), dtype=np.float32)
        padded[batch.sentence, batch.place] = packed.reshape(-1, heads, size)
        return padded.transpose(0, 2, 1, 3)

    q, k, v = (split(linear(x)) for linear in (layer.query, layer.key, layer.value))
    scores = (q @ k.transpose(0, 1, 3, 2)) * np.float32(size**-0.5)
    context = softmax(index, scores, batch.keep) @ v
    return context.transpose(0, 2, 1, 3)[batch.sentence, batch.place].reshape(-1, encoder.hidden)


def forward(encoder: Encoder, batch: Batch, softmax: Softmax, norm: Norm) -> Float32:
    """Sentence embeddings of length 1, shape ``(sentences, hidden)``."""
    x = norm(0, encoder.words[batch.ids] + encoder.positions[batch.place] + encoder.segment)
    for index, layer in enumerate(encoder.layers):
        x = norm(2 * index + 1, x + layer.output(attend(encoder, index, x, batch, softmax)))
        x = norm(2 * index + 2, x + layer.down(gelu(layer.up(x))))
    starts = np.flatnonzero(batch.place == 0)
    mean = np.add.reduceat(x, starts, axis=0) / batch.keep.sum(axis=1, keepdims=True).astype(np.float32)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return cast(Float32, mean / np.maximum(length, np.float32(1e-12)))  # an all-zero mean stays zero


def embed(encoder: Encoder, sentences: Sequence[Sequence[int]], softmax: Softmax, norm: Norm) -> Float32:
    """Embeddings of tokenised sentences, shape ``(sentences, hidden)``, in their order.

    Raises:
        InputError: for an empty or too long sentence, or a token outside the vocabulary.
    """
    check_tokens(encoder, sentences)
    result = np.zeros((len(sentences), encoder.hidden), dtype=np.float32)
    for chosen in _batches([len(s) for s in sentences]):
        result[chosen] = forward(encoder, pack([sentences[n] for n in chosen]), softmax, norm)
    return result


def check_tokens(encoder: Encoder, sentences: Sequence[Sequence[int]]) -> None:
    """Refuse what the encoder's tables do not hold."""
    limit, vocabulary = encoder.positions.shape[0], encoder.words.shape[0]
    for n, tokens in enumerate(sentences):
        if not 1 <= len(tokens) <= limit:
            raise InputError(f"Sentence {n}: takes 1 to {limit} tokens. Received: {len(tokens)}")
        if min(tokens) < 0 or max(tokens) >= vocabulary:
            raise InputError(
                f"Sentence {n}: tokens must be 0 to {vocabulary - 1}. Received: {min(tokens)} to {max(tokens)}"
            )


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Sentences in groups of similar length, which wastes little on padding."""
    chosen: list[int] = []
    for n in np.argsort(lengths, kind="stable"):
        # lengths rise: this one is the group's padded length
        if chosen and (len(chosen) == MAX_SENTENCES or (len(chosen) + 1) * lengths[n] ** 2 > MAX_ENTRIES):
            yield chosen
            chosen = []
        chosen.append(int(n))
    if chosen:
        yield chosen


def float_softmax(_layer: int, scores: Float32, keep: Mask) -> Float32:
    """Softmax over the columns that count."""
    x = np.where(keep[:, None, None, :], scores, -np.inf)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return cast(Float32, e / e.sum(axis=-1, keepdims=True))


def float_norm(encoder: Encoder) -> Norm:
    """LayerNorm with the encoder's weights and epsilon."""

    def norm(index: int, x: Float32) -> Float32:
        gamma, beta = encoder.norms[index]
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        return cast(Float32, centred / np.sqrt(variance + np.float32(encoder.epsilon)) * gamma + beta)

    return norm
