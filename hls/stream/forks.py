# SPDX-License-Identifier: Apache-2.0
"""Forks of a streaming network: a stream has one reader; a tensor with several gets a kernel that copies its rows."""

from __future__ import annotations

from dataclasses import replace

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.layout import operand_ints
from hls4attn.hls.stream.rows import Form, form_written, port_form, unique_name
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed

#: Streams that one fork writes.
MAX_COPIES = 8


def check_read(design: Design, nodes: list[HwNode]) -> None:
    """Refuse a network with a stream that nothing reads.

    Raises:
        UnsupportedError: naming the stream.
    """
    read = {name for n in nodes for name in n.inputs} | {design.output, *(n for n, _ in design.last.tensors())}
    for name in (design.input.name, *(n.output for n in nodes)):
        if name not in read:
            raise UnsupportedError(f"{name}: nothing reads it, so its stream would fill up; remove it from the model")


def with_forks(design: Design, nodes: list[HwNode]) -> list[HwNode]:
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
            copies = tuple(unique_name(c, taken) if c in taken else c for c in copies)
            taken.update(copies)
            names.append(unique_name(f"fork_{name}", names))
            ints = {"rows": form[0], "channels": form[1]} | operand_ints(fmt)
            out.append(
                HwNode("AttnFork", names[-1], (source,), (fmt,), copies[0], form, fmt, (), ints, {}, copies=copies)
            )
            wanted -= here
            if wanted:
                wanted, source, copies = wanted + 1, copies[-1], copies[:-1]
            free[name] += copies

    forms = {design.input.name: port_form(design, nodes)} | {n.output: form_written(n) for n in nodes}
    fork(design.input.name, design.input.format, forms[design.input.name])
    for node in nodes:
        inputs = tuple(free[name].pop(0) if free[name] else name for name in node.inputs)
        out.append(replace(node, inputs=inputs))
        fork(node.output, node.format, forms[node.output])
    return out
