# SPDX-License-Identifier: Apache-2.0
"""What a kernel is built from, counted before synthesis: multipliers, memories, and an estimate of logic.

Rules that can be checked by hand:

* DSP: every multiplier of computed or stored operands is built from DSP slices, 25 x 18 signed bits each (DSP48E1;
  27 x 18 in UltraScale+); a wider operand is cut into one piece of that width and further pieces of one bit less.
  A multiplier with an operand of NARROW bits or fewer could be built from LUTs instead, about a * b of them.
* BRAM: every physical memory alone, in the best aspect ratio of an 18 Kb block (16K x 1 to 1K x 18, 512 x 36).
  Less than 1024 bits or 64 words: LUTs, 64 bits of a ROM each, 32 of a RAM or FIFO.  One word: registers.
* LUT and FF: a sum over the operations of one iteration; an estimate, to see orders of magnitude.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hls4attn.hls.stream.cycles import ceil_div

Kind = Literal["rom", "ram", "fifo"]

NARROW = 8
#: Operand widths of a DSP slice by device family.
DSP_SHAPES = {"zynq": (25, 18), "zynquplus": (27, 18)}
#: Words and bits a word of an 18 Kb block.
ASPECTS = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
_BRAM_BITS, _BRAM_WORDS = 1024, 64
_PROCESS_LUTS, _PROCESS_FFS = 100, 100  # counters, handshakes, state of one process


def _pieces(width: int, slice_width: int) -> int:
    return 1 if width <= slice_width else 1 + ceil_div(width - slice_width, slice_width - 1)


def dsp_slices(a: int, b: int, shape: tuple[int, int] = DSP_SHAPES["zynq"]) -> int:
    """DSP slices of one signed a x b multiplier: pieces of a times pieces of b, in the better orientation."""
    return min(_pieces(x, shape[0]) * _pieces(y, shape[1]) for x, y in ((a, b), (b, a)))


@dataclass(frozen=True)
class Memory:
    """Equal physical memories.

    Attributes:
        what: name, as in the kernel.
        kind: rom, ram (a bank) or fifo.
        count: how many, copies and the second halves of ping-pong banks included.
        words: of one.
        width: bits of a word.
    """

    what: str
    kind: Kind
    count: int
    words: int
    width: int

    @property
    def bits(self) -> int:
        """Bits of all of them."""
        return self.count * self.words * self.width

    @property
    def in_logic(self) -> bool:
        """Whether it is too small for a block memory."""
        return self.words < _BRAM_WORDS or self.words * self.width < _BRAM_BITS

    @property
    def bram18(self) -> int:
        """Blocks of 18 Kb."""
        if self.in_logic:
            return 0
        one = min(ceil_div(self.width, bits) * ceil_div(self.words, words) for words, bits in ASPECTS)
        return self.count * one

    @property
    def lut(self) -> int:
        """LUTs, if it is in logic; the single word of a ROM is a constant."""
        if not self.in_logic or self.words == 1:
            return 0
        bits = 64 if self.kind == "rom" else 32
        return self.count * self.width * ceil_div(self.words, bits)

    @property
    def ff(self) -> int:
        """Flip-flops: of a RAM or FIFO of one word."""
        return self.bits if self.words == 1 and self.kind != "rom" else 0


@dataclass(frozen=True)
class Resources:
    """What one kernel, or a design, is built from.

    Attributes:
        multipliers: number of multipliers by the signed widths of their operands, the wider one first.
        memories: ROMs, banks and FIFOs.
        logic_lut: LUTs beside the memories; an estimate.
        logic_ff: flip-flops beside the memories; an estimate.
    """

    multipliers: tuple[tuple[tuple[int, int], int], ...] = ()
    memories: tuple[Memory, ...] = ()
    logic_lut: int = 0
    logic_ff: int = 0

    @property
    def multiplier_count(self) -> int:
        """All multipliers."""
        return sum(n for _, n in self.multipliers)

    @property
    def narrow_count(self) -> int:
        """Multipliers with an operand of NARROW bits or fewer."""
        return sum(n for (_, b), n in self.multipliers if b <= NARROW)

    @property
    def narrow_lut(self) -> int:
        """LUTs that these would take instead of DSP slices, about."""
        return sum(a * b * n for (a, b), n in self.multipliers if b <= NARROW)

    def dsp(self, family: str = "zynq") -> int:
        """DSP slices of a device family, with every multiplier in them."""
        return sum(n * dsp_slices(*widths, DSP_SHAPES[family]) for widths, n in self.multipliers)

    def bits(self, kind: Kind) -> int:
        """Bits of memories of a kind."""
        return sum(m.bits for m in self.memories if m.kind == kind)

    @property
    def bram36(self) -> float:
        """Blocks of 36 Kb; two halves of one serve two memories."""
        return sum(m.bram18 for m in self.memories) / 2

    @property
    def lut(self) -> int:
        """LUTs, estimated."""
        return self.logic_lut + sum(m.lut for m in self.memories)

    @property
    def ff(self) -> int:
        """Flip-flops, estimated."""
        return self.logic_ff + sum(m.ff for m in self.memories)


def total(parts: Iterable[Resources]) -> Resources:
    """The sum of several kernels."""
    multipliers: Counter[tuple[int, int]] = Counter()
    memories: list[Memory] = []
    lut = ff = 0
    for part in parts:
        multipliers.update(dict(part.multipliers))
        memories += part.memories
        lut, ff = lut + part.logic_lut, ff + part.logic_ff
    return Resources(tuple(sorted(multipliers.items())), tuple(memories), lut, ff)


class Parts:
    """Adds up what one kernel is built from, operation by operation."""

    def __init__(self, processes: int = 1) -> None:
        self._multipliers: Counter[tuple[int, int]] = Counter()
        self._memories: list[Memory] = []
        self._lut, self._ff = processes * _PROCESS_LUTS, processes * _PROCESS_FFS

    def multiply(self, count: int, a: int, b: int) -> None:
        """Multipliers of signed operands of a and b bits."""
        if count:
            self._multipliers[max(a, b), min(a, b)] += count

    def add(self, count: int, width: int) -> None:
        """Adders, comparators or selections of a maximum, registered: a LUT and a flip-flop a bit."""
        self._lut += count * width
        self._ff += count * width

    def shift(self, count: int, width: int, places: int) -> None:
        """Shifters by 0 to `places`, two bits of the distance (one LUT a bit) at a time; registered."""
        self._lut += count * width * ceil_div(max(places, 0).bit_length(), 2)
        self._ff += count * width

    def choose(self, bits: int, ways: int) -> None:
        """A selection of one word out of `ways`, four ways a LUT: ceil((ways - 1) / 3) LUTs a bit."""
        self._lut += bits * ceil_div(ways - 1, 3)

    def hold(self, bits: int) -> None:
        """Registers."""
        self._ff += bits

    def divide(self, dividend: int, divisor: int) -> None:
        """A divider or root that takes an operand every cycle: a subtraction a bit of the dividend."""
        self.add(dividend, divisor)

    def memory(self, what: str, kind: Kind, count: int, words: int, width: int) -> None:
        """Memories of `words` words of `width` bits."""
        if count and words and width:
            self._memories.append(Memory(what, kind, count, words, width))

    def logic_rom(self, bits: int) -> None:
        """A table as logic, 64 bits a LUT."""
        self._lut += ceil_div(bits, 64)

    def row(self, width: int, channels: int, lanes: int) -> None:
        """A row that is kept while its lanes are taken from it."""
        self.hold(width * channels)
        self.choose(width * lanes, ceil_div(channels, lanes))

    def done(self) -> Resources:
        """The sum."""
        return Resources(tuple(sorted(self._multipliers.items())), tuple(self._memories), self._lut, self._ff)
