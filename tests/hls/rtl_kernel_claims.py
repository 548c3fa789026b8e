# SPDX-License-Identifier: Apache-2.0
"""What the kernels of networks have to do, from their formulas: tails, and products that share a block."""

from __future__ import annotations

from collections.abc import Mapping

import z3
from rtl_formulas import At, Claim, floored, going, integer, natural, rounded


def requantised(settings: Mapping[str, int]) -> Claim:
    """net_tail: ``core scale 2^shift + offset`` rounded, made positive and limited, or wrapped.

    Args:
        settings: parameters of the module. Its offset comes with the half of rounding in it.
    """

    def claim(at: At) -> z3.BoolRef:
        get = {"SCALE": 0, "OFFSET": 0, "SHIFT": 0, "DROPPED": 0, "EVEN": 0, "RELU": 0, "OUT_SIGNED": 1, "LIMIT": 0}
        get |= dict(settings)
        bits = settings["SUM_W"] + settings["OUT_W"] + 16
        clock, width = 1 + get["SCALE"], get["OUT_W"]
        unit, up = 1 << max(get["DROPPED"], 0), 1 << max(-get["DROPPED"], 0)
        half = unit // 2 if get["OFFSET"] and get["ROUNDS"] else 0
        x = integer(at("core", 0), bits) * (integer(at("scale", 0), bits) if get["SCALE"] else 1) << get["SHIFT"]
        x = (x + (integer(at("offset", 0), bits) - half if get["OFFSET"] else 0)) * up
        x = z3.If(x < 0, 0, x) if get["RELU"] else x
        y = (integer if get["OUT_SIGNED"] else natural)(at("code", clock), bits)
        low = -(1 << width - 1) + (get["LIMIT"] == 1) if get["OUT_SIGNED"] else 0
        high = (1 << width - get["OUT_SIGNED"]) - 1
        if get["LIMIT"] == 2:
            # What is left of x behind y, whatever was wrapped away, is less than a unit.
            rest = z3.Extract(width + unit.bit_length() - 2, 0, x + half - y * unit)
            right = z3.ULT(natural(rest, bits), unit)
        elif get["EVEN"]:
            right = to_even(y, x, unit, low, high)
        else:
            right = (rounded if half else floored)(y, x, unit, low, high)
        return z3.Implies(going(at, *(("en", t) for t in range(clock))), right)

    return claim


def to_even(y: z3.BitVecRef, x: z3.BitVecRef, unit: int, low: int, high: int) -> z3.BoolRef:
    """y is ``x / unit`` to the nearest, ties to the even one, limited to low and high."""
    even = y & 1 == 0
    above = z3.Implies(y < high, z3.Or(2 * x < (2 * y + 1) * unit, z3.And(even, 2 * x == (2 * y + 1) * unit)))
    below = z3.Implies(y > low, z3.Or(2 * x > (2 * y - 1) * unit, z3.And(even, 2 * x == (2 * y - 1) * unit)))
    return z3.And(y >= low, y <= high, above, below)


def packed_products(weight_bits: int, in_bits: int, sum_bits: int) -> Claim:
    """net_dense: both products that share a block, ``w1 x 2^sum_bits + w0 x`` in a word of two sums."""

    def claim(at: At) -> z3.BoolRef:
        bits = 2 * sum_bits
        w1 = integer(z3.Extract(2 * weight_bits, weight_bits, at("weights", 0)), bits)
        w0 = integer(z3.Extract(weight_bits - 1, 0, at("weights", 0)), bits)
        w1 = w1 + z3.If(w0 < 0, z3.BitVecVal(1, bits), z3.BitVecVal(0, bits))  # the entry is w1 2^weight_bits + w0
        x = integer(z3.Extract(in_bits - 1, 0, at("part", 0)), bits)
        given = z3.And(w1 >= -(1 << weight_bits - 1), w1 < 1 << weight_bits - 1, going(at, ("run", 0)))
        return z3.Implies(given, at("group[0].terms", 1) == (w1 * x << sum_bits) + w0 * x)

    return claim


def packed_sums(sum_bits: int) -> Claim:
    """net_dense: the two sums of a word, ``s1 2^sum_bits + s0``."""

    def claim(at: At) -> z3.BoolRef:
        s0 = integer(z3.Extract(sum_bits - 1, 0, at("cores", 0)), 2 * sum_bits)
        s1 = integer(z3.Extract(2 * sum_bits - 1, sum_bits, at("cores", 0)), 2 * sum_bits)
        word = at("group[0].acc", 0)
        # The largest s1 has no room for what is given back.
        given = z3.Extract(2 * sum_bits - 1, sum_bits, word) != (1 << sum_bits - 1) - 1
        return z3.Implies(given, (s1 << sum_bits) + s0 == word)

    return claim
