# SPDX-License-Identifier: Apache-2.0
"""C simulation of a project or of one design, on integer codes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.hls.bridge import RUN, TRACE
from hls4attn.hls.compiler import compile_library
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed

if TYPE_CHECKING:
    from hls4attn.hls.design import Design
    from hls4attn.hls.project import Project

#: Samples that make a thread worth while.
_MIN_SHARE = 16


@dataclass(frozen=True)
class Interface:
    """What a simulation takes, gives and can show.

    Attributes:
        input: the input port.
        output: the output port.
        taps: for each kernel call in order, its number of results and the tensors that hold its codes.
    """

    input: Tensor
    output: Tensor
    taps: tuple[tuple[int, tuple[Tensor, ...]], ...]

    @classmethod
    def of(cls, design: Design) -> Interface:
        """The interface of a design."""
        taps = tuple(
            (n.size, tuple(Tensor(name, shape, n.format) for name, shape in n.tensors())) for n in design.nodes
        )
        return cls(design.input, design.output_tensor, taps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "input": _plain(self.input),
            "output": _plain(self.output),
            "taps": [{"size": size, "tensors": [_plain(t) for t in ts]} for size, ts in self.taps],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interface:
        """The inverse of `to_dict`."""
        taps = tuple((int(t["size"]), tuple(_tensor(v) for v in t["tensors"])) for t in values["taps"])
        return cls(_tensor(values["input"]), _tensor(values["output"]), taps)


def _plain(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "format": str(tensor.format)}


def _tensor(values: Mapping[str, Any]) -> Tensor:
    return Tensor(values["name"], tuple(int(n) for n in values["shape"]), Fixed.parse(values["format"]))


class Simulation:
    """A compiled design.

    Args:
        main: its bridge, the one translation unit.
        includes: folders for the compiler.
        interface: its ports and taps.
        threads: threads that share a batch; all cores if not given.

    Raises:
        ToolError: if it does not compile.
        UnsupportedError: for codes of more than 31 bits.
    """

    def __init__(self, main: Path, includes: Sequence[Path], interface: Interface, threads: int | None = None) -> None:
        for tensor in (interface.input, interface.output, *(ts[0] for _, ts in interface.taps)):
            if tensor.format.width > 31:
                raise UnsupportedError(
                    f"{tensor.name}: the simulation carries codes as int32. Received: {tensor.format}"
                )
        self.main, self.includes, self.interface = main, tuple(includes), interface
        self.threads = threads or _cores()
        self._run = self._load(RUN, ())
        self._trace: Any = None

    def _load(self, symbol: str, defines: Sequence[str]) -> Any:
        function = getattr(ctypes.CDLL(str(compile_library(self.main, self.includes, defines))), symbol)
        pointers = 2 if symbol == RUN else 4
        function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_long]
        function.restype = None
        return function

    def run(self, codes: ArrayLike) -> Codes:
        """Output codes, shape ``(batch, *output.shape)``, for input codes ``(batch, *input.shape)``.

        Raises:
            InputError: for a wrong shape or dtype, or codes outside the input format.
        """
        x = self._checked(codes)
        y = np.empty((len(x), prod(self.interface.output.shape)), dtype=np.int32)

        def part(start: int, stop: int) -> None:
            self._run(x[start:stop].ctypes.data, y[start:stop].ctypes.data, stop - start)

        shares = max(1, min(self.threads, len(x) // _MIN_SHARE))
        edges = [len(x) * k // shares for k in range(shares + 1)]
        if shares == 1:
            part(0, len(x))
        else:
            with ThreadPoolExecutor(shares) as pool:
                list(pool.map(part, edges[:-1], edges[1:]))  # ctypes releases the GIL
        return y.reshape(len(x), *self.interface.output.shape).astype(np.int64)

    def trace(self, codes: ArrayLike) -> dict[str, Codes]:
        """Codes of the input and of every kernel call's result, by the typed graph's tensor names.

        The first call compiles a second library; `run` never pays for the recording.

        Raises:
            InputError: for a wrong shape or dtype, or codes outside the input format.
        """
        if self._trace is None:
            self._trace = self._load(TRACE, [f"HLS4ATTN_TRACE={len(self.interface.taps)}"])
        x = self._checked(codes)
        sizes = np.array([size for size, _ in self.interface.taps], dtype=np.int32)
        taps = np.empty((len(x), int(sizes.sum())), dtype=np.int32)
        y = np.empty((len(x), prod(self.interface.output.shape)), dtype=np.int32)
        self._trace(x.ctypes.data, y.ctypes.data, taps.ctypes.data, sizes.ctypes.data, len(x))
        found = {self.interface.input.name: x.reshape(len(x), *self.interface.input.shape).astype(np.int64)}
        start = 0
        for size, tensors in self.interface.taps:
            part = taps[:, start : start + size].astype(np.int64)
            start += size
            found |= {t.name: part.reshape(len(x), *t.shape) for t in tensors}
        return found

    def _checked(self, codes: ArrayLike) -> NDArray[np.int32]:
        a, port = np.asarray(codes), self.interface.input
        if a.dtype.kind not in "iu":
            raise InputError(f"Input must hold integer codes. Received: dtype={a.dtype}")
        if a.ndim == 0 or a.shape[1:] != port.shape or len(a) == 0:
            expected = ", ".join(map(str, ("batch >= 1", *port.shape)))
            raise InputError(f"Input must have shape ({expected}). Received: {a.shape}")
        if not port.format.contains(a):
            raise InputError(
                f"Input codes must be within [{port.format.min}, {port.format.max}] ({port.format}). "
                f"Received: [{a.min()}, {a.max()}]"
            )
        return np.ascontiguousarray(a.reshape(len(a), -1), dtype=np.int32)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class CSim(Simulation):
    """C simulation of a converted project.

    Args:
        project: what `convert` returned.
        threads: threads that share a batch; all cores if not given.

    Raises:
        ToolError: if there is no compiler, or the project does not compile.
    """

    def __init__(self, project: Project, threads: int | None = None) -> None:
        self.project = project
        super().__init__(project.bridge, project.include_dirs, project.interface, threads)
