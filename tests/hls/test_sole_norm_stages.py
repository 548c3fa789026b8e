# SPDX-License-Identifier: Apache-2.0
"""Stages of the normalisations in C++ against the Python stage functions, over every input of 16 bits or fewer."""

from __future__ import annotations

import numpy as np
import pytest
from hls_stages import MODES, QUANTISERS, ROOTS, SQUARES, run, same

from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ailn_stages
from hls4attn.models.operators.layernorm import IntegerLayerNormSpec


@MODES
@pytest.mark.compile
def test_dynamic_compression_and_squares(defines: tuple[str, ...]) -> None:
    """Every magnitude, every code; each table entry of a bin."""
    y, s = run(defines, "compress", np.arange(256))
    expected = ailn_stages.dynamic_compress(np.arange(256))
    same(y, expected[0], 256)
    same(s, expected[1], 256)
    x = np.arange(-255, 256)
    for k, method in enumerate(SQUARES):
        table = np.array(ailn_stages.square_table(method))
        same(run(defines, f"squares{k}", x)[0], table[np.abs(x)], 511)


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(QUANTISERS)))
def test_ptf_quantiser(defines: tuple[str, ...], k: int) -> None:
    """Every code of 8 or 16 bits with every channel factor."""
    multiplier, shift, zero, width = QUANTISERS[k]
    x, alpha = np.arange(-(1 << (width - 1)), 1 << (width - 1))[:, None], np.arange(4)
    found, _ = run(defines, f"quantise{k}", x, alpha)
    same(found, ailn_stages.ptf_quantise(x, multiplier, shift, alpha, zero) - zero, 4 << width)


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(SQUARES)))
def test_statistics(defines: tuple[str, ...], k: int) -> None:
    rng = np.random.default_rng(k)
    unit = ailn_stages.square_scale(SQUARES[k])
    x = rng.integers(-255, 255, (3000, 384), endpoint=True) // rng.integers(1, 60, (3000, 1))
    x[:3] = np.array([0, 255, -255])[:, None]
    a = rng.integers(0, 4, 384)
    total = (x << a).sum(axis=-1)
    squares = (np.array(ailn_stages.square_table(SQUARES[k]))[np.abs(x)] << (2 * a)).sum(axis=-1)
    mean, variance = run(defines, f"statistics{k}", total, squares)
    assert ailn_stages.reciprocal(384) == (87381, 25)
    expected = ailn_stages.statistics(total, squares, 384, 5, unit)
    same(mean, expected[0], 3000)
    same(variance, expected[1], 3000)
    assert variance.min() == 1


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("bits", range(2, 10))
def test_rsqrt_index(defines: tuple[str, ...], bits: int) -> None:
    """Every variance of 16 bits, and the edges of every bin at every position of the leading one."""
    p = np.arange(1, 36)[:, None]
    edges = (np.int64(1) << p) + ((np.arange(1 << bits, dtype=np.int64) << p) >> bits)
    variance = np.concatenate([np.arange(1, 1 << 16), edges.ravel(), edges.ravel() - 1])
    found, e = run(defines, f"rsqrt{bits}", variance)
    index, exponent = ailn_stages.rsqrt(variance, np.arange(2 << bits))
    same(found, index, 65535)
    same(e, exponent, 65535)
    assert len(np.unique(index)) == 2 << bits


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(ROOTS)))
def test_integer_roots(defines: tuple[str, ...], k: int) -> None:
    """Every 16-bit radicand, squares and their neighbours; every 16-bit variance and large ones."""
    root_bits, rsqrt_bits = ROOTS[k]
    spec = IntegerLayerNormSpec(Fixed(16, 8), Fixed(8, 5), (1.0,), (0.0,), root_bits=root_bits, rsqrt_bits=rsqrt_bits)
    rng = np.random.default_rng(k)
    squares = rng.integers(1, 1 << root_bits, 3000) ** 2
    x = np.concatenate([np.arange(1 << 16), squares, squares - 1, [(1 << (2 * root_bits)) - 1]])
    found, _ = run(defines, f"root{k}", x)
    assert np.all((found * found <= x) & (x < (found + 1) * (found + 1)))
    large = np.rint(np.exp2(rng.uniform(16, 50, 20000))).astype(np.int64)
    variance = np.concatenate([np.arange(1, 1 << 16), large, np.int64(1) << np.arange(51)])
    r, e = run(defines, f"inverse{k}", variance)
    expected = spec.reciprocal_root(variance)
    same(r, expected[0], 85000)
    same(e, expected[1], 85000)


@pytest.mark.compile
def test_every_comparison_can_fail() -> None:
    """Known mistakes: truncated codes, squares of uncompressed magnitudes, a shorter table, rounded roots."""
    d = np.arange(256)
    codes = np.arange(-32768, 32768)
    wrong = [
        (run((), "compress", d)[0], np.where(d >> 6, d >> 4, d >> 2)),
        (run((), "squares0", d)[0], d * d),
        (run((), "quantise1", codes, 1)[0], np.clip(codes >> 5, 0, 255)),
        (run((), "rsqrt5", d[1:])[0], ailn_stages.rsqrt(d[1:], np.arange(32))[0]),
        (run((), "root0", d)[0], np.rint(np.sqrt(d)).astype(np.int64)),
    ]
    for found, other in wrong:
        with pytest.raises(AssertionError):
            same(found, other, 0)
