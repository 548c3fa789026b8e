# SPDX-License-Identifier: Apache-2.0
"""Cutting a long drawing into columns that stand beside each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

#: Wanted ratio of width to height of a drawing that is cut, and the height up to which none is.
ASPECT, ONE_COLUMN = 0.9, 900.0
#: From one row to another: number of the row that a tensor leaves, of the one it reaches, and the tensor.
Span = tuple[int, int, str]


def cuts_of(spans: Sequence[Span]) -> list[int]:
    """Rows behind which a single tensor goes on: there a drawing may be cut."""
    crossing: dict[int, set[str]] = defaultdict(set)
    for start, end, tensor in spans:
        for row in range(start, end):
            crossing[row].add(tensor)
    return sorted(row for row, tensors in crossing.items() if len(tensors) == 1)


def columns_of(heights: Sequence[float], width: float, cuts: Sequence[int]) -> list[int]:
    """First row of each column, for columns as equal as possible and a drawing of the wanted aspect.

    Args:
        heights: of the rows, with what is between them.
        width: of a column, roughly.
        cuts: rows behind which a column may end.
    """
    total = sum(heights)
    if total <= ONE_COLUMN:
        return [0]
    wanted = max(round(math.sqrt(ASPECT * total / width)), 1)
    return _balanced(list(accumulate(heights)), [c + 1 for c in cuts], min(wanted, len(cuts) + 1))


def _balanced(reached: list[float], starts: list[int], count: int) -> list[int]:
    """Of all choices of first rows, the one whose tallest column is the least tall.

    ``best[n][k]``: tallest of n columns that end where ``ends[k]`` begins, and the columns' first rows.
    """
    ends = [*starts, len(reached)]
    best = {k: (reached[end - 1], [0]) for k, end in enumerate(ends)}
    for _ in range(count - 1):
        best = {
            k: min(
                (max(best[j][0], reached[end - 1] - reached[ends[j] - 1]), [*best[j][1], ends[j]])
                for j in range(k)
                if j in best
            )
            for k, end in enumerate(ends)
            if any(j in best for j in range(k))
        }
    return best[len(ends) - 1][1]
