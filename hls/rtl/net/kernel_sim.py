# SPDX-License-Identifier: Apache-2.0
"""A network's kernel alone: simulated clock by clock on sequences of rows, or synthesised."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hls4attn.hls import sim_dir
from hls4attn.hls.rtl.net.kernel import RtlKernel
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.hls.rtl.verilated import verilated_library
from hls4attn.models.errors import InputError, SimulationError
from hls4attn.models.formats import Codes, Fixed

_HARNESS = "net_harness.cpp"
_MESSAGE_BYTES = 1 << 10
_INPUTS = 3
_OUTPUT = -1


class _Job(ctypes.Structure):
    """`job` of the harness."""

    _fields_ = (
        ("rows", ctypes.c_void_p * _INPUTS),
        ("inputs", ctypes.c_int64),
        ("sequences", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("in_lengths", "out_lengths", "out", "starts", "ends")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("stall_in", "stall_out", "patience")),
    )


@dataclass(frozen=True, eq=False)
class KernelUnit(RtlUnit):
    """A kernel as what simulation and synthesis take.

    Attributes:
        inputs: bits of a row of each input.
        output: bits of a row of the output.
        copies: output streams.
    """

    inputs: tuple[int, ...] = ()
    output: int = 0
    copies: int = field(default=1)

    def top(self, name: str) -> str:
        """Verilog of a module without parameters: the kernel with all of its constants."""
        settings = [f".{key}({value})" for key, value in self.parameters.items()]
        settings += [f'.{key}("{file}")' for key, file in self.rom_files().items()]
        ports = {"clk": 1, "rst_n": 1}
        for k, width in enumerate(self.inputs):
            ports |= {f"s{k}_tdata": width, f"s{k}_tvalid": 1, f"s{k}_tlast": 1, f"s{k}_tready": -1}
        ports |= {"m_tdata": -self.output, "m_tvalid": -self.copies, "m_tlast": -1, "m_tready": self.copies}
        declared = [f"{'output' if w < 0 else 'input'} wire [{abs(w) - 1}:0] {port}" for port, w in ports.items()]
        return (
            "// SPDX-License-Identifier: Apache-2.0\n`default_nettype none\n"
            f"module {name} (\n    " + ",\n    ".join(declared) + "\n);\n"
            f"{self.module} #(\n    "
            + ",\n    ".join(settings)
            + "\n) kernel (\n    "
            + ",\n    ".join(f".{port}({port})" for port in ports)
            + "\n);\nendmodule\n`default_nettype wire\n"
        )


def kernel_unit(kernel: RtlKernel) -> KernelUnit:
    """What `resources` and the linters take."""
    return KernelUnit(
        module=kernel.module,
        files=kernel.files,
        parameters=kernel.parameters,
        roms=kernel.roms,
        inputs=kernel.inputs,
        output=kernel.output,
        copies=kernel.copies,
    )


@dataclass(frozen=True, eq=False)
class KernelRun:
    """What came out.

    Attributes:
        rows: result codes, shape ``(rows, channels)``, all sequences one behind the other.
        cycles: clocks from the first row offered to the last one taken.
        starts: clock in which each row of the first input was taken.
        ends: clock after which each result was taken.
    """

    rows: Codes
    cycles: int
    starts: Codes
    ends: Codes


class KernelSim:
    """A kernel with one output stream, translated by Verilator and compiled.

    Args:
        kernel: the kernel.
        sources: text of sources, by file name, in place of the files' own.
        netlist: simulate what Yosys makes of it instead, gate by gate.

    Raises:
        ToolError: if Verilator, a compiler or Yosys is missing or fails.
    """

    def __init__(self, kernel: RtlKernel, sources: Mapping[str, str] | None = None, netlist: bool = False) -> None:
        self.kernel = kernel
        unit = kernel_unit(kernel)
        text, harness = unit.sources() | dict(sources or {}), sim_dir() / _HARNESS
        if netlist:
            from hls4attn.hls.rtl.synth import gate_library

            library = ctypes.CDLL(str(gate_library(unit, text, harness)))
        else:
            library = ctypes.CDLL(str(verilated_library(unit, text, harness=harness)))
        self._entry = library.hls4attn_net
        self._entry.restype = ctypes.c_int64
        library.hls4attn_row_bytes.restype = ctypes.c_int64
        ports = (*range(len(kernel.inputs)), _OUTPUT)
        self._bytes = [int(library.hls4attn_row_bytes(ctypes.c_int64(port))) for port in ports]

    def run(
        self,
        operands: Sequence[Codes],
        formats: Sequence[Fixed],
        result: Fixed,
        lengths: Sequence[int],
        out_lengths: Sequence[int] | None = None,
        stalls: tuple[int, int] = (0, 0),
        seed: int = 0,
        patience: int = 20_000,
    ) -> KernelRun:
        """Send sequences one behind the other through a kernel that was just reset.

        Args:
            operands: rows of each input, shape ``(rows, channels)``, all sequences one behind the other.
            formats: of the inputs.
            result: format of the result.
            lengths: rows of each sequence.
            out_lengths: rows of each sequence of the result; `lengths` if not given.
            stalls: per cent of clocks in which an input has no row, and in which no row is taken.  With any, the ports
                are also checked for paths that are not registered.
            seed: of the stalls and of registers without a reset.
            patience: clocks without a row on either side before the kernel counts as stuck.

        Raises:
            InputError: for rows that do not fit the kernel.
            SimulationError: if it hangs, sends more or fewer rows than that, or breaks a rule of the stream.
        """
        module = self.kernel.module
        sent = np.ascontiguousarray(lengths, dtype=np.int64)
        given = sent if out_lengths is None else np.ascontiguousarray(out_lengths, dtype=np.int64)
        packed = []
        for rows, fmt, width, size in zip(operands, formats, self.kernel.inputs, self._bytes, strict=False):
            if rows.shape != (int(sent.sum()), width // fmt.width) or not fmt.contains(rows):
                raise InputError(f"{module}: {int(sent.sum())} rows of {width} bits of {fmt}. Received: {rows.shape}")
            packed.append(pack_rows(rows, fmt, size))
        flat = np.zeros((int(given.sum()), self._bytes[-1]), dtype=np.uint8)
        starts, ends = np.zeros(int(sent.sum()), dtype=np.int64), np.zeros(len(flat), dtype=np.int64)
        places = (a.ctypes.data for a in (sent, given, flat, starts, ends))
        pointers = (ctypes.c_void_p * _INPUTS)(*(a.ctypes.data for a in packed))
        job = _Job(pointers, len(packed), len(sent), *places, seed, *stalls, patience)
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        cycles = self._entry(ctypes.byref(job), message, ctypes.c_int64(_MESSAGE_BYTES))
        if cycles < 0:
            raise SimulationError(f"{module}: {message.value.decode(errors='replace')}")
        return KernelRun(unpack_rows(flat, result, self.kernel.output // result.width), int(cycles), starts, ends)


def pack_rows(rows: Codes, fmt: Fixed, size: int) -> NDArray[np.uint8]:
    """Rows as `size` bytes each, element 0 in the low bits."""
    bits = (rows[..., None] >> np.arange(fmt.width)) & 1
    flat = bits.reshape(len(rows), -1).astype(np.uint8)
    return np.packbits(np.pad(flat, ((0, 0), (0, 8 * size - flat.shape[1]))), axis=1, bitorder="little")


def unpack_rows(rows: NDArray[np.uint8], fmt: Fixed, channels: int) -> Codes:
    """The inverse of `pack_rows`."""
    bits = np.unpackbits(rows, axis=1, bitorder="little")[:, : channels * fmt.width]
    weights = 1 << np.arange(fmt.width, dtype=np.int64)
    weights[-1] *= -1 if fmt.signed else 1
    return np.asarray(bits.reshape(len(rows), channels, fmt.width).astype(np.int64) @ weights)
