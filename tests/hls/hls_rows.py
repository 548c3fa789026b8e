# SPDX-License-Identifier: Apache-2.0
"""Row-wise streaming kernels, each alone: random nodes with random blocks and lanes, compiled together."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from hls_sole import ailayernorm, layernorm
from hls_typed import TypedMaker, random_format

from hls4attn.hls import include_dir, lower_graph
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.design import HwNode
from hls4attn.hls.emit import config_cpp, cpp_type
from hls4attn.hls.stream.blocks import block_order
from hls4attn.models.export import Reference, random_codes
from hls4attn.models.export.graph import Graph
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes, Fixed

SIM = include_dir().parent / "sim"


@dataclass(frozen=True)
class Case:
    """One kernel.

    Attributes:
        graph: where its reference comes from.
        node: the kernel, with its streaming members; dense weights in the order of their blocks.
        rows: most rows that it counts (of its input; of its result for a permute).
        cycles: cycles a row.
        extra: rows' worth of cycles that a sequence takes besides.
    """

    graph: Graph
    node: HwNode
    rows: int
    cycles: int
    extra: int = 0

    def sequences(self, seed: int) -> tuple[list[int], list[list[Codes]], list[Codes]]:
        """Lengths (every one, and full ones back to back), operand rows and result rows of each sequence."""
        rng = np.random.default_rng(seed)
        lengths = [*rng.permutation(np.arange(1, self.rows + 1)).tolist(), self.rows, self.rows, 1]
        codes = random_codes(self.graph.input, len(lengths), seed)
        node = self.node
        if node.op == "AttnReduceSum":
            for x, n in zip(codes, lengths, strict=True):
                x[n:] = 0  # rows that are not there add nothing
        trace = Reference(self.graph).trace(codes)
        operands, results = [], []
        for s, n in enumerate(lengths):
            read = None if node.op == "AttnPermute" else n
            operands.append([_rows(trace[name][s])[:read] for name in node.inputs])
            results.append(_rows(trace[node.output][s])[: None if node.op == "AttnReduceSum" else n])
        return lengths, operands, results


def _rows(codes: Codes) -> Codes:
    return codes.reshape(-1, codes.shape[-1])


def make(seed: int, kind: str, full: bool = False) -> Case:
    """A random kernel: sizes, formats, tail, and how much of a row it does a cycle (`full`: everything).

    Kernels whose results are nearly constant (a factor of zero, a ReLU of nothing positive) are drawn again.
    """
    for attempt in range(seed, seed + 100_000, 1000):
        rng = np.random.default_rng(attempt)
        case = _permute(rng) if kind == "permute" else _draw(rng, kind, full)
        if case and len(np.unique(np.concatenate([r.ravel() for r in case.sequences(seed)[2]]))) > 3:
            return case
    raise AssertionError(f"no kernel worth testing in 100 draws of {kind}")


def _draw(rng: np.random.Generator, kind: str, full: bool) -> Case:
    rows, channels = int(rng.integers(1, 6)), int(rng.integers(1, 17))
    shape = (channels,) if kind == "dense" and rng.integers(4) == 0 else (rows, channels)
    m = TypedMaker(shape, random_format(rng, 4), int(rng.integers(1 << 30)))
    op, y = _KINDS[kind](m, rng, channels)
    graph = m.graph(_tail(m, rng, y, kind == "affine"))
    node = next(n for n in lower_graph(graph).nodes if n.op == op)
    if kind == "dense":
        return _blocks(graph, node, prod(shape[:-1]), rng, full)
    lanes = channels if full else int(rng.integers(1, channels + 1))
    node = replace(node, ints=node.ints | {"lanes": lanes, "latency": int(rng.integers(1, 6))})
    return Case(graph, node, rows, -(-channels // lanes), int(kind == "reduce"))


def _limit(m: TypedMaker, rng: np.random.Generator, x: str) -> str:
    """A quantiser in any mode whose range is near that of the values, now and then exceeded."""
    before, after = m.tensors[x].format, random_format(rng, 4)
    return m.quant(x, replace(after, frac=before.frac - max(before.width - after.width - int(rng.integers(5)), -3)))


def _tail(m: TypedMaker, rng: np.random.Generator, y: str, needed: bool) -> str:
    """Some of: constant factor, constant term, ReLU, quantiser."""
    kept = [bool(rng.integers(2)) for _ in range(4)]
    if needed and not any(kept):
        kept[int(rng.integers(4))] = True
    shape = m.shape(y)
    choices = [(), (1,), (shape[-1],), shape]
    for op, wanted in zip(("Mul", "Add"), kept[:2], strict=True):
        if wanted:
            y = m.add(
                op, y, m.constant(choices[rng.integers(4)], Fixed(int(rng.integers(2, 6)), int(rng.integers(-1, 5))))
            )
    y = m.add("Relu", y) if kept[2] else y
    return _limit(m, rng, y) if kept[3] else y


def _dense(m: TypedMaker, rng: np.random.Generator, channels: int) -> tuple[str, str]:
    weights = m.constant((channels, int(rng.integers(1, 8))), Fixed(int(rng.integers(2, 7)), int(rng.integers(-1, 5))))
    return "AttnDense", m.add("MatMul", "x", weights)


def _two(op: str, onnx: str) -> Callable[[TypedMaker, np.random.Generator, int], tuple[str, str]]:
    def build(m: TypedMaker, rng: np.random.Generator, _: int) -> tuple[str, str]:
        a, b = (_limit(m, rng, m.add("Mul", "x", m.constant((), Fixed(4, k)))) for k in (1, 2))
        return op, m.add(onnx, a, b)

    return build


def _norm(op: str, spec: Callable[..., Any], **more: object) -> Callable[..., tuple[str, str]]:
    def build(m: TypedMaker, rng: np.random.Generator, channels: int) -> tuple[str, str]:
        limited = m.quant("x", Fixed(10, 5))
        return op, m.add("Norm", limited, norm=spec(channels, int(rng.integers(100)), **more))

    return build


_KINDS: dict[str, Callable[[TypedMaker, np.random.Generator, int], tuple[str, str]]] = {
    "dense": _dense,
    "affine": lambda m, rng, channels: ("AttnAffine", "x"),
    "add": _two("AttnAdd", "Add"),
    "multiply": _two("AttnMultiply", "Mul"),
    "reduce": lambda m, rng, channels: ("AttnReduceSum", m.add("ReduceSum", "x", axes=(0,))),
    "layernorm": _norm("AttnIntegerLayerNorm", layernorm),
    "ailayernorm": _norm("AttnAILayerNorm", ailayernorm),
    "ailayernorm_lut32": _norm("AttnAILayerNorm", ailayernorm, squares="lut32"),
    "ailayernorm_exact": _norm("AttnAILayerNorm", ailayernorm, squares="exact"),
}


def _blocks(graph: Graph, node: HwNode, rows: int, rng: np.random.Generator, full: bool) -> Case:
    n_in, n_out = node.ints["n_in"], node.ints["n_out"]
    block = (n_in, n_out) if full else (int(rng.integers(1, n_in + 1)), int(rng.integers(1, n_out + 1)))
    ints = node.ints | {"in_block": block[0], "out_block": block[1], "latency": int(rng.integers(1, 6))}
    roms = node.roms | {"weights": block_order(node.roms["weights"], n_in, n_out, *block)}
    cycles = -(-n_in // block[0]) * -(-n_out // block[1])
    return Case(graph, replace(node, ints=ints, roms=roms), rows, cycles)


def _permute(rng: np.random.Generator) -> Case | None:
    shape = tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(2, 5))))
    m = TypedMaker(shape, random_format(rng, 4), int(rng.integers(1 << 30)))
    order = tuple(int(a) for a in rng.permutation(len(shape)))
    graph = m.graph(_tail(m, rng, _limit(m, rng, m.add("Transpose", "x", permutation=order)), False))
    node = lower_graph(graph).nodes[0]
    if node.op != "AttnPermute":
        return None  # the order moved nothing
    rows_in, rows = prod(shape[:-1]), prod(node.shape[:-1])
    sizes = {"in_rows": rows_in, "in_channels": shape[-1], "out_rows": rows, "out_channels": node.shape[-1]}
    return Case(graph, replace(node, ints=node.ints | sizes | {"latency": int(rng.integers(1, 6))}), rows, 1)


_COMMON = """#include <cstdio>
template <class row_T> void put(hls::stream<row_T> &stream, const int *&codes) {
    row_T word;
    for (unsigned c = 0; c < row_T::size; c++) {
        word[c] = hls4attn::from_raw<typename row_T::value_type>(*codes++);
    }
    stream.write(word);
}
template <class row_T> void take(hls::stream<row_T> &stream, int *&codes) {
    const row_T word = stream.read();
    for (unsigned c = 0; c < row_T::size; c++) {
        *codes++ = int(hls4attn::raw(word[c]));
    }
}
"""

#: All sequences wait in the input streams before the first one is worked on; or everything runs side by side.
_BENCH = """
namespace k{k} {{
{types}{config}}}
{export} int run{k}(const int *lengths, const int *in_rows, const int *out_rows, long sequences,
                    const int *const *operands, int *results, unsigned seed, int interrupts, long long *times) {{
    const int *at[] = {{operands[0], operands[1]}};
    try {{
#ifndef HLS4ATTN_DATAFLOW
        {streams}
        for (long s = 0; s < sequences; s++) {{
            for (int r = 0; r < in_rows[s]; r++) {{
                {puts}
            }}
        }}
        for (long s = 0; s < sequences; s++) {{
            const int length = lengths[s];
            {call};
            for (int r = 0; r < out_rows[s]; r++) {{
                take(res, results);
            }}
        }}
#else
        hls4attn::sim::network net(int(sequences), seed, interrupts);
        const hls4attn::sim::run_time_length length(lengths, 0);
        net.run([&]() {{
            {streams}
            hls4attn::sim::spawn("source", true, [&]() {{
                for (int r = 0; r < in_rows[hls4attn::sim::self().sequence]; r++) {{
                    {puts}
                    hls4attn::sim::spend(1);
                }}
            }});
            hls4attn::sim::spawn("sink", true, [&]() {{
                for (int r = 0; r < out_rows[hls4attn::sim::self().sequence]; r++) {{
                    take(res, results);
                    times[0] = hls4attn::sim::self().time;
                    hls4attn::sim::spend(1);
                }}
            }});
            HLS4ATTN_{mark}({call})
            HLS4ATTN_JOIN
        }});
        for (const auto &p : net.processes) {{
            if (p->busy > 0 && p->name != "source" && p->name != "sink") {{
                *++times = p->busy;
            }}
        }}
#endif
    }} catch (const hls4attn::sim::failure &error) {{
        fprintf(stderr, "%s\\n", error.what());
        return 1;
    }}
    return hls4attn::sim::take_note().empty() ? 0 : 2;
}}
"""


def _bench(k: int, case: Case) -> str:
    node = case.node
    width = node.ints[{"AttnPermute": "in_channels", "AttnDense": "n_in"}.get(node.op, "channels")]
    inputs = [f"x{j}" for j in range(len(node.in_formats))]
    rows = [
        *((n, f, width) for n, f in zip(inputs, node.in_formats, strict=True)),
        ("res", node.format, node.shape[-1]),
    ]
    roms = [f"k{k}::{n}1" if n in node.roms else "hls4attn::none" for n in (*node.kernel.roms, "scale", "offset")]
    types = ", ".join([*(f"k{k}::{n}_row" for n, *_ in rows), f"k{k}::config1"])
    return _BENCH.format(
        k=k,
        export=EXPORT,
        types="".join(f"typedef hls4attn::row<{cpp_type(f)}, {c}> {n}_row;\n" for n, f, c in rows),
        config=config_cpp(node, 1, 1),
        streams="\n        ".join(f'hls::stream<k{k}::{n}_row> {n}("{n}");' for n, *_ in rows),
        puts=" ".join(f"put({n}, at[{j}]);" for j, n in enumerate(inputs)),
        call=f"hls4attn::{node.kernel.function}<{types}>({', '.join([*inputs, 'res', *roms, 'length'])})",
        mark="REGION" if node.kernel.region else "PROCESS",
    )


class Rows:
    """Kernels compiled together."""

    def __init__(self, cases: Sequence[Case], defines: tuple[str, ...] = ()) -> None:
        self.cases = cases
        headers = sorted({c.node.kernel.stream_header for c in cases})
        text = "".join([*(f'#include "{h}"\n' for h in headers), _COMMON, *(_bench(k, c) for k, c in enumerate(cases))])
        path = cache_dir() / "tests" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.cpp"
        atomic_write(path, text.encode())
        self.main, self.includes = path, (include_dir(), SIM, ap_types_dir())
        self.library = ctypes.CDLL(str(compile_library(path, self.includes, defines)))

    def run(
        self, k: int, lengths: list[int], operands: list[list[Codes]], results: list[Codes], seed: int = 0
    ) -> tuple[Codes, list[int]]:
        """Result codes, flat, and in dataflow simulation the last cycle and every process's busy cycles.

        Raises:
            RuntimeError: if a stream ran dry, or was not read to its end.
        """
        flat = [np.concatenate([o[j].ravel() for o in operands]).astype(np.int32) for j in range(len(operands[0]))]
        y = np.empty(sum(r.size for r in results), dtype=np.int32)
        times = np.zeros(8, dtype=np.int64)
        counts = [lengths, [len(o[0]) for o in operands], [len(r) for r in results]]
        numbers = [np.array(c, dtype=np.int32) for c in counts]
        pointers = (ctypes.c_void_p * 2)(*(a.ctypes.data for a in (flat[0], flat[-1])))
        status = getattr(self.library, f"run{k}")(
            *(ctypes.c_void_p(n.ctypes.data) for n in numbers),
            ctypes.c_long(len(lengths)),
            pointers,
            ctypes.c_void_p(y.ctypes.data),
            ctypes.c_uint(seed),
            ctypes.c_int(20 if seed else 0),
            ctypes.c_void_p(times.ctypes.data),
        )
        if status:
            raise RuntimeError(["", "a stream ran dry", "words are left in a stream"][status])
        return y.astype(np.int64), [int(t) for t in times if t]
