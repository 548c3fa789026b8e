# SPDX-License-Identifier: Apache-2.0
"""Score specs -> kernel name, configuration members and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hls4attn.hls import include_dir
from hls4attn.hls.design import KERNELS, Kernel, Parameters
from hls4attn.hls.e2 import e2softmax_parameters
from hls4attn.models.errors import SpecError, UnsupportedError
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


#: From a spec, (heads, rows, cols) and the node's name to hardware operator, configuration members and tables.
Rule = Callable[[Any, tuple[int, ...], str], Parameters]

_RULES: dict[type, Rule] = {
    ConSmaxSpec: _consmax,
    ConSmaxSplitSpec: _split,
    SoftmaxSpec: _softmax,
    E2SoftmaxSpec: e2softmax_parameters,
}


def add_score_kernel(spec: type, op: str, kernel: Kernel, rule: Rule) -> None:
    """Make the kernel of another package's score function known; doing it again changes nothing.

    Args:
        spec: the spec's class.
        op: name of the hardware operator, which `rule` returns; starts with ``Attn``.
        kernel: its C++; `folder` says where its header lies.
        rule: members and tables; heads, rows, cols, causal and what states the formats are added.

    Raises:
        SpecError: for a name that is taken, a header that is not there or that hides one of this package.
    """
    check_score_kernel(op, kernel)
    KERNELS[op] = kernel
    _RULES[spec] = rule


def check_score_kernel(op: str, kernel: Kernel) -> None:
    """Refuse what `add_score_kernel` would.

    Raises:
        SpecError: for a name that is taken, a header that is not there or that hides one of this package.
    """
    known = KERNELS.get(op)
    if known is not None and known != kernel:
        raise SpecError(f"{op}: there is another kernel of that name, {known.function} in {known.header}")
    if not op.startswith("Attn") or not op.isidentifier():
        raise SpecError(f"A hardware operator is named Attn and a C identifier. Received: {op!r}")
    if kernel.folder is None or not (kernel.folder / kernel.header).is_file():
        raise SpecError(f"{op}: no header {kernel.header} in {kernel.folder}; the kernel's folder says where it lies")
    hidden = [path.name for path in kernel.folder.glob("*.h") if (include_dir() / path.name).exists()]
    if hidden:
        raise SpecError(f"{op}: {kernel.folder} has headers with names of this package: {', '.join(sorted(hidden))}")
