# SPDX-License-Identifier: Apache-2.0
"""Stand-alone C++ examples of the headers: types, tables, configuration and call of one operator, and a `main`."""

from __future__ import annotations

from typing import Any

import numpy as np

from hls4attn.hls.bench import cells_graph, norm_graph, operator_graph
from hls4attn.hls.emit import call_cpp, config_cpp, cpp_type
from hls4attn.hls.lowering import lower_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import (
    AILayerNormSpec,
    ConSmaxSpec,
    E2SoftmaxSpec,
    GainCellSpec,
    IntegerLayerNormSpec,
    SoftmaxSpec,
)

_SCORE, _BYTE = Fixed(4, 1), Fixed(8, 4)
_ROW, _CHANNELS = [-8, -2, 0, 3, 7], [-50, 12, 30, 100]
_BETA = (0.0, 0.0, 0.0, 0.5)

#: Specs and the codes that the examples give them, by name.
EXAMPLES: dict[str, tuple[Any, tuple[list[int], ...]]] = {
    "consmax": (ConSmaxSpec(_SCORE, (1.0,), (4.0,), (0.5,)), (_ROW,)),
    "softmax": (SoftmaxSpec(_SCORE, (0.5,)), (_ROW,)),
    "e2softmax": (E2SoftmaxSpec(_SCORE, (0.5,)), (_ROW,)),
    "ailayernorm": (AILayerNormSpec(_BYTE, _BYTE, (1.0,) * 4, _BETA, (0, 0, 1, 1), rsqrt_entries=8), (_CHANNELS,)),
    "layernorm": (IntegerLayerNormSpec(_BYTE, _BYTE, (1.0,) * 4, _BETA), (_CHANNELS,)),
    "gaincell": (
        GainCellSpec(1, 2, window=2, tile=2, score_saturation=10.0, context_saturation=8.0),
        ([15, 3, 2, 9], [7, 0, 5, 1], [6, 2, 0, 7]),
    ),
}


def answer(name: str) -> list[int]:
    """What the reference says to an example's codes."""
    spec, codes = EXAMPLES[name]
    shape = (1, 2, 2) if isinstance(spec, GainCellSpec) else (1, 1, -1) if hasattr(spec, "heads") else (1, -1)
    found: list[int] = spec.reference(*(np.array(c).reshape(shape) for c in codes)).ravel().tolist()
    return found


def cpp(name: str) -> str:
    """An example as a block of a page, with what it prints."""
    spec, codes = EXAMPLES[name]
    if isinstance(spec, GainCellSpec):
        graph = cells_graph(spec, 2)
    elif hasattr(spec, "heads"):
        graph = operator_graph(spec, 1, len(codes[0]))
    else:
        graph = norm_graph(spec, 1)
    node = lower_graph(graph).nodes[-1]
    names = "qkv" if len(codes) == 3 else "x"
    size = len(codes[0])
    types = [(f"{n}_t", n) for n in names]
    text = f'#include "{node.kernel.header}"\n\n#include <cstdio>\n\n'
    for n, fmt in zip(names, node.in_formats, strict=True):
        text += f"typedef {cpp_type(fmt)} {n}_t;\n"
    text += f"typedef {cpp_type(node.format)} y_t;\n{config_cpp(node, 1, 1)}\nint main() {{\n"
    for n, values in zip(names, codes, strict=True):
        text += f"    const int {n}_codes[{size}] = {{{', '.join(map(str, values))}}};\n"
    text += "".join(f"    {n}_t {n}[{size}];\n" for n in names) + f"    y_t y[{size}];\n"
    text += f"    for (int i = 0; i < {size}; i++) {{\n"
    text += "".join(f"        {n}[i] = hls4attn::from_raw<{n}_t>({n}_codes[i]);\n" for n in names)
    text += f"    }}\n    {call_cpp(node, 1, types, ('y_t', 'y'))}\n"
    text += (
        f'    for (int i = 0; i < {size}; i++) {{\n        std::printf("%d ", int(hls4attn::raw(y[i])));\n    }}\n}}\n'
    )
    return (
        f"```cpp\n{text}```\n\nIt prints what the reference says:\n\n```text\n{' '.join(map(str, answer(name)))}\n```\n"
    )
