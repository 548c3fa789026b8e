# SPDX-License-Identifier: Apache-2.0
"""An ndarray over registers: what `pynq.MMIO.array` is on a board, where it maps /dev/mem."""

from __future__ import annotations

from typing import Any

import numpy as np

from hls4attn.host.emulated.board import EmulatedBoard


class RegisterArray(np.ndarray):
    """32-bit words whose access by integer index reads and writes the board model.

    Slices and views stay register arrays, on which PYNQ's register maps rely.  The memory of the array
    itself is never used; arithmetic on it is an error, since it would bypass the registers.
    """

    _board: EmulatedBoard | None = None
    _base: int = 0  # bus address of the first byte of the first array
    _origin: int = 0  # its address in this process

    @classmethod
    def over(cls, board: EmulatedBoard, base: int, nbytes: int) -> RegisterArray:
        """An array over `nbytes` at the bus address `base`."""
        array = np.zeros(max(1, nbytes // 4), dtype=np.uint32).view(cls)
        array._board, array._base, array._origin = board, base, array._pointer()
        return array

    def __array_finalize__(self, source: Any) -> None:
        if isinstance(source, RegisterArray):
            self._board, self._base, self._origin = source._board, source._base, source._origin

    def _pointer(self) -> int:
        return int(self.__array_interface__["data"][0])

    def _addresses(self, index: int) -> list[int]:
        """Bus addresses of the 32-bit words of one element, the least significant first."""
        if self.ndim != 1 or self.itemsize not in (4, 8):
            raise TypeError("Registers are words of 32 or 64 bits in one row; read them one by one")
        if not -self.shape[0] <= index < self.shape[0]:
            raise IndexError(f"register index {index} is out of range of {self.shape[0]}")
        offset = self._pointer() - self._origin + index % self.shape[0] * self.strides[0]
        return [self._base + offset + byte for byte in range(0, self.itemsize, 4)]

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, int | np.integer) or self._board is None:
            return super().__getitem__(index)
        words = [self._board.read32(address) for address in self._addresses(int(index))]
        return self.dtype.type(sum(word << 32 * i for i, word in enumerate(words)))

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._board is None:
            super().__setitem__(index, value)
        elif isinstance(index, int | np.integer):
            for i, address in enumerate(self._addresses(int(index))):
                self._board.write32(address, int(value) >> 32 * i & 0xFFFFFFFF)
        elif isinstance(index, slice):
            places = range(*index.indices(self.shape[0]))
            for place, word in zip(places, np.broadcast_to(value, len(places)), strict=True):
                self[place] = word
        else:
            raise TypeError(f"Registers are indexed by an integer or a slice. Received: {type(index).__name__}")

    def __iter__(self) -> Any:
        return (self[i] for i in range(self.shape[0]))

    def __array_ufunc__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError("Arithmetic on registers would not read them: take words out first, array[i]")
