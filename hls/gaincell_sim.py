# SPDX-License-Identifier: Apache-2.0
"""A gain-cell co-processor in C simulation: heads that keep their window from token to token."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.hls import include_dir, sim_dir
from hls4attn.hls.bridge import EXPORT
from hls4attn.hls.compiler import ap_types_dir, cache_dir, compile_library
from hls4attn.hls.gaincell import current_rows, structure
from hls4attn.hls.stream.cycles import token_cycles
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import FormatError, InputError, UnsupportedError
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec

_ENTRY = "hls4attn_cells"

_TEXT = """// SPDX-License-Identifier: Apache-2.0
// Simulation only: the memory of an instance is the caller's, made empty by reset.
#include "attn_gaincell.h"
#include <cstdint>
#include <cstring>

struct config : hls4attn::gaincell_config {{
{members}}};
typedef hls4attn::gaincell_sizes<config> sizes;
typedef uint8_t codes_t[sizes::channels];
struct cells_t {{
    hls4attn::gaincell_state<config> state;
    int32_t currents[config::window * sizes::entries];
}};

{export} long {entry}_size() {{
    return sizeof(cells_t);
}}

{export} void {entry}_reset(cells_t *cells) {{
    std::memset(static_cast<void *>(cells), 0, sizeof(cells_t));
}}

{export} void {entry}_clear(cells_t *cells) {{
    hls4attn::gaincell_clear(cells->state);
}}

{export} void {entry}_load(cells_t *cells, const int32_t *currents) {{
    std::memcpy(cells->currents, currents, sizeof(cells->currents));
}}

{export} long {entry}_count(const cells_t *cells) {{
    return long(cells->state.filled);
}}

{export} void {entry}_step(cells_t *cells, const codes_t *q, const codes_t *k, const codes_t *v,
                           int32_t (*sums)[sizes::channels], long tokens) {{
    for (long t = 0; t < tokens; t++) {{
        hls4attn::gaincell_token<config>(cells->state, cells->currents, q[t], k[t], v[t], sums[t]);
    }}
}}
"""


class GainCellSim:
    """Gain-cell heads as a co-processor has them: a window and a table of currents that outlive a token.

    Every object is an instance of its own; several threads may use one, token by token.

    Args:
        spec: the heads; its currents are loaded.
        current_width: signed bits of a current of any table; those of the spec's own if not given.

    Raises:
        ToolError: if there is no compiler.
        UnsupportedError: for a spec with noise or spread.
        SpecError: if an intermediate result of such currents would not fit.

    Examples:
        >>> cells = GainCellSim(GainCellSpec(heads=2))  # doctest: +SKIP
        >>> sums = cells.step(q, k, v)  # doctest: +SKIP
    """

    def __init__(self, spec: GainCellSpec, current_width: int | None = None) -> None:
        if not spec.nonideal.ideal:
            raise UnsupportedError(f"{spec.op_type} with noise or spread has no hardware; set nonideal=IDEAL")
        self.spec = spec
        table = current_rows(spec)
        self.current_width = current_width if current_width is not None else signed_bits(table)
        self._ints = structure(spec, self.current_width)
        self._functions = _load(self._ints)
        self._lock = threading.Lock()
        self._cells = np.zeros(self._functions["size"](), dtype=np.uint8)
        self._handle = self._cells.ctypes.data
        self._functions["reset"](self._handle)
        self.load_table(*spec.tables)

    @property
    def count(self) -> int:
        """Slots that hold a token, at most the window."""
        return int(self._functions["count"](self._handle))

    def clear(self) -> None:
        """Forget all tokens; the table stays."""
        with self._lock:
            self._functions["clear"](self._handle)

    def load_table(self, keys: ArrayLike, values: ArrayLike | None = None) -> None:
        """Replace the currents, of stored tokens, too.

        Args:
            keys: currents of keys by age and level, ``(window, k_levels)``; a row more, for an empty slot, is ignored.
            values: those of values, ``(window, v_levels)``; the same as of keys if not given.

        Raises:
            InputError: for a wrong shape or dtype, or two tables where the heads have one.
            FormatError: for currents of more bits than the heads take.  The old table then stays.
        """
        spec, shared = self.spec, self.spec.k_levels == self.spec.v_levels
        tables = [
            self._table(name, given, levels)
            for name, given, levels in (
                ("keys", keys, spec.k_levels),
                ("values", keys if values is None else values, spec.v_levels),
            )
        ]
        if shared and not np.array_equal(tables[0], tables[1]):
            raise InputError(
                f"{spec.op_type}: with k_levels = v_levels = {spec.k_levels} keys and values share one table; leave "
                "values out"
            )
        rows = tables[0] if shared else np.concatenate(tables, axis=1)
        loaded = np.ascontiguousarray(rows, dtype=np.int32)
        with self._lock:
            self._functions["load"](self._handle, loaded.ctypes.data)

    def step(self, q: ArrayLike, k: ArrayLike, v: ArrayLike) -> Codes:
        """Sums of the tiles' codes of one token, or of tokens one after the other.

        Args:
            q: codes of shape ``(heads, head_dim)`` or ``(tokens, heads, head_dim)``; none beyond the last level counts
                for more than it.
            k: likewise.
            v: likewise.

        Returns:
            Sums of the same shape.

        Raises:
            InputError: for a wrong shape or dtype.
            FormatError: for codes outside their format.  The window then stays as it was.
        """
        shape, codes = self._checked(q, k, v)
        sums = np.empty(codes[0].shape, dtype=np.int32)
        tokens = sums.size // (self.spec.heads * self.spec.head_dim)
        with self._lock:
            self._functions["step"](self._handle, *(a.ctypes.data for a in codes), sums.ctypes.data, tokens)
        return sums.reshape(shape).astype(np.int64)

    def cycles(self, tokens: int = 1) -> NDArray[np.int64]:
        """Clock cycles of each of the next tokens, without the depth of the pipeline."""
        if self.count < self.spec.window:
            return token_cycles(self._ints, tokens, self.count)
        return token_cycles(self._ints, tokens, self.spec.window)

    def _table(self, name: str, given: ArrayLike, levels: int) -> NDArray[np.int64]:
        a, window = np.asarray(given), self.spec.window
        if a.dtype.kind not in "iu" or a.shape not in ((window, levels), (window + 1, levels)):
            raise InputError(
                f"{self.spec.op_type}: currents of {name} must be integers of shape ({window}, {levels}). "
                f"Received: {a.dtype} of shape {a.shape}"
            )
        a = a[:window]
        top = 1 << (self.current_width - 1)
        if a.min() < -top or a.max() >= top:
            raise FormatError(
                f"{self.spec.op_type}: currents of {name} must be within [{-top}, {top - 1}], "
                f"current_width={self.current_width}. Received: [{a.min()}, {a.max()}]"
            )
        return a.astype(np.int64)

    def _checked(self, *given: ArrayLike) -> tuple[tuple[int, ...], list[NDArray[np.uint8]]]:
        spec, shape = self.spec, np.shape(given[0])
        if shape[-2:] != (spec.heads, spec.head_dim) or len(shape) not in (2, 3):
            raise InputError(
                f"{spec.op_type}: q, k and v have shape (heads={spec.heads}, head_dim={spec.head_dim}), or "
                f"(tokens, heads, head_dim). Received: {shape}"
            )
        codes = []
        for name, array, fmt in zip("qkv", given, spec.in_formats, strict=True):
            a = np.asarray(array)
            if a.dtype.kind not in "iu" or a.shape != shape:
                raise InputError(
                    f"{spec.op_type}: {name} must be integer codes of shape {shape}. Received: {a.dtype} of {a.shape}"
                )
            if a.size and not fmt.contains(a):
                raise FormatError(f"{spec.op_type}: {name} outside {fmt}. Received: [{a.min()}, {a.max()}]")
            codes.append(np.ascontiguousarray(a, dtype=np.uint8))
        return shape, codes


def _load(ints: dict[str, int]) -> dict[str, Any]:
    """The compiled functions of heads of this structure."""
    members = "".join(
        f"    static const {'long long' if name == 'charge_limit' else 'int'} {name} = {value};\n"
        for name, value in ints.items()
    )
    text = _TEXT.format(members=members, export=EXPORT, entry=_ENTRY)
    main = cache_dir() / "bench" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.cpp"
    atomic_write(main, text.encode())
    library = ctypes.CDLL(str(compile_library(main, (sim_dir(), include_dir(), ap_types_dir()))))
    pointer, number = ctypes.c_void_p, ctypes.c_long
    signatures: dict[str, tuple[list[Any], Any]] = {
        "size": ([], number),
        "reset": ([pointer], None),
        "clear": ([pointer], None),
        "load": ([pointer, pointer], None),
        "count": ([pointer], number),
        "step": ([pointer] * 5 + [number], None),
    }
    found = {}
    for name, (arguments, result) in signatures.items():
        function = getattr(library, f"{_ENTRY}_{name}")
        function.argtypes, function.restype = arguments, result
        found[name] = function
    return found
