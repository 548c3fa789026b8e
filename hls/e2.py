# SPDX-License-Identifier: Apache-2.0
"""E2Softmax and its shift form -> configuration members and tables."""

from __future__ import annotations

import numpy as np

from hls4attn.hls.design import Parameters
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec
from hls4attn.models.operators.e2core import E2Core


def e2softmax_parameters(spec: E2SoftmaxSpec, shape: tuple[int, ...], where: str) -> Parameters:
    """Hardware operator, configuration members and tables of an E2Softmax.

    Args:
        spec: the operator.
        shape: (heads, rows, cols).
        where: the node's name, for messages.

    Raises:
        UnsupportedError: for rows that are too long.
    """
    ints, roms = _core(spec, shape[2], where)
    ints |= {"out_frac": spec.out_frac, "round_half_up": int(spec.out_rounding == "half_up")}
    return _named("AttnE2Softmax", ints), ints, roms


def e2context_parameters(spec: E2ContextSpec, shape: tuple[int, ...], where: str) -> Parameters:
    """The same of its shift form.

    Args:
        spec: the operator.
        shape: (heads, rows, cols) of the scores.
        where: the node's name, for messages.

    Raises:
        UnsupportedError: for rows that are too long, or a causal mask that is not square.
    """
    if spec.causal and shape[1] != shape[2]:
        raise UnsupportedError(f"{where}: a causal mask needs as many rows as columns. Received: {shape}")
    ints, roms = _core(spec, shape[2], where)
    ints |= {"out_shift": spec.shift, "causal": int(spec.causal)}
    return _named("AttnE2Context", ints), ints, roms


def _named(op: str, ints: dict[str, int]) -> str:
    return f"{op}Online" if ints["slice_length"] else op


def _core(spec: E2Core, length: int, where: str) -> tuple[dict[str, int], dict[str, Codes]]:
    if length > spec.max_length:
        raise UnsupportedError(f"{where}: rows of {length} scores, but max_length={spec.max_length}")
    factor, places = (constant.ravel() for constant in spec.scale_constants)
    ints = {
        "code_width": spec.code_width,
        "numerator_frac": spec.sum_frac,
        "mux_bits": spec.mux_bits,
        "divider_frac": spec.divider_frac,
        # One slice as long as the row is the two-pass form: its one correction is zero.
        "slice_length": spec.slice_length if spec.slice_length < length else 0,
        "folded": int(spec.log2e == "folded"),
        "factor_width": int(factor.max()).bit_length(),
        "exp_places": int(places[0]) if np.all(places == places[0]) else 0,
        "max_places": int(places.max()),
    }
    return ints, {"factor": factor, "places": places, "divider": np.array(spec.divider, dtype=np.int64)}
