# SPDX-License-Identifier: Apache-2.0
"""Score specs -> kernel name, configuration members and tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hls4attn.hls.design import Parameters
from hls4attn.hls.e2 import e2softmax_parameters
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, E2SoftmaxSpec, ScoreSpec, SoftmaxSpec


def score_parameters(spec: ScoreSpec, shape: tuple[int, ...], where: str) -> Parameters:
    """Hardware operator, configuration members and tables of a score function.

    Args:
        spec: the score function.
        shape: (heads, rows, cols).
        where: the node's name, for messages.

    Raises:
        UnsupportedError: for a score function without a kernel, or a shape it does not take.
    """
    if type(spec) not in _RULES:
        known = ", ".join(sorted(rule.__name__.removesuffix("Spec") for rule in _RULES))
        raise UnsupportedError(f"{where}: no kernel for {spec.op_type}; there are kernels for {known}")
    heads, rows, cols = shape
    if spec.causal and rows != cols:
        raise UnsupportedError(f"{where}: a causal mask needs as many rows as columns. Received: {shape}")
    op, ints, roms = _RULES[type(spec)](spec, shape, where)
    ints = {"heads": heads, "rows": rows, "cols": cols, "causal": int(spec.causal)} | ints
    return op, ints, {name: np.ascontiguousarray(rom, dtype=np.int64).ravel() for name, rom in roms.items()}


def _consmax(spec: ConSmaxSpec, shape: tuple[int, ...], where: str) -> Parameters:
    on_grid = spec.table << np.array(spec.head_shift)[:, None]
    ints = {"code_min": spec.in_format.min, "entries": spec.table.shape[1]}
    return "AttnConSmax", ints, {"table": on_grid}


def _split(spec: ConSmaxSplitSpec, shape: tuple[int, ...], where: str) -> Parameters:
    tables = spec.tables
    low, high = int(tables.shift.min()), int(tables.shift.max())
    width = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
    if width > 24:
        raise UnsupportedError(
            f"{where}: table exponents from {-high} to {-low} are out of range; check score_scale and beta"
        )
    ints = {
        "nibbles": tables.nibbles,
        "mantissa_bits": spec.mantissa_bits,
        "shift_width": max(width, 2),
        "max_shift": tables.max_shift,
        "code_limit": (1 << spec.out_width) - 1,
    }
    roms = {
        "mantissa": tables.mantissa,
        "shift": tables.shift,
        "head_shift": np.array(spec.head_shift, dtype=np.int64),
    }
    return "AttnConSmaxSplit", ints, roms


def _softmax(spec: SoftmaxSpec, shape: tuple[int, ...], where: str) -> Parameters:
    if shape[2] > spec.max_length:
        raise UnsupportedError(f"{where}: rows of {shape[2]} scores, but max_length={spec.max_length}")
    ints = {
        "exp_frac": spec.exp_frac,
        "out_frac": spec.out_frac,
        "guard": spec.guard,
        "max_length": spec.max_length,
        "code_limit": spec.out_format.max,
    }
    return "AttnSoftmax", ints, {"table": spec.table}


_RULES: dict[type, Callable[..., Parameters]] = {
    ConSmaxSpec: _consmax,
    ConSmaxSplitSpec: _split,
    SoftmaxSpec: _softmax,
    E2SoftmaxSpec: e2softmax_parameters,
}
