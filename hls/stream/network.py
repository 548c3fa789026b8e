# SPDX-License-Identifier: Apache-2.0
"""Hardware nodes -> a network of streaming kernels: one writer and one reader for every stream, one row a word.

    QK --> score function --> PV     becomes one attention kernel
    a tensor with several readers    gets a fork, which copies its rows
    a reader that wants other rows   gets a permute in front: it collects all rows and deals them out again

What has no streaming form is refused by name: nothing is computed in another way than the model says.
"""

from __future__ import annotations

from dataclasses import replace

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode, Stream
from hls4attn.hls.limits import MAX_WORD
from hls4attn.hls.stream.attention import fuse
from hls4attn.hls.stream.fifos import with_depths
from hls4attn.hls.stream.forks import check_read, with_forks
from hls4attn.hls.stream.rows import PARALLEL, form_written, port_form, with_moves
from hls4attn.hls.stream.schedule import scheduled
from hls4attn.models.errors import UnsupportedError

_SCORES = ("AttnConSmax", "AttnConSmaxSplit", "AttnSoftmax", "AttnE2Softmax", "AttnE2SoftmaxOnline")
_CONTEXTS = ("AttnE2Context", "AttnE2ContextOnline")


def to_stream(design: Design, choices: HlsConfig | None = None) -> Design:
    """The io_stream design of an io_parallel one: the same codes, streaming.

    Args:
        design: what `lower_graph` returned.
        choices: how much hardware; one cycle a chunk of attention if not given.

    Raises:
        UnsupportedError: naming the node that has no streaming form, or the choice that does not fit.
    """
    nodes = with_moves(design, _fused(design))
    check_read(design, nodes)
    nodes = with_forks(design, nodes)
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
            f"{node.name}: only sums over the rows stream, from the first axis on; transpose first, {PARALLEL}"
        )
    if node.op == "AttnGainCell":
        _check_merged(node)
    if node.kernel.stream_header:
        return
    if node.op == "AttnMatMul":
        reason = "a product of two computed tensors streams only as part of an attention (Q K^T, score function, P V)"
    elif node.kernel.folder is not None:
        reason = "a score function of another package has no streaming form"
    else:
        reason = "a score function streams only between Q K^T and P V that nothing else reads"
    raise UnsupportedError(f"{node.name} ({node.op}): {reason}; change the model, {PARALLEL}")


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
                f"{PARALLEL}"
            )


# ---- streams ---------------------------------------------------------------------------------------------------------


def _streams(design: Design, nodes: list[HwNode]) -> dict[str, Stream]:
    """Rows and channels of every stream, and which of them have a row for each token.

    Attention says what a token is; kernels that write a row for each row they read pass it on, either way.  If the
    attentions of a design differ in their number of rows, no stream has the sequence's length as a variable.
    """
    forms = {design.input.name: port_form(design, nodes)}
    widths = {design.input.name: design.input.format.width}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.get(name, name) != name:
            name = root[name]
        return name

    for node in nodes:
        for name in node.outputs:
            forms[name], widths[name] = form_written(node), node.format.width
        if node.op not in ("AttnPermute", "AttnReduceSum"):
            for name in (*node.inputs[1:], *node.outputs):
                root[find(name)] = find(node.inputs[0])
    for name, (_, channels) in forms.items():
        if channels * widths[name] > MAX_WORD:
            raise UnsupportedError(
                f"{name}: rows of {channels} values of {widths[name]} bits are wider than a stream word of {MAX_WORD} "
                f"bits; use a narrower format or fewer channels, {PARALLEL}"
            )
    attentions = [n for n in nodes if "head_dim" in n.ints]
    lengths = {n.ints["rows"] for n in attentions}
    tokens = {find(n.inputs[0]) for n in attentions} if len(lengths) == 1 else set()
    return {name: Stream(*form, tokens=find(name) in tokens) for name, form in forms.items()}
