# SPDX-License-Identifier: Apache-2.0
"""What a gain-cell head remembers between two tokens: a circular window of keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import FormatError, InputError

if TYPE_CHECKING:
    from hls4attn.models.operators.gaincell import GainCellSpec


@dataclass(frozen=True, eq=False)
class GainCellState:
    """A window of a spec.  A step gives a new state and leaves the old one as it was.

    Args:
        spec: digest of the spec that it belongs to.
        keys: codes, or voltages of the float model, of shape ``(..., heads, window, head_dim)``.
        values: likewise.
        pointer: slot that the next token is written to.
        count: tokens seen so far.
    """

    spec: str
    keys: NDArray[Any]
    values: NDArray[Any]
    pointer: int = 0
    count: int = 0

    @classmethod
    def empty(cls, spec: GainCellSpec, batch: tuple[int, ...], dtype: Any) -> GainCellState:
        """No token yet."""
        shape = (*batch, spec.heads, spec.window, spec.head_dim)
        return cls(spec.digest, np.zeros(shape, dtype), np.zeros(shape, dtype))

    def check(self, spec: GainCellSpec, batch: tuple[int, ...], dtype: Any) -> None:
        """Refuse a state that a step of `spec` cannot have left behind.

        Raises:
            InputError: for another spec's state, or a wrong shape, dtype or pointer.
            FormatError: for codes outside their format.
        """
        if self.spec != spec.digest:
            raise InputError(f"GainCell: a state of spec {self.spec} for spec {spec.digest}")
        shape = (*batch, spec.heads, spec.window, spec.head_dim)
        for name, stored, fmt in (("keys", self.keys, spec.k_format), ("values", self.values, spec.v_format)):
            if stored.shape != shape or stored.dtype != dtype:
                raise InputError(
                    f"GainCell: state {name} must be {np.dtype(dtype)} of shape {shape}. "
                    f"Received: {stored.dtype} of shape {stored.shape}"
                )
            if stored.dtype == np.int64 and not fmt.contains(stored):
                raise FormatError(f"GainCell: state {name} outside {fmt}. Received: [{stored.min()}, {stored.max()}]")
            if stored.dtype == np.float64 and not np.all(np.isfinite(stored)):
                raise InputError(f"GainCell: state {name} hold NaN or infinity")
        if self.count < 0 or self.pointer != self.count % spec.window:
            raise InputError(
                f"GainCell: pointer must be count modulo window={spec.window}. "
                f"Received: pointer={self.pointer}, count={self.count}"
            )

    def written(self, spec: GainCellSpec, key: NDArray[Any], value: NDArray[Any]) -> GainCellState:
        """The state with one more token, of shape ``(..., heads, head_dim)``."""
        keys, values = self.keys.copy(), self.values.copy()
        keys[..., self.pointer, :], values[..., self.pointer, :] = key, value
        return GainCellState(self.spec, keys, values, (self.pointer + 1) % spec.window, self.count + 1)

    def slots(self, spec: GainCellSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Age of every slot (`window` for an empty one) and its tile, after a token was written."""
        newest = (self.pointer - 1) % spec.window
        slot = np.arange(spec.window)
        age = (newest - slot) % spec.window
        tile = slot // spec.tile
        if spec.tiling == "absolute":  # older tokens of the tile that is being written are a tile of their own
            tile = np.where((tile == newest // spec.tile) & (slot > newest), spec.tiles, tile)
        return np.where(age < self.count, age, spec.window), tile


def sequence_tiles(spec: GainCellSpec, tokens: int) -> NDArray[np.int64]:
    """Tile of every position of a sequence."""
    position = np.arange(tokens)
    return (position % spec.window if spec.tiling == "circular" else position) // spec.tile
