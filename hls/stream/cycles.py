# SPDX-License-Identifier: Apache-2.0
"""The cycle model: how long kernels and designs take, as formulas of their configurations.

Iterations and initiation intervals are exact: they are the loops of the kernels.  The depth of a pipeline that has not
been synthesised is a model (`latencies`).  Time is counted as the dataflow simulation counts it: an iteration that
starts at t reads at t or when its words are there, its writes can be read from t + latency + 1 on, the next one starts
an initiation interval later; a bank can be read latency + 1 after its filler's last interval; FIFOs never fill up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import UnsupportedError

if TYPE_CHECKING:
    from hls4attn.hls.design import Design, HwNode

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


# ---- iterations ------------------------------------------------------------------------------------------------------


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


def steady_interval(node: HwNode, length: int | None = None) -> int:
    """Cycles between two sequences of a streaming kernel, its banks included.

    Each half of a bank is filled, read latency + 1 cycles later, and filled again a cycle after that; two halves take
    turns:  max( interval, ceil((fill + drain + latency + 2) / 2) ).  Where banks limit, this is the mean of two
    sequences, one of which may take longer than the other.  FIFOs are taken to be deep enough.
    """
    busy = dict(processes(node, length))
    latency = node.ints.get("latency", latencies(node)["latency"])
    banks = (("load_keys", "score_slices"), ("load_values", "weigh_slices"), ("load", "emit"))
    turns = [busy[fill] + busy[drain] + latency + 2 for fill, drain in banks if fill in busy]
    return max([interval(node, length), *(ceil_div(cycles, 2) for cycles in turns)])


def waiting_rows(node: HwNode) -> int:
    """Rows that a normalisation's FIFO between statistics and affine must hold so that statistics never wait for it.

    Row r leaves row_interval + 2 * (latency + 1) cycles after it came, and its place is free one cycle later; row r + d
    wants it d * row_interval after row r, when its write arrives:  d = 1 + ceil((latency + 2) / row_interval).
    """
    latency = node.ints.get("latency", latencies(node)["latency"])
    return max(2, 1 + ceil_div(latency + 2, row_interval(node)))


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


# ---- pipelines -------------------------------------------------------------------------------------------------------

_READ = _WRITE = _ROM = _TAIL = 1
_MULTIPLY = 2


def _tail(ints: Mapping[str, int], prefix: str = "") -> int:
    """Cycles of a tail: 1, and 2 for a scale, 1 for an offset."""
    scale, offset = ints.get(f"{prefix}scale_by", 0), ints.get(f"{prefix}offset_by", 0)
    return _TAIL + (_MULTIPLY if scale else 0) + (1 if offset else 0)


def latencies(node: HwNode) -> dict[str, int]:
    """The member `latency` of a streaming kernel: cycles from reading to writing, of its deepest process.

    A model, since nothing is synthesised: reading 1, ROM or bank 1, a multiplier 2, an adder tree one a level, a tail
    1 (with a scale 3, with an offset 1 more), a root or division one a bit of its result or dividend, writing 1.
    """
    return {"latency": max(_READ + depth + _WRITE for depth in _depths(node))}


def _depths(node: HwNode) -> list[int]:
    """Cycles of each process of a kernel between reading and writing."""
    ints = node.ints
    tail = _tail(ints)
    if node.op == "AttnDense":
        several = ints.get("in_block", ints["n_in"]) < ints["n_in"]  # partial sums are added up
        return [_ROM + _MULTIPLY + ceil_log2(ints.get("in_block", ints["n_in"]) + several) + tail]
    if node.op == "AttnFork":
        return [0]
    if is_norm(node):
        return _norm_depths(node, ceil_log2(ints.get("lanes", ints["channels"]) + 1), tail)
    if is_attention(node):
        return _attention_depths(node, tail)
    if is_gain_cell(node):
        return [_gain_cell_depth(ints, tail)]
    return [tail + {"AttnAffine": 0, "AttnMultiply": _MULTIPLY, "AttnPermute": _ROM}.get(node.op, 1)]


def _norm_depths(node: HwNode, tree: int, tail: int) -> list[int]:
    """statistics, prepare, affine; shifts and comparisons count one."""
    ints = node.ints
    if node.op == "AttnIntegerLayerNorm":
        dividend = ints["rsqrt_bits"] + ints["root_bits"] + 2
        prepare = _MULTIPLY + 1 + 1 + 1 + ints["root_bits"] + dividend  # C Ex2, - Ex^2, leading one, shift
        return [_MULTIPLY + tree, prepare, 3 * _MULTIPLY + 1 + 1 + 1 + tail]
    return [_MULTIPLY + 1 + _ROM + 1 + tree, 2 * _MULTIPLY + 1 + 1 + _ROM, 1 + 1 + 2 * _MULTIPLY + 1 + 1 + 1 + tail]


def _gain_cell_depth(ints: Mapping[str, int], tail: int) -> int:
    """Word and current, level, score, pulse, product, level, sum, limit; then its code and the sum of codes."""
    scan = _ROM + 1 + _MULTIPLY + ceil_log2(ints["head_dim"]) + 1 + _MULTIPLY + 1 + 1 + 1
    return scan + (_MULTIPLY if ints["pulse_multiplier"] != 1 else 0) + _MULTIPLY + 1 + 1 + tail


def _attention_depths(node: HwNode, tail: int) -> list[int]:
    ints = node.ints
    several = chunks(node) > 1
    score = _ROM + _MULTIPLY + ceil_log2(ints["width"] + several) + _tail(ints, "score_")
    weigh = _ROM + _MULTIPLY + ceil_log2(ints.get("lanes", 1) + 1) + tail
    function = {
        "ConSmax": lambda: _ROM + 1,
        "ConSmaxSplit": lambda: _ROM + (ints["nibbles"] - 1) * _MULTIPLY + 2,
        "Softmax": lambda: ints["exp_frac"] + ints["out_frac"] + ints["guard"] + 2,  # the dividend's bits
        "E2Softmax": lambda: ceil_log2(ints.get("lanes", 1)) + 4,  # maximum, Log2Exp, shift, sum
        "E2Context": lambda: ceil_log2(ints.get("lanes", 1)) + 4,
    }[score_function(node)]()
    return [score, function, weigh]


# ---- schedules -------------------------------------------------------------------------------------------------------


def starts(ready: Times, cycles: int | Times) -> Times:
    """When the iterations of a process start: t[k] = max(t[k-1] + cycles[k-1], ready[k])."""
    costs = np.broadcast_to(np.asarray(cycles, dtype=np.int64), ready.shape)
    offset = np.concatenate([[0], np.cumsum(costs)[:-1]]).astype(np.int64)
    return np.asarray(np.maximum.accumulate(ready - offset) + offset, dtype=np.int64)


def row_times(node: HwNode, inputs: list[Times], length: int | None = None) -> Times:
    """When each output row of a streaming kernel can be read, for the times of its input rows."""
    latency = node.ints.get("latency", latencies(node)["latency"])
    if is_attention(node):
        return _attention_times(node, inputs, length, latency)
    if node.op == "AttnPermute":
        bank = starts(inputs[0], 1)[-1] + 1 + latency + 1
        return np.asarray(bank + np.arange(rows_of(node, length)) + latency + 1, dtype=np.int64)
    cycles = token_cycles(node.ints, rows_of(node, length)) if is_gain_cell(node) else row_interval(node)
    ready = np.maximum.reduce([t[: rows_of(node, length)] for t in inputs])
    start = starts(ready, cycles)
    if is_norm(node):
        prepared = starts(start + cycles + latency, cycles) + latency + 1
        start = starts(prepared, cycles)
    if node.op == "AttnReduceSum":
        start = start[-1:] + cycles
    return np.asarray(start + cycles + latency, dtype=np.int64)


def _attention_times(node: HwNode, inputs: list[Times], length: int | None, latency: int) -> Times:
    """Bank of keys, scores slice by slice, score function, bank of values, weighted sum row by row."""
    q, k, v = (t[: rows_of(node, length)] for t in inputs)
    step = chunks(node)
    load = groups(node) * step
    keys, values = (int(starts(t, load)[-1]) + load + latency + 1 for t in (k, v))
    units = np.repeat(slices(node, length), groups(node))  # words of each row of scores
    words = groups(node) * slices(node, length)  # of each query
    row = np.repeat(np.arange(len(words)), words)
    place = np.arange(len(row)) - np.repeat(np.cumsum(words) - words, words)
    scores = starts(np.maximum(q, keys), words * step)[row] + (place + 1) * step + latency
    weights = _function_times(node, scores, units, latency)
    begin = starts(np.maximum(weights, values), step)
    return np.asarray(begin[np.cumsum(words) - 1] + step + latency, dtype=np.int64)


def _function_times(node: HwNode, scores: Times, units: Times, latency: int) -> Times:
    """When the words behind the score function can be read, for the times of its scores.

    Args:
        node: the attention.
        scores: one time a word.
        units: words of each row of scores.
        latency: of every process.
    """

    def process(ready: Times) -> Times:
        return starts(ready, 1) + latency + 1

    words = process(scores)
    name = score_function(node)
    if name.startswith("ConSmax"):
        return words
    last = np.cumsum(units) - 1  # of each row, and of the row that a word is in
    of_word = np.repeat(last, units)
    whole = of_word
    slice_words = node.ints.get("slice_length", 0) // node.ints.get("lanes", 1)
    if slice_words:  # a maximum comes every slice_words words
        first = of_word + 1 - np.repeat(units, units)
        place = np.arange(len(words)) - first
        whole = np.minimum(first + (place // slice_words + 1) * slice_words - 1, of_word)
    words = process(np.maximum(words, words[whole]))
    sums = words[last]
    if name == "Softmax":
        sums = process(sums)
    return process(np.maximum(words, np.repeat(sums, units)))


@dataclass(frozen=True)
class NodeTimes:
    """One kernel's part of a schedule, in cycles after the first input row.

    Attributes:
        name: the node.
        first: when its first output row can be read.
        last: when its last one can.
        interval: cycles between two sequences.
    """

    name: str
    first: int
    last: int
    interval: int


@dataclass(frozen=True)
class Schedule:
    """When one sequence passes through an empty io_stream design, in cycles.

    Attributes:
        nodes: every kernel's part.
        latency: from writing the first input row to reading the last output row.
        interval: between two sequences, on average over two: that of the slowest kernel, if no FIFO fills up.
        bottleneck: name of that kernel.
    """

    nodes: tuple[NodeTimes, ...]
    latency: int
    interval: int
    bottleneck: str


def schedule(design: Design, length: int | None = None) -> Schedule:
    """The schedule of an io_stream design: row times passed from kernel to kernel, joins take the later.

    Args:
        design: the design; row r of the input is written in cycle r, by a source without latency.
        length: rows of the sequence (tokens); full if not given.
    """
    streams = design.streams
    port = design.input_stream
    rows = length if length is not None and port.tokens else port.rows
    times: dict[str, Times] = {design.input.name: np.arange(1, rows + 1, dtype=np.int64)}
    parts = []
    for node in design.nodes:
        tokens = length if streams[node.output if node.op == "AttnPermute" else node.inputs[0]].tokens else None
        out = row_times(node, [times[n] for n in node.inputs], tokens)
        times |= dict.fromkeys(node.outputs, out)
        parts.append(NodeTimes(node.name, int(out[0]), int(out[-1]), steady_interval(node, tokens)))
    paced = {n.name for n in design.nodes if is_attention(n)}  # of equals, the one that others keep pace with
    slowest = max(parts, key=lambda p: (p.interval, p.name in paced))
    return Schedule(tuple(parts), int(times[design.result][-1]), slowest.interval, slowest.name)
