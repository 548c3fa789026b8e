# SPDX-License-Identifier: Apache-2.0
"""Streaming unit of the exact integer softmax."""

from __future__ import annotations

from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits
from hls4attn.models.operators import SoftmaxSpec


def unit(spec: SoftmaxSpec, row_max: int) -> RtlUnit:
    """Module, constants and table of `op_softmax`.

    Args:
        spec: the softmax; whether it is causal is said by the mask in the stream.
        row_max: longest row; the spec's `max_length` if that is less.
    """
    longest = min(row_max, spec.max_length)
    user_width = head_bits(spec.heads) + 1
    return RtlUnit(
        module="op_softmax",
        files=("op_softmax.sv", "op_table.sv"),
        parameters={
            "IN_W": spec.in_format.width,
            "OUT_W": spec.out_width,
            "USER_W": user_width,
            "HEADS": spec.heads,
            "N_MAX": longest,
            "EXP_FRAC": spec.exp_frac,
            "OUT_FRAC": spec.out_frac,
            "GUARD": spec.guard,
        },
        roms={"ROM_FILE": Rom(spec.table, spec.exp_frac + 1)},
        in_width=spec.in_format.width,
        out_width=spec.out_width,
        user_width=user_width,
        heads=spec.heads,
        row_max=longest,
    )


def row_interval(spec: SoftmaxSpec, length: int) -> float:
    """Clocks from one row of `length` to the next, on average over many; see op_softmax.sv."""
    return max(length, (length + _fill(spec)) / 2, spec.out_frac + spec.guard + 3)


def row_latency(spec: SoftmaxSpec, length: int) -> int:
    """Clocks from the first element of a row to its last result, in a unit that has nothing else to do."""
    return 3 * length + _fill(spec) + 3


def _fill(spec: SoftmaxSpec) -> int:
    """Clocks from the end of a row's second pass to the start of its third: pipeline and divider."""
    return spec.out_frac + spec.guard + 12
