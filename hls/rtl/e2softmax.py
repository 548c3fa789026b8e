# SPDX-License-Identifier: Apache-2.0
"""Streaming unit of E2Softmax, in two passes or online."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits
from hls4attn.models.formats import Codes
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec
from hls4attn.models.operators.e2core import E2Core
from hls4attn.models.operators.e2stages import LOG2E_NUMERATOR, divide

_FILES = ("op_e2softmax.sv", "op_log2exp.sv", "op_rowbuf.sv", "op_delay.sv")


def unit(spec: E2SoftmaxSpec, row_max: int) -> RtlUnit:
    """The unit of an E2Softmax; a slice as long as the longest row is the two-pass form.

    Args:
        spec: the operator; which elements a causal mask leaves out is said by the stream's `keep`.
        row_max: longest row; limited to the operator's own `max_length`.
    """
    longest = min(row_max, spec.max_length)
    return _unit(spec, longest, spec.out_width, {"CODE_FILE": Rom(_codes(spec, longest), spec.out_width)})


def exponents(spec: E2ContextSpec, row_max: int) -> RtlUnit:
    """The unit of a shift form: in place of a probability its parts ``{q, ks, k}``."""
    longest = min(row_max, spec.max_length)
    width = spec.mux_bits + max_ks(longest).bit_length() + spec.code_width
    made = _unit(spec, longest, width, {})
    return replace(made, parameters={**made.parameters, "EXPONENTS": 1})


def max_ks(longest: int) -> int:
    """The largest ks of a row: its sum is `longest` at most; 1 at least."""
    return max(1, longest.bit_length() - 1)


def _unit(spec: E2Core, longest: int, out_width: int, codes: dict[str, Rom]) -> RtlUnit:
    width, user_width = spec.in_format.width, 1 + head_bits(spec.heads)
    ints, roms = _log2exp(spec)
    ints |= {
        "IN_W": width,
        "OUT_W": out_width,
        "USER_W": user_width,
        "N_MAX": longest,
        "SLICE": spec.slice_length if spec.slice_length < longest else 0,
        "CODE_W": spec.code_width,
        "SUM_FRAC": spec.sum_frac,
        "HEADS": spec.heads,
        "MUX_BITS": spec.mux_bits,
    }
    return RtlUnit(
        "op_e2softmax",
        _FILES,
        ints,
        roms | codes,
        in_width=width,
        out_width=out_width,
        user_width=user_width,
        heads=spec.heads,
        row_max=longest,
    )


def _log2exp(spec: E2Core) -> tuple[dict[str, int], dict[str, Rom]]:
    """Constants of Log2Exp: parameters where all heads have the same, else a table too."""
    factor, places = (constant.ravel() for constant in spec.scale_constants)
    factor_width = max(int(factor.max()), LOG2E_NUMERATOR).bit_length()
    # Beyond the product and its rounding bit, nothing is left: the exponent is 0.
    places = np.minimum(places, spec.in_format.width + factor_width + 1)
    places_width = int(places.max()).bit_length()
    ints = {
        "FOLDED": int(spec.log2e == "folded"),
        "FACTOR_W": factor_width,
        "PLACES_W": places_width,
        "FACTOR": int(factor[0]),
        "PLACES": int(places[0]),
    }
    words = (places << factor_width) + factor
    if np.all(words == words[0]):
        return ints, {}
    return ints | {"PER_HEAD": 1}, {"HEAD_FILE": Rom(words, places_width + factor_width)}


def _codes(spec: E2SoftmaxSpec, longest: int) -> Codes:
    """Output codes of the divider for every ``{q, k + ks}``."""
    shifts = 1 << (spec.max_exponent + max_ks(longest)).bit_length()
    q, shift = np.divmod(np.arange(len(spec.divider) * shifts, dtype=np.int64), shifts)
    up, largest = spec.out_rounding == "half_up", spec.out_format.max
    return divide(shift, 0, q, spec.divider, spec.divider_frac, spec.out_frac, largest, up)
