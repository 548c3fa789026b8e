# SPDX-License-Identifier: Apache-2.0
"""The operations and memories of each kernel, streaming or io_parallel, as its header has them."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.layout import carrier
from hls4attn.hls.stream.cycles import (
    ceil_div,
    chunks,
    groups,
    is_attention,
    is_gain_cell,
    is_norm,
    score_function,
    waiting_rows,
)
from hls4attn.hls.stream.gaincell import gain_cells
from hls4attn.hls.stream.resources import Parts, Resources
from hls4attn.hls.stream.units import (
    Banks,
    ailayernorm,
    by_lanes,
    complete,
    e2_division,
    e2_stage,
    function_parts,
    layernorm,
    parallel,
    tail,
)
from hls4attn.models.errors import UnsupportedError


def stream_resources(node: HwNode) -> Resources:
    """What a kernel of an io_stream design is built from, without the FIFO behind it.

    Raises:
        UnsupportedError: for an operator without a streaming kernel.
    """
    if is_attention(node):
        return _attention(node)
    if is_gain_cell(node):
        return gain_cells(node).done()
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
        banks = by_lanes(blocks[1], ints["rows"], ints["n_out"])
        parts = _dense(node, blocks[0] * blocks[1], blocks[1], iterations, banks)
        parts.row(node.in_formats[0].width, ints["n_in"], blocks[0])
        parts.hold(ints["n_out"] * node.format.width)
        return parts.done()
    channels, lanes = _channels(node), ints["lanes"]
    parts = _by_lanes(node, lanes, by_lanes(lanes, node.size // channels, channels), waiting_rows(node))
    for fmt in node.in_formats:
        parts.row(fmt.width, channels, lanes)
    parts.hold(channels * node.format.width)
    return parts.done()


def parallel_resources(node: HwNode, reuse_factor: int) -> Resources:
    """What an io_parallel kernel is built from, its result array included, which lies in registers."""
    ints, banks = node.ints, parallel(node)
    if node.op == "AttnDense":
        products, outs = ceil_div(ints["n_in"] * ints["n_out"], reuse_factor), ceil_div(ints["n_out"], reuse_factor)
        parts = _dense(node, products, outs, reuse_factor, banks)
        parts.choose(products * node.in_formats[0].width, reuse_factor)
    elif node.op == "AttnMatMul":
        parts = Parts()
        products, outs = ceil_div(ints["inner"] * ints["cols"], reuse_factor), ceil_div(ints["cols"], reuse_factor)
        a, b = (carrier(f) for f in node.in_formats)
        parts.multiply(products, a, b)
        parts.add(products, ints["core_width"])
        parts.choose(products * (a + b), reuse_factor)
        parts.hold(ints["inner"] * ints["cols"] * b)
        tail(parts, node, outs, ints["cols"], ints["heads"] * ints["rows"], banks)
    elif node.op.startswith("AttnE2Context"):
        parts = _context(node, reuse_factor)
    elif is_gain_cell(node):
        parts = gain_cells(node, reuse_factor)
    elif "cols" in ints:
        lanes = ceil_div(ints.get("slice_length") or ints["cols"], reuse_factor)
        parts = Parts()
        function_parts(parts, node.op.removeprefix("Attn"), ints, lanes, ints["cols"], ints["core_width"])
        tail(parts, node, lanes, ints["cols"], ints["heads"] * ints["rows"], banks)
        parts.hold(ints["cols"] * node.in_formats[0].width)
    else:
        parts = _by_lanes(node, ceil_div(_channels(node), reuse_factor), banks)
    parts.hold(node.size * node.format.width)
    return parts.done()


def _channels(node: HwNode) -> int:
    ints = node.ints
    return ints["inner"] if node.op == "AttnReduceSum" else ints["n3"] if node.op == "AttnPermute" else ints["channels"]


def _dense(node: HwNode, products: int, outs: int, iterations: int, banks: Banks) -> Parts:
    ints = node.ints
    parts = Parts()
    parts.multiply(products, carrier(node.in_formats[0]), ints["weight_width"])
    parts.add(products, ints["core_width"])
    parts.memory("weights", "rom", 1, iterations, products * ints["weight_width"])
    tail(parts, node, outs, ints["n_out"], ints["rows"], banks)
    return parts


def _by_lanes(node: HwNode, lanes: int, banks: Banks, waiting: int = 0) -> Parts:
    """Kernels whose channels are independent, and the normalisations.

    Args:
        node: the kernel.
        lanes: channels at a time.
        banks: memories that a constant is spread over.
        waiting: of a streaming normalisation, rows that wait for their sums.
    """
    ints, channels = node.ints, _channels(node)
    parts = Parts(3 if is_norm(node) else 1)
    widths = [carrier(f) for f in node.in_formats]
    if node.op == "AttnMultiply":
        parts.multiply(lanes, widths[0], widths[1])
    elif node.op == "AttnAdd":
        parts.add(lanes, ints["core_width"])
    elif node.op == "AttnReduceSum":
        parts.add(lanes, ints["core_width"])
        parts.hold(channels * ints["core_width"])
        parts.choose(lanes * ints["core_width"], ceil_div(channels, lanes))
    elif is_norm(node):
        norm = ailayernorm if node.op == "AttnAILayerNorm" else layernorm
        code, sums, factors = norm(parts, ints, widths[0], lanes, lanes if waiting else channels)
        parts.memory("codes", "fifo", 1, waiting, channels * code)
        parts.memory("sums", "fifo", 1, 2 if waiting else 0, sums)
        parts.memory("factors", "fifo", 1, 2 if waiting else 0, factors)
    elif node.op not in ("AttnAffine", "AttnPermute"):
        raise UnsupportedError(f"{node.name}: there is no resource model of {node.op}")
    tail(parts, node, lanes, channels, node.size // channels, banks)
    return parts


def _context(node: HwNode, reuse_factor: int) -> Parts:
    """The shift form: values shifted by exponents and added; one multiplication by the divider a result."""
    ints = node.ints
    parts = Parts()
    lanes = ceil_div(ints.get("slice_length") or ints["inner"], reuse_factor)
    columns, outs = ints["cols"], ceil_div(ints["cols"], reuse_factor)
    value = carrier(node.in_formats[1])
    e2_stage(parts, ints, lanes, 1, ints["inner"])
    _weigh_by_shifts(parts, node, lanes * columns, outs, value, ints["inner"])
    parts.hold(ints["inner"] * columns * value)
    tail(parts, node, outs, columns, ints["heads"] * ints["rows"], parallel(node))
    return parts


def _weigh_by_shifts(parts: Parts, node: HwNode, terms: int, outs: int, value: int, row: int) -> int:
    """Shifted values and their sums; the division of `outs` sums at once.  Returns the bits of a sum."""
    ints = node.ints
    total = ints["numerator_frac"] + value + row.bit_length()
    parts.shift(terms, total, ints["numerator_frac"])
    parts.add(terms, total)
    parts.multiply(outs, total, ints["divider_frac"] + 1)
    parts.shift(outs, total + ints["divider_frac"] + 2, ints["out_shift"])
    parts.add(2 * outs, total + ints["divider_frac"] + 2)
    return total


def _attention(node: HwNode) -> Resources:
    """Two loaders, two banks, two products, the score function and its FIFOs."""
    ints, name = node.ints, score_function(node)
    rows, lanes, heads = ints["rows"], ints["lanes"], ints["parallel_heads"]
    scores, elements = heads * lanes, heads * ints["width"]
    channels, row_words = ints["heads"] * ints["head_dim"], groups(node) * chunks(node)
    slices = ceil_div(rows, lanes)
    q, k, v = (carrier(f) for f in node.in_formats)
    score, p = ints["in_width"], ints.get("p_width", 0) + (not ints.get("p_signed"))  # the shift form has no p
    parts = Parts(4)
    for what, width in (("keys", k), ("values", v)):
        parts.memory(what, "ram", 2 * lanes, slices * row_words, elements * width)  # two halves of L memories
        parts.row(width, channels, elements)
    parts.row(q, channels, elements)
    parts.multiply(scores * ints["width"], q, k)
    parts.add(scores * ints["width"], ints["score_core_width"])
    tail(parts, node, scores, rows, 1, by_lanes(lanes, 1, rows), "score_", score)
    parts.memory("scores", "fifo", 1, 2, scores * score)
    word = _score_stages(parts, node, name, scores, heads, slices)
    core = ints["core_width"]
    if name == "E2Context":
        core = _weigh_by_shifts(parts, node, scores * ints["width"], elements, v, rows)
    else:
        parts.multiply(scores * ints["width"], p, v)
        parts.add(scores * ints["width"], core)
    parts.memory("probabilities", "fifo", 1, 2, scores * (p if name != "E2Context" else ints["code_width"] + 1) + word)
    parts.hold(chunks(node) * elements * core)
    parts.choose(elements * core, chunks(node))
    tail(parts, node, elements, ints["head_dim"], 1, by_lanes(ints["width"], 1, ints["head_dim"]))
    parts.hold(channels * node.format.width)
    return parts.done()


def _score_stages(parts: Parts, node: HwNode, name: str, scores: int, heads: int, slices: int) -> int:
    """The score function's processes and the FIFOs between them.  Returns the bits of a row's result, if it goes on."""
    ints = node.ints
    score = ints["in_width"]  # scores are signed
    if name != "E2Context":
        parts.add(scores, ints["function_sum_width"] + ints["p_width"])  # rounding and limit
    if name.startswith("ConSmax"):
        function_parts(parts, name, ints, scores, ints["rows"], ints["function_core_width"], ports=2)
        return 0
    row, causal = ints["rows"], ints.get("causal")
    slice_words = ints.get("slice_length", 0) // ints["lanes"]
    waiting = 2 * (slice_words or slices)
    parts.memory("waiting", "fifo", 1, waiting, scores * score)
    parts.memory("maxima", "fifo", 1, waiting if causal else 2, heads * score)
    if name == "Softmax":
        function_parts(parts, name, ints, scores, row, ints["function_core_width"], heads=heads, ports=2)
        exponent, depth = ints["exp_frac"] + 2, 2 * slices + 2 * ints["latency"] + 2
        parts.memory("exps", "fifo", 1, depth, scores * exponent)
        parts.memory("sums", "fifo", 1, 2, heads * (exponent + row.bit_length()))
        ratios = depth if causal else max(depth // slices, 2)
        parts.memory("ratios", "fifo", 1, ratios, heads * (ints["out_frac"] + ints["guard"] + 3))
        return 0
    code, unit = ints["code_width"] + 1, heads * (ints["in_width"] + 1 + 7 + ints["divider_frac"] + 1)
    row_slices = ceil_div(slices, slice_words) if slice_words else 1
    e2_stage(parts, ints, scores, heads, row)
    parts.add(scores, code)  # corrections
    parts.memory("codes", "fifo", 1, 2 * slices, scores * code)
    parts.memory("tops", "fifo", 1, 2 * (slices if causal else row_slices), heads * score)
    parts.memory("units", "fifo", 1, 2 * slices if causal else 2, unit)
    if name == "E2Context":
        return unit - heads * (ints["in_width"] + 1)  # the last stage needs no maximum
    e2_division(parts, ints, scores)
    return 0


def _permute_stream(node: HwNode) -> Resources:
    """A bank of two sequences in registers, since a row gathers elements of many rows; one row a cycle."""
    ints, fmt = node.ints, node.in_formats[0]
    parts = Parts(2)
    parts.hold(2 * node.size * fmt.width)
    parts.choose(ints["out_channels"] * fmt.width, 2 * ints["out_rows"])
    tail(parts, node, ints["out_channels"], ints["n3"], node.size // ints["n3"], complete)
    return parts.done()
