# SPDX-License-Identifier: Apache-2.0
"""What stages of the streaming units have to do, from their formulas: relations between integers, for all inputs.

Rounding and division are said as inequalities, not as shifts (`rtl_formulas`).
"""

from __future__ import annotations

from collections.abc import Sequence

import z3
from rtl_formulas import At, Claim, entry, floored, going, integer, natural, power, rounded

# ---- pieces: all of a module, from its inputs to its outputs ---------------------------------------------------------


def limit(levels: int) -> Claim:
    """op_limit."""

    def claim(at: At) -> z3.BoolRef:
        code = natural(at("code", 0))
        return natural(at("level", 0)) == z3.If(code >= levels, levels - 1, code)

    return claim


def multiple(factor: int) -> Claim:
    """op_multiple: the product, modulo the output's range."""
    return lambda at: integer(at("y", 0)) == integer(z3.Extract(at("y", 0).size() - 1, 0, integer(at("x", 0)) * factor))


def pick(count: int, width: int) -> Claim:
    """op_pick: the word that is asked for, if it is there."""

    def claim(at: At) -> z3.BoolRef:
        words = at("words", 0)
        each = [
            z3.Implies(at("select", 0) == n, at("word", 0) == z3.Extract(width * n + width - 1, width * n, words))
            for n in range(count)
        ]
        return z3.And(*each)

    return claim


def tree(count: int, width: int, clocks: int) -> Claim:
    """op_tree: the sum of the words of `clocks` clocks ago, modulo its range."""

    def claim(at: At) -> z3.BoolRef:
        words = [z3.Extract(width * n + width - 1, width * n, at("words", 0)) for n in range(count)]
        total = words[0]
        for word in words[1:]:
            total = total + word
        return at("sum", clocks) == total

    return claim


def log2exp(pairs: Sequence[tuple[int, int]], code_width: int) -> Claim:
    """op_log2exp: ``min(top, d f / 2^p)`` to the nearest, for the factor and places of each head."""

    def claim(at: At) -> z3.BoolRef:
        factor, places = (max(values).bit_length() for values in zip(*((f, 1 << p) for f, p in pairs), strict=True))
        bits = max(at("above", 0).size() + factor, code_width + places) + 4
        above, below = natural(at("above", 0), bits), natural(at("below", 0), bits)
        k, top = natural(at("exponent", 3), bits), (1 << code_width) - 1
        right = [
            z3.Implies(at("head", 0) == n, rounded(k, (above - below) * f, 1 << p, 0, top))
            if len(pairs) > 1
            else rounded(k, (above - below) * f, 1 << p, 0, top)
            for n, (f, p) in enumerate(pairs)
        ]
        given = z3.And(below <= above, going(at, *(("enable", t) for t in range(3))))
        return z3.Implies(given, z3.And(*right))

    return claim


def quantiser(multiplier: int, shift: int, zero_point: int, alphas: Sequence[int], signed: bool) -> Claim:
    """op_ailn_stats: the stored byte of an input."""

    def claim(at: At) -> z3.BoolRef:
        x = (integer if signed else natural)(at("x", 0))
        code = natural(at("code", 3)) - zero_point
        each = [
            z3.Implies(
                at("alpha", 1) == alpha,
                rounded(code, x * multiplier, 1 << (shift + alpha), -zero_point, 255 - zero_point),
            )
            for alpha in alphas
        ]
        return z3.And(*each)

    return claim


def square(table: Sequence[int], scales: Sequence[int]) -> Claim:
    """op_ailn_stats: what a magnitude adds to the sum of squares, for each alpha."""

    def claim(at: At) -> z3.BoolRef:
        value = entry(table, natural(at("m4", 0), 32), 32)
        each = [
            z3.Implies(at("a4", 0) == alpha, natural(at("power6", 2), 32) == value << (2 * alpha)) for alpha in scales
        ]
        return z3.And(*each)

    return claim


def lifted_sum(zero_point: int, scales: Sequence[int]) -> Claim:
    """op_ailn_stats: what a byte adds to the row's sum, and its magnitude."""

    def claim(at: At) -> z3.BoolRef:
        x = natural(at("q3", 0)) - zero_point
        each = [z3.Implies(at("a3", 0) == alpha, integer(at("lift4", 1)) == x << alpha) for alpha in scales]
        size = z3.Implies(z3.And(x <= 255, x >= -255), natural(at("m4", 1)) == z3.If(x < 0, -x, x))
        return z3.And(size, *each)

    return claim


# ---- stages inside a unit, in whatever state it is -------------------------------------------------------------------


def table_of_heads(tables: Sequence[Sequence[int]]) -> Claim:
    """op_consmax: the entry of the head's table, 0 where masked."""

    def claim(at: At) -> z3.BoolRef:
        user, data = at("s_tuser", 0), at("s_tdata", 0)
        keep, head = z3.Extract(user.size() - 1, user.size() - 1, user), z3.Extract(user.size() - 2, 0, user)
        each = [
            z3.Implies(
                z3.And(keep == 1, head == n if len(tables) > 1 else True),
                natural(at("p", 1)) == entry(words, natural(data)),
            )
            for n, words in enumerate(tables)
        ]
        return z3.Implies(going(at, ("run", 0)), z3.And(z3.Implies(keep == 0, at("p", 1) == 0), *each))

    return claim


def product_of_nibbles(nibbles: int, bits: int) -> Claim:
    """op_consmax_split: the product of all mantissas, and the sum of all shifts."""

    def claim(at: At) -> z3.BoolRef:
        wide, steps = nibbles * bits, nibbles // 2

        def parts(name: str, width: int) -> list[z3.BitVecRef]:
            return [z3.Extract(width * n + width - 1, width * n, at(name, 0)) for n in range(nibbles)]

        m = [natural(part, wide) for part in parts("mantissas", bits)]
        e = parts("shifts", at("shifts", 0).size() // nibbles)
        product, total = (
            (m[0] * m[1], e[0] + e[1]) if nibbles == 2 else ((m[0] * m[1]) * (m[2] * m[3]), sum(e[1:], e[0]))
        )
        given = going(at, *(("run", t) for t in range(steps)))
        return z3.Implies(given, z3.And(at("product", steps) == product, at("sum", steps) == total))

    return claim


def rounded_product(nibbles: int, bits: int, code_width: int, base: int, keep: str, place: int) -> Claim:
    """op_consmax_split: ``product / 2^shift`` to the nearest, limited; the shift is the sum and `base`."""

    def claim(at: At) -> z3.BoolRef:
        width, top = nibbles * bits, (1 << code_width) - 1
        wide = 2 * width + 8
        x, s, p = natural(at("product", 0), wide), integer(at("sum", 0), wide), natural(at("p", 2), wide)
        normal = z3.UGE(at("product", 0), 1 << (width - nibbles))  # each mantissa has its leading one
        right = z3.If(s < 0, p == top, z3.If(s > width, p == 0, rounded(p, x, power(s + base, wide), 0, top)))
        kept = z3.Extract(place, place, at(keep, 1)) == 1
        return z3.Implies(z3.And(normal, going(at, ("run", 0), ("run", 1))), z3.If(kept, right, p == 0))

    return claim


def maximum() -> Claim:
    """op_e2softmax: the running maximum of what is not masked."""

    def claim(at: At) -> z3.BoolRef:
        user = at("s_tuser", 0)
        keep = z3.Extract(user.size() - 1, user.size() - 1, user) == 1
        score = integer(at("s_tdata", 0)) + (1 << at("s_tdata", 0).size() - 1)
        top, after = natural(at("top", 0)), natural(at("top", 1))
        wanted = z3.If(z3.And(keep, score > top), score, top)
        given = z3.And(going(at, ("rst_n", 0), ("s_tvalid", 0), ("s_tready", 0)), at("s_tlast", 0) == 0)
        return z3.Implies(given, after == wanted)

    return claim


def leading_one(sum_frac: int, mux_bits: int, longest: int) -> Claim:
    """op_e2softmax: ``S = 2^ks (1 + s)`` and q, the first bits of s, for every sum a row can have."""

    def claim(at: At) -> z3.BoolRef:
        total, ks, q = natural(at("sum", 0)), natural(at("ks", 0)), natural(at("q", 0))
        unit = power(ks + sum_frac)
        inside = z3.And(total >= 1 << sum_frac, total <= longest << sum_frac)
        exact = floored(q + (1 << mux_bits), total << mux_bits, unit, 1 << mux_bits, (2 << mux_bits) - 1)
        return z3.Implies(inside, z3.And(unit <= total, total < 2 * unit, exact))

    return claim


def sum_of_powers(sum_frac: int) -> Claim:
    """op_e2softmax: an element adds ``2^-k``, downwards, if it is not masked."""

    def claim(at: At) -> z3.BoolRef:
        before = z3.If(at("k_starts_row", 0) == 1, 0, natural(at("carried", 0)))
        added = natural(at("sum", 1)) - before
        right = floored(added, z3.BitVecVal(1 << sum_frac, 64), power(natural(at("k", 0))), 0, 1 << sum_frac)
        room = before + (1 << sum_frac) < (1 << at("sum", 0).size())
        valid = z3.Extract(2, 2, at("valid", 0)) == 1
        return z3.Implies(z3.And(room, valid, going(at, ("x_on", 0))), z3.If(at("k_keep", 0) == 1, right, added == 0))

    return claim


def division(mantissas: Sequence[int], frac: int, out_frac: int, top: int, up: bool, most: int) -> Claim:
    """op_e2softmax: ``C[q] 2^-(k + ks)`` as an output code, 0 where masked."""

    def claim(at: At) -> z3.BoolRef:
        shift = natural(at("y_k", 0)) + natural(at("y_ks", 0))
        p = natural(at("m_tdata", 2))
        value = entry(mantissas, natural(at("y_q", 0))) << out_frac
        right = (rounded if up else floored)(p, value, power(shift + frac), 0, top)
        given = z3.And(natural(at("y_ks", 0)) <= most, going(at, ("y_on", 0), ("y_on", 1)))
        return z3.Implies(given, z3.If(at("y_keep", 0) == 1, right, p == 0))

    return claim


def corrected(code_width: int) -> Claim:
    """op_e2softmax online: the exponent with what later slices added to it, limited."""

    def claim(at: At) -> z3.BoolRef:
        total = natural(at("gen_online.c_k", 0)) + natural(at("gen_online.fall", 0))
        top = (1 << code_width) - 1
        return natural(at("y_k", 0)) == z3.If(total > top, top, total)

    return claim


def probability(down: int, top: int) -> Claim:
    """op_softmax: a product as an output code."""

    def claim(at: At) -> z3.BoolRef:
        room = natural(at("product_5", 0)) + (1 << down - 1) < (1 << at("product_5", 0).size())
        given = z3.And(room, going(at, ("advance", 0), ("advance", 1)))
        return z3.Implies(given, rounded(natural(at("m_tdata", 2)), natural(at("product_5", 0)), 1 << down, 0, top))

    return claim


def variance_term(channels: int) -> Claim:
    """op_layernorm: ``x ((C - 1) x - 2 T)``, which an element adds to C times the sum of squares less T^2."""

    def claim(at: At) -> z3.BoolRef:
        bits = 2 * at("total", 0).size() + 4
        x, total = integer(at("x_1", 0), bits), integer(at("total", 0), bits)
        wanted = x * ((channels - 1) * x - 2 * total)
        # What a row of codes can add up to.
        low = -(1 << at("x_1", 0).size() - 1)
        given = z3.And(total >= low * channels, total <= -low * channels)
        product = at("product_4", 3)
        return z3.Implies(given, product == z3.Extract(product.size() - 1, 0, wanted))

    return claim


def root(root_bits: int, variance_bits: int) -> Claim:
    """op_layernorm: ``e = floor(log4 V)``, and the root of ``V 4^(root_bits - 1 - e)`` downwards, for every V."""

    def claim(at: At) -> z3.BoolRef:
        steps = range(2, variance_bits // 2 + root_bits + 1)
        bits = variance_bits + 2 * root_bits + 4
        v = natural(at("power", 0), bits)
        begun = [z3.Extract(4, 4, at("last", t)) == (1 if t == 0 else 0) for t in range(steps.stop - 1)]
        each = []
        for t in steps:
            e, r = natural(at("exponent", t), bits), natural(at("root", t), bits)
            scaled = v << (2 * (root_bits - 1 - e))  # e may exceed root_bits - 1
            lowered = z3.If(e > root_bits - 1, v >> (2 * (e - root_bits + 1)), scaled)
            right = z3.And(
                power(2 * e, bits) <= v, v < power(2 * e + 2, bits), r * r <= lowered, lowered < (r + 1) * (r + 1)
            )
            each.append(z3.Implies(going(at, ("rooting", t), ("rooted", t)), right))
        return z3.Implies(
            z3.And(v > 0, *begun, going(at, *(("rst_n", t) for t in range(steps.stop - 1)))), z3.And(*each)
        )

    return claim


def ratio_of_root(root_bits: int, ratio_bits: int) -> Claim:
    """op_layernorm: ``(2^(ratio_bits + root_bits) + floor(root / 2)) div root`` for every root of full length."""

    def claim(at: At) -> z3.BoolRef:
        clocks = ratio_bits + 4
        bits = ratio_bits + root_bits + 4
        divisor, r = natural(at("root", 0), bits), natural(at("ratio", clocks), bits)
        dividend = (1 << ratio_bits + root_bits) + z3.LShR(divisor, 1)
        given = going(at, ("root_taken", 0), *((("rst_n"), t) for t in range(clocks)))
        given = z3.And(given, divisor >= 1 << root_bits - 1, *(at("root_taken", t) == 0 for t in range(1, clocks)))
        return z3.Implies(
            given, z3.And(at("finished", clocks) == 1, r * divisor <= dividend, dividend < (r + 1) * divisor)
        )

    return claim


def ratio_of_sum(exp_frac: int, quotient_bits: int, longest: int) -> Claim:
    """op_softmax: ``(2^(exp_frac + quotient_bits) + floor(S / 2)) div S`` for every sum that a row can have."""

    def claim(at: At) -> z3.BoolRef:
        clocks = quotient_bits + 3
        bits = exp_frac + quotient_bits + longest.bit_length() + 4
        total = natural(at("sum_next", 0), bits)
        r = natural(at("quotient", clocks), bits) + natural(~at("negative", clocks), bits)
        dividend = (1 << exp_frac + quotient_bits) + z3.LShR(total, 1)
        given = going(at, ("divide", 0), *(("rst_n", t) for t in range(clocks)))
        given = z3.And(given, total >= 1 << exp_frac, total <= longest << exp_frac)
        given = z3.And(given, *(at("divide", t) == 0 for t in range(1, clocks)))
        return z3.Implies(given, z3.And(at("finished", clocks) == 1, r * total <= dividend, dividend < (r + 1) * total))

    return claim


def limited(frac: int, low: int, high: int) -> Claim:
    """op_layernorm: the sum without its fraction, limited."""

    def claim(at: At) -> z3.BoolRef:
        right = floored(integer(at("m_tdata", 1)), integer(at("sum_9", 0)), 1 << frac, low, high)
        return z3.Implies(going(at, ("advance", 0)), right)

    return claim


def pulses(multiplier: int, shift: int, steps: int, largest: int) -> Claim:
    """op_gaincell_score: the score as a number of steps, to the nearest, none for one below 0."""

    def claim(at: At) -> z3.BoolRef:
        score = integer(at("score", 0), 80)
        given = z3.And(score <= largest, score >= -largest)
        return z3.Implies(given, rounded(natural(at("pulse", 2), 80), score * multiplier, 1 << shift, 0, steps))

    return claim


def code_of_charge(multiplier: int, shift: int, top: int, held: int) -> Claim:
    """op_gaincell_context: a tile's charge as a code, to the nearest, limited on both sides."""

    def claim(at: At) -> z3.BoolRef:
        charge = integer(at("held", 0), 96)
        given = z3.And(charge <= held, charge >= -held)
        return z3.Implies(given, rounded(integer(at("code", 2), 96), charge * multiplier, 1 << shift, -top, top))

    return claim


def inside(claim: Claim, prefix: str, places: dict[str, str] | None = None, bits: int = 0) -> Claim:
    """A claim about a module as a part of a larger one.

    Args:
        claim: the claim.
        prefix: of the part's wires.
        places: signals that the larger module has instead, of which the lowest `bits` count.
        bits: see `places`.
    """

    def found(at: At) -> At:
        def name_of(name: str, clock: int) -> z3.BitVecRef:
            if places and name in places:
                return z3.Extract(bits - 1, 0, at(places[name], clock))
            return at(prefix + name, clock)

        return name_of

    return lambda at: claim(found(at))
