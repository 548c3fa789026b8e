# SPDX-License-Identifier: Apache-2.0
"""Scalar models in plain Python integers and fractions, written apart from the package, to compare it with."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np


def round_half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def log2exp(d: int, slope: Fraction, top: int) -> int:
    return min(top, round_half_up(d * slope))


def e2_row(row, slope, sum_frac=15, top=15, slice_length=0, keep=None):
    """Exponents and row sum (as an integer with `sum_frac` fraction bits), element by element."""
    keep = [True] * len(row) if keep is None else keep
    length = slice_length or len(row)
    maximum, total, exponents = None, 0, []
    for start in range(0, len(row), length):
        window = range(start, min(start + length, len(row)))
        seen = [row[j] for j in window if keep[j]]
        if not seen:
            exponents += [(0, maximum)] * len(window)
            continue
        risen = max(seen) if maximum is None else max(maximum, *seen)
        if maximum is not None:
            total >>= log2exp(risen - maximum, slope, top)
        for j in window:
            k = log2exp(risen - row[j], slope, top) if keep[j] else 0
            exponents.append((k, risen))
            total += ((1 << sum_frac) >> k) if keep[j] else 0
        maximum = risen
    fixed = [min(top, k + (log2exp(maximum - m, slope, top) if m is not None else 0)) for k, m in exponents]
    return fixed, total


def divider_position(total: int, sum_frac: int, mux: int) -> tuple[int, int]:
    ks = total.bit_length() - 1 - sum_frac
    s = Fraction(total, 1 << (ks + sum_frac)) - 1
    return ks, math.floor(s * mux)


def e2_probability(k, ks, q, divider, divider_frac, out_frac, round_up):
    exact = Fraction(divider[q], 1 << divider_frac) / (1 << (k + ks)) * (1 << out_frac)
    return round_half_up(exact) if round_up else math.floor(exact)


def e2_context(row, values, slope, divider, v_frac, out, slice_length=0, keep=None):
    """One row's context codes, through exact fractions."""
    keep = [True] * len(row) if keep is None else keep
    exponents, total = e2_row(row, slope, slice_length=slice_length, keep=keep)
    ks, q = divider_position(total, 15, len(divider))
    gain = Fraction(divider[q], 256 << ks)
    result = []
    for d in range(len(values[0])):
        terms = [Fraction(int(v[d]), 1 << k) for v, k, seen in zip(values, exponents, keep, strict=True) if seen]
        exact = sum(terms, Fraction(0)) * gain * Fraction(2) ** (out.frac - v_frac)
        result.append(min(max(round(exact), out.min), out.max))  # Fraction rounds half to even
    return result


@cache
def compress(x: int) -> tuple[int, int]:
    """Equation 15 of the paper with halves rounded up."""
    if x >= 64:
        return min(15, round_half_up(Fraction(x, 16))), 1
    return min(15, round_half_up(Fraction(x, 4))), 0


@cache
def square(x: int, method: str) -> int:
    """What a magnitude adds to the sum of squares, in units of 1."""
    if method == "exact":
        return x * x
    y, s = compress(x)
    if method == "paper":
        return (y * y << (4 * s)) << 4
    same = [v * v for v in range(256) if compress(v) == (y, s)]
    return round_half_up(Fraction(sum(same), 16 * len(same))) << 4


@cache
def integer_gamma(spec):
    """Integer gamma with as many fraction bits as its width allows, derived again."""
    steps = [g * 2.0**spec.out_format.frac for g in spec.gamma]
    limit = (1 << (spec.gamma_bits - 1)) - 1
    n = max(n for n in range(-16, 16) if max(abs(round(s * 2.0**n)) for s in steps) <= limit)
    return [round(s * 2.0**n) for s in steps], n


def affine(spec, product, shift, c):
    """Integer gamma and beta applied to ``product / 2**shift``."""
    gamma, n = integer_gamma(spec)
    beta = round(spec.beta[c] * 2.0 ** (spec.out_format.frac + spec.bias_frac))
    down = n + shift - spec.bias_frac
    scaled = (gamma[c] * product) // (1 << down)
    code = (2 * (scaled + beta) + (1 << spec.bias_frac)) // (2 << spec.bias_frac)
    return min(max(code, spec.out_format.min), spec.out_format.max)


def ailn_row(spec, row):
    f, channels = spec.mean_frac, len(row)
    x = []
    for code, alpha in zip(row, spec.alpha, strict=True):
        q = round_half_up(Fraction(int(code) * spec.multiplier, 1 << (spec.shift + alpha))) + spec.zero_point
        x.append(min(max(q, 0), 255) - spec.zero_point)
    wide = [v << a for v, a in zip(x, spec.alpha, strict=True)]
    n = math.ceil(math.log2(channels)) if channels > 1 else 0
    r = round_half_up(Fraction(1 << (16 + n), channels))
    mean = round_half_up(Fraction(sum(wide) * r, 1 << (16 + n - f)))
    squares = sum(square(abs(v), spec.squares) << (2 * a) for v, a in zip(x, spec.alpha, strict=True))
    variance = max(1, math.floor(Fraction(squares * r, 1 << (16 + n - 2 * f))) - mean * mean)
    p = variance.bit_length() - 1
    bins = spec.rsqrt_entries // 2
    position = math.floor((Fraction(variance, 1 << p) - 1) * bins)
    middle = (1 + (position + 0.5) / bins) * (2 if p % 2 else 1)
    root = min(2**spec.rsqrt_bits - 1, math.floor(2**spec.rsqrt_bits / math.sqrt(middle) + 0.5))
    shift = spec.rsqrt_bits + p // 2
    return [affine(spec, root * ((w << f) - mean), shift, c) for c, w in enumerate(wide)]


def layernorm_row(spec, row):
    channels, total = len(row), sum(int(v) for v in row)
    variance = max(1, channels * sum(int(v) ** 2 for v in row) - total**2)
    e = (variance.bit_length() - 1) // 2
    root = math.isqrt(math.floor(variance * Fraction(4) ** (spec.root_bits - 1 - e)))
    inverse = ((1 << (spec.rsqrt_bits + spec.root_bits)) + root // 2) // root
    shift = spec.rsqrt_bits + 1 + e
    return [affine(spec, inverse * (channels * int(v) - total), shift, c) for c, v in enumerate(row)]


def corner_rows(length: int, low: int, high: int) -> np.ndarray:
    """All equal, one-hot first and last, ascending, descending, all extremes, alternating."""
    up = np.linspace(low, high, length).astype(np.int64)
    hot_first, hot_last = (np.full(length, low, dtype=np.int64) for _ in range(2))
    hot_first[0], hot_last[-1] = high, high
    alternating = np.where(np.arange(length) % 2, low, high)
    flat = [np.full(length, v, dtype=np.int64) for v in (low, high, 0)]
    return np.stack([*flat, hot_first, hot_last, up, up[::-1], alternating])
