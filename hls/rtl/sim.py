# SPDX-License-Identifier: Apache-2.0
"""Simulation of a streaming unit, clock by clock, on whole batches of rows."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hls4attn.hls.rtl.unit import RtlUnit, head_bits
from hls4attn.hls.rtl.verilated import verilated_library
from hls4attn.models.errors import InputError, SimulationError
from hls4attn.models.formats import Codes

_MESSAGE_BYTES = 1 << 10
_POINTERS = ("data", "user", "in_lengths", "out_lengths")


class _Job(ctypes.Structure):
    """`job` of the harness."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        ("rows", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("out", "starts", "ends")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("stall_in", "stall_out", "patience")),
        ("joined", ctypes.c_void_p),
        ("toggles", ctypes.c_void_p),
    )


@dataclass(frozen=True, eq=False)
class RtlRun:
    """What came out.

    Attributes:
        outputs: shape ``(rows, longest)``; zero behind the end of a shorter row.
        cycles: clocks from the first word offered to the last one taken.
        first: clock of the first word taken from the output.
        starts: clock of the first word of each row that went in.
        ends: clock after the last word of each row came out.
        toggles: changes of all nets, of a netlist that counts them; else 0.
    """

    outputs: Codes
    cycles: int
    first: int
    starts: Codes
    ends: Codes
    toggles: int = 0


class RtlSim:
    """A unit, translated by Verilator and compiled.

    Args:
        unit: the unit.
        sources: text of sources, by file name, in place of the files' own.
        netlist: simulate what Yosys makes of it instead, gate by gate.
        library: compiled simulation to take instead.

    Raises:
        ToolError: if Verilator, a compiler or Yosys is missing or fails.
    """

    def __init__(
        self,
        unit: RtlUnit,
        sources: Mapping[str, str] | None = None,
        netlist: bool = False,
        library: Path | None = None,
    ) -> None:
        self.unit = unit
        text = unit.sources() | dict(sources or {})
        if library is None and netlist:
            from hls4attn.hls.rtl.synth import gate_library

            library = gate_library(unit, text)
        self._entry = ctypes.CDLL(str(library or verilated_library(unit, text))).hls4attn_rtl
        self._entry.restype = ctypes.c_int64

    def run(
        self,
        rows: ArrayLike,
        heads: ArrayLike | None = None,
        keep: ArrayLike | None = None,
        stalls: tuple[int, int] = (0, 0),
        seed: int = 0,
        lengths: ArrayLike | None = None,
        out_lengths: ArrayLike | None = None,
        patience: int = 100_000,
        joined: ArrayLike | None = None,
    ) -> RtlRun:
        """Send rows one behind the other through a unit that was just reset.

        Args:
            rows: codes, shape ``(rows, n)``.
            heads: head of each row; 0 if not given.
            keep: which elements are not masked, shape as `rows`; all if not given.
            stalls: per cent of clocks without ``s_tvalid``, and without ``m_tready``; below 100. With any, the
                ports are also checked for paths that are not registered.
            seed: of the stalls and of registers without a reset.
            lengths: elements of each row that are sent; n if not given.
            out_lengths: elements of each row that come out; `lengths` if not given.
            patience: clocks without a word on either side before the unit counts as stuck.
            joined: whether each row goes on in the packet of the next one, without TLAST at its end; none if not given.

        Raises:
            InputError: for codes, heads or lengths that do not fit the unit.
            SimulationError: if the unit hangs, sends more or fewer words than that, or breaks a rule of the stream.
        """
        codes, sent, user = self._inputs(rows, heads, keep, lengths)
        given = sent if out_lengths is None else _lengths("out_lengths", out_lengths, len(codes))
        if any(not 0 <= per_cent < 100 for per_cent in stalls):
            raise InputError(f"{self.unit.module}: stalls are per cent from 0 to 99. Received: {stalls}")
        inside = np.arange(codes.shape[1]) < sent[:, None]
        data = np.ascontiguousarray(codes[inside] & _mask(self.unit.in_width)).astype(np.uint64)
        flat = np.zeros(int(given.sum()), dtype=np.uint64)
        starts, ends = np.zeros(len(codes), dtype=np.int64), np.zeros(len(codes), dtype=np.int64)
        arrays = (data, np.ascontiguousarray(user[inside]), sent, given)
        toggles = ctypes.c_uint64()
        places = (a.ctypes.data for a in (flat, starts, ends))
        wanted = np.asarray(False if joined is None else joined, dtype=np.uint8)
        follows = np.ascontiguousarray(np.broadcast_to(wanted, len(codes)))
        numbers = (seed, *stalls, patience, follows.ctypes.data, ctypes.addressof(toggles))
        job = _Job(*(a.ctypes.data for a in arrays), len(codes), *places, *numbers)
        message, first = ctypes.create_string_buffer(_MESSAGE_BYTES), ctypes.c_int64()
        cycles = self._entry(ctypes.byref(job), ctypes.byref(first), message, ctypes.c_int64(_MESSAGE_BYTES))
        if cycles < 0:
            raise SimulationError(f"{self.unit.module}: {message.value.decode(errors='replace')}")
        outputs = np.zeros((len(codes), int(given.max())), dtype=np.int64)
        outputs[np.arange(outputs.shape[1]) < given[:, None]] = self._signed(flat.astype(np.int64))
        return RtlRun(outputs, int(cycles), first.value, starts, ends, toggles.value)

    def _inputs(
        self, rows: ArrayLike, heads: ArrayLike | None, keep: ArrayLike | None, lengths: ArrayLike | None
    ) -> tuple[Codes, Codes, NDArray[np.uint64]]:
        """Codes, lengths and TUSER, checked."""
        unit, codes = self.unit, np.asarray(rows)
        if codes.dtype.kind not in "iu" or codes.ndim != 2 or not codes.size:
            raise InputError(f"{unit.module}: rows are integer codes (rows, n). Received: {codes.dtype} {codes.shape}")
        low, high = (
            (-1 << unit.in_width - 1, (1 << unit.in_width - 1) - 1) if unit.in_signed else (0, _mask(unit.in_width))
        )
        if codes.min() < low or codes.max() > high:
            raise InputError(f"{unit.module}: codes outside [{low}, {high}]. Received: [{codes.min()}, {codes.max()}]")
        sent = np.full(len(codes), codes.shape[1]) if lengths is None else _lengths("lengths", lengths, len(codes))
        if sent.max() > codes.shape[1]:
            raise InputError(f"{unit.module}: a length of {sent.max()} in rows of {codes.shape[1]}")
        head = np.broadcast_to(np.asarray(0 if heads is None else heads, dtype=np.int64), len(codes))
        if head.min() < 0 or head.max() >= unit.heads:
            raise InputError(f"{unit.module}: heads are 0 to {unit.heads - 1}. Received: {head.min()} to {head.max()}")
        kept = np.broadcast_to(np.asarray(True if keep is None else keep, dtype=bool), codes.shape)
        user = (kept.astype(np.uint64) << np.uint64(head_bits(unit.heads))) | head.astype(np.uint64)[:, None]
        return codes.astype(np.int64, copy=False), sent, user & np.uint64(_mask(unit.user_width))

    def _signed(self, words: Codes) -> Codes:
        width = self.unit.out_width
        if not self.unit.out_signed or width == 64:
            return words
        return words - ((words >> (width - 1)) << width)


def _mask(width: int) -> int:
    """Bits of a word; of 64 bits all, as the -1 that NumPy's int64 has for it."""
    return (1 << width) - 1 if width < 64 else -1


def _lengths(name: str, lengths: ArrayLike, rows: int) -> Codes:
    found = np.ascontiguousarray(np.broadcast_to(np.asarray(lengths, dtype=np.int64), rows))
    if found.min() < 1:
        raise InputError(f"{name} are at least 1. Received: {found.min()}")
    return found
