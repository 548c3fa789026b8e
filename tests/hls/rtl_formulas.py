# SPDX-License-Identifier: Apache-2.0
"""Integers as bit vectors: ports, tables, and roundings as inequalities.

``y`` is ``x / unit`` to the nearest if ``(2 y - 1) unit <= 2 x < (2 y + 1) unit``. All bit vectors are wide enough
for all products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import z3

At = Callable[[str, int], z3.BitVecRef]
Claim = Callable[[At], z3.BoolRef]


def natural(value: z3.BitVecRef, bits: int = 64) -> z3.BitVecRef:
    """An unsigned port as an integer."""
    return z3.ZeroExt(bits - value.size(), value)


def integer(value: z3.BitVecRef, bits: int = 64) -> z3.BitVecRef:
    """A signed port as an integer."""
    return z3.SignExt(bits - value.size(), value)


def power(exponent: z3.BitVecRef | int, bits: int = 64) -> z3.BitVecRef:
    """2 to an exponent."""
    return z3.BitVecVal(1, bits) << exponent


def rounded(y: z3.BitVecRef, x: z3.BitVecRef, unit: z3.BitVecRef | int, low: int, high: int) -> z3.BoolRef:
    """y is ``x / unit`` to the nearest, halves up, limited to low and high."""
    above = z3.Implies(y < high, 2 * x < (2 * y + 1) * unit)
    below = z3.Implies(y > low, 2 * x >= (2 * y - 1) * unit)
    return z3.And(y >= low, y <= high, above, below)


def floored(y: z3.BitVecRef, x: z3.BitVecRef, unit: z3.BitVecRef | int, low: int, high: int) -> z3.BoolRef:
    """y is ``x / unit`` downwards, limited to low and high."""
    above = z3.Implies(y < high, x < (y + 1) * unit)
    below = z3.Implies(y > low, x >= y * unit)
    return z3.And(y >= low, y <= high, above, below)


def entry(words: Sequence[int], index: z3.BitVecRef, bits: int = 64) -> z3.BitVecRef:
    """A word of a table."""
    found = z3.BitVecVal(int(words[0]), bits)
    for n, word in enumerate(words):
        found = z3.If(index == n, z3.BitVecVal(int(word), bits), found)
    return found


def going(at: At, *names_and_clocks: tuple[str, int]) -> z3.BoolRef:
    """Signals of one bit that are 1."""
    return z3.And(*(at(name, clock) == 1 for name, clock in names_and_clocks))
