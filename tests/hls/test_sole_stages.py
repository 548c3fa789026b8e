# SPDX-License-Identifier: Apache-2.0
"""Stages of E2Softmax in C++ against the Python stage functions, over every input."""

from __future__ import annotations

import numpy as np
import pytest
from hls_stages import CODE_WIDTHS, DIVIDERS, MODES, run, same

from hls4attn.models.operators import e2stages
from hls4attn.models.operators.e2stages import PAPER_DIVIDER


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("width", CODE_WIDTHS)
def test_log2exp(defines: tuple[str, ...], width: int) -> None:
    """Every distance of 12-bit scores at every shift; factors of every size."""
    d, places = np.arange(4096)[:, None], np.arange(1, 41)
    top = (1 << width) - 1
    found, _ = run(defines, f"log2exp{width}_0", d, 0, places)
    same(found, e2stages.log2exp(d, 23, places, top), 4096 * 40)
    for factor in (8, 200, 2049, 4095):
        found, _ = run(defines, f"log2exp{width}_1", d[::3], factor, places)
        same(found, e2stages.log2exp(d[::3], factor, places, top), 1366 * 40)
    same(run(defines, f"numerator{width}_0", np.arange(top + 1))[0], e2stages.numerators(15, top), 8)
    k, fall = np.arange(top + 1)[:, None], np.arange(top + 1)
    same(run(defines, f"corrected{width}_0", k, fall)[0], np.minimum(k + fall, top), 64)


@pytest.mark.compile
def test_log2exp_thresholds() -> None:
    """Smallest distances for each exponent, as published for four and three fraction bits."""
    for frac, wanted in (
        (4, [0, 6, 17, 28, 39, 51, 62, 73, 84, 95, 106, 117, 128, 140, 151, 162]),
        (3, [0, 3, 9, 14, 20, 26, 31, 37, 42, 48, 53, 59, 64, 70, 76, 81]),
    ):
        k, _ = run((), "log2exp4_0", np.arange(256), 0, frac + 4)
        assert [int(np.argmax(k >= n)) for n in range(16)] == wanted


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("k", range(len(DIVIDERS)))
def test_divider(defines: tuple[str, ...], k: int) -> None:
    """Every (k, ks, q)."""
    divider, frac, out_width, out_frac, up = DIVIDERS[k]
    axes = np.meshgrid(np.arange(64), np.arange(11), np.arange(len(divider)), indexing="ij")
    found, _ = run(defines, f"divide{k}", *axes)
    same(found, e2stages.divide(*axes, divider, frac, out_frac, (1 << out_width) - 1, up), 64 * 11 * len(divider))


@MODES
@pytest.mark.compile
@pytest.mark.parametrize("mux", [1, 2, 3])
def test_leading_one(defines: tuple[str, ...], mux: int) -> None:
    """Every sum of up to 255 numerators of 8 fraction bits, zero (a masked row) included."""
    sums = np.arange((255 << 8) + 1)
    ks, q = run(defines, f"leading{mux}", sums)
    expected = e2stages.leading_one(sums, 8, mux)
    same(ks, expected[0], 65281)
    same(q, expected[1], 65281)


@pytest.mark.compile
def test_every_comparison_can_fail() -> None:
    """Known mistakes: truncated exponents, swapped mantissas, floored outputs, one bit of q too many."""
    d, q = np.arange(256), np.arange(2)
    k = np.arange(16)[:, None]
    wrong = [
        (run((), "log2exp4_0", d, 0, 8)[0], np.minimum((23 * d) >> 8, 15)),
        (run((), "divide0", k, 2, q)[0], e2stages.divide(k, 2, q, PAPER_DIVIDER[::-1], 8, 8, 255, True)),
        (run((), "divide0", k, 2, q)[0], e2stages.divide(k, 2, q, PAPER_DIVIDER, 8, 8, 255, False)),
        (run((), "leading1", d << 8)[1], e2stages.leading_one(d << 8, 8, 2)[1]),
    ]
    for found, other in wrong:
        with pytest.raises(AssertionError):
            same(found, other, 0)
