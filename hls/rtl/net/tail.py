# SPDX-License-Identifier: Apache-2.0
"""Constants of `net_tail`: what ends every kernel, with the half of rounding folded into the constant term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from hls4attn.hls.rtl.unit import Rom
from hls4attn.hls.tail import signed_bits
from hls4attn.models.formats import Codes, Fixed, Overflow

#: Sources of `net_tails`, below `rtl_dir`.
TAIL_FILES = ("net/net_tails.sv", "net/net_tail.sv", "net/net_product.sv", "net/net_constants.sv")
NOTHING, SCALAR, CHANNEL, ELEMENT = range(4)


@dataclass(frozen=True, eq=False)
class RtlTail:
    """What a tail is built from.

    Attributes:
        parameters: those of `net_tail` but CORE_W, SCALE, OFFSET and DSP.
        scale_by: how the factor is indexed; 0 if there is none.
        scale: its codes.
        offset_by: how the term is indexed; 0 if there is none.
        offset: its codes, aligned to the sum, with the half of rounding.
    """

    parameters: Mapping[str, int]
    scale_by: int
    scale: Codes
    offset_by: int
    offset: Codes

    @property
    def latency(self) -> int:
        """Clocks from the exact result to the code."""
        return 2 if self.scale_by else 1


def tail_of(ints: Mapping[str, int], roms: Mapping[str, Codes], fmt: Fixed, prefix: str = "") -> RtlTail:
    """The tail of a kernel.

    Args:
        ints: members of its configuration.
        roms: its tables; of the tail those named `scale` and `offset`.
        fmt: the format of its result.
        prefix: of the names of members and tables.
    """
    sum_width, dropped = ints[f"{prefix}sum_width"], ints[f"{prefix}sum_frac"] - fmt.frac
    nearest = dropped > 0 and fmt.rounding != "floor"
    # Beyond these nothing changes: no value or sign is left, or every bit of the result is behind the point.
    dropped = max(min(dropped, sum_width + 1 if nearest else sum_width - 1), -fmt.width)
    half = 1 << (dropped - 1) if nearest else 0
    scale_by, offset_by = ints.get(f"{prefix}scale_by", NOTHING), ints.get(f"{prefix}offset_by", NOTHING)
    offset = np.zeros(1, dtype=np.int64) if offset_by == NOTHING else roms[f"{prefix}offset"]
    offset = np.asarray(offset, dtype=np.int64) + half
    if half and offset_by == NOTHING:
        offset_by = SCALAR
    parameters = {
        "SCALE_W": ints.get(f"{prefix}scale_width", 2),
        "SCALED_W": ints[f"{prefix}scaled_width"],
        "OFFSET_W": signed_bits(offset),
        "SHIFT": ints.get(f"{prefix}offset_shift", 0),
        "SUM_W": max(sum_width, dropped) + 1 if half else sum_width,
        "DROPPED": dropped,
        "EVEN": int(nearest and fmt.rounding == "half_even"),
        "RELU": ints[f"{prefix}relu"],
        "OUT_W": fmt.width,
        "OUT_SIGNED": int(fmt.signed),
        "LIMIT": get_args(Overflow).index(fmt.overflow),
    }
    scale = roms[f"{prefix}scale"] if scale_by else np.zeros(1, dtype=np.int64)
    return RtlTail(parameters, scale_by, np.asarray(scale, dtype=np.int64), offset_by, offset)


def by_parts(codes: Codes, by: int, rows: int, channels: int, lanes: int) -> Codes:
    """Constants in the order of the parts of rows, `lanes` a part; 0 where a part goes beyond the row.

    Returns:
        shape (1, lanes) for one constant, (parts, lanes) for one a channel, else (rows * parts, lanes).
    """
    if by == SCALAR:
        return np.broadcast_to(codes, (1, lanes))
    given = codes.reshape(rows if by == ELEMENT else 1, channels)
    return np.pad(given, ((0, 0), (0, -channels % lanes))).reshape(-1, lanes)


def tail_constants(tail: RtlTail, rows: int, channels: int, lanes: int) -> tuple[dict[str, int], dict[str, Rom]]:
    """Parameters and tables of `net_tails`, but for LANES, PARTS, ROWS, CORE_W and DSP."""
    parameters = {**tail.parameters, "SCALE_BY": tail.scale_by, "OFFSET_BY": tail.offset_by}
    roms = {}
    for name, by, codes in (("SCALE", tail.scale_by, tail.scale), ("OFFSET", tail.offset_by, tail.offset)):
        if by:
            words = by_parts(codes, by, rows, channels, lanes)
            roms[f"{name}S"] = Rom(words, parameters[f"{name}_W"], lanes)
    return parameters, roms
