# SPDX-License-Identifier: Apache-2.0
"""Iterations of kernels, exactly: their loops as formulas of their configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError

if TYPE_CHECKING:
    from hls4attn.hls.design import HwNode

Times = NDArray[np.int64]

_ELEMENTWISE = ("AttnAffine", "AttnAdd", "AttnMultiply")
_NORMS = ("AttnAILayerNorm", "AttnIntegerLayerNorm")
_ATTENTION = "AttnAttention"
_GAIN_CELL = "AttnGainCell"
_DIVISION = "reciprocals"
#: Processes of an attention's score function: one iteration a slice of scores, the division one a row.
_STAGES = {
    "ConSmax": ("look_up_slices",),
    "ConSmaxSplit": ("split_slices",),
    "Softmax": ("row_maxima", "exponentials", _DIVISION, "scale_slices"),
    "E2Softmax": ("row_maxima", "exponents", "divide_slices"),
    "E2Context": ("row_maxima", "exponents", "divide_slices"),
}


def ceil_div(a: int, b: int) -> int:
    """Smallest whole number not below a / b."""
    return -(-a // b)


def ceil_log2(n: int) -> int:
    """Levels of an adder tree over n terms."""
    return max(n - 1, 0).bit_length()


def row_interval(node: HwNode) -> int:
    """Cycles between two rows of a streaming kernel other than attention.

    dense: ceil(n_in / in_block) * ceil(n_out / out_block);  fork, permute: 1;  others: ceil(channels / lanes);
    gain cells: those of the first row, `token_cycles` has the later ones.
    """
    ints = node.ints
    if is_gain_cell(node):
        return int(token_cycles(ints, 1)[0])
    if node.op == "AttnDense":
        blocks = ints.get("in_block", ints["n_in"]), ints.get("out_block", ints["n_out"])
        return ceil_div(ints["n_in"], blocks[0]) * ceil_div(ints["n_out"], blocks[1])
    if node.op in ("AttnFork", "AttnPermute"):
        return 1
    if node.op in (*_ELEMENTWISE, *_NORMS, "AttnReduceSum"):
        return ceil_div(ints["channels"], ints.get("lanes", ints["channels"]))
    raise UnsupportedError(f"{node.name}: {node.op} has no constant number of cycles a row")


def rows_of(node: HwNode, length: int | None = None) -> int:
    """Rows that a streaming kernel reads (permute: writes) a sequence: `length`, else as many as it can."""
    if length is not None:
        return length
    return node.ints[{"AttnReduceSum": "count", "AttnPermute": "out_rows"}.get(node.op, "rows")]


def is_attention(node: HwNode) -> bool:
    """Whether a kernel is a fused attention."""
    return node.op.startswith(_ATTENTION)


def is_norm(node: HwNode) -> bool:
    """Whether a kernel is a normalisation: statistics, prepare, affine."""
    return node.op in _NORMS


def is_gain_cell(node: HwNode) -> bool:
    """Whether a kernel is a gain-cell attention."""
    return node.op == _GAIN_CELL


def token_cycles(ints: Mapping[str, int], tokens: int, before: int = 0) -> Times:
    """Cycles of each token of a gain-cell attention: every head scans the tiles in use, one slot a cycle.

    heads * tile * ceil(n / tile) + C, with n slots filled, at most `window`;  C = ceil(head_dim / Z) cycles for the
    codes of the last tile, Z = ceil(head_dim / tile);  one tile a head more if tiles are split and the window is full.

    Args:
        ints: the kernel's configuration.
        tokens: how many.
        before: tokens that the window has seen.
    """
    tile, window, head_dim = ints["tile"], ints["window"], ints["head_dim"]
    filled = np.minimum(np.arange(before + 1, before + tokens + 1, dtype=np.int64), window)
    tiles = -(-filled // tile) + ints["split_tiles"] * (filled == window)
    return np.asarray(ints["heads"] * tile * tiles + ceil_div(head_dim, ceil_div(head_dim, tile)), dtype=np.int64)


def score_function(node: HwNode) -> str:
    """The score function of an attention kernel, as in its name."""
    return node.op.removeprefix(_ATTENTION)


def groups(node: HwNode) -> int:
    """Groups of heads that an attention kernel takes one after the other: heads / parallel_heads."""
    return node.ints["heads"] // node.ints.get("parallel_heads", 1)


def chunks(node: HwNode) -> int:
    """Cycles of a slice of an attention kernel: ceil(head_dim / width)."""
    return ceil_div(node.ints["head_dim"], node.ints["width"])


def slices(node: HwNode, length: int | None = None) -> Times:
    """Slices of keys that each query of an attention meets: ceil(length / lanes), causal ceil((i + 1) / lanes)."""
    rows, lanes = rows_of(node, length), node.ints.get("lanes", 1)
    keys = np.arange(1, rows + 1) if node.ints.get("causal") else np.full(rows, rows)
    return np.asarray(-(-keys // lanes), dtype=np.int64)


def processes(node: HwNode, length: int | None = None) -> list[tuple[str, int]]:
    """The processes of a streaming kernel, with the cycles that each of them is busy a sequence.

    Args:
        node: a node of an io_stream design.
        length: rows of the sequence; as many as the kernel takes if not given.
    """
    rows = rows_of(node, length)
    if is_attention(node):
        units = rows * groups(node)  # rows of scores, of the heads that go together
        words = int(slices(node, length).sum()) * groups(node)  # slices of scores
        load, slow = units * chunks(node), words * chunks(node)
        stages = [(name, units if name == _DIVISION else words) for name in _STAGES[score_function(node)]]
        return [("load_keys", load), ("load_values", load), ("score_slices", slow), *stages, ("weigh_slices", slow)]
    if is_gain_cell(node):
        return [("gaincell", int(token_cycles(node.ints, rows).sum()))]
    if node.op == "AttnPermute":
        return [("load", node.ints["in_rows"]), ("emit", rows)]
    busy = rows * row_interval(node)
    if is_norm(node):
        return [("statistics", busy), ("prepare", busy), ("affine", busy)]
    if node.op == "AttnReduceSum":
        return [("reduce_sum", busy + row_interval(node))]  # the tail is one row more
    return [(node.kernel.function, busy)]


def interval(node: HwNode, length: int | None = None) -> int:
    """Cycles between two sequences of a streaming kernel: those of its busiest process."""
    return max(cycles for _, cycles in processes(node, length))


def parallel_cycles(node: HwNode, reuse_factor: int) -> int:
    """Cycles of an io_parallel kernel, whose loops run one after the other: iterations * reuse_factor, and loading.

    product of two operands: heads * (inner + rows * reuse);  score function: heads * rows * reuse, in slices twice
    ceil(length / slice_length) of these;  gain cells: token cycles * reuse, and 2 * heads * head_dim a row to load and
    store;  others: rows * reuse.
    """
    ints = node.ints
    heads = ints.get("heads", 1)
    twice = 1
    if ints.get("slice_length"):
        row = ints["inner"] if "inner" in ints else ints["cols"]
        twice = 2 * ceil_div(row, ints["slice_length"])
    if is_gain_cell(node):
        moved = 2 * ints["rows"] * heads * ints["head_dim"]
        return int(token_cycles(ints, ints["rows"]).sum()) * reuse_factor + moved
    if node.op == "AttnPermute":
        return ints["n0"] * ints["n1"] * ints["n2"] * reuse_factor
    if node.op == "AttnReduceSum":
        return ints["outer"] * ints["count"] * reuse_factor
    load = ints["inner"] if node.op.startswith(("AttnMatMul", "AttnE2Context")) else 0
    return heads * (load + ints["rows"] * twice * reuse_factor)
