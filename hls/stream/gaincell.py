# SPDX-License-Identifier: Apache-2.0
"""What a gain-cell attention is built from, operation by operation."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.stream.cycles import ceil_div
from hls4attn.hls.stream.resources import Parts
from hls4attn.hls.stream.units import BY_ELEMENT, lane_banks, parallel, tail


def gain_cells(node: HwNode, reuse_factor: int | None = None) -> Parts:
    """Widths as in struct gaincell_sizes, attn_gaincell_state.h.

    Memories: keys and values, a word of head_dim codes a slot; currents, a word an age with one entry a level.

    Args:
        node: the kernel.
        reuse_factor: cycles of a slot, of an io_parallel kernel; None: a streaming one.
    """
    ints = node.ints
    dim, heads, tile, slots = ints["head_dim"], ints["heads"], ints["tile"], ints["heads"] * ints["window"]
    q, k, v = ((ints[f"{name}_levels"] - 1).bit_length() for name in "qkv")
    entries = ints["k_levels"] + (ints["v_levels"] if ints["k_levels"] != ints["v_levels"] else 0)
    width, top, at_once = ints["current_width"], 1 << (ints["current_width"] - 1), ceil_div(dim, tile)
    pulse, product = ints["pulse_steps"].bit_length() + 1, (ints["pulse_steps"] * top).bit_length() + 1
    score = (dim * (ints["q_levels"] - 1) * top).bit_length() + 1
    charge_top = tile * ints["pulse_steps"] * top
    charge, held = charge_top.bit_length() + 1, min(charge_top, ints["charge_limit"]).bit_length() + 1
    total = (ints["code_limit"] * (ints["window"] // tile + ints["split_tiles"])).bit_length() + 1
    dim_at_once, levels_at_once = ceil_div(dim, reuse_factor or 1), ceil_div(ints["v_levels"], reuse_factor or 1)
    parts = Parts()

    def shifting(by: int, _: int) -> int:
        """A head need not start at a lane."""
        return lane_banks(BY_ELEMENT, at_once, heads * (ints["rows"] if by == BY_ELEMENT else 1), dim)

    banks = shifting if reuse_factor is None else parallel(node)
    parts.memory("keys", "ram", 1, slots, dim * k)
    parts.memory("values", "ram", 1, slots, dim * v)
    parts.memory("currents", "rom", 1, ints["window"], entries * width)
    parts.hold(heads * dim * (q + k + v))
    parts.choose(dim * (q + k + v), heads)
    parts.choose(dim_at_once * width, ints["k_levels"])
    parts.multiply(dim_at_once, width, q + 1)
    parts.add(dim_at_once, score)
    if ints["pulse_multiplier"] != 1:
        parts.multiply(1, score, ints["pulse_multiplier"].bit_length() + 1)
    parts.add(2, score)  # rounding, limit
    parts.multiply(levels_at_once, width, pulse)
    parts.choose(dim * product, ints["v_levels"])
    parts.add(2 * dim, charge)  # sum, limit
    parts.hold(dim * (held + total))
    parts.choose(at_once * (held + total), ceil_div(dim, at_once))
    parts.multiply(at_once, held, ints["code_multiplier"].bit_length() + 1)
    parts.add(3 * at_once, held)  # rounding, limit, sum
    tail(parts, node, at_once, heads * dim, ints["rows"], banks)
    parts.hold(heads * dim * node.format.width)
    return parts
