# SPDX-License-Identifier: Apache-2.0
"""Gain-cell heads by the integer reference, where the C simulation and its tools are not installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.hls.stream.iterations import token_cycles
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec


class ReferenceCells:
    """The heads of one layer: slow, and without any compiler.

    Args:
        spec: the heads.
    """

    def __init__(self, spec: GainCellSpec) -> None:
        self._spec = spec
        self._state = spec.empty_state()

    @property
    def count(self) -> int:
        """Slots that hold a token, at most the window."""
        return min(self._state.count, self._spec.window)

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
        """Sums of tokens ``(tokens, heads, head_dim)``; after an error the window is as it was."""
        state, sums = self._state, []
        for query, key, value in zip(*(np.asarray(a) for a in (q, k, v)), strict=True):
            answer, state = self._spec.step(query, key, value, state)
            sums.append(answer)
        self._state = state
        return np.stack(sums)

    def clear(self) -> None:
        """Forget all tokens; the table stays."""
        self._state = self._spec.empty_state()

    def load_table(self, keys: ArrayLike, values: ArrayLike | None = None) -> None:
        """Replace the currents, ``(window, levels)`` each, of stored tokens, too."""
        spec = replace(self._spec)
        tables = [np.asarray(t)[: spec.window] for t in (keys, keys if values is None else values)]
        empty = (np.pad(t, ((0, 1), (0, 0))) for t in tables)  # an empty slot has no current
        vars(spec)["tables"] = tuple(empty)  # a table that no cell of the spec has
        self._spec = spec

    def cycles(self, tokens: int = 1) -> NDArray[np.int64]:
        """Clock cycles of each of the next tokens, without the depth of the pipeline."""
        spec = self._spec
        sizes = {"heads": spec.heads, "head_dim": spec.head_dim, "window": spec.window, "tile": spec.tile}
        return token_cycles({**sizes, "split_tiles": int(spec.tiling == "absolute")}, tokens, self.count)
