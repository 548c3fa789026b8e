# SPDX-License-Identifier: Apache-2.0
"""What of a streaming kernel is unrolled, lies in registers, or reads a table at once: the tools limit all three."""

from __future__ import annotations

from hls4attn.hls.design import HwNode
from hls4attn.hls.stream.cycles import ceil_div, chunks, groups, is_attention, is_gain_cell, score_function


def unrolled(node: HwNode) -> int:
    """Products in the body of an iteration."""
    ints = node.ints
    if is_attention(node):
        return ints["parallel_heads"] * ints["lanes"] * ints["width"]
    return ints["in_block"] * ints["out_block"] if node.op == "AttnDense" else 0


def register_arrays(node: HwNode) -> dict[str, int]:
    """Elements of the arrays that a kernel's pragmas make registers or logic, the largest ones by name."""
    ints = node.ints
    if is_attention(node):
        elements = ints["parallel_heads"] * ints["width"]
        found = {
            "a row": groups(node) * chunks(node) * elements,  # of queries, keys, values and results
            "the scores of an iteration": ints["parallel_heads"] * ints["lanes"],
        }
        if score_function(node) == "ConSmaxSplit":
            found["the tables"] = ints["heads"] * ints["nibbles"] * 16
        return found
    if is_gain_cell(node):
        return {"a row": ints["heads"] * ints["head_dim"]}
    if node.op == "AttnDense":
        blocks = ((ints["n_in"], ints["in_block"]), (ints["n_out"], ints["out_block"]))
        return {"a row": max(ceil_div(size, block) * block for size, block in blocks)}
    if node.op == "AttnPermute":
        return {"a tensor": node.size}
    lanes = ints.get("lanes", 1)
    return {"a row": ceil_div(ints["channels"], lanes) * lanes}


def table_reads(node: HwNode) -> int:
    """Reads a cycle of a table that is a memory."""
    if is_attention(node) and score_function(node) in ("ConSmax", "Softmax"):
        return node.ints["parallel_heads"] * node.ints["lanes"]
    return 0
