# SPDX-License-Identifier: Apache-2.0
"""Q K^T, score function and P V as one streaming kernel: three hardware nodes become one.

::

    q, k --> AttnMatMul --> AttnConSmax, AttnSoftmax, AttnE2Softmax --> AttnMatMul --> y
                                                                v ------^
    q, k --> AttnMatMul --> AttnE2Context --> y     in the shift form
                       v ----^

The kernel reads q, k and v row by row with the heads side by side in the channels, and writes y likewise.  What it
does not do is refused by name, with the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn, get_args

from hls4attn.hls.design import KERNELS, TAIL_ROMS, HwNode
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed, Overflow, Rounding

#: Members of a score function or product that say where its operands lie, or that the attention states itself.
_PLACES = {"heads", "rows", "inner", "cols", "causal"} | {
    f"{prefix}_{axis}" for prefix in "aby" for axis in ("head", "row", "inner", "col")
}
_FORMATS = tuple(f"{prefix}_{what}" for prefix in ("in", "in2") for what in ("width", "frac", "signed"))
_TAIL = (
    *("core_width", "core_min", "core_max", "scale_by", "scale_width", "scaled_width"),
    *("offset_by", "offset_width", "offset_shift", "sum_width", "sum_frac", "relu"),
)
_BY_ELEMENT = 3
_CONTEXT = "AttnE2Context"
#: Streaming attention of each score function; two passes and online are one kernel.
_FUSED = {
    f"Attn{name}{online}": f"AttnAttention{name}"
    for name in (op.removeprefix("AttnAttention") for op in KERNELS if op.startswith("AttnAttention"))
    for online in ("", "Online")
    if f"Attn{name}{online}" in KERNELS
}
_PARALLEL = "use one of " + ", ".join(_FUSED) + ", or io_type='io_parallel'"


def fuse(qk: HwNode, function: HwNode | None, pv: HwNode | None) -> HwNode:
    """The streaming attention of a product, a score function and a product.

    Args:
        qk: the product Q K^T.
        function: the score function; nothing if `pv` is a shift form.
        pv: the product P V, or the shift form; nothing if `function` is a shift form.

    Returns:
        A node with one lane, one head at a time and a whole head's width; `with_structure` changes that.

    Raises:
        UnsupportedError: naming the node that the kernel does not do, and the remedy.
    """
    last = pv or function
    if last is None:
        raise UnsupportedError(f"{qk.name}: an attention has a score function")
    middle = function or last
    op = _FUSED.get(middle.op)
    shift_form = middle.op.startswith(_CONTEXT)
    if op is None or shift_form != (middle is last):
        _refuse(middle, f"{middle.op} is no score function of a streaming attention", _PARALLEL)
    _check_chain(qk, middle, last)
    rows, heads, head_dim = _check_shapes(qk, middle, last)
    _check_tails(qk, middle, last)
    formats = dict(zip("qkv", (*qk.in_formats, last.in_formats[1]), strict=True))
    ints = {"rows": rows, "heads": heads, "head_dim": head_dim, "causal": middle.ints["causal"]}
    ints |= {"lanes": 1, "parallel_heads": 1, "width": head_dim, "latency": 1}
    for name, fmt in formats.items():
        ints |= {f"{name}_width": fmt.width, f"{name}_frac": fmt.frac, f"{name}_signed": int(fmt.signed)}
    ints |= _quantiser("in", qk.format) | _tail(qk.ints, "score_")
    if not shift_form:
        ints |= _quantiser("p", middle.format)
        ints |= {f"function_{n}": middle.ints[n] for n in ("core_width", "core_min", "core_max")}
        ints |= {f"function_{n}": middle.ints[n] for n in ("sum_width", "sum_frac")}
    ints |= {n: v for n, v in middle.ints.items() if n not in {*_PLACES, *_FORMATS, *_TAIL}}
    ints |= _tail(last.ints)
    roms = {n: rom for n, rom in middle.roms.items() if n not in TAIL_ROMS}
    roms |= {f"score_{n}": rom for n, rom in qk.roms.items()} | {n: last.roms[n] for n in TAIL_ROMS if n in last.roms}
    parts = (qk, middle, last)
    return HwNode(
        op=op,
        name=middle.name,
        inputs=(*qk.inputs, last.inputs[1]),
        in_formats=tuple(formats.values()),
        output=last.output,
        shape=last.shape,
        format=last.format,
        sources=tuple(dict.fromkeys(s for part in parts for s in part.sources)),
        ints=ints,
        roms=roms,
        aliases=last.aliases,
    )


def with_structure(node: HwNode, lanes: int, parallel_heads: int, width: int) -> HwNode:
    """A streaming attention with another structure.

    Args:
        node: what `fuse` returned.
        lanes: keys an iteration.
        parallel_heads: heads an iteration; divides the heads.
        width: elements of a head an iteration.

    Raises:
        UnsupportedError: for a structure that the kernel does not have.
    """
    ints = node.ints
    if not 1 <= lanes <= ints["rows"]:
        _refuse(node, f"lanes={lanes}", f"use 1 to {ints['rows']} lanes, the rows of a sequence")
    if parallel_heads < 1 or ints["heads"] % parallel_heads:
        _refuse(node, f"parallel_heads={parallel_heads}", f"use a divisor of its {ints['heads']} heads")
    if not 1 <= width <= ints["head_dim"]:
        _refuse(node, f"width={width}", f"use 1 to {ints['head_dim']} elements of a head")
    if ints.get("slice_length", 0) % lanes:
        _refuse(
            node,
            f"lanes={lanes} with a slice_length of {ints['slice_length']}: a word would belong to two slices",
            "use a number of lanes that divides slice_length",
        )
    return replace(node, ints=ints | {"lanes": lanes, "parallel_heads": parallel_heads, "width": width})


def _refuse(node: HwNode, reason: str, remedy: str) -> NoReturn:
    raise UnsupportedError(f"{node.name}: no streaming attention for {reason}; {remedy}")


def _check_chain(qk: HwNode, middle: HwNode, last: HwNode) -> None:
    for node, wanted in ((qk, "AttnMatMul"), (last, middle.op if last is middle else "AttnMatMul")):
        if node.op != wanted:
            _refuse(node, f"{node.op} where {wanted} belongs", "io_type='io_parallel' takes any order of kernels")
    for before, after in ((qk, middle), (middle, last)):
        if before is not after and after.inputs[0] not in dict(before.tensors()):
            _refuse(
                after,
                f"its operand {after.inputs[0]!r}, which {before.name} does not produce",
                "let nothing come between",
            )


def _check_shapes(qk: HwNode, middle: HwNode, last: HwNode) -> tuple[int, int, int]:
    """Rows, heads and head_dim of a self-attention; every operand lies as the streams carry it."""
    a, f, b = qk.ints, middle.ints, last.ints
    heads, rows, head_dim = a["heads"], a["rows"], a["inner"]
    shapes = {
        "Q K^T": (a["heads"], a["rows"], a["inner"], a["cols"]),
        "the scores": (f["heads"], f["rows"], head_dim, f["inner" if last is middle else "cols"]),
        "P V": (b["heads"], b["rows"], b["cols"], b["inner"]),
    }
    for what, shape in shapes.items():
        if shape != (heads, rows, head_dim, rows):
            _refuse(
                qk if what == "Q K^T" else last,
                f"{what} of {shape[0]} heads, {shape[1]} rows, {shape[3]} keys and heads of {shape[2]}",
                f"self-attention has as many keys as rows and heads of one width, here {(heads, rows, head_dim, rows)}",
            )
    channels = heads * head_dim
    merged, scores = (head_dim, channels, 1), (rows * rows, rows, 1)
    places = [
        (qk, "q", "a", ("head", "row", "inner"), (heads, rows, head_dim), merged),
        (qk, "k", "b", ("head", "col", "inner"), (heads, rows, head_dim), merged),
        (qk, "the scores", "y", ("head", "row", "col"), (heads, rows, rows), scores),
        (last, "the scores", "a", ("head", "row", "inner"), (heads, rows, rows), scores),
        (last, "v", "b", ("head", "inner", "col"), (heads, rows, head_dim), merged),
        (last, "the result", "y", ("head", "row", "col"), (heads, rows, head_dim), merged),
    ]
    for node, what, prefix, axes, lengths, wanted in places:
        found = tuple(node.ints[f"{prefix}_{axis}"] for axis in axes)
        if any(n > 1 and s != w for n, s, w in zip(lengths, found, wanted, strict=True)):
            _refuse(
                node,
                f"{what} with strides {found} over (heads, rows, elements) instead of {wanted}",
                f"give it as (rows={rows}, {channels}) with the heads side by side, from a dense layer of its own",
            )
    return rows, heads, head_dim


def _check_tails(qk: HwNode, middle: HwNode, last: HwNode) -> None:
    for node, what in ((qk, "scores"), (last, "results")):
        if _BY_ELEMENT in (node.ints.get("scale_by"), node.ints.get("offset_by")):
            _refuse(
                node,
                f"a constant for each of its {what}",
                "use a scalar, or fold a head's factor into score_scale (scores) or the layer behind (results)",
            )
    if middle is not last and ({"scale_by", "offset_by"} & set(middle.ints) or middle.ints["relu"]):
        _refuse(
            middle,
            "probabilities with a constant or a ReLU before P V",
            "apply it to the result of P V, or use io_type='io_parallel'",
        )


def _quantiser(prefix: str, fmt: Fixed) -> dict[str, int]:
    """A format with its modes as numbers, in the order of `Rounding` and `Overflow`."""
    return {
        f"{prefix}_width": fmt.width,
        f"{prefix}_frac": fmt.frac,
        f"{prefix}_signed": int(fmt.signed),
        f"{prefix}_rounding": get_args(Rounding).index(fmt.rounding),
        f"{prefix}_overflow": get_args(Overflow).index(fmt.overflow),
    }


def _tail(ints: Mapping[str, int], prefix: str = "") -> dict[str, int]:
    return {f"{prefix}{name}": ints[name] for name in _TAIL if name in ints}
