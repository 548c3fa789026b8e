# SPDX-License-Identifier: Apache-2.0
"""Generated sources that use every kernel between them, for the lint and for the compilers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache

from attention_cases import CASES
from gain_models import SPECS as CELLS
from gain_models import cells_model, token_source
from hls_models import consmax
from hls_networks import residuals
from hls_sole import CONTEXTS, NORMS, SOFTMAX
from hls_typed import TypedMaker, random_graph

from hls4attn.hls import HlsConfig, lower_graph
from hls4attn.hls.axis_cells import cells_cpp
from hls4attn.hls.axis_cpp import Core, kernel_cpp
from hls4attn.hls.bench import context_graph, norm_graph, operator_graph
from hls4attn.hls.design import Design
from hls4attn.hls.emit import design_cpp
from hls4attn.hls.stream.attention_sim import attention_graph
from hls4attn.hls.stream.forks import MAX_COPIES
from hls4attn.hls.stream.network import to_stream
from hls4attn.hls.stream.packets import flag_depth
from hls4attn.hls.stream.ports import port_rows
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.reader import read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSplitSpec, SoftmaxSpec
from hls4attn.models.zoo.registry import zoo_model


def _digits(name: str) -> Graph:
    return read_graph(zoo_model("digits-vit").folder / f"{name}.onnx")


def _sole(name: str) -> Graph:
    """An operator of SOLE: the list it stands in, and its name there."""
    kind, _, case = name.partition("_")
    if kind == "softmax":
        return next(operator_graph(*rest) for n, *rest in SOFTMAX if n == case)
    if kind == "context":
        return next(context_graph(*rest) for n, *rest in CONTEXTS if n == case)
    return next(norm_graph(*rest) for n, *rest in NORMS if n == name)


def _split() -> Graph:
    whole = consmax(2, causal=True)
    return operator_graph(ConSmaxSplitSpec(**{f.name: getattr(whole, f.name) for f in fields(whole) if f.init}), 4, 4)


def _stream(graph: Graph, **choices: object) -> Design:
    return to_stream(lower_graph(graph), HlsConfig(io_type="io_stream", **choices))  # type: ignore[arg-type]


def _attention(name: str) -> Graph:
    case = next(c for c in CASES if c.name == name)
    return attention_graph(case.spec, case.rows, case.head_dim, case.formats)


def _product() -> Graph:
    """Two projections, multiplied value by value."""
    m = TypedMaker((4, 6), Fixed(6, 2), 8)
    x, y = (m.quant(m.add("MatMul", "x", m.constant((6, 6), Fixed(4, 2))), Fixed(8, 4)) for _ in range(2))
    return m.graph(m.quant(m.add("Mul", x, y), Fixed(8, 4)))


#: A line for each design: its name, which is also the name of its source, and how it is made.
DESIGNS: dict[str, Callable[[], Design]] = {
    **{name: (lambda name=name: lower_graph(_digits(name))) for name in ("consmax", "softmax", "sole")},
    **{f"random{seed}": (lambda seed=seed: lower_graph(random_graph(seed))) for seed in range(2)},
    **{
        name: (lambda name=name: lower_graph(_sole(name)))
        for name in (
            *("softmax_causal", "softmax_folded", "softmax_online_3_of_10"),
            *("context_paper", "context_online_causal"),
            *("ai_lut32", "ai_exact", "integer_3"),
        )
    },
    "consmax_split": lambda: lower_graph(_split()),
    "consmax_causal": lambda: lower_graph(operator_graph(consmax(2, causal=True), 4, 4)),
    "softmax_integer": lambda: lower_graph(
        operator_graph(SoftmaxSpec(consmax(2).in_format, (0.35, 0.25), causal=True), 4, 4)
    ),
    **{
        f"stream_{name}": (lambda name=name: _stream(_digits(name), reuse_factor=4))
        for name in ("consmax", "softmax", "sole")
    },
    **{
        f"stream_{name}": (lambda name=name: _stream(_attention(name), reuse_factor=2))
        for name in ("split16", "softmax_causal", "e2softmax_online_floor", "e2context", "e2context_online")
    },
    **{f"stream_{n}_readers": (lambda n=n: _stream(residuals(n))) for n in range(2, MAX_COPIES + 1)},
    **{
        f"stream_{name}": (lambda name=name: _stream(_sole(name), reuse_factor=3))
        for name in ("ai_lut32", "ai_exact", "integer_3")
    },
    "stream_product": lambda: _stream(_product()),
    "cells": lambda: lower_graph(read_graph(cells_model(CELLS["wraps"][0], 20, tail="head"))),
    "stream_cells": lambda: _stream(read_graph(cells_model(CELLS["levels of no power of two"][0], 20))),
    "stream_cells_split": lambda: _stream(read_graph(cells_model(CELLS["split tiles"][0], 20))),
}

#: A process by hand.
_ROWS = """#include "attn_stream.h"
typedef hls4attn::row<ap_fixed<8, 4>, 2> row;
void top(hls::stream<row> &data, hls::stream<row> &res, const int length) {
    HLS4ATTN_LATENCY(1)
    for (int r = 0; r < 8 && r != length; r++) {
        #pragma HLS PIPELINE II=1
        const row in = data.read();
        row out;
        HLS4ATTN_PACK(out)
        for (int c = 0; c < int(row::size); c++) {
            #pragma HLS UNROLL
            out[c] = in[1 - c];
        }
        res.write(out);
        HLS4ATTN_CYCLES(1)
    }
}
"""


@cache
def units() -> dict[str, str]:
    """The sources by name; the top function of each is `top`."""
    token = token_source(CELLS["wraps"][0])
    designs = {name: _source(make()) for name, make in DESIGNS.items()}
    return {"rows": _ROWS, "cells_token": token, **designs, **_ported()}


def _ported() -> dict[str, str]:
    """Kernels between AXI4-Streams: of a streaming design, of one between arrays, and of gain cells."""
    rows, arrays = _stream(_product()), lower_graph(random_graph(0))
    stream = Core("core", "port_in_row", "port_out_row", depths=(3, 2), arguments=", 4")
    array = Core("core", "port_in_t", "port_out_t", ("ARRAY_RESHAPE complete dim=0", "ARRAY_PARTITION complete dim=0"))
    return {
        "axis_stream": design_cpp(rows, "core") + kernel_cpp("top", stream, port_rows(rows), flag_depth(rows)),
        "axis_array": design_cpp(arrays, "core") + kernel_cpp("top", array, port_rows(arrays), flag_depth(arrays)),
        "axis_cells": cells_cpp("top", CELLS["levels of no power of two"][0], 3, 14),
    }


def _source(design: Design) -> str:
    text = design_cpp(design, "top")
    if "hls::stream<" in text:  # its top function is a template on the type of the length
        text += "template void top(hls::stream<port_in_row> &, hls::stream<port_out_row> &, const int);\n"
    return text


#: What makes the rest of a source read as in synthesis: the vendor's open headers refuse it, so they come first.
SYNTHESIS = '#include "ap_fixed.h"\n#include "ap_int.h"\n#include "hls_stream.h"\n#define __SYNTHESIS__\n'


def namespaces(texts: Mapping[str, str], headers: Iterable[str]) -> str:
    """One source that reads the headers, then each text in a namespace of its own."""
    start = "".join(f'#include "{name}"\n' for name in headers)
    return start + "".join(f"namespace hls4attn_{name} {{\n{text}\n}}\n" for name, text in texts.items())


def bare(text: str) -> str:
    """A text without its includes; lines keep their numbers."""
    return re.sub(r"^#include.*", "", text, flags=re.MULTILINE)
