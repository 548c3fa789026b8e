# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench attention`: a streaming attention as sequences grow: cycles, buffers, the simulation's speed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from hls4attn.hls.design import HwNode
from hls4attn.hls.estimate import stream_limits
from hls4attn.hls.limits import MAX_WORD
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.attention_sim import AttentionFormats, AttentionSim, attention_graph, attention_node
from hls4attn.hls.stream.cycles import latencies, row_times, slices, steady_interval
from hls4attn.hls.stream.kernels import stream_resources
from hls4attn.host.estimate import CLOCK_MHZ, check_chart, figure, render
from hls4attn.host.paths import check_output
from hls4attn.host.verbs.common import working
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.files import atomic_write, write_json
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, E2ContextSpec, E2SoftmaxSpec, ScoreSpec, SoftmaxSpec

_CACHE = "HLS4ATTN_CACHE"  # names the compile cache
MAX_LENGTH, MAX_HEADS, MAX_HEAD_DIM = 4096, 64, 1024
MAX_SCORES = 1 << 26  # of all heads: what the reference computes at once
_ROW = AttentionFormats().q
_SCORES, _SLICE = Fixed(8, 3), 16
_REPEATS, _WORK = 3, 1 << 20  # runs of about a million products each

Spec = ScoreSpec | E2ContextSpec

SPECS: dict[str, Callable[[int, int], Spec]] = {
    "consmax": lambda heads, lanes: ConSmaxSpec(
        _SCORES, (0.25,) * heads, (8.0,) * heads, (0.25,) * heads, (8,) * heads
    ),
    "softmax": lambda heads, lanes: SoftmaxSpec(_SCORES, (0.25,) * heads),
    "e2softmax": lambda heads, lanes: E2SoftmaxSpec(_SCORES, (0.25,) * heads),
    "e2softmax-online": lambda heads, lanes: E2SoftmaxSpec(
        _SCORES, (0.25,) * heads, slice_length=-(-_SLICE // lanes) * lanes
    ),
    "e2context": lambda heads, lanes: E2ContextSpec(
        _SCORES, (0.25,) * heads, v_format=Fixed(8, 5), out_format=Fixed(8, 5)
    ),
}


@dataclass(frozen=True)
class Growth:
    """One length.

    Attributes:
        length: tokens of the sequence.
        cycles: between two sequences.
        latency_cycles: from the first row to the last result, with modelled pipelines.
        bank_bits: of K and V, both halves of the ping-pong.
        fifo_words: of all FIFOs of the kernel, and of q's, which holds the rows that wait for K and V.
        bram36: block memories.
        dsp: DSP slices (Zynq-7000).
        compile_seconds: of the C simulation, from nothing.
        sequence_ms: C simulation of one sequence.
        scores_per_second: scores that the C simulation computes.
        mismatches: results that differ from the reference.
        results: results that were compared.
    """

    length: int
    cycles: int
    latency_cycles: int
    bank_bits: int
    fifo_words: int
    bram36: float
    dsp: int
    compile_seconds: float
    sequence_ms: float
    scores_per_second: float
    mismatches: int
    results: int


def attention(spec: Spec, length: int, head_dim: int, lanes: int) -> HwNode:
    """A streaming attention of 8-bit q, k and v with its pipeline's depth, all elements of a head at once.

    Raises:
        UnsupportedError: for a structure that the kernel does not have.
    """
    plain = attention_node(attention_graph(spec, length, head_dim, AttentionFormats()))
    node = with_structure(plain, lanes, 1, head_dim)
    return replace(node, ints=node.ints | latencies(node))


def measure(spec: Spec, node: HwNode) -> Growth:
    """One length: formulas, then a fresh compilation, comparison with the reference and timed runs.

    Raises:
        ToolError: if there is no compiler.
    """
    length, head_dim, lanes = (node.ints[name] for name in ("rows", "head_dim", "lanes"))
    used = stream_resources(node)
    arrivals = np.arange(1, length + 1, dtype=np.int64)
    with fresh_cache():
        start = time.perf_counter()
        sim = AttentionSim(spec, length, head_dim, lanes, 1, head_dim, node=node)
        compiled = time.perf_counter() - start
        scores = int(slices(node).sum()) * lanes * spec.heads
        batch = max(_WORK // (scores * head_dim), 1)
        codes = sim.random_codes(batch, 0)
        found = sim.run(*codes)
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            sim.run(*codes)
            times.append(time.perf_counter() - start)
    seconds = float(np.median(times)) / batch
    return Growth(
        length=length,
        cycles=steady_interval(node),
        latency_cycles=int(row_times(node, [arrivals] * 3)[-1]),
        bank_bits=used.bits("ram"),
        fifo_words=length + sum(m.words for m in used.memories if m.kind == "fifo"),
        bram36=used.bram36,
        dsp=used.dsp(),
        compile_seconds=round(compiled, 2),
        sequence_ms=round(1000 * seconds, 4),
        scores_per_second=round(scores / seconds),
        mismatches=int(np.count_nonzero(found != sim.reference(*codes))),
        results=found.size,
    )


@contextmanager
def fresh_cache() -> Iterator[None]:
    """A compile cache with nothing in it."""
    before = os.environ.get(_CACHE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_CACHE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_CACHE]
            else:
                os.environ[_CACHE] = before


def parse_lengths(text: str) -> list[int]:
    """Comma-separated lengths.

    Raises:
        InputError: for anything else.
    """
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"Lengths are comma-separated numbers such as 16,64,256. Received: {text!r}") from error
    if not all(1 <= n <= MAX_LENGTH for n in lengths):
        raise InputError(f"Lengths are from 1 to {MAX_LENGTH}. Received: {text!r}")
    return lengths


def checked_node(spec: Spec, length: int, head_dim: int, lanes: int) -> HwNode:
    """The attention of one length, if this machine can simulate it and the tools would take it.

    Raises:
        InputError: for more scores than fit into memory.
        UnsupportedError: for what the kernel does not have, or the vendor tools refuse.
    """
    channels, scores = spec.heads * head_dim, spec.heads * length * length
    if (bits := channels * _ROW.width) > MAX_WORD:
        raise UnsupportedError(
            f"{spec.heads} heads of {head_dim}: rows of {channels} values of {_ROW.width} bits are {bits} bits wide, a "
            f"stream word at most {MAX_WORD}; use fewer or narrower heads"
        )
    if scores > MAX_SCORES:
        raise InputError(
            f"{spec.heads} heads and {length} tokens have {scores:,} scores, which the simulation's reference holds at "
            f"once, at most {MAX_SCORES:,}; use shorter sequences or fewer heads"
        )
    node = attention(spec, length, head_dim, lanes)
    for limit in stream_limits(node, stream_resources(node), "Vitis"):
        raise UnsupportedError(f"{length} tokens: {limit}")
    return node


def print_growth(
    out: Console,
    err: Console,
    lengths: Sequence[int],
    score: str,
    head_dim: int,
    heads: int,
    lanes: int,
    json: Path | None,
    chart: Path | None,
) -> None:
    """One line a length as it is measured; JSON and a chart of what is finished, if asked for.

    Raises:
        InputError: for an unknown score function, sizes out of range, or files that cannot be written.
        UnsupportedError: for an attention that the tools would refuse.
    """
    if score not in SPECS:
        raise InputError(f"Unknown score function {score!r}; known: {', '.join(SPECS)}")
    sizes = (("heads", heads, MAX_HEADS), ("head-dim", head_dim, MAX_HEAD_DIM), ("lanes", lanes, min(lengths)))
    for name, value, most in sizes:
        if not 1 <= value <= most:
            raise InputError(f"--{name} must be 1 to {most}. Received: {value}")
    check_output(json)
    check_chart(chart, inputs=[json])
    drawn = figure(10, 4) if chart else None
    spec = SPECS[score](heads, lanes)
    nodes = [checked_node(spec, length, head_dim, lanes) for length in lengths]
    title = f"streaming attention, {score}, heads: {heads} of {head_dim}, keys at a time: {lanes}"
    out.print(f"{title}; times of the C simulation on this machine", soft_wrap=True, markup=False, highlight=False)
    rows: list[Growth] = []
    try:
        with working(err, "") as tell:
            _print_line(out, _COLUMNS)
            for node in nodes:
                tell(f"{node.ints['rows']} tokens: compiling, running, comparing")
                rows.append(measure(spec, node))
                _print_line(out, _cells(rows[-1]))
    finally:
        if json and rows:
            about = {"score": score, "heads": heads, "head_dim": head_dim, "lanes": lanes}
            write_json(json, about | {"assumed_clock_mhz": CLOCK_MHZ, "rows": [asdict(row) for row in rows]})
        if chart and rows:
            atomic_write(chart, _draw(drawn, rows, title, chart.suffix[1:].lower()))
    for note in (
        "cycles between sequences = heads * length * ceil(length / lanes), all elements of a head at once "
        "(short sequences: or half of what a bank takes to be filled and read); "
        f"us at an assumed clock of {CLOCK_MHZ} MHz.",
        "K, V bits: two halves of both banks, 2 * 2 * length (rounded up to lanes) * heads * head-dim * 8.  "
        "Latency, BRAM36, DSP: estimates, nothing was synthesised.",
    ):
        out.print(note, soft_wrap=True, markup=False, highlight=False, style="dim")


_COLUMNS = (
    *("length", "cycles", "us ~", "latency", "K, V bits", "FIFO words", "BRAM36", "DSP"),
    *("compile s", "ms a seq.", "scores/s", "mismatches"),
)
_WIDTHS = (6, 12, 12, 12, 12, 10, 7, 6, 9, 11, 13, 18)


def _print_line(out: Console, cells: Sequence[str]) -> None:
    line = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    out.print(line, soft_wrap=True, markup=False, highlight=False)


def _cells(r: Growth) -> list[str]:
    return [
        *(f"{n:,}" for n in (r.length, r.cycles)),
        f"{r.cycles / CLOCK_MHZ:,.2f}",
        *(f"{n:,}" for n in (r.latency_cycles, r.bank_bits, r.fifo_words)),
        f"{r.bram36:g}",
        f"{r.dsp:,}",
        f"{r.compile_seconds:.1f}",
        f"{r.sequence_ms:,.2f}",
        f"{r.scores_per_second:,.0f}",
        f"{r.mismatches}/{r.results}",
    ]


def _draw(drawn: Any, rows: Sequence[Growth], title: str, kind: str) -> bytes:
    """Cycles and buffers, which are formulas; times, which are measured."""
    lengths = [r.length for r in rows]
    left, right = drawn.subplots(1, 2)
    for label, values in (
        ("cycles", [r.cycles for r in rows]),
        ("K, V bits", [r.bank_bits for r in rows]),
        ("FIFO words", [r.fifo_words for r in rows]),
    ):
        left.plot(lengths, values, marker="o", label=label)
    for label, seconds in (
        ("compile s", [r.compile_seconds for r in rows]),
        ("C simulation s a sequence", [r.sequence_ms / 1000 for r in rows]),
    ):
        right.plot(lengths, seconds, marker="o", label=label)
    for axis, name in ((left, "hardware, from formulas"), (right, "software, measured here")):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("tokens")
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    drawn.suptitle(title, fontsize=10)
    return render(drawn, kind)
