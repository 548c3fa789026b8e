# SPDX-License-Identifier: Apache-2.0
"""Streaming attention alone: three input streams, one output stream, any score function and structure."""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.hls import include_dir
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.design import HwNode
from hls4attn.hls.emit import config_cpp, cpp_type, stream_call_cpp
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.attention_graph import AttentionFormats, attention_graph, attention_node
from hls4attn.hls.stream.cycles import interval
from hls4attn.models.errors import InputError, SimulationError
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes
from hls4attn.models.operators import E2ContextSpec, ScoreSpec

_ENTRY = "hls4attn_attention"
_MESSAGE_BYTES = 1 << 12

_TEXT = """// SPDX-License-Identifier: Apache-2.0
// Simulation only: integer codes in and out; the streams stay between sequences, so that nothing may be left in them.
#include "{header}"
#include <cstdint>
#include <cstdio>
#include <memory>

{types}{config}
template <class T> static void put(hls::stream<hls4attn::row<T, {channels}> > &rows, const int32_t *codes, int count) {{
    for (int r = 0; r < count; r++) {{
        hls4attn::row<T, {channels}> word;
        for (int c = 0; c < {channels}; c++) {{
            word[c] = hls4attn::from_raw<T>(codes[r * {channels} + c]);
        }}
        rows.write(word);
    }}
}}

{export} int {entry}(const int32_t *q_codes, const int32_t *k_codes, const int32_t *v_codes, int32_t *results,
                     const int32_t *lengths, long samples, char *message, long size) {{
    std::string wrong;
    try {{
        hls::stream<q_row> q("q");
        hls::stream<k_row> k("k");
        hls::stream<v_row> v("v");
        hls::stream<y_row> y("y");
        for (long s = 0; s < samples; s++) {{
            const int length = lengths[s];
            const long first = s * {rows} * {channels};
            put<q_t>(q, q_codes + first, length);
            put<k_t>(k, k_codes + first, length);
            put<v_t>(v, v_codes + first, length);
            {call};
            for (int r = 0; r < length; r++) {{
                const y_row word = y.read();
                for (int c = 0; c < {channels}; c++) {{
                    results[first + r * {channels} + c] = int32_t(hls4attn::raw(word[c]));
                }}
            }}
        }}
    }} catch (const std::exception &failure) {{
        wrong = failure.what();
    }}
    const std::string left = hls4attn::sim::take_note();
    std::snprintf(message, size, "%s", (wrong.empty() ? left : wrong).c_str());
    return message[0] != 0;
}}
"""


class AttentionSim:
    """Plain C simulation of one streaming attention.

    Args:
        spec: a score function with its heads and its mask, or a shift form.
        rows: tokens of the longest sequence.
        head_dim: width of a head.
        lanes: keys an iteration.
        parallel_heads: heads an iteration.
        width: elements of a head an iteration; all if not given.
        formats: of everything around the score function.
        node: the kernel to simulate, if it is not to be the one that follows from the other arguments.

    Raises:
        ToolError: if there is no compiler, or the kernel does not compile.
        UnsupportedError: for a structure or a score function that it does not have.
    """

    def __init__(
        self,
        spec: ScoreSpec | E2ContextSpec,
        rows: int,
        head_dim: int,
        lanes: int = 1,
        parallel_heads: int = 1,
        width: int | None = None,
        formats: AttentionFormats | None = None,
        node: HwNode | None = None,
    ) -> None:
        if rows < 1 or head_dim < 1:
            raise InputError(f"rows and head_dim must be positive. Received: {rows} and {head_dim}")
        self.spec, self.rows, self.head_dim = spec, rows, head_dim
        self.formats = formats or AttentionFormats()
        made = node or attention_node(attention_graph(spec, rows, head_dim, self.formats))
        self.node = with_structure(made, lanes, parallel_heads, width or head_dim)
        self.channels = spec.heads * head_dim
        self._entry = self._load()

    @property
    def cycles(self) -> int:
        """Cycles of the products for a full sequence, and so between two sequences."""
        return self.cycles_of(self.rows)

    def cycles_of(self, length: int) -> int:
        """Cycles of the products for a sequence of `length` tokens."""
        return interval(self.node, length)

    def source(self) -> str:
        """The C++ text of the simulation."""
        named = {**self.formats.of(self.spec), "y": self.node.format}
        types = ""
        for n in "qkvy":
            types += f"typedef {cpp_type(named[n])} {n}_t;\ntypedef hls4attn::row<{n}_t, {self.channels}> {n}_row;\n"
        return _TEXT.format(
            header=self.node.kernel.stream_header,
            types=types,
            config=config_cpp(self.node, 1, 1),
            call=stream_call_cpp(self.node, 1, [(f"{n}_row", n) for n in "qkv"], [("y_row", "y")], "length"),
            channels=self.channels,
            rows=self.rows,
            export=EXPORT,
            entry=_ENTRY,
        )

    @property
    def includes(self) -> tuple[Path, ...]:
        """Folders for the compiler."""
        return include_dir().parent / "sim", include_dir(), ap_types_dir()

    def _load(self) -> ctypes._NamedFuncPointer:
        text = self.source()
        main = cache_dir() / "bench" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.cpp"
        atomic_write(main, text.encode())
        entry = getattr(ctypes.CDLL(str(compile_library(main, self.includes))), _ENTRY)
        pointer, number = ctypes.c_void_p, ctypes.c_long
        entry.argtypes = [*[pointer] * 5, number, pointer, number]
        return cast("ctypes._NamedFuncPointer", entry)

    def run(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, lengths: ArrayLike | None = None) -> Codes:
        """Result codes of shape ``(batch, rows, heads * head_dim)``, sequences back to back.

        Args:
            q: codes of the queries, ``(batch, rows, heads * head_dim)``.
            k: codes of the keys.
            v: codes of the values.
            lengths: tokens of each sequence; all if not given.  Results beyond them are zero.

        Raises:
            InputError: for wrong shapes, dtypes or ranges.
            SimulationError: for a stream that ran dry or kept words.
        """
        codes, tokens = self._checked(q, k, v, lengths)
        given = [np.ascontiguousarray(a, dtype=np.int32) for a in (*codes, tokens)]
        result = np.zeros(codes[0].shape, dtype=np.int32)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        arrays = [a.ctypes.data for a in (*given[:3], result, given[3])]
        if self._entry(*arrays, len(result), ctypes.addressof(message), _MESSAGE_BYTES):
            raise SimulationError(f"{self.node.name}: {message.value.decode(errors='replace')}")
        return result.astype(np.int64)

    def reference(self, q: ArrayLike, k: ArrayLike, v: ArrayLike, lengths: ArrayLike | None = None) -> Codes:
        """What `run` must return, from the operator's reference and `Fixed.requantise`."""
        codes, tokens = self._checked(q, k, v, lengths)
        result = np.zeros(codes[0].shape, dtype=np.int64)
        for sample, n in enumerate(tokens):
            heads = [a[sample, :n].reshape(n, self.spec.heads, self.head_dim).swapaxes(0, 1) for a in codes]
            context = self._attend(*heads)
            result[sample, :n] = context.swapaxes(0, 1).reshape(n, -1)
        return result

    def _attend(self, q: Codes, k: Codes, v: Codes) -> Codes:
        fmt = self.formats.of(self.spec)
        scores = fmt["scores"].requantise(_product(q, k.swapaxes(-1, -2)), fmt["q"].frac + fmt["k"].frac)
        if isinstance(self.spec, E2ContextSpec):
            return self.spec.reference(scores, v)
        p, grid = self.spec.reference(scores), self.spec.out_format
        if self.formats.probability is not None:
            p, grid = self.formats.probability.requantise(p, grid.frac), self.formats.probability
        return fmt["y"].requantise(_product(p, v), grid.frac + fmt["v"].frac)

    def random_codes(self, batch: int, seed: int) -> tuple[Codes, Codes, Codes]:
        """Codes of q, k and v: eight sequences at the ends of the formats, then random ones of several sizes."""
        rng = np.random.default_rng(seed)
        parts: list[Codes] = []
        for place, name in enumerate("qkv"):
            fmt = self.formats.of(self.spec)[name]
            shape = (batch, self.rows, self.channels)
            codes: Codes = rng.integers(fmt.min, fmt.max, shape, dtype=np.int64, endpoint=True)
            scale = rng.integers(1, 9, (batch, 1, 1)) if name != "v" else np.ones((batch, 1, 1), dtype=np.int64)
            codes = np.maximum(codes // scale, fmt.min)
            for sample in range(min(8, batch)):  # every combination of the ends of q, k and v
                codes[sample] = (fmt.min, fmt.max)[sample >> place & 1]
            parts.append(codes)
        return parts[0], parts[1], parts[2]

    def _checked(
        self, q: ArrayLike, k: ArrayLike, v: ArrayLike, lengths: ArrayLike | None
    ) -> tuple[list[Codes], NDArray[np.int64]]:
        codes = []
        batch = len(np.asarray(q)) if np.ndim(q) else 0
        for name, given in (("q", q), ("k", k), ("v", v)):
            a, fmt = np.asarray(given), self.formats.of(self.spec)[name]
            if a.dtype.kind not in "iu" or a.shape != (batch, self.rows, self.channels) or batch == 0:
                raise InputError(
                    f"{name} must hold integer codes of shape (batch >= 1, {self.rows}, {self.channels}), the same "
                    f"batch for all. Received: {a.dtype} of shape {a.shape}"
                )
            if not fmt.contains(a):
                raise InputError(f"{name} must be within [{fmt.min}, {fmt.max}]. Received: [{a.min()}, {a.max()}]")
            codes.append(a.astype(np.int64))
        tokens = np.full(batch, self.rows) if lengths is None else np.asarray(lengths)
        if tokens.dtype.kind not in "iu" or tokens.shape != (batch,) or tokens.min() < 1 or tokens.max() > self.rows:
            raise InputError(f"lengths must be {batch} integers from 1 to {self.rows}. Received: {tokens}")
        return codes, tokens.astype(np.int64)


def _product(a: Codes, b: Codes) -> Codes:
    """Exact: in float64, which is fast, where it holds every sum of products."""
    if int(np.abs(a).max()) * int(np.abs(b).max()) * a.shape[-1] < 1 << 53:
        return cast(Codes, np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64))
    return cast(Codes, np.matmul(a, b))
