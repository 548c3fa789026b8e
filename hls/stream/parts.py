# SPDX-License-Identifier: Apache-2.0
"""The operations and memories of each kernel, streaming or io_parallel, as its header has them."""

from __future__ import annotations

from collections.abc import Mapping

from hls4attn.hls.design import HwNode
from hls4attn.hls.layout import carrier
from hls4attn.hls.stream.cycles import ceil_div, is_attention
from hls4attn.hls.stream.resources import Parts, Resources
from hls4attn.models.errors import UnsupportedError

#: Largest array that becomes registers or logic, as in the generated pragmas.
COMPLETE_PARTITION = 1024


def stream_resources(node: HwNode) -> Resources:
    """What a kernel of an io_stream design is built from, without the FIFO behind it.

    Raises:
        UnsupportedError: for an operator without a streaming kernel.
    """
    if is_attention(node):
        from hls4attn.hls.stream.attention_parts import attention_resources

        return attention_resources(node)
    ints = node.ints
    if node.op == "AttnFork":
        parts = Parts()
        parts.hold(len(node.copies) * ints["channels"] * node.format.width)
        return parts.done()
    if node.op == "AttnPermute":
        return _permute_stream(node)
    if node.op == "AttnDense":
        blocks = ints["in_block"], ints["out_block"]
        iterations = ceil_div(ints["n_in"], blocks[0]) * ceil_div(ints["n_out"], blocks[1])
        parts = _dense(node, blocks[0] * blocks[1], blocks[1], iterations)
        parts.row(node.in_formats[0].width, ints["n_in"], blocks[0])
        parts.hold(ints["n_out"] * node.format.width)
        return parts.done()
    channels, lanes = _channels(node), ints["lanes"]
    parts = _by_lanes(node, lanes)
    for fmt in node.in_formats:
        parts.row(fmt.width, channels, lanes)
    parts.hold(channels * node.format.width)
    return parts.done()


def parallel_resources(node: HwNode, reuse_factor: int) -> Resources:
    """What an io_parallel kernel is built from, its result array included, which lies in registers."""
    ints = node.ints
    if node.op == "AttnDense":
        products, outs = ceil_div(ints["n_in"] * ints["n_out"], reuse_factor), ceil_div(ints["n_out"], reuse_factor)
        parts = _dense(node, products, outs, reuse_factor)
        parts.choose(products * node.in_formats[0].width, reuse_factor)
    elif node.op == "AttnMatMul":
        parts = Parts()
        products, outs = ceil_div(ints["inner"] * ints["cols"], reuse_factor), ceil_div(ints["cols"], reuse_factor)
        a, b = (carrier(f) for f in node.in_formats)
        parts.multiply(products, a, b)
        parts.add(products, ints["core_width"])
        parts.choose(products * (a + b), reuse_factor)
        parts.hold(ints["inner"] * ints["cols"] * b)
        tail(parts, node, outs, ints["cols"], ints["heads"] * ints["rows"])
    elif node.op.startswith("AttnE2Context"):
        parts = _context(node, reuse_factor)
    elif "cols" in ints:
        lanes = ceil_div(ints.get("slice_length") or ints["cols"], reuse_factor)
        parts = Parts()
        score_function(parts, node.op.removeprefix("Attn"), ints, lanes, copies=lanes)
        tail(parts, node, lanes, ints["cols"], ints["heads"] * ints["rows"])
        parts.hold(ints["cols"] * node.in_formats[0].width)
    else:
        parts = _by_lanes(node, ceil_div(_channels(node), reuse_factor))
    parts.hold(node.size * node.format.width)
    return parts.done()


def _channels(node: HwNode) -> int:
    ints = node.ints
    return ints["inner"] if node.op == "AttnReduceSum" else ints["n3"] if node.op == "AttnPermute" else ints["channels"]


def tail(
    parts: Parts, node: HwNode, lanes: int, channels: int, rows: int, prefix: str = "", width: int | None = None
) -> None:
    """Scale, offset, rounding and limit of `lanes` results at once; constants a channel or element lie in ROMs."""
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
        words = {1: 0, 2: 1, 3: rows}[by] * ceil_div(channels, lanes)
        parts.memory(f"{prefix}{what}", "rom", 1, words, lanes * bits)
    parts.add(lanes, ints[f"{prefix}sum_width"] + (node.format.width if width is None else width))


def _dense(node: HwNode, products: int, outs: int, iterations: int) -> Parts:
    ints = node.ints
    parts = Parts()
    parts.multiply(products, carrier(node.in_formats[0]), ints["weight_width"])
    parts.add(products, ints["core_width"])
    parts.memory("weights", "rom", 1, iterations, products * ints["weight_width"])
    tail(parts, node, outs, ints["n_out"], ints["rows"])
    return parts


def _by_lanes(node: HwNode, lanes: int) -> Parts:
    """Kernels whose channels are independent, and the normalisations."""
    ints, channels = node.ints, _channels(node)
    parts = Parts(3 if "Norm" in node.op else 1)
    widths = [carrier(f) for f in node.in_formats]
    if node.op == "AttnMultiply":
        parts.multiply(lanes, widths[0], widths[1])
    elif node.op == "AttnAdd":
        parts.add(lanes, ints["core_width"])
    elif node.op == "AttnReduceSum":
        parts.add(lanes, ints["core_width"])
        parts.hold(channels * ints["core_width"])
        parts.choose(lanes * ints["core_width"], ceil_div(channels, lanes))
    elif node.op == "AttnAILayerNorm":
        _ailayernorm(parts, ints, widths[0], lanes)
    elif node.op == "AttnIntegerLayerNorm":
        _layernorm(parts, ints, widths[0], lanes)
    elif node.op not in ("AttnAffine", "AttnPermute"):
        raise UnsupportedError(f"{node.name}: there is no resource model of {node.op}")
    tail(parts, node, lanes, channels, node.size // channels)
    return parts


def _affine_step(parts: Parts, ints: Mapping[str, int], lanes: int, product: int) -> None:
    """The end of a normalisation: shift, add beta, limit; gamma and beta a channel."""
    words = ceil_div(ints["channels"], lanes)
    parts.memory("gamma", "rom", 1, words, lanes * ints["gamma_bits"])
    parts.memory("bias", "rom", 1, words, lanes * ints["bias_width"])
    parts.shift(lanes, product, product)
    parts.add(2 * lanes, product)


def _ailayernorm(parts: Parts, ints: Mapping[str, int], width: int, lanes: int) -> None:
    """Widths as in struct ailn_sizes."""
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
    parts.memory("squares", "rom", lanes, 256 if exact else 32 if ints["squares"] else 16, square + 1)
    parts.memory("alpha", "rom", 1, ceil_div(ints["channels"], lanes), 2 * lanes)
    parts.add(lanes, total + power)
    parts.multiply(1, total, 19)
    parts.multiply(1, power + unit, 19)
    parts.multiply(1, mean, mean)
    parts.add(3, 18 + 2 * fraction)  # variance, its leading one, table index
    parts.memory("rsqrt", "rom", 1, 2 << ints["index_bits"], ints["rsqrt_bits"] + 1)
    parts.add(lanes, centred)
    parts.multiply(lanes, ints["rsqrt_bits"] + 1, ints["gamma_bits"])
    parts.multiply(lanes, slope, centred)
    _affine_step(parts, ints, lanes, slope + centred)


def _layernorm(parts: Parts, ints: Mapping[str, int], width: int, lanes: int) -> None:
    """Widths as in struct layernorm_sizes."""
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
    _affine_step(parts, ints, lanes, product)


def score_function(parts: Parts, name: str, ints: Mapping[str, int], lanes: int, copies: int) -> None:
    """A score function on `lanes` scores at once; every lane reads a table of its own, so there are `copies`."""
    heads, width = ints["heads"], ints["core_width"]
    if name == "ConSmax":
        _table(parts, copies, heads * ints["entries"], width)
        parts.add(lanes, width)  # masked
    elif name == "ConSmaxSplit":
        product = ints["nibbles"] * ints["mantissa_bits"] + 2
        for nibble in range(1, ints["nibbles"]):
            parts.multiply(lanes, nibble * ints["mantissa_bits"] + 1, ints["mantissa_bits"] + 1)
        entry = ints["mantissa_bits"] + ints["shift_width"]
        parts.memory("mantissa, shift", "rom", copies * ints["nibbles"], 16 * heads, entry)
        parts.add(lanes * ints["nibbles"], ints["shift_width"] + 2)
        parts.shift(lanes, product, ints["max_shift"])
        parts.add(2 * lanes, product)
    elif name == "Softmax":
        exponent, row = ints["exp_frac"] + 2, ints["cols"]
        ratio = ints["out_frac"] + ints["guard"] + 3
        total = exponent + row.bit_length()
        _table(parts, copies, heads << ints["in_width"], exponent)
        parts.add(2 * lanes, ints["in_width"] + 1)  # maximum, distance
        parts.add(lanes, total)
        parts.divide(max(ints["exp_frac"] + ratio, total) + 1, total)
        parts.multiply(lanes, exponent, ratio)
        parts.add(2 * lanes, exponent + ratio)  # rounding, limit
    else:
        e2_stage(parts, ints, lanes, ints["cols"])
        quotient = ints["divider_frac"] + ints["out_frac"] + 2
        parts.shift(lanes, quotient, quotient - 1)
        parts.add(2 * lanes, quotient)  # rounding, limit


def _table(parts: Parts, copies: int, entries: int, width: int) -> None:
    """A table that several lanes read: logic up to the size that is partitioned completely."""
    if entries <= COMPLETE_PARTITION:
        parts.logic_rom(copies * entries * width)
    else:
        parts.memory("table", "rom", copies, entries, width)


def e2_stage(parts: Parts, ints: Mapping[str, int], lanes: int, row: int) -> None:
    """Stage 1 of E2Softmax on a slice: maximum, Log2Exp of every lane and of the maximum's rise, sum."""
    distance = ints["in_width"] + 1
    product = max(ints["in_width"] + ints["factor_width"], ints["max_places"]) + 2
    total = ints["numerator_frac"] + 2 + row.bit_length()
    parts.add(2 * lanes, distance)
    if ints["folded"]:
        parts.multiply(lanes + 1, distance, ints["factor_width"] + 1)
    else:
        parts.add(2 * (lanes + 1), product)
    parts.add(2 * (lanes + 1), product)  # rounding, limit
    parts.shift(lanes + 1, product, 0 if ints["exp_places"] else ints["max_places"])
    parts.shift(lanes, ints["numerator_frac"] + 2, ints["numerator_frac"])
    parts.add(lanes, total)
    parts.shift(1, total, (1 << ints["code_width"]) - 1)
    parts.add(1, total)  # leading one


def _context(node: HwNode, reuse_factor: int) -> Parts:
    """The shift form: values shifted by exponents and added; one multiplication by the divider a result."""
    ints = node.ints
    parts = Parts()
    lanes = ceil_div(ints.get("slice_length") or ints["inner"], reuse_factor)
    columns = ints["cols"]
    value = carrier(node.in_formats[1])
    total = ints["numerator_frac"] + value + ints["inner"].bit_length()
    e2_stage(parts, ints, lanes, ints["inner"])
    parts.shift(lanes * columns, total, ints["numerator_frac"])
    parts.add(lanes * columns, total)
    outs = ceil_div(columns, reuse_factor)
    parts.multiply(outs, total, ints["divider_frac"] + 1)
    parts.shift(outs, total + ints["divider_frac"] + 2, ints["out_shift"])
    parts.add(2 * outs, total + ints["divider_frac"] + 2)
    parts.hold(ints["inner"] * columns * value)
    tail(parts, node, outs, columns, ints["heads"] * ints["rows"])
    return parts


def _permute_stream(node: HwNode) -> Resources:
    """A bank of two sequences in registers, since a row gathers elements of many rows; one row a cycle."""
    ints, fmt = node.ints, node.in_formats[0]
    parts = Parts(2)
    parts.hold(2 * node.size * fmt.width)
    parts.choose(ints["out_channels"] * fmt.width, 2 * ints["out_rows"])
    tail(parts, node, ints["out_channels"], ints["out_channels"], ints["out_rows"])
    return parts.done()
