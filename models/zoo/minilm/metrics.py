# SPDX-License-Identifier: Apache-2.0
"""How far sentence embeddings are from the float encoder's, and what that does to similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.models.formats import Reals


class Spread(NamedTuple):
    """Mean over disjoint groups of sentences, and the sample standard deviation between them."""

    mean: float
    deviation: float


class Agreement(NamedTuple):
    """Embeddings against reference embeddings of the same sentences.

    Attributes:
        cosine: mean cosine of a sentence's two embeddings.
        cosine_p1: its 1st percentile over all sentences.
        cosine_min: its minimum.
        spearman: rank correlation of the cosine similarities of all pairs within a group.
        neighbour: share of sentences whose nearest neighbour in their group stays the same.
    """

    cosine: Spread
    cosine_p1: float
    cosine_min: float
    spearman: Spread
    neighbour: Spread


def agreement(embeddings: ArrayLike, reference: ArrayLike, groups: Sequence[NDArray[np.int64]]) -> Agreement:
    """Compare embeddings of length 1, each of shape ``(sentences, hidden)``.

    Args:
        embeddings: of the encoder under test.
        reference: of the float encoder.
        groups: disjoint sets of at least three sentences, by number.
    """
    e, r = (np.asarray(v, dtype=np.float64) for v in (embeddings, reference))
    cosine = (e * r).sum(axis=1)
    similarity, expected = ([v[g] @ v[g].T for g in groups] for v in (e, r))
    pairs = list(zip(similarity, expected, strict=True))
    every = np.concatenate([cosine[g] for g in groups])
    return Agreement(
        cosine=_spread([float(cosine[g].mean()) for g in groups]),
        cosine_p1=float(np.percentile(every, 1)),
        cosine_min=float(every.min()),
        spearman=_spread([spearman(a[_upper(a)], b[_upper(b)]) for a, b in pairs]),
        neighbour=_spread([float(np.mean(_nearest(a) == _nearest(b))) for a, b in pairs]),
    )


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Correlation of the ranks of two samples; NaN if one of them is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale else float("nan")


def ranks(values: ArrayLike) -> Reals:
    """Ranks from 0; equal values share the mean of theirs."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return cast(Reals, (last - (count + 1) / 2)[place.ravel()])


def _upper(matrix: Reals) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return cast(tuple[NDArray[np.int64], NDArray[np.int64]], np.triu_indices(len(matrix), 1))


def _nearest(similarity: Reals) -> NDArray[np.int64]:
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    return cast(NDArray[np.int64], others.argmax(axis=1))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
