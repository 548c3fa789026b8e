# SPDX-License-Identifier: Apache-2.0
"""What kernels share, as operations: the tail, the normalisations, the score functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls4attn.hls.design import HwNode
from hls4attn.hls.emit import constant_banks
from hls4attn.hls.limits import COMPLETE_PARTITION
from hls4attn.hls.stream.cycles import ceil_div
from hls4attn.hls.stream.resources import Parts
from hls4attn.models.errors import UnsupportedError

BY_CHANNEL, BY_ELEMENT = 2, 3

#: Memories of a constant, from how it is indexed and from its size.
Banks = Callable[[int, int], int]


def lane_banks(by: int, lanes: int, rows: int, channels: int) -> int:
    """Memories that a streaming kernel spreads a constant over: `lane_banks` of attn_lanes.h.

    One a lane.  By element, lanes that do not divide the channels shift from row to row: logic if it is small, else one
    a channel.
    """
    if by < BY_CHANNEL:
        return 1
    if by == BY_ELEMENT and channels % lanes:
        return rows * channels if rows * channels <= COMPLETE_PARTITION else channels
    return lanes


def by_lanes(lanes: int, rows: int, channels: int) -> Banks:
    """Those of a streaming kernel with so many lanes."""
    return lambda by, _: lane_banks(by, lanes, rows, channels)


def complete(by: int, size: int) -> int:
    """A constant that is logic whatever its size."""
    del by
    return size


def parallel(node: HwNode) -> Banks:
    """Those of an io_parallel kernel."""
    return lambda _, size: constant_banks(node, size)


def constants(parts: Parts, what: str, bits: int, size: int, lanes: int, banks: int) -> None:
    """A constant in cyclic order over equal memories; lanes that are fewer than these select.

    Args:
        parts: where it is added.
        what: its name.
        bits: of an element.
        size: elements.
        lanes: elements that are read at a time.
        banks: memories.
    """
    words = ceil_div(size, banks)
    parts.memory(what, "rom", banks, words, bits)
    if banks > lanes and words == 1:
        parts.logic_rom(size * bits)
    else:
        parts.choose(lanes * bits, ceil_div(banks, lanes))


def tail(
    parts: Parts,
    node: HwNode,
    lanes: int,
    channels: int,
    rows: int,
    banks: Banks,
    prefix: str = "",
    width: int | None = None,
) -> None:
    """Scale, offset, rounding and limit of `lanes` results at once; constants a channel or element lie in ROMs.

    Args:
        parts: where it is added.
        node: the kernel.
        lanes: results at once.
        channels: constants of a row.
        rows: rows of constants a element.
        banks: memories that a constant is spread over.
        prefix: of the tail's members.
        width: bits of a result, if it is not the node's.
    """
    ints = node.ints
    for what in ("scale", "offset"):
        by = ints.get(f"{prefix}{what}_by", 0)
        if not by:
            continue
        bits = ints[f"{prefix}{what}_width"]
        if what == "scale":
            parts.multiply(lanes, ints[f"{prefix}core_width"], bits)
        else:
            parts.add(lanes, ints[f"{prefix}sum_width"])
        if by >= BY_CHANNEL:
            size = channels * (rows if by == BY_ELEMENT else 1)
            constants(parts, f"{prefix}{what}", bits, size, lanes, banks(by, size))
    parts.add(lanes, ints[f"{prefix}sum_width"] + (node.format.width if width is None else width))


def _affine_step(parts: Parts, ints: Mapping[str, int], lanes: int, product: int, banks: int) -> None:
    """The end of a normalisation: shift, add beta, limit; gamma and beta a channel."""
    for what, bits in (("gamma", ints["gamma_bits"]), ("bias", ints["bias_width"])):
        constants(parts, what, bits, ints["channels"], lanes, banks)
    parts.shift(lanes, product, product)
    parts.add(2 * lanes, product)


def ailayernorm(parts: Parts, ints: Mapping[str, int], width: int, lanes: int, banks: int) -> tuple[int, int, int]:
    """Widths as in struct ailn_sizes; returns the bits of a waiting code, of a row's sums, and of its factors.

    Args:
        parts: where it is added.
        ints: its members.
        width: bits of a channel.
        lanes: channels at a time.
        banks: memories of a constant a channel.
    """
    exact = ints["squares"] == 2
    terms, fraction = ints["channels"].bit_length(), ints["max_alpha"] + ints["mean_frac"]
    scaled = max(width + ints["multiplier"].bit_length(), ints["quant_shift"] + ints["max_alpha"] + 1) + 2
    square, unit = (16, 0) if exact else (12, 4)
    total, power = 9 + ints["max_alpha"] + terms, square + 2 * ints["max_alpha"] + terms + 1
    mean, centred, slope = 9 + fraction, 10 + fraction, ints["gamma_bits"] + ints["rsqrt_bits"]
    if ints["multiplier"] > 1:
        parts.multiply(lanes, width, ints["multiplier"].bit_length() + 1)
    parts.shift(lanes, scaled, ints["max_alpha"])
    parts.add(2 * lanes, scaled)  # rounding, limit
    parts.logic_rom(lanes * (256 if exact else 32 if ints["squares"] else 16) * (square + 1))
    constants(parts, "alpha", ints["max_alpha"].bit_length(), ints["channels"], lanes, banks)
    parts.add(lanes, total + power)
    parts.multiply(1, total, 19)
    parts.multiply(1, power + unit, 19)
    parts.multiply(1, mean, mean)
    parts.add(3, 18 + 2 * fraction)  # variance, its leading one, table index
    parts.memory("rsqrt", "rom", 1, 2 << ints["index_bits"], ints["rsqrt_bits"] + 1)
    parts.add(lanes, centred)
    parts.multiply(lanes, ints["rsqrt_bits"] + 1, ints["gamma_bits"])
    parts.multiply(lanes, slope, centred)
    _affine_step(parts, ints, lanes, slope + centred, banks)
    return 9 + ints["max_alpha"], total + power, mean + ints["rsqrt_bits"] + 1 + 8


def layernorm(parts: Parts, ints: Mapping[str, int], width: int, lanes: int, banks: int) -> tuple[int, int, int]:
    """Widths as in struct layernorm_sizes; arguments and result as for `ailayernorm`."""
    terms = ints["channels"].bit_length()
    total, power = width + terms, 2 * (width - 1) + terms + 1
    variance, inverse = 2 * (width - 1 + terms) + 1, ints["rsqrt_bits"] + 3
    product = ints["gamma_bits"] + inverse + ints["in_width"] + (ints["channels"] - 1).bit_length()
    parts.multiply(lanes, width, width)
    parts.add(lanes, total + power)
    parts.multiply(1, power, terms + 1)
    parts.multiply(1, total, total)
    parts.add(2, variance)
    parts.shift(1, 2 * ints["root_bits"] + 1, 2 * ints["root_bits"])
    parts.divide(ints["root_bits"], ints["root_bits"] + 3)
    parts.divide(ints["rsqrt_bits"] + ints["root_bits"] + 2, ints["root_bits"] + 1)
    parts.multiply(lanes, width, terms + 1)
    parts.add(lanes, total + 1)
    parts.multiply(lanes, inverse, ints["gamma_bits"])
    parts.multiply(lanes, inverse + ints["gamma_bits"], total + 1)
    _affine_step(parts, ints, lanes, product, banks)
    return width, total + power, total + inverse + 8


#: What other packages' score functions are built from, by name: from members and scores at once.
FURTHER_PARTS: dict[str, Callable[[Parts, Mapping[str, int], int], None]] = {}


def function_parts(
    parts: Parts, name: str, ints: Mapping[str, int], lanes: int, row: int, width: int, heads: int = 1, ports: int = 0
) -> None:
    """A score function on `lanes` scores at once.

    Args:
        parts: where it is added.
        name: ConSmax, ConSmaxSplit, Softmax, E2Softmax, or one of `FURTHER_PARTS`.
        ints: its members.
        lanes: scores at once.
        row: length of a row of scores.
        width: signed bits of its result.
        heads: rows that are worked on at once.
        ports: lanes that share a copy of a table; 0: tables of up to COMPLETE_PARTITION entries are logic.

    Raises:
        UnsupportedError: for a score function of another package that does not say what it is built from.
    """
    if name == "ConSmax":
        _table(parts, lanes, ports, ints["heads"] * ints["entries"], width)
        parts.add(lanes, width)  # masked
    elif name == "ConSmaxSplit":
        product = ints["nibbles"] * ints["mantissa_bits"] + 2
        for nibble in range(1, ints["nibbles"]):
            parts.multiply(lanes, nibble * ints["mantissa_bits"] + 1, ints["mantissa_bits"] + 1)
        entry = ints["mantissa_bits"] + ints["shift_width"]
        parts.logic_rom(lanes * ints["nibbles"] * 16 * ints["heads"] * entry)
        parts.add(lanes * ints["nibbles"], ints["shift_width"] + 2)
        parts.shift(lanes, product, ints["max_shift"])
        parts.add(2 * lanes, product)
    elif name == "Softmax":
        exponent, ratio = ints["exp_frac"] + 2, ints["out_frac"] + ints["guard"] + 3
        total = exponent + row.bit_length()
        _table(parts, lanes, ports, ints["heads"] << ints["in_width"], exponent)
        parts.add(2 * lanes, ints["in_width"] + 1)  # maximum, distance
        parts.add(lanes, total)
        for _ in range(heads):
            parts.divide(max(ints["exp_frac"] + ratio, total) + 1, total)
        parts.multiply(lanes, exponent, ratio)
        parts.add(2 * lanes, exponent + ratio)  # rounding, limit
    elif name.startswith("E2Softmax"):
        e2_stage(parts, ints, lanes, heads, row)
        e2_division(parts, ints, lanes)
    elif name in FURTHER_PARTS:
        FURTHER_PARTS[name](parts, ints, lanes)
    else:
        raise UnsupportedError(f"{name}: no estimate; the package it comes from does not say what it is built from")


def _table(parts: Parts, lanes: int, ports: int, entries: int, width: int) -> None:
    """A table that several lanes read at once: a copy for each lane, or for each two with two ports."""
    if ports == 0 and entries <= COMPLETE_PARTITION:
        parts.logic_rom(lanes * entries * width)
    else:
        parts.memory("table", "rom", ceil_div(lanes, ports or 1), entries, width)


def e2_stage(parts: Parts, ints: Mapping[str, int], lanes: int, heads: int, row: int) -> None:
    """Stage 1 of E2Softmax on a slice: maximum, Log2Exp of every lane and of each maximum's rise, sum."""
    distance = ints["in_width"] + 1
    product = max(ints["in_width"] + ints["factor_width"], ints["max_places"]) + 2
    total = ints["numerator_frac"] + 2 + row.bit_length()
    parts.add(2 * lanes, distance)
    if ints["folded"]:
        parts.multiply(lanes + heads, distance, ints["factor_width"] + 1)
    else:
        parts.add(2 * (lanes + heads), product)
    parts.add(2 * (lanes + heads), product)  # rounding, limit
    parts.shift(lanes + heads, product, 0 if ints["exp_places"] else ints["max_places"])
    parts.shift(lanes, ints["numerator_frac"] + 2, ints["numerator_frac"])
    parts.add(lanes, total)
    parts.shift(heads, total, (1 << ints["code_width"]) - 1)
    parts.add(heads, total)  # leading one


def e2_division(parts: Parts, ints: Mapping[str, int], lanes: int) -> None:
    """Stage 2 of E2Softmax: a mantissa shifted by exponents, rounded and limited."""
    quotient = ints["divider_frac"] + ints["out_frac"] + 2
    parts.shift(lanes, quotient, quotient - 1)
    parts.add(2 * lanes, quotient)
