# SPDX-License-Identifier: Apache-2.0
"""Cycles of packets: the model against the dataflow simulation, the adaptors included, and against walks by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from axis_cases import packets_of
from gain_models import SPECS, cells_model
from hls_models import classifier, consmax
from hls_networks import residuals
from hls_sole import NORMS
from hls_typed import random_graph
from hypothesis import given
from hypothesis import strategies as st

from hls4attn.hls import Design, HlsConfig, convert, lower_graph
from hls4attn.hls.axis import packet_cycles
from hls4attn.hls.bench import norm_graph
from hls4attn.hls.hwfile import lower_design
from hls4attn.hls.stream.axis_dataflow import AxisDataflow
from hls4attn.hls.stream.iterations import parallel_cycles
from hls4attn.hls.stream.network import to_stream
from hls4attn.hls.stream.packets import LATENCY, PacketCycles, flag_depth
from hls4attn.hls.stream.ports import PortRows, port_rows
from hls4attn.models.errors import InputError, SimulationError
from hls4attn.models.export import Reference, random_codes, read_graph
from hls4attn.models.export.graph import Graph
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

STREAM = HlsConfig(io_type="io_stream", reuse_factor=2)
SAMPLES = 24


def norm() -> Graph:
    """Three channels of 16 bits: rows of one word and a half."""
    return next(norm_graph(*rest) for name, *rest in NORMS if name == "integer_3")


#: What an interval can come from: attention, gain cells, a chain of short rows, banks, the adaptors.
GRAPHS: dict[str, tuple[Callable[[], Graph], HlsConfig]] = {
    "attention": (lambda: read_graph(classifier(1, 6, 8, 12, consmax(2), 4)), STREAM),
    "cells": (lambda: read_graph(cells_model(SPECS["levels of no power of two"][0], 20)), STREAM),
    "readers": (lambda: residuals(4), HlsConfig(io_type="io_stream")),
    "norm": (norm, HlsConfig(io_type="io_stream", reuse_factor=3)),
}


def design(name: str) -> tuple[Graph, Design]:
    make, config = GRAPHS[name]
    graph = make()
    return graph, lower_design(graph, config)


def packed(found: Design, codes: np.ndarray, seed: int) -> list[bytes]:
    return packets_of(codes, StreamPort(found.input.shape, found.input.format), seed)


# ---- against the dataflow simulation ---------------------------------------------------------------------------------


@pytest.mark.compile
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "cells" else ()) for n in GRAPHS])
def test_cycles_are_what_the_dataflow_simulation_counts(name: str) -> None:
    """Cycle for cycle, of every sample of a packet; stalls move words, not codes."""
    graph, found = design(name)
    sim, codes = AxisDataflow(found), random_codes(found.input, SAMPLES, 0)
    answer = StreamPort(found.output_tensor.shape, found.output_tensor.format)
    expected = Reference(graph).run(codes)
    run = sim.run([pack(codes, StreamPort(found.input.shape, found.input.format)).tobytes()])
    cycles = PacketCycles(found)
    assert run.cycles == [cycles(n) for n in range(1, SAMPLES + 1)]
    assert len(run.packets) == 1
    for seed, stalls in ((1, (0, 0)), (2, (40, 0)), (3, (0, 70)), (4, (30, 30))):
        packets = packed(found, codes, seed)
        run = sim.run(packets, seed, stalls, interrupts=20)
        assert np.array_equal(np.concatenate([unpack(p, answer) for p in run.packets]), expected), seed
        inputs = [len(p) // (4 * port_rows(found)[0].words) for p in packets]
        assert [len(p) // answer.sample_bytes for p in run.packets] == inputs, seed


@pytest.mark.compile
def test_a_short_fifo_of_flags_costs_cycles_and_nothing_else() -> None:
    _, found = design("readers")
    sim, codes = AxisDataflow(found, flags=2), random_codes(found.input, SAMPLES, 0)
    packets = packed(found, codes, 5)
    run = sim.run(packets)
    assert run.packets == AxisDataflow(found).run(packets).packets
    short = PacketCycles(found, flags=2)
    assert run.cycles == [short(n) for n in range(1, SAMPLES + 1)]
    assert short(SAMPLES) > PacketCycles(found)(SAMPLES)
    with pytest.raises(InputError, match="whole samples of"):
        sim.run([packets[0][:-4]])
    with pytest.raises(InputError, match="whole samples of"):
        sim.run([])


@pytest.mark.compile
def test_a_kernel_that_loses_rows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: an adaptor that is told of fewer rows than the design has starves it."""
    _, found = design("norm")
    monkeypatch.setattr("hls4attn.hls.stream.axis_dataflow.port_rows", lambda d: (PortRows(1, 3, 16), port_rows(d)[1]))
    with pytest.raises(SimulationError, match="deadlock"):
        AxisDataflow(found).run([bytes(8)])


# ---- by hand ---------------------------------------------------------------------------------------------------------


def walk_unpack(port: PortRows) -> tuple[int, list[int], list[int]]:
    """Iterations of axis_unpack, those that read a word, those that write a row."""
    have, read, written, n = 0, [], [], 0
    while len(written) < port.rows or len(read) < port.words:
        if have < port.channels:
            read.append(n)
            have += port.lanes
        if have >= port.channels:
            written.append(n)
            have -= port.channels
        n += 1
    return n, read, written


def walk_pack(port: PortRows) -> tuple[int, list[int], int]:
    """Iterations of axis_pack, those that read a row, and the words."""
    have, read, words, n = 0, [], 0, 0
    while len(read) < port.rows or have > 0:
        if have < port.lanes and len(read) < port.rows:
            read.append(n)
            have += port.channels
        if have >= port.lanes or len(read) == port.rows:
            words += 1
            have = max(have - port.lanes, 0)
        n += 1
    return n, read, words


@given(st.integers(1, 12), st.integers(1, 70), st.sampled_from([8, 16, 32]))
def test_steps_of_the_adaptors(rows: int, channels: int, bits: int) -> None:
    port = PortRows(rows, channels, bits)
    assert (port.unpack_steps, port.word_read().tolist(), port.row_written().tolist()) == walk_unpack(port)
    assert (port.pack_steps, port.row_read().tolist(), port.words) == walk_pack(port)


def test_a_long_packet_repeats_what_was_seen() -> None:
    """Extrapolated and counted sample by sample."""
    for name in ("attention", "readers"):
        _, found = design(name)
        seen, walked = PacketCycles(found), PacketCycles(found)
        walked._seen = _Forgetful()
        assert seen(400) == walked(400)
        assert len(walked._ends) == 400 > 2 * len(seen._ends)
        assert [seen(n) for n in (1, 7, 399)] == [walked(n) for n in (1, 7, 399)]


class _Forgetful(dict[tuple[int, ...], int]):
    """Knows no state again."""

    def get(self, key: tuple[int, ...], default: int = 0) -> int:  # type: ignore[override]
        return default


def test_an_array_kernel_by_hand() -> None:
    """Words in, the kernels one after the other, words out, then the next sample."""
    found, config = lower_graph(random_graph(0)), HlsConfig(reuse_factor=3)
    source, answer = port_rows(found)
    core = sum(parallel_cycles(n, 3) for n in found.nodes)
    assert found.io_type == "io_parallel"
    cycles = PacketCycles(found, config)
    # first word read at 1, its row read after the adaptor's latency; likewise a result's row and its last word
    rows = int(source.row_written()[-1]) + 1 + LATENCY + 1
    out = rows + 1 + core + answer.rows - 1 + LATENCY + 1
    last = out + answer.pack_steps - 1 - int(answer.row_read()[-1])
    assert cycles(1) == last + LATENCY + 1 + 1
    assert cycles(2) - cycles(1) == cycles.interval == source.rows + core + answer.rows


def test_a_project_is_counted_as_its_design(tmp_path: Path) -> None:
    model = classifier(1, 6, 8, 12, consmax(2), 4)
    project = convert(model, tmp_path / "p", STREAM)
    found = to_stream(lower_graph(read_graph(model)), STREAM)
    assert [packet_cycles(project, n) for n in (1, 2, 50)] == [packet_cycles(found, n) for n in (1, 2, 50)]
    for samples in (0, -3):
        with pytest.raises(InputError, match=f"one sample or more. Received: {samples}"):
            packet_cycles(found, samples)


def test_flags_are_as_many_as_samples_under_way() -> None:
    _, found = design("norm")
    cycles = PacketCycles(found)
    assert flag_depth(found) == 2 * (-(-cycles(1) // cycles.interval) + 1) > 16
    assert flag_depth(design("cells")[1]) == 16
