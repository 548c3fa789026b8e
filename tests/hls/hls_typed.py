# SPDX-License-Identifier: Apache-2.0
"""Typed graphs by hand (every rounding and overflow mode), and many designs in one translation unit."""

from __future__ import annotations

import ctypes
import hashlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.csim import Interface
from hls4attn.hls.design import Design
from hls4attn.hls.emit import design_cpp
from hls4attn.models.export.graph import Constant, Graph, Node, Tensor
from hls4attn.models.export.infer import infer
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ScoreSpec

ROUNDINGS = ("half_even", "half_up", "floor")
OVERFLOWS = ("saturate", "saturate_symmetric", "wrap")


class TypedMaker:
    """Collects typed nodes; every method returns the name of the tensor it made."""

    def __init__(self, shape: tuple[int, ...], fmt: Fixed, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.input = Tensor("x", shape, fmt)
        self.tensors: dict[str, Tensor] = {"x": self.input}
        self.nodes: list[Node] = []

    def add(self, op: str, *inputs: str, target: Tensor | None = None, **more: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        node = Node(op, name, inputs, f"{name}_y", **more)
        self.tensors[node.output] = infer(node, [self.tensors[i] for i in inputs], target)
        self.nodes.append(node)
        return node.output

    def constant(self, shape: tuple[int, ...], fmt: Fixed) -> str:
        name = f"c{len(self.tensors)}"
        codes = self.rng.integers(fmt.min, fmt.max, shape, endpoint=True)
        self.tensors[name] = Constant(name, shape, fmt, codes)
        return name

    def quant(self, x: str, fmt: Fixed) -> str:
        return self.add("Quant", x, target=Tensor("", (), fmt))

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        return self.add("Reshape", x, target=Tensor("", shape, Fixed(1, 0, False)))

    def score(self, x: str, spec: ScoreSpec) -> str:
        return self.add("Score", x, spec=spec)

    def shape(self, x: str) -> tuple[int, ...]:
        return self.tensors[x].shape

    def graph(self, output: str) -> Graph:
        return Graph("typed", self.input, self.tensors[output], "x_float", tuple(self.nodes), self.tensors)


def random_format(rng: np.random.Generator, low: int = 2, high: int = 10) -> Fixed:
    signed = bool(rng.integers(2))
    return Fixed(
        int(rng.integers(low, high + 1)),
        int(rng.integers(-2, 8)),
        signed,
        ROUNDINGS[rng.integers(3)],  # type: ignore[arg-type]
        OVERFLOWS[rng.integers(3)],  # type: ignore[arg-type]
    )


def random_graph(seed: int, steps: int = 9) -> Graph:
    """A random chain with residuals, moves and every element-wise node; no value needs more than 30 bits."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 7)))
    m = TypedMaker(shape, random_format(rng), seed + 1)
    x, earlier = "x", ["x"]
    for _ in range(steps):
        if m.tensors[x].format.width > 13:
            x = m.quant(x, random_format(rng))
        x = _step(m, rng, x, earlier)
        earlier.append(x)
    if rng.integers(2) and len(m.shape(x)) > 1:
        x = m.add("ReduceSum", x, axes=(int(rng.integers(len(m.shape(x)))),))
    if rng.integers(2):
        x = m.quant(x, random_format(rng))
    graph = m.graph(x)
    needed, live = {x}, []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            live.append(node)
    return m.graph(x) if len(live) == len(graph.nodes) else _with(graph, tuple(reversed(live)))


def _with(graph: Graph, nodes: tuple[Node, ...]) -> Graph:
    return Graph(graph.name, graph.input, graph.output, graph.float_input, nodes, graph.tensors)


def _step(m: TypedMaker, rng: np.random.Generator, x: str, earlier: list[str]) -> str:
    shape = m.shape(x)
    constant = Fixed(int(rng.integers(2, 6)), int(rng.integers(-1, 5)))
    same = [e for e in earlier if m.shape(e) == shape and m.tensors[e].format.width <= 13]
    kind = rng.choice(["dense", "quant", "relu", "mul", "add", "both", "move", "matmul"])
    y = None
    if kind == "dense":
        y = m.add("MatMul", x, m.constant((shape[-1], int(rng.integers(1, 6))), constant))
    elif kind == "relu":
        y = m.add("Relu", x)
    elif kind in ("mul", "add"):
        choices = [(), (1,), (shape[-1],), shape, (*shape[:-1], 1)]
        y = m.add(kind.capitalize(), x, m.constant(choices[rng.integers(len(choices))], constant))
    elif kind == "both" and same:
        y = m.add(("Add", "Mul")[rng.integers(2)], x, same[rng.integers(len(same))])
    elif kind == "move" and len(shape) == 2:
        y = m.add("Transpose", x, permutation=(1, 0)) if rng.integers(2) else m.reshape(x, shape[::-1])
    elif kind == "matmul" and len(shape) == 2 and m.tensors[x].format.width <= 10:
        y = m.add("MatMul", x, m.add("Transpose", x, permutation=(1, 0)))
    return y or m.quant(x, random_format(rng))


_BRIDGE = """
{export} void run{k}(const int *codes, int *results, int *taps, long samples) {{
    for (long s = 0; s < samples; s++) {{
        d{k}::port_in_t x[{n_in}];
        d{k}::layer{last}_t y[{n_out}];
        for (int i = 0; i < {n_in}; i++) {{
            x[i] = hls4attn::from_raw<d{k}::port_in_t>(codes[s * {n_in} + i]);
        }}
        {targets}
        d{k}::top(x, y);
        for (int i = 0; i < {n_out}; i++) {{
            results[s * {n_out} + i] = int(hls4attn::raw(y[i]));
        }}
    }}
}}
"""


class Many:
    """Designs compiled together."""

    def __init__(self, designs: list[Design], defines: tuple[str, ...] = ()) -> None:
        self.interfaces = [Interface.of(d) for d in designs]
        headers = "".join(f'#include "{h.name}"\n' for h in sorted(include_dir().glob("*.h")))
        parts = [headers]
        for k, (design, interface) in enumerate(zip(designs, self.interfaces, strict=True)):
            body = [line for line in design_cpp(design, "top").splitlines() if not line.startswith("#include")]
            targets = ""
            for tap, (size, _) in enumerate(interface.taps):
                targets += f"hls4attn::record_target({tap}) = taps; taps += {size}; "
            parts.append(f"namespace d{k} {{\n" + "\n".join(body) + "\n}\n")
            parts.append(
                _BRIDGE.format(
                    export=EXPORT,
                    k=k,
                    n_in=prod(interface.input.shape),
                    n_out=prod(interface.output.shape),
                    last=design.nodes.index(design.last) + 1,
                    targets=targets,
                )
            )
        text = "".join(parts)
        self.main = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
        atomic_write(self.main, text.encode())
        self.includes: tuple[Path, ...] = (include_dir(), ap_types_dir())
        most = max(len(i.taps) for i in self.interfaces)
        self.library = ctypes.CDLL(str(compile_library(self.main, self.includes, (f"HLS4ATTN_TRACE={most}", *defines))))

    def trace(self, k: int, codes: Codes) -> dict[str, Codes]:
        interface = self.interfaces[k]
        x = np.ascontiguousarray(codes.reshape(len(codes), -1), dtype=np.int32)
        y = np.empty((len(x), prod(interface.output.shape)), dtype=np.int32)
        taps = np.empty((len(x), sum(s for s, _ in interface.taps)), dtype=np.int32)
        function = getattr(self.library, f"run{k}")
        function(
            ctypes.c_void_p(x.ctypes.data),
            ctypes.c_void_p(y.ctypes.data),
            ctypes.c_void_p(taps.ctypes.data),
            ctypes.c_long(len(x)),
        )
        found, start = {}, 0
        for size, tensors in interface.taps:
            for t in tensors:
                found[t.name] = taps[:, start : start + size].reshape(len(x), *t.shape)
            start += size
        assert np.array_equal(found[interface.output.name].reshape(len(x), -1), y)
        return found
