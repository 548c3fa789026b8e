# SPDX-License-Identifier: Apache-2.0
"""Hardware nodes -> a network of streaming kernels: one writer and one reader for every stream, one row a word.

    QK --> score function --> PV     becomes one attention kernel
    a tensor with several readers    gets a fork, which copies its rows
    a reader that wants other rows   gets a permute in front: it collects all rows and deals them out again

What has no streaming form is refused by name: nothing is computed in another way than the model says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode, Stream
from hls4attn.hls.layout import carrier, operand_ints
from hls4attn.hls.limits import MAX_WORD
from hls4attn.hls.stream.attention import fuse
from hls4attn.hls.stream.fifos import with_depths
from hls4attn.hls.stream.schedule import scheduled
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed

#: Streams that one fork writes.
MAX_COPIES = 8

Form = tuple[int, int]

_SCORES = ("AttnConSmax", "AttnConSmaxSplit", "AttnSoftmax", "AttnE2Softmax", "AttnE2SoftmaxOnline")
_CONTEXTS = ("AttnE2Context", "AttnE2ContextOnline")
_BY_CHANNEL = 2
_PARALLEL = "or use io_type='io_parallel'"


def to_stream(design: Design, choices: HlsConfig | None = None) -> Design:
    """The io_stream design of an io_parallel one: the same codes, streaming.

    Args:
        design: what `lower_graph` returned.
        choices: how much hardware; one cycle a chunk of attention if not given.

    Raises:
        UnsupportedError: naming the node that has no streaming form, or the choice that does not fit.
    """
    nodes = _with_moves(design, _fused(design))
    _check_read(design, nodes)
    nodes = _with_forks(design, nodes)
    nodes = scheduled(nodes, choices or HlsConfig(io_type="io_stream"))
    streams = _streams(design, nodes)
    return with_depths(replace(design, nodes=tuple(nodes), io_type="io_stream", streams=streams))


# ---- attention -------------------------------------------------------------------------------------------------------


def _fused(design: Design) -> list[HwNode]:
    """The nodes with every attention in one piece, at the place of its last node."""
    producer = {n.output: n for n in design.nodes}
    readers: dict[str, int] = {design.output: 1}
    for name in (name for n in design.nodes for name in n.inputs):
        readers[name] = readers.get(name, 0) + 1
    gone: set[str] = set()
    made: dict[str, HwNode] = {}
    for node in design.nodes:
        if node.op not in ("AttnMatMul", *_CONTEXTS):
            continue
        before = producer.get(node.inputs[0])
        function = before if before is not None and node.op == "AttnMatMul" and before.op in _SCORES else None
        qk = producer.get(function.inputs[0]) if function else before
        if qk is None or qk.op != "AttnMatMul" or (node.op == "AttnMatMul" and function is None):
            continue
        inner = [n for n in (qk, function) if n is not None]
        if any(readers[n.output] != 1 for n in inner):
            continue  # the scores are wanted elsewhere: refused below, by name
        made[node.name] = fuse(qk, function, node)
        gone.update(n.name for n in inner)
    nodes = [made.get(n.name, n) for n in design.nodes if n.name not in gone]
    for node in nodes:
        _check_kernel(node)
    return nodes


def _check_kernel(node: HwNode) -> None:
    if node.op == "AttnReduceSum" and node.ints["outer"] != 1:
        raise UnsupportedError(
            f"{node.name}: only sums over the rows stream, from the first axis on; transpose first, {_PARALLEL}"
        )
    if node.op == "AttnGainCell":
        _check_merged(node)
    if node.kernel.stream_header:
        return
    if node.op == "AttnMatMul":
        reason = "a product of two computed tensors streams only as part of an attention (Q K^T, score function, P V)"
    else:
        reason = "a score function streams only between Q K^T and P V that nothing else reads"
    raise UnsupportedError(f"{node.name} ({node.op}): {reason}; change the model, {_PARALLEL}")


def _check_merged(node: HwNode) -> None:
    """A row of a gain-cell attention has all heads side by side, on every side."""
    heads, rows, head_dim = (node.ints[name] for name in ("heads", "rows", "head_dim"))
    wanted = (head_dim, heads * head_dim, 1)
    for prefix, what in zip("qkvy", ("q", "k", "v", "the result"), strict=True):
        found = tuple(node.ints[f"{prefix}_{axis}"] for axis in ("head", "row", "inner"))
        if any(n > 1 and s != w for n, s, w in zip((heads, rows, head_dim), found, wanted, strict=True)):
            raise UnsupportedError(
                f"{node.name}: no streaming gain cells for {what} with strides {found} over (heads, rows, elements) "
                f"instead of {wanted}; give it as (rows={rows}, {heads * head_dim}) with the heads side by side, "
                f"{_PARALLEL}"
            )


# ---- row forms -------------------------------------------------------------------------------------------------------


def _natural(shape: tuple[int, ...]) -> Form:
    rows = 1
    for n in shape[:-1]:
        rows *= n
    return rows, shape[-1] if shape else 1


def _wanted(node: HwNode) -> Form | None:
    """Rows and channels that a kernel reads, on every input; a permute takes what there is."""
    ints = node.ints
    if node.op == "AttnPermute":
        return None
    if node.op == "AttnReduceSum":
        return ints["count"], ints["inner"]
    if node.op == "AttnDense":
        return ints["rows"], ints["n_in"]
    if "head_dim" in ints:
        return ints["rows"], ints["heads"] * ints["head_dim"]
    return ints["rows"], ints["channels"]


def _made(node: HwNode) -> Form:
    """Rows and channels that a kernel writes."""
    ints = node.ints
    if node.op == "AttnPermute":
        return ints["out_rows"], ints["out_channels"]
    if node.op == "AttnReduceSum":
        return 1, ints["inner"]
    if node.op == "AttnDense":
        return ints["rows"], ints["n_out"]
    return _wanted(node) or _natural(node.shape)


def _with_moves(design: Design, nodes: list[HwNode]) -> list[HwNode]:
    """The nodes, with a permute before every reader that wants other rows than there are."""
    wishes: dict[str, Form] = {}
    for node in nodes:
        wish = _wanted(node)
        for name in node.inputs:
            if wish is not None:
                wishes.setdefault(name, wish)
    port = design.input
    forms = {port.name: wishes.get(port.name, _natural(port.shape))}
    moved: dict[tuple[object, ...], str] = {}
    out: list[HwNode] = []
    for read in nodes:
        node = read
        if node.op == "AttnPermute":
            rows, channels = wishes.get(node.output, _natural(node.shape))
            in_rows, in_channels = forms[node.inputs[0]]
            members = {"in_rows": in_rows, "in_channels": in_channels, "out_rows": rows, "out_channels": channels}
            node = replace(node, ints=node.ints | members)
        elif node.op == "AttnReduceSum":
            node = _by_rows(node)
        wish = _wanted(node)
        inputs = []
        for name, fmt in zip(node.inputs, node.in_formats, strict=True):
            strides = (node.ints["row_stride"], node.ints["in_stride"]) if node.op == "AttnDense" else None
            if wish is None or (forms[name] == wish and _in_order(wish, strides)):
                inputs.append(name)
                continue
            key = (name, wish, None if _in_order(wish, strides) else strides)
            if key not in moved:
                move = _move(name, fmt, forms[name], wish, strides, [n.name for n in (*nodes, *out)], forms)
                out.append(move)
                forms[move.output] = wish
                moved[key] = move.output
            inputs.append(moved[key])
        if node.op == "AttnDense" and wish is not None:
            node = replace(node, ints=node.ints | {"row_stride": wish[1], "in_stride": 1})
        node = replace(node, inputs=tuple(inputs))
        out.append(node)
        forms[node.output] = _made(node)
    return out


def _in_order(form: Form, strides: tuple[int, int] | None) -> bool:
    """Whether strides read a tensor of this form element after element."""
    if strides is None:
        return True
    return (form[0] == 1 or strides[0] == form[1]) and (form[1] == 1 or strides[1] == 1)


def _by_rows(node: HwNode) -> HwNode:
    """A sum whose result has several axes, as one row of all of them."""
    ints = node.ints
    if ints["inner"] != ints["channels"] and _BY_CHANNEL in (ints.get("scale_by"), ints.get("offset_by")):
        raise UnsupportedError(
            f"{node.name}: its result {node.shape} is one row of {ints['inner']} values, but a constant repeats every "
            f"{ints['channels']}; reshape to (rows, channels) before the sum, {_PARALLEL}"
        )
    return replace(node, ints=ints | {"channels": ints["inner"]})


def _move(
    name: str,
    fmt: Fixed,
    source: Form,
    target: Form,
    strides: tuple[int, int] | None,
    names: list[str],
    tensors: Iterable[str],
) -> HwNode:
    """A permute that deals the elements of a stream out in other rows."""
    steps = (0, 0, *(strides or (target[1], 1)))
    bits = max(carrier(fmt), 2)
    ints = {f"n{k}": n for k, n in enumerate((1, 1, *target))} | {f"s{k}": s for k, s in enumerate(steps)}
    ints |= operand_ints(fmt) | {
        "core_width": bits,
        "core_min": fmt.min,
        "core_max": fmt.max,
        "scaled_width": bits,
        "sum_width": bits,
        "sum_frac": fmt.frac,
        "relu": 0,
        "in_rows": source[0],
        "in_channels": source[1],
        "out_rows": target[0],
        "out_channels": target[1],
    }
    return HwNode(
        op="AttnPermute",
        name=_unique(f"rows_{name}", names),
        inputs=(name,),
        in_formats=(fmt,),
        output=_unique(f"{name}__rows", tensors),
        shape=target,
        format=fmt,
        sources=(),
        ints=ints,
        roms={},
    )


def _unique(name: str, taken: Iterable[str]) -> str:
    """A C identifier that is not taken, whatever the case of its letters."""
    known = {t.lower() for t in taken}
    base = re.sub(r"\W", "_", name, flags=re.ASCII)
    candidate, k = base, 1
    while candidate.lower() in known:
        candidate, k = f"{base}_{k}", k + 1
    return candidate


# ---- forks -----------------------------------------------------------------------------------------------------------


def _check_read(design: Design, nodes: list[HwNode]) -> None:
    read = {name for n in nodes for name in n.inputs} | {design.output, *(n for n, _ in design.last.tensors())}
    for name in (design.input.name, *(n.output for n in nodes)):
        if name not in read:
            raise UnsupportedError(f"{name}: nothing reads it, so its stream would fill up; remove it from the model")


def _with_forks(design: Design, nodes: list[HwNode]) -> list[HwNode]:
    """The nodes, with a fork behind every stream of several readers; the design's output counts as one."""
    counts: dict[str, int] = {design.last.output: 1}
    for name in (name for n in nodes for name in n.inputs):
        counts[name] = counts.get(name, 0) + 1
    taken = {n.output for n in nodes} | {design.input.name}
    names = [n.name for n in nodes]
    free: dict[str, list[str]] = {}
    out: list[HwNode] = []

    def fork(name: str, fmt: Fixed, form: Form) -> None:
        """Forks until every reader of a stream has its own; each takes the last copy of the one before."""
        wanted, source = counts.get(name, 0), name
        free[name] = []
        while wanted > 1:
            here = min(wanted, MAX_COPIES)
            copies = tuple(f"{name}__{len(free[name]) + k}" for k in range(here))
            copies = tuple(_unique(c, taken) if c in taken else c for c in copies)
            taken.update(copies)
            names.append(_unique(f"fork_{name}", names))
            ints = {"rows": form[0], "channels": form[1]} | operand_ints(fmt)
            out.append(
                HwNode("AttnFork", names[-1], (source,), (fmt,), copies[0], form, fmt, (), ints, {}, copies=copies)
            )
            wanted -= here
            if wanted:
                wanted, source, copies = wanted + 1, copies[-1], copies[:-1]
            free[name] += copies

    forms = {design.input.name: _port_form(design, nodes)} | {n.output: _made(n) for n in nodes}
    fork(design.input.name, design.input.format, forms[design.input.name])
    for node in nodes:
        inputs = tuple(free[name].pop(0) if free[name] else name for name in node.inputs)
        out.append(replace(node, inputs=inputs))
        fork(node.output, node.format, forms[node.output])
    return out


def _port_form(design: Design, nodes: list[HwNode]) -> Form:
    for node in nodes:
        if design.input.name in node.inputs:
            if node.op == "AttnPermute":
                return node.ints["in_rows"], node.ints["in_channels"]
            return _wanted(node) or _natural(design.input.shape)
    return _natural(design.input.shape)


# ---- streams ---------------------------------------------------------------------------------------------------------


def _streams(design: Design, nodes: list[HwNode]) -> dict[str, Stream]:
    """Rows and channels of every stream, and which of them have a row for each token.

    Attention says what a token is; kernels that write a row for each row they read pass it on, either way.  If the
    attentions of a design differ in their number of rows, no stream has the sequence's length as a variable.
    """
    forms = {design.input.name: _port_form(design, nodes)}
    widths = {design.input.name: design.input.format.width}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.get(name, name) != name:
            name = root[name]
        return name

    for node in nodes:
        for name in node.outputs:
            forms[name], widths[name] = _made(node), node.format.width
        if node.op not in ("AttnPermute", "AttnReduceSum"):
            for name in (*node.inputs[1:], *node.outputs):
                root[find(name)] = find(node.inputs[0])
    for name, (_, channels) in forms.items():
        if channels * widths[name] > MAX_WORD:
            raise UnsupportedError(
                f"{name}: rows of {channels} values of {widths[name]} bits are wider than a stream word of {MAX_WORD} "
                f"bits; use a narrower format or fewer channels, {_PARALLEL}"
            )
    attentions = [n for n in nodes if "head_dim" in n.ints]
    lengths = {n.ints["rows"] for n in attentions}
    tokens = {find(n.inputs[0]) for n in attentions} if len(lengths) == 1 else set()
    return {name: Stream(*form, tokens=find(name) in tokens) for name, form in forms.items()}
