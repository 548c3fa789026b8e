# SPDX-License-Identifier: Apache-2.0
"""Rows and channels of a streaming network's tensors, and the permutes that a reader of other rows gets in front."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.layout import carrier, operand_ints
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Fixed

Form = tuple[int, int]

#: The way out that every refusal of a streaming network names.
PARALLEL = "or use io_type='io_parallel'"
BY_CHANNEL = 2


def natural_form(shape: tuple[int, ...]) -> Form:
    """Rows and channels of a tensor whose readers do not mind."""
    rows = 1
    for n in shape[:-1]:
        rows *= n
    return rows, shape[-1] if shape else 1


def form_read(node: HwNode) -> Form | None:
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


def form_written(node: HwNode) -> Form:
    """Rows and channels that a kernel writes."""
    ints = node.ints
    if node.op == "AttnPermute":
        return ints["out_rows"], ints["out_channels"]
    if node.op == "AttnReduceSum":
        return 1, ints["inner"]
    if node.op == "AttnDense":
        return ints["rows"], ints["n_out"]
    return form_read(node) or natural_form(node.shape)


def with_moves(design: Design, nodes: list[HwNode]) -> list[HwNode]:
    """The nodes, with a permute before every reader that wants other rows than there are."""
    wishes: dict[str, Form] = {}
    for node in nodes:
        wish = form_read(node)
        for name in node.inputs:
            if wish is not None:
                wishes.setdefault(name, wish)
    port = design.input
    forms = {port.name: wishes.get(port.name, natural_form(port.shape))}
    moved: dict[tuple[object, ...], str] = {}
    out: list[HwNode] = []
    for read in nodes:
        node = read
        if node.op == "AttnPermute":
            rows, channels = wishes.get(node.output, natural_form(node.shape))
            in_rows, in_channels = forms[node.inputs[0]]
            members = {"in_rows": in_rows, "in_channels": in_channels, "out_rows": rows, "out_channels": channels}
            node = replace(node, ints=node.ints | members)
        elif node.op == "AttnReduceSum":
            node = _by_rows(node)
        wish = form_read(node)
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
        forms[node.output] = form_written(node)
    return out


def _in_order(form: Form, strides: tuple[int, int] | None) -> bool:
    """Whether strides read a tensor of this form element after element."""
    if strides is None:
        return True
    return (form[0] == 1 or strides[0] == form[1]) and (form[1] == 1 or strides[1] == 1)


def _by_rows(node: HwNode) -> HwNode:
    """A sum whose result has several axes, as one row of all of them."""
    ints = node.ints
    if ints["inner"] != ints["channels"] and BY_CHANNEL in (ints.get("scale_by"), ints.get("offset_by")):
        raise UnsupportedError(
            f"{node.name}: its result {node.shape} is one row of {ints['inner']} values, but a constant repeats every "
            f"{ints['channels']}; reshape to (rows, channels) before the sum, {PARALLEL}"
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
        name=unique_name(f"rows_{name}", names),
        inputs=(name,),
        in_formats=(fmt,),
        output=unique_name(f"{name}__rows", tensors),
        shape=target,
        format=fmt,
        sources=(),
        ints=ints,
        roms={},
    )


def unique_name(name: str, taken: Iterable[str]) -> str:
    """A C identifier that is not taken, whatever the case of its letters."""
    known = {t.lower() for t in taken}
    base = re.sub(r"\W", "_", name, flags=re.ASCII)
    candidate, k = base, 1
    while candidate.lower() in known:
        candidate, k = f"{base}_{k}", k + 1
    return candidate


def port_form(design: Design, nodes: list[HwNode]) -> Form:
    """Rows and channels of the input port: those of its first reader."""
    for node in nodes:
        if design.input.name in node.inputs:
            if node.op == "AttnPermute":
                return node.ints["in_rows"], node.ints["in_channels"]
            return form_read(node) or natural_form(design.input.shape)
    return natural_form(design.input.shape)
