# SPDX-License-Identifier: Apache-2.0
"""The gain-cell IP: packets of tokens in, packets of their sums out, and windows that stay; see `overlays.gaincell`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.host.emulated.kernel import StreamKernel
from hls4attn.models.formats import Codes
from hls4attn.overlays import registers as reg
from hls4attn.overlays.gaincell import GainCellDesign


class Cells(Protocol):
    """The heads of one layer, such as `hls.gaincell_sim.GainCellSim`."""

    @property
    def count(self) -> int:
        """Slots that hold a token."""

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
        """Sums of tokens ``(tokens, heads, head_dim)``."""

    def clear(self) -> None:
        """Forget all tokens."""

    def load_table(self, keys: ArrayLike, values: ArrayLike | None = None) -> None:
        """Replace the currents."""

    def cycles(self, tokens: int = 1) -> NDArray[np.int64]:
        """Cycles of each of the next tokens."""


MakeCells = Callable[[], Cells]
"""The heads of a layer, empty, with the table of the design."""


class CellKernel(StreamKernel):
    """Gain-cell heads of some layers behind the control registers of their IP.

    CYCLES is what the heads' formula says for the tokens they had, without the streams before and behind them; nothing
    is measured.

    Args:
        design: ports, layers and table.
        make: called once a layer; an attribute `remark` says more on where the cycles come from.
        base: first address.
        size: in bytes.
    """

    def __init__(self, design: GainCellDesign, make: MakeCells, base: int, size: int) -> None:
        self._remark = str(getattr(make, "remark", ""))
        self._layers = [make() for _ in range(design.layers)]
        self._spec, self._limit = design.spec, 1 << (design.current_width - 1)
        self._table_shape = design.table.shape
        super().__init__(design, self._compute, base, size)

    def reset(self) -> None:
        """As `ap_rst_n`: windows empty, counters zero, nothing half loaded; the table in use stays."""
        super().reset()
        for cells in self._layers:
            cells.clear()
        self._layer = self._errors = 0
        self._words: list[int] = []
        self._dropped = 0  # bytes of the last packet that were no whole token

    def read32(self, offset: int) -> int:
        """Value of a register."""
        values = {
            reg.LAYER: self._layer,
            reg.FILLED: self._layers[self._layer].count,
            reg.TABLE_ADDRESS: len(self._words),
            reg.ERROR: self._errors,
        }
        return values[offset] if offset in values else super().read32(offset)

    def write32(self, offset: int, value: int) -> None:
        """Write a register; the read-only ones keep their value."""
        if offset == reg.LAYER:
            if value < len(self._layers):
                self._layer = value
            else:
                self._errors |= reg.LAYER_ERROR
        elif offset == reg.COMMAND:
            self._command(value)
        elif offset == reg.TABLE_ADDRESS:
            self._words.clear()
            self._errors |= reg.TABLE_ERROR * (value != 0)
        elif offset == reg.TABLE_DATA and self._output is not None:
            self._errors |= reg.BUSY_ERROR  # its word would have to pass the packet on its way to the heads
        elif offset == reg.TABLE_DATA:
            self._add_word(value - (value >> 31 << 32))
        elif offset == reg.ERROR:
            self._errors &= ~value
        else:
            super().write32(offset, value)

    @property
    def cycles_are(self) -> str | None:
        """Where CYCLES comes from."""
        return f"by the heads' formula, not measured{self._remark}"

    def accept(self, packet: bytes) -> bool:
        """Offer a packet; false while TREADY is low."""
        if not self._started or self._output is not None:
            return False
        self._dropped = len(packet) % self._design.input.sample_bytes
        whole = packet[: len(packet) - self._dropped]
        self._output = self._run(whole) if whole else None
        self._errors |= reg.PACKET_ERROR * (self._dropped > 0)
        return True

    def why_no_output(self) -> str | None:
        """Why a packet gave nothing, in words; None if there was none."""
        if not self._dropped:
            return None
        return (
            f"the last packet ended {self._dropped} bytes into a token of {self._design.input.sample_bytes}, which "
            f"{self.name} dropped. Send whole tokens"
        )

    def _command(self, value: int) -> None:
        if self._output is not None:
            self._errors |= reg.BUSY_ERROR
            return
        if value & reg.USE_TABLE:
            self._use_table()
        if value & (reg.CLEAR | reg.CLEAR_ALL):
            for cells in self._layers if value & reg.CLEAR_ALL else [self._layers[self._layer]]:
                cells.clear()

    def _add_word(self, word: int) -> None:
        rows, entries = self._table_shape
        if len(self._words) < rows * entries and -self._limit <= word < self._limit:
            self._words.append(word)
        else:
            self._errors |= reg.TABLE_ERROR
            self._words.clear()

    def _use_table(self) -> None:
        rows, entries = self._table_shape
        if len(self._words) != rows * entries:
            self._errors |= reg.TABLE_ERROR
            return
        table = np.array(self._words).reshape(rows, entries)
        values = table[:, self._spec.k_levels :] if entries > self._spec.k_levels else None
        for cells in self._layers:
            cells.load_table(table[:, : self._spec.k_levels], values)
        self._words.clear()

    def _compute(self, codes: Codes) -> Codes:
        """Sums of tokens ``(N, 3, heads, head_dim)`` of the selected layer."""
        cells = self._layers[self._layer]
        cycles = int(cells.cycles(len(codes)).sum())
        sums = cells.step(*np.moveaxis(codes, 1, 0))
        self._cycles += cycles
        return sums
