# SPDX-License-Identifier: Apache-2.0
"""Whole models in RTL: every code, every configuration, under back pressure, and wrong where they are made wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hls_networks import GRAPHS, residuals, streamed
from hls_typed import TypedMaker
from rtl_checks import icarus, lint, refuted

from hls4attn.hls import lower_graph
from hls4attn.hls.rtl.net.network import network_unit, stream_depths
from hls4attn.hls.rtl.net.sim import NetworkSim
from hls4attn.hls.rtl.net.words import from_words, to_words
from hls4attn.hls.stream.ports import PortRows, port_rows
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export import Graph
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.formats import Fixed

STALLS = ((0, 0), (30, 40), (0, 70), (70, 0))
#: Shape, permutation and format of the input: rows and words that begin together, and that do not.
TURNED = {
    "rows of a word": ((4, 8), (1, 0), Fixed(8, 2)),
    "rows of more than a word": ((4, 6), (1, 0), Fixed(6, 2)),
    "rows of less than a word": ((3, 5), (1, 0), Fixed(9, 2)),
    "several rows a word": ((7, 1), (1, 0), Fixed(5, 2)),
    "three axes, unsigned": ((2, 3, 5), (2, 0, 1), Fixed(8, 2, False)),
    "wide codes": ((5, 3), (1, 0), Fixed(20, 4)),
}


def turned(name: str) -> Graph:
    shape, permutation, fmt = TURNED[name]
    m = TypedMaker(shape, fmt, 9)
    return m.graph(m.add("Transpose", "x", permutation=permutation))


@cache
def simulated(name: str) -> tuple[Graph, NetworkSim]:
    graph = turned(name) if name in TURNED else GRAPHS[name]()
    return graph, NetworkSim(streamed(graph), graph)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("name", TURNED)
def test_transposes_between_words(name: str, stalls: tuple[int, int]) -> None:
    graph, sim = simulated(name)
    codes = random_codes(graph.input, 30, 3)
    for packet in (True, False):
        run = sim.run(codes, stalls=stalls, seed=5, packet=packet)
        assert np.array_equal(run.outputs, Reference(graph).run(codes))
    if stalls == (0, 0):
        into, out = port_rows(sim.design)
        assert run.interval == max(into.unpack_steps, out.pack_steps, into.rows, out.rows)


def test_a_row_leaves_when_its_last_element_is_here() -> None:
    """Two pairs of rows change places: the first result row needs input rows 0 and 1 of four."""
    m = TypedMaker((2, 2, 4), Fixed(8, 0), 1)
    graph = m.graph(m.add("Transpose", "x", permutation=(0, 2, 1)))
    run = NetworkSim(streamed(graph), graph).run(random_codes(graph.input, 1, 1))
    words, unpack, fifos, permute, pack = 4, 1, 2, 1, 1
    assert run.latency < words + unpack + fifos + permute + pack + 8  # 8 rows of 2 codes, not all behind the last word
    assert np.array_equal(run.outputs, Reference(graph).run(random_codes(graph.input, 1, 1)))


def test_words_hold_codes_low_ones_first() -> None:
    rng = np.random.default_rng(4)
    for fmt, bits, kind in ((Fixed(7, 2), 8, "<i1"), (Fixed(16, 2), 16, "<i2"), (Fixed(8, 1, False), 8, "<u1")):
        codes = rng.integers(fmt.min, fmt.max + 1, (3, 5, 3))
        port = PortRows(5, 3, bits)
        words = to_words(codes, port)
        data = words.astype("<u4").tobytes()
        plain = np.frombuffer(data, dtype=kind).reshape(3, -1)
        assert np.array_equal(plain[:, :15], codes.reshape(3, -1))
        assert not plain[:, 15:].any()
        assert np.array_equal(from_words(words, port, fmt), codes.reshape(3, -1))


@pytest.mark.parametrize("name", TURNED)
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    assert lint(tmp_path, simulated(name)[1].unit) == ""


@pytest.mark.parametrize("name", ["rows of less than a word", "several rows a word"])
def test_another_simulator_agrees(tmp_path: Path, name: str) -> None:
    graph, sim = simulated(name)
    into, out = port_rows(sim.design)
    codes = random_codes(graph.input, 12, 3)
    packets = icarus(tmp_path, sim.unit, to_words(codes, into), stall=40)
    assert np.array_equal(
        from_words(np.array(packets) & 0xFFFFFFFF, out, graph.output.format),
        Reference(graph).run(codes).reshape(12, -1),
    )


MUTANTS = {
    "a word too many is kept": ("several rows a word", "net_unpack.sv", "last_row ? '0 : have - A_ROW", "have - A_ROW"),
    "TLAST of any word": ("rows of a word", "net_unpack.sv", "taken && ending;", "taken;"),
    "a row is dropped": ("rows of a word", "net_fifo.sv", "full <= after[PLACE_W]", "full <= 1'b0"),
    "codes of the next sample": ("rows of less than a word", "net_pack.sv", "HAVE_W'(l) >= have", "1'b0"),
    "no sign": ("rows of more than a word", "net_pack.sv", "IS_SIGNED != 0 && ", "1'b0 && "),
    "a result row too early": ("rows of a word", "net_permute.sv", "int'(row_in) > ROW", "int'(row_in) >= ROW"),
    "one half of the bank": ("rows of a word", "net_permute.sv", "half_in <= !half_in", "half_in <= half_in"),
    "a path from m_tready": ("rows of a word", "net_fifo.sv", "s_tready = !full", "s_tready = !full || m_tready"),
}
FEW = ("a row is dropped", "no sign")


@pytest.mark.parametrize("mutant", [m if m in FEW else pytest.param(m, marks=pytest.mark.slow) for m in MUTANTS])
def test_mutants_are_refuted(mutant: str) -> None:
    name, file, right, wrong = MUTANTS[mutant]
    graph, sim = simulated(name)
    into, out = port_rows(sim.design)
    codes = random_codes(graph.input, 30, 3)
    words, expected = to_words(codes, into), to_words(Reference(graph).run(codes), out)
    lengths = np.full(30, out.words)
    assert not refuted(sim.unit, file, right, right, words, expected, out_lengths=lengths)
    assert refuted(sim.unit, file, right, wrong, words, expected, out_lengths=lengths)


def test_copies_hold_what_the_fifo_before_their_fork_would() -> None:
    design = streamed(residuals(20))
    depths, streams = stream_depths(design), design.streams
    first, second = [n for n in design.nodes if n.op == "AttnFork"][:2]
    assert second.inputs == first.copies[-1:]
    assert depths[first.inputs[0]] == depths[second.inputs[0]] == 0
    before = streams[first.inputs[0]].depth
    for name in first.copies[:-1]:
        assert depths[name] == streams[name].depth + before
    for name in second.copies[1:-1]:
        assert depths[name] == streams[name].depth + streams[second.inputs[0]].depth + before


def test_what_cannot_be_is_refused() -> None:
    graph = turned("rows of a word")
    design = streamed(graph)
    with pytest.raises(InputError, match="RTL is made of an io_stream design. Received: io_parallel"):
        network_unit(lower_graph(graph), graph)
    with pytest.raises(InputError, match="no node head; it has: "):
        network_unit(design, graph, dsp=["head"])
    m = TypedMaker((4, 6), Fixed(6, 2), 9)
    scaled = m.graph(m.quant(m.add("Transpose", "x", permutation=(1, 0)), Fixed(4, 1)))
    with pytest.raises(UnsupportedError, match="a transpose in RTL moves codes and nothing else"):
        network_unit(streamed(scaled), scaled)
