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
from hls4attn.models.errors import InputError, SimulationError, UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Codes, Fixed

if TYPE_CHECKING:
    from hls4attn.hls.design import Design
    from hls4attn.hls.project import Project

#: Samples that make a thread worth while.
_MIN_SHARE = 16
#: Longest message of a streaming simulation.
_MESSAGE_BYTES = 1 << 12


@dataclass(frozen=True)
class Interface:
    """What a simulation takes, gives and can show.

    Attributes:
        input: the input port.
        output: the output port.
        taps: for each kernel call in order, its number of results and the tensors that hold its codes; a streaming
            kernel that only moves codes has none.
        io_type: how values travel in it.
        seq_len: tokens of a sequence, if their number may be chosen at run time; 0 if not.
    """

    input: Tensor
    output: Tensor
    taps: tuple[tuple[int, tuple[Tensor, ...]], ...]
    io_type: str = "io_parallel"
    seq_len: int = 0

    @classmethod
    def of(cls, design: Design, run_time_length: bool = False) -> Interface:
        """The interface of a design.

        Args:
            design: the design.
            run_time_length: whether its simulation takes the number of tokens of each sample.
        """
        taps = tuple(
            (n.size, tuple(Tensor(name, shape, n.format) for name, shape in n.tensors()))
            for n in design.nodes
            if not n.moves
        )
        seq_len = design.seq_len if run_time_length else 0
        return cls(design.input, design.output_tensor, taps, design.io_type, seq_len)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "input": _plain(self.input),
            "output": _plain(self.output),
            "taps": [{"size": size, "tensors": [_plain(t) for t in ts]} for size, ts in self.taps],
            "io_type": self.io_type,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interface:
        """The inverse of `to_dict`."""
        taps = tuple((int(t["size"]), tuple(_tensor(v) for v in t["tensors"])) for t in values["taps"])
        return cls(_tensor(values["input"]), _tensor(values["output"]), taps, str(values["io_type"]))


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
        pointer, number = ctypes.c_void_p, ctypes.c_long
        arrays = [pointer] * (2 if symbol == RUN else 4)
        if self.interface.io_type == "io_stream":
            function.argtypes, function.restype = [*arrays, pointer, number, pointer, number], number
        else:
            function.argtypes, function.restype = [*arrays, number], None
        return function

    def _call(self, function: Any, arrays: Sequence[Any], lengths: NDArray[np.int32] | None, first: int = 0) -> None:
        """Run samples; their arrays have one entry a sample, but for the last array of a trace.

        Raises:
            SimulationError: with the number of the sample and the stream that ran dry or kept words.
        """
        samples, pointers = len(arrays[0]), [a.ctypes.data for a in arrays]
        if self.interface.io_type != "io_stream":
            function(*pointers, samples)
            return
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        tokens = None if lengths is None else lengths.ctypes.data
        done = function(*pointers, tokens, samples, ctypes.addressof(message), _MESSAGE_BYTES)
        if done != samples:
            text = message.value.decode(errors="replace")
            raise SimulationError(f"{self.main.parent.name}: sample {first + done}: {text}")

    def run(self, codes: ArrayLike, lengths: ArrayLike | None = None) -> Codes:
        """Output codes, shape ``(batch, *output.shape)``, for input codes ``(batch, *input.shape)``.

        Args:
            codes: input codes; of a shorter sequence the first tokens count.
            lengths: tokens of each sample, or of all; every one if not given.  Results beyond them are zero.

        Raises:
            InputError: for a wrong shape or dtype, codes outside the input format, or lengths that cannot be chosen.
            SimulationError: naming the stream that ran dry or kept words.
        """
        x = checked_codes(self.interface.input, codes)
        n = checked_lengths(lengths, len(x), self.interface.seq_len)
        y = np.zeros((len(x), prod(self.interface.output.shape)), dtype=np.int32)

        def part(start: int, stop: int) -> None:
            self._call(self._run, (x[start:stop], y[start:stop]), None if n is None else n[start:stop], start)

        shares = max(1, min(self.threads, len(x) // _MIN_SHARE))
        edges = [len(x) * k // shares for k in range(shares + 1)]
        if shares == 1:
            part(0, len(x))
        else:
            with ThreadPoolExecutor(shares) as pool:
                list(pool.map(part, edges[:-1], edges[1:]))  # ctypes releases the GIL
        return y.reshape(len(x), *self.interface.output.shape).astype(np.int64)

    def trace(self, codes: ArrayLike, lengths: ArrayLike | None = None) -> dict[str, Codes]:
        """Codes of the input and of every kernel call's result, by the typed graph's tensor names.

        The first call compiles a second library; `run` never pays for the recording.  Arguments and errors as of `run`.
        """
        if self._trace is None:
            self._trace = self._load(TRACE, [f"HLS4ATTN_TRACE={len(self.interface.taps)}"])
        x = checked_codes(self.interface.input, codes)
        n = checked_lengths(lengths, len(x), self.interface.seq_len)
        sizes = np.array([size for size, _ in self.interface.taps], dtype=np.int32)
        taps = np.empty((len(x), int(sizes.sum())), dtype=np.int32)
        y = np.zeros((len(x), prod(self.interface.output.shape)), dtype=np.int32)
        self._call(self._trace, (x, y, taps, sizes), n)
        found = {self.interface.input.name: x.reshape(len(x), *self.interface.input.shape).astype(np.int64)}
        start = 0
        for size, tensors in self.interface.taps:
            part = taps[:, start : start + size].astype(np.int64)
            start += size
            found |= {t.name: part.reshape(len(x), *t.shape) for t in tensors}
        return found


def checked_codes(port: Tensor, codes: ArrayLike) -> NDArray[np.int32]:
    """Input codes as a simulation reads them: ``(batch, elements)`` of int32.

    Raises:
        InputError: for a wrong shape or dtype, an empty batch, or codes outside the port's format.
    """
    a = np.asarray(codes)
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


def checked_lengths(lengths: ArrayLike | None, samples: int, seq_len: int) -> NDArray[np.int32] | None:
    """Tokens of each sample; None if all have as many as the design takes.

    Args:
        lengths: one number for all samples, or one a sample.
        samples: how many samples there are.
        seq_len: most tokens of a sequence; 0 if the number is fixed.

    Raises:
        InputError: for numbers that are no lengths, or where the length is fixed.
    """
    if lengths is None:
        return None
    a = np.asarray(lengths)
    if not seq_len:
        raise InputError("lengths: this design has no run-time length; leave them out")
    if a.dtype.kind not in "iu" or a.shape not in ((), (samples,)) or a.min() < 1 or a.max() > seq_len:
        raise InputError(
            f"lengths must be one integer from 1 to {seq_len}, or one for each of {samples} samples. "
            f"Received: {a.dtype} of shape {a.shape}" + (f", from {a.min()} to {a.max()}" if a.size else "")
        )
    return np.ascontiguousarray(np.broadcast_to(a, (samples,)), dtype=np.int32)


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
