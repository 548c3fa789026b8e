# SPDX-License-Identifier: Apache-2.0
"""Whole models in RTL: every code, every configuration, under back pressure, and wrong where they are made wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hls_models import A8, ModelMaker, consmax
from hls_networks import GRAPHS, ZOO, residuals, streamed
from hls_typed import TypedMaker
from rtl_checks import icarus, lint, refuted

from hls4attn.hls import lower_graph
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.hls.rtl.net.network import network_unit
from hls4attn.hls.rtl.net.sim import NetworkSim
from hls4attn.hls.rtl.net.streams import stream_depths
from hls4attn.hls.rtl.net.words import check_lengths, from_words, to_words
from hls4attn.hls.stream.ports import PortRows, port_rows
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export import Graph, read_graph
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.lengths import shortened
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


#: Networks with attention, whose RTL has one lane.
ATTENTION = ("attention", "classifier", "long_skip")
DIGITS = ("consmax", "softmax", "sole")
#: Choices for the digits' hardware, and clocks between two images if nothing is slower than the attention's products.
CHOICES = {
    "a row in 16 clocks": ({"parallel_heads": 2, "lanes": 1, "reuse_factor": 1}, 256),
    "a row in 32 clocks": ({"parallel_heads": 1, "lanes": 1, "reuse_factor": 1}, 512),
    "chunks of 8 elements": ({"parallel_heads": 2, "lanes": 1, "reuse_factor": 2}, 512),
}


def turned(name: str) -> Graph:
    shape, permutation, fmt = TURNED[name]
    m = TypedMaker(shape, fmt, 9)
    return m.graph(m.add("Transpose", "x", permutation=permutation))


@cache
def simulated(name: str) -> tuple[Graph, NetworkSim]:
    graph = turned(name) if name in TURNED else attention() if name == "attention" else GRAPHS[name]()
    return graph, NetworkSim(streamed(graph, **({"lanes": 1} if name in ATTENTION else {})), graph)


def attention() -> Graph:
    """One attention, with its four dense layers and a residual around it."""
    m = ModelMaker("attention", (6, 8), A8, 3)
    y = m.attention(m.x, (6, 8), consmax(2), "a")
    return read_graph(m.model(m.b.quant(m.op("Add", [m.x, y], "skip", (6, 8)), A8, "skip_q", (6, 8))))


@cache
def digits(name: str, choice: str) -> tuple[Graph, NetworkSim]:
    graph = read_graph(ZOO / f"{name}.onnx")
    return graph, NetworkSim(streamed(graph, **CHOICES[choice][0]), graph)


def check_digits(name: str, choice: str, images: int) -> None:
    """Random images, one behind the other and with gaps and stalls; the clocks of one, and between two."""
    graph, sim = digits(name, choice)
    codes = random_codes(graph.input, images, 3)
    expected = Reference(graph).run(codes)
    for seed, stalls in enumerate(STALLS):
        run = sim.run(codes, stalls=stalls, seed=seed, packet=seed != 1)
        assert np.array_equal(run.outputs, expected)
        if stalls == (0, 0):
            found, pace = network_cycles(sim.design, graph, min(images, 20)), CHOICES[choice][1]
            assert (run.latency, run.interval) == (found.latency, found.interval)
            assert pace <= run.interval <= (1 if name == "consmax" else 1.25) * pace  # others wait for whole rows
            assert run.latency < 8 * run.interval


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


@pytest.mark.parametrize("name", [*TURNED, "attention"])
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    assert lint(tmp_path, simulated(name)[1].unit) == ""


@pytest.mark.parametrize("name", ["rows of less than a word", "several rows a word", "attention"])
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


def test_digits_one_behind_the_other() -> None:
    check_digits("consmax", "a row in 16 clocks", 20)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", DIGITS)
def test_digits_in_every_configuration(name: str, choice: str) -> None:
    check_digits(name, choice, 100)


@pytest.mark.slow
def test_products_in_look_up_tables() -> None:
    graph = attention()
    sim = NetworkSim(streamed(graph, lanes=1), graph, dsp=())
    codes = random_codes(graph.input, 40, 3)
    assert np.array_equal(sim.run(codes, stalls=(30, 30)).outputs, Reference(graph).run(codes))


@pytest.mark.parametrize(
    "name", ["attention", *(pytest.param(n, marks=pytest.mark.slow) for n in GRAPHS if not n.startswith("digits"))]
)
def test_networks_that_part_and_meet(name: str) -> None:
    graph, sim = simulated(name)
    codes = random_codes(graph.input, 40, 3)
    for stalls in STALLS:
        assert np.array_equal(sim.run(codes, stalls=stalls, seed=2).outputs, Reference(graph).run(codes))


@pytest.mark.parametrize("packet", [True, False])
@pytest.mark.parametrize("name", ["attention", pytest.param("classifier", marks=pytest.mark.slow)])
def test_the_end_of_a_packet_ends_a_sequence(name: str, packet: bool) -> None:
    graph, sim = simulated(name)
    design = sim.design
    codes = random_codes(graph.input, 60, 3)
    lengths = np.random.default_rng(5).integers(1, design.seq_len + 1, 60)
    expected = np.zeros((60, *graph.output.shape), dtype=np.int64)
    for k, n in enumerate(lengths):
        found = Reference(shortened(graph, graph.input.name, int(n))).run(codes[k : k + 1, :n])[0]
        expected[k, : len(found)] = found
    for stalls in STALLS:
        run = sim.run(codes, lengths=lengths, stalls=stalls, seed=2, packet=packet)
        assert np.array_equal(run.outputs, expected)


def test_lengths_that_no_packet_says_are_refused() -> None:
    port = PortRows(6, 2, 8)
    check_lengths(np.array([2, 4, 6]), port, "m")
    with pytest.raises(InputError, match="m: 2 words hold more rows of 2 codes than 3"):
        check_lengths(np.array([6, 3]), port, "m")
    graph, sim = digits("consmax", "a row in 16 clocks")
    with pytest.raises(InputError, match="the rows of this model's input are not its 16 tokens"):
        sim.run(random_codes(graph.input, 2, 1), lengths=5)


@pytest.mark.slow
def test_several_tokens_a_word() -> None:
    m = ModelMaker("narrow", (6, 2), Fixed(8, 4), 3)
    y = m.dense(m.x, (6, 2), 8, "wide", A8)
    graph = read_graph(m.model(m.attention(y, (6, 8), consmax(2), "a")))
    sim = NetworkSim(streamed(graph, lanes=1), graph)
    codes = random_codes(graph.input, 20, 1)
    expected = Reference(shortened(graph, graph.input.name, 4)).run(codes[:, :4])
    run = sim.run(codes, lengths=4, stalls=(30, 30))
    assert np.array_equal(run.outputs[:, :4], expected)
    assert not run.outputs[:, 4:].any()


def test_a_model_may_be_called_as_a_kernel() -> None:
    unit = simulated("attention")[1].unit
    assert unit.module == "net_attention_1"
    assert {"net_attention.sv", "net_attention_1.sv"} <= set(unit.sources())


@pytest.mark.slow
def test_the_netlist_of_a_network() -> None:
    graph = attention()
    sim = NetworkSim(streamed(graph, lanes=1), graph, netlist=True)
    codes = random_codes(graph.input, 20, 3)
    for stalls in STALLS[:2]:
        assert np.array_equal(sim.run(codes, stalls=stalls, seed=2).outputs, Reference(graph).run(codes))


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
    graph = attention()
    with pytest.raises(UnsupportedError, match="a_p: no RTL for an attention with lanes=2"):
        network_unit(streamed(graph, lanes=2), graph)
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
