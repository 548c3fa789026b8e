# SPDX-License-Identifier: Apache-2.0
"""How much hardware each streaming kernel gets: the fewest multipliers that keep up with the attention.

    attention:   M = ceil(head_dim / reuse_factor) elements of a head, so R = ceil(head_dim / M) chunks, L = lanes keys
                 and P = parallel_heads heads at a time:
                 rows * heads / P * ceil(rows / L) * R cycles a sequence, 2 P L M multipliers
                 (shift form: P L M, and P M for its division) and those of its tails
    gain cells:  one slot a cycle, whatever is asked for
    all others:  as few lanes or blocks as fit into the longest of these; reuse_factor cycles a row, if that is more (it
                 is where there is none of these, and can be where there are gain cells only)

A layer_reuse_factor replaces the cycles a row of one kernel, or the chunks of one attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import HwNode
from hls4attn.hls.limits import ROM_PORTS
from hls4attn.hls.stream.arrays import table_reads
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.blocks import block_order
from hls4attn.hls.stream.cycles import ceil_div, interval, is_attention, is_gain_cell, latencies, row_interval, rows_of
from hls4attn.models.errors import UnsupportedError

#: Keys that an attention takes at a time, if nobody chose; fewer where Vivado HLS has to look them up in a table.
DEFAULT_LANES = 4
#: Kernels that pass a row a cycle, whatever is asked of them.
_ROW_A_CYCLE = ("AttnFork", "AttnPermute")


def scheduled(nodes: Sequence[HwNode], choices: HlsConfig) -> list[HwNode]:
    """The nodes with the members that say how they are time-multiplexed, and the latency that follows.

    Args:
        nodes: of an io_stream design, attention fused.
        choices: reuse factors, lanes, parallel heads.

    Raises:
        UnsupportedError: for a value that a kernel cannot honour, or a name that no kernel has.
    """
    known = {n.name: n for n in nodes}
    for name in choices.layer_reuse_factor:
        if name not in known:
            raise UnsupportedError(
                f"layer_reuse_factor names {name!r}, which is no kernel of this design; it has: {', '.join(known)}"
            )
        if known[name].op in _ROW_A_CYCLE:
            raise UnsupportedError(f"layer_reuse_factor names {name!r}, which always passes one row a cycle; remove it")
        if is_gain_cell(known[name]):
            raise UnsupportedError(f"layer_reuse_factor names {name!r}, which always scans one slot a cycle; remove it")
    attentions = {n.name: _attention(n, choices, _reuse(n, choices)) for n in nodes if is_attention(n)}
    if not attentions and (choices.lanes or choices.parallel_heads != 1):
        raise UnsupportedError("lanes and parallel_heads are of attention, and this design has none; remove them")
    longest = max(map(interval, (*attentions.values(), *filter(is_gain_cell, nodes))), default=0)
    made = []
    for plain in nodes:
        node = attentions.get(plain.name) or _others(plain, choices, longest)
        node = replace(node, ints=node.ints | {"reuse_factor": _reuse(node, choices)})
        made.append(replace(node, ints=node.ints | latencies(node)))
    return made


def _reuse(node: HwNode, choices: HlsConfig) -> int:
    return choices.layer_reuse_factor.get(node.name, choices.reuse_factor)


def _attention(node: HwNode, choices: HlsConfig, chunks: int) -> HwNode:
    """Lanes, heads and elements at a time of an attention."""
    rows, head_dim, whole = node.ints["rows"], node.ints["head_dim"], node.ints.get("slice_length", 0)
    if chunks > head_dim:
        raise UnsupportedError(
            f"{node.name}: a reuse factor of {chunks} is more than the {head_dim} elements of a head; lower it, or set "
            "layer_reuse_factor of this kernel"
        )
    most = min(DEFAULT_LANES, rows)
    if choices.backend == "Vivado" and table_reads(node):
        most = min(most, max(ROM_PORTS // choices.parallel_heads, 1))
    lanes = choices.lanes or max(n for n in range(1, most + 1) if whole % n == 0)
    return with_structure(node, lanes, choices.parallel_heads, ceil_div(head_dim, chunks))


def _others(node: HwNode, choices: HlsConfig, longest: int) -> HwNode:
    """Blocks or lanes of a kernel that keeps up with the longest attention, or takes the cycles a row it was given."""
    if node.op in _ROW_A_CYCLE or is_gain_cell(node):
        return node
    rows = rows_of(node) + (node.op == "AttnReduceSum")  # the sum's tail is one row more
    budget = choices.layer_reuse_factor.get(node.name) or max(longest // rows, choices.reuse_factor)
    ints = node.ints
    if node.op == "AttnDense":
        block = dense_blocks(ints["n_in"], ints["n_out"], budget, bool(ints.get("scale_by")))
        weights = block_order(node.roms["weights"], ints["n_in"], ints["n_out"], *block)
        members = dict(zip(("in_block", "out_block"), block, strict=True))
        made = replace(node, ints=ints | members, roms=node.roms | {"weights": weights})
    else:
        made = replace(node, ints=ints | {"lanes": ceil_div(ints["channels"], budget)})
    asked = choices.layer_reuse_factor.get(node.name, 0)
    if asked > ints.get("n_in", 1) * ints.get("n_out", ints.get("channels", 1)):
        raise UnsupportedError(
            f"{node.name}: layer_reuse_factor={asked}, but it takes at most {row_interval(made)} cycles a row"
        )
    return made


def dense_blocks(n_in: int, n_out: int, budget: int, scaled: bool = False) -> tuple[int, int]:
    """Inputs and outputs that a dense kernel multiplies at a time: the fewest multipliers within `budget` cycles a row.

    Of equally many multipliers the faster blocks are taken, then those with fewer outputs at a time (fewer adders).

    Args:
        n_in: inputs.
        n_out: outputs.
        budget: cycles a row.
        scaled: whether each output of a block has a multiplier more, in its tail.
    """
    found = []
    for in_block in {ceil_div(n_in, n) for n in range(1, min(n_in, budget) + 1)}:
        passes = ceil_div(n_in, in_block)
        out_block = ceil_div(n_out, min(n_out, budget // passes))
        cycles = passes * ceil_div(n_out, out_block)
        found.append((in_block * out_block + scaled * out_block, cycles, out_block, in_block))
    _, _, out_block, in_block = min(found)
    return in_block, out_block
