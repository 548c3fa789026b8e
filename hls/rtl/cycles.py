# SPDX-License-Identifier: Apache-2.0
"""The cycle model of the streaming units: when each row goes in and comes out, as formulas of the units' structure.

A sender that always has a word and a receiver that always takes one; then these are the clocks of the RTL, not a bound.
Rows may differ in length.  A stage's recurrence names what it waits for; its constants are the registers between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.hls.rtl.e2cycles import e2softmax_cycles
from hls4attn.hls.rtl.layernorm import root_steps
from hls4attn.hls.rtl.unit import ROW_MAX, rtl_unit
from hls4attn.hls.stream.clocks import starts
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import ConSmaxSplitSpec, GainCellSpec


@dataclass(frozen=True, eq=False)
class RowClocks:
    """When rows pass through a unit, in clocks after the first word was offered.

    Attributes:
        starts: clock of the first word of each row that goes in.
        ends: clock after the last word of each row came out.
    """

    starts: Codes
    ends: Codes

    @property
    def cycles(self) -> int:
        """Clocks from the first word offered to the last one taken."""
        return int(self.ends[-1])

    @property
    def interval(self) -> float:
        """Clocks from row to row, on average over the second half of the rows."""
        half = len(self.ends) // 2
        return float(self.ends[-1] - self.ends[half]) / max(len(self.ends) - 1 - half, 1)


def unit_cycles(
    spec: Any, rows: int, n: ArrayLike, codes: Codes | None = None, row_max: int = ROW_MAX, empty: bool = True
) -> RowClocks:
    """The clocks of rows that follow each other without gaps through a unit that was just reset.

    Args:
        spec: spec of a score function, a norm or gain-cell heads.
        rows: how many rows; of gain-cell heads: tokens of one sequence.
        n: elements of a row, or of each; norms and gain cells have their own.
        codes: of the exact LayerNorm, whose root takes as long as its row needs: shape ``(rows, channels)``.
        row_max: longest row of the unit.
        empty: of gain-cell heads: whether the first token begins a sequence; else the window is full.

    Raises:
        InputError: for lengths that the unit does not take, and where codes are missing.
    """
    unit = rtl_unit(spec, row_max)
    if rows < 1:
        raise InputError(f"{unit.module}: at least one row. Received: {rows}")
    lengths = np.broadcast_to(np.asarray(n, dtype=np.int64), rows)
    fixed = unit.parameters.get("CHANNELS", 0)
    if isinstance(spec, GainCellSpec):
        return _gaincell(spec, dict(unit.parameters), rows, empty)
    if lengths.min() < 1 or lengths.max() > unit.row_max or (fixed and np.any(lengths != fixed)):
        wanted = f"{fixed}" if fixed else f"1 to {unit.row_max}"
        raise InputError(f"{unit.module}: rows of {wanted}. Received: {lengths.min()} to {lengths.max()}")
    if spec.op_type == "IntegerLayerNorm":
        if codes is None or np.shape(codes) != (rows, fixed):
            raise InputError(f"{unit.module}: its clocks depend on the rows; codes has shape ({rows}, {fixed})")
        return _layernorm(dict(unit.parameters), root_steps(spec, np.asarray(codes)))
    if spec.op_type == "E2Softmax":
        return RowClocks(*e2softmax_cycles(lengths, unit.parameters["N_MAX"], unit.parameters["SLICE"]))
    models: dict[str, Callable[[], RowClocks]] = {
        "ConSmax": lambda: _consmax(lengths, 1),
        "ConSmaxSplit": lambda: _consmax(lengths, _split_depth(spec)),
        "IntegerSoftmax": lambda: _softmax(lengths, spec.out_frac + spec.guard + 2),
        "AILayerNorm": lambda: _ailayernorm(fixed, rows),
    }
    if spec.op_type not in models:
        raise UnsupportedError(f"{spec.op_type}: no cycle model; there is one for {', '.join(sorted(models))}")
    return models[spec.op_type]()


def _split_depth(spec: ConSmaxSplitSpec) -> int:
    """Registers of op_consmax_split: tables, product (two of four nibbles), shift, result."""
    return 3 + spec.tables.nibbles // 2


def _consmax(lengths: Codes, depth: int) -> RowClocks:
    """A pipeline: nothing waits."""
    begin = np.cumsum(lengths) - lengths
    return RowClocks(begin, begin + lengths + depth)


def _softmax(lengths: Codes, steps: int) -> RowClocks:
    """Three passes over two halves of two buffers, and a divider of `steps` bits behind the second one.

    taken, summed, issued: clock of a row's last element in each pass; a pass sees what another one has done a clock
    later.  The sum is there 5 clocks behind its last element, the reciprocal `steps` + 2 later; a half is given back
    4 clocks behind the third pass, which the last element of the second pass waits for, as for the divider.
    """
    begin, ends = np.zeros_like(lengths), np.zeros_like(lengths)
    rows = len(lengths)
    taken, summed, third, issued = (np.full(rows + 2, -(1 << 40), dtype=np.int64) for _ in range(4))
    for r, n in enumerate(int(v) for v in lengths):
        k = r + 2  # the two rows before the first never were
        begin[r] = max(taken[k - 1] + 1, summed[k - 2] + 1, 0)
        taken[k] = begin[r] + n - 1
        first = max(summed[k - 1] + 1, taken[k] + 1, third[k - 2] if n > 1 else 0)
        summed[k] = max(first + n - 1, issued[k - 2] + 4, summed[k - 1] + max(steps + 1, 6))
        third[k] = max(issued[k - 1] + 1, summed[k] + steps + 7)
        issued[k] = third[k] + n - 1
        ends[r] = issued[k] + 8
    return RowClocks(begin, ends)


def _ailayernorm(channels: int, rows: int) -> RowClocks:
    """Row r's last element waits until row r - 1 has its constants, its first one until row r - 2 is being read."""
    taken, read = np.full(rows + 2, -(1 << 40), dtype=np.int64), np.full(rows + 2, -(1 << 40), dtype=np.int64)
    begin = np.zeros(rows, dtype=np.int64)
    for r in range(rows):
        k = r + 2
        begin[r] = max(taken[k - 1] + 1, read[k - 2] + 1, 0)
        if channels == 1:
            begin[r] = max(begin[r], read[k - 1] + 6)
        taken[k] = max(begin[r] + channels - 1, read[k - 1] + 6)
        read[k] = max(taken[k] + 17, read[k - 1] + max(channels, 6))
    return RowClocks(begin, read[2:] + channels + 9)


def _layernorm(ints: dict[str, int], steps: Codes) -> RowClocks:
    """Root and reciprocal one behind the other; a row's last element waits for the root before and the row before 4."""
    rows, n, bits = len(steps), ints["CHANNELS"], ints["RSQRT_BITS"]
    total = ints["IN_W"] + (n - 1).bit_length()
    top = max(2 * (total - 1), 2) // 2 - 1
    places = 1 << (n + top + ints["ROOT_BITS"] + bits + 15).bit_length()  # of the buffer
    rooted, read = (np.full(rows + 4, -(1 << 40), dtype=np.int64) for _ in range(2))
    begin = np.zeros(rows, dtype=np.int64)
    at = np.arange(n, dtype=np.int64)
    last = -1
    for r in range(rows):
        k = r + 4
        before = r * n + at - places  # words whose places these take
        ready = np.where(before >= 0, read[np.maximum(before // n, -4) + 4] + before % n + 1, 0)
        ready[0] = max(ready[0], last + 1)
        ready[-1] = max(ready[-1], rooted[k - 1] + 1, read[k - 4] + n + 7)
        taken = starts(ready, 1)
        begin[r], last = taken[0], int(taken[-1])
        rooted[k] = max(last + 6 + int(steps[r]), rooted[k - 1] + bits + 5)
        read[k] = max(rooted[k] + bits + 5, read[k - 1] + n)
    return RowClocks(begin, read[4:] + n + 10)


def _gaincell(spec: GainCellSpec, ints: dict[str, int], tokens: int, empty: bool) -> RowClocks:
    """A head starts when its words are there and the head before has seen its tiles; its sums leave in order."""
    before = 0 if empty else spec.window
    filled = np.minimum(np.arange(before + 1, before + tokens + 1), spec.window)
    tiles = -(-filled // spec.tile) + ints["SPLIT"] * (filled == spec.window)
    step, dim = max(spec.tile, spec.head_dim), spec.head_dim
    levels = max(1, (spec.k_levels - 1).bit_length())
    latency = 16 + max(1, (dim - 1).bit_length()) + levels + ints["LANE_DSP"]
    begin, ends = np.zeros(tokens, dtype=np.int64), np.zeros(tokens, dtype=np.int64)
    words = free = out = 0  # when the next words can come, the next head can start, the next sum can leave
    for t in range(tokens):
        begin[t] = words
        for _ in range(spec.heads):
            start = max(words + dim, free)
            words, free = start + 1, start + 1 + step * int(tiles[t])
            out = max(start + 1 + step * (int(tiles[t]) - 1) + spec.tile + latency, out) + dim
        ends[t] = out
    return RowClocks(begin, ends)
