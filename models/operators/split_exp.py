# SPDX-License-Identifier: Apache-2.0
r"""The bitwidth-split exponential: one 16-entry table a nibble, mantissas multiplied, exponents added.

::

    code + 2**(w-1) --+-- nibble n-1 --> T[n-1] --\
                      +-- ...                      >-- product of mantissas --> >> shift, round half up --> code
                      +-- nibble 0   --> T[0]   --/    sum of shifts ---------------^

Reference: ConSmax (ICCAD 2024), section IV-A (8-bit unit) and IV-B (16-bit reduction unit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.formats import Codes


@dataclass(frozen=True, eq=False)
class SplitTables:
    """Nibble tables of all heads.

    Entry i of a nibble stands for ``mantissa * 2**-shift``; the output exponent is folded into the top table's
    shift, so that the sum of shifts is the final right shift.

    Attributes:
        mantissa: shape ``(nibbles, heads, 16)``, values in ``[2**(bits-1), 2**bits)``.
        shift: shape ``(nibbles, heads, 16)``.
        bits: mantissa bits.
    """

    mantissa: Codes
    shift: Codes
    bits: int

    @property
    def nibbles(self) -> int:
        """Nibbles of a score code."""
        return int(self.mantissa.shape[0])

    @property
    def max_shift(self) -> int:
        """Largest useful right shift: one more than the product has bits always gives zero."""
        return self.nibbles * self.bits + 1

    def first_entry(self) -> Codes:
        """Flat index of entry 0, shape ``(heads, 1, 1, nibbles)``."""
        n, h, _ = self.mantissa.shape
        return np.arange(0, n * h * 16, 16, dtype=np.int64).reshape(n, h).T.reshape(h, 1, 1, n)

    def powers(self) -> Codes:
        """``2**k`` for every shift k, to divide by in graphs without a shift operator."""
        return cast(Codes, np.int64(1) << np.arange(self.max_shift + 1, dtype=np.int64))

    def evaluate(self, codes: Codes, max_code: int) -> Codes:
        """Output codes for score codes of shape ``(..., heads, rows, cols)``.

        The shift is clipped to ``[1, max_shift]``; neither end changes a result: at 1 the product is beyond
        `max_code` anyway, at `max_shift` it has been shifted out.
        """
        u = codes + (1 << (4 * self.nibbles - 1))
        product: Codes = np.ones_like(u)
        shift: Codes = np.zeros_like(u)
        first = self.first_entry()
        for n in range(self.nibbles):
            index = ((u >> (4 * n)) & 15) + first[..., n]
            product = product * self.mantissa.ravel()[index]
            shift = shift + self.shift.ravel()[index]
        shift = np.clip(shift, 1, self.max_shift)
        return cast(Codes, np.minimum((product + (np.int64(1) << (shift - 1))) >> shift, max_code))


def split_tables(
    width: int,
    scale: NDArray[np.float64],
    c: NDArray[np.float64],
    out_frac: NDArray[np.int64],
    bits: int,
) -> SplitTables:
    """Tables for ``c * exp(scale * code) * 2**out_frac``, all arguments one a head.

    The code enters with its sign bit flipped (``code + 2**(width-1)``), so that every nibble is unsigned; the
    constant ``exp(-scale * 2**(width-1))`` joins C in the top table.
    """
    nibbles = width // 4
    steps = np.arange(16)[None, None, :] * (16.0 ** np.arange(nibbles))[:, None, None] * scale[None, :, None]
    log2 = steps / np.log(2.0)
    log2[-1] += (np.log(c) / np.log(2.0) + out_frac - scale * 2.0 ** (width - 1) / np.log(2.0))[:, None]
    exponent = np.floor(log2).astype(np.int64)
    mantissa = np.rint(np.exp2(log2 - exponent + (bits - 1))).astype(np.int64)
    carry = mantissa == 1 << bits  # rounding reached the next power of two
    mantissa, exponent = np.where(carry, mantissa >> 1, mantissa), exponent + carry
    return SplitTables(mantissa, (bits - 1) - exponent, bits)
