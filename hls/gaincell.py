# SPDX-License-Identifier: Apache-2.0
"""Gain-cell specs -> configuration members and the table of currents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hls4attn.hls.design import HwNode, Parameters
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

#: Signed bits of a current; a table has no larger ones.
MAX_CURRENT_WIDTH = 32
#: Largest magnitude of any intermediate result of the kernel.
_MAX_BITS = 63
_BY_CHANNEL, _BY_ELEMENT = 2, 3


def gaincell_parameters(spec: GainCellSpec, rows: int, where: str) -> Parameters:
    """Hardware operator, configuration members and tables of gain-cell attention on sequences.

    A window that no sequence fills shrinks to the tiles that one needs, a single tile to the tokens.

    Args:
        spec: the operator.
        rows: tokens of the longest sequence.
        where: the node's name, for messages.

    Raises:
        UnsupportedError: for what the kernel does not do.
    """
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{where}: {spec.op_type} with noise or spread has no hardware; set nonideal=IDEAL")
    tile = min(spec.tile, rows)
    window = min(spec.window, -(-rows // tile) * tile)
    table = current_rows(spec)[:window]
    ints = {"rows": rows} | structure(spec, signed_bits(table), where)
    ints |= {"window": window, "tile": tile, "split_tiles": int(spec.tiling == "absolute" and rows > window)}
    return "AttnGainCell", ints, {"currents": table.ravel()}


def current_rows(spec: GainCellSpec) -> Codes:
    """Currents as the kernel reads them: a row an age, with those of keys, then of values if their levels differ."""
    keys, values = (table[:-1] for table in spec.tables)  # the last one stands for an empty slot
    shared = spec.k_levels == spec.v_levels
    return np.ascontiguousarray(keys if shared else np.concatenate([keys, values], axis=1), dtype=np.int64)


def with_channels(node: HwNode) -> HwNode:
    """The node with the constants of its tail by channel of all heads, where they are the same for every token."""
    ints, roms = dict(node.ints), dict(node.roms)
    heads, rows, head_dim = (ints[name] for name in ("heads", "rows", "head_dim"))
    for name in ("scale", "offset"):
        by = ints.get(f"{name}_by")
        if by == _BY_CHANNEL:  # so far of a head
            roms[name] = np.tile(roms[name], heads)
        elif by == _BY_ELEMENT:
            codes = roms[name].reshape(heads, rows, head_dim)
            if (codes == codes[:, :1]).all():
                ints[f"{name}_by"], roms[name] = _BY_CHANNEL, codes[:, 0].ravel()
    return replace(node, ints=ints, roms=roms)


def structure(spec: GainCellSpec, current_width: int, where: str = "GainCell") -> dict[str, int]:
    """Configuration members of heads whose table holds any currents of a width.

    Args:
        spec: the operator.
        current_width: signed bits of a current.
        where: a name, for messages.

    Raises:
        SpecError: if an intermediate result would not fit.
    """
    if not 2 <= current_width <= MAX_CURRENT_WIDTH:
        raise SpecError(f"{where}: current_width must be from 2 to {MAX_CURRENT_WIDTH}. Received: {current_width}")
    pulse, code = spec.rescales
    score = spec.head_dim * (spec.q_levels - 1) << (current_width - 1)
    if (score * pulse.multiplier + pulse.half).bit_length() > _MAX_BITS:
        raise SpecError(f"{where}: scores of currents of {current_width} bits take more than {_MAX_BITS} bits")
    return {
        "heads": spec.heads,
        "head_dim": spec.head_dim,
        "window": spec.window,
        "tile": spec.tile,
        "split_tiles": int(spec.tiling == "absolute"),
        "q_levels": spec.q_levels,
        "k_levels": spec.k_levels,
        "v_levels": spec.v_levels,
        "current_width": current_width,
        "pulse_multiplier": pulse.multiplier,
        "pulse_shift": pulse.shift,
        "pulse_steps": spec.pulse_steps,
        "charge_limit": spec.charge_limit,
        "code_multiplier": code.multiplier,
        "code_shift": code.shift,
        "code_limit": spec.code_limit,
    }
